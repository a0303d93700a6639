package guard

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WatchdogState is what became of the watchdog device.
type WatchdogState uint64

// The states of a watchdog.
const (
	WatchdogOff     WatchdogState = iota // not asked for
	WatchdogMissing                      // asked for; the device cannot be used
	WatchdogIdle                         // usable; nothing is guarded at present
	WatchdogArmed                        // fed; when the kernel hangs it resets the host
)

// WatchdogTimeout is what the device is set to: a host whose kernel hangs is reset that long after it was
// fed last, and a lease is as long.
const WatchdogTimeout = 5 * time.Second

const feedEvery = time.Second

// Watchdog feeds a watchdog device (Documentation/watchdog/watchdog-api.rst of the kernel) while an
// instance is armed. Nil is no watchdog.
type Watchdog struct {
	path     []byte // ends with a zero byte
	ioctl    func(fd int, request uint, argument *int32) error
	fd       int // 0: closed
	next     time.Duration
	trouble  bool // it could not be armed
	argument int32
}

// NewWatchdog names a device; "" is none.
func NewWatchdog(path string) *Watchdog {
	if path == "" {
		return nil
	}
	return &Watchdog{path: append([]byte(path), 0), ioctl: ioctl}
}

func ioctl(fd int, request uint, argument *int32) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(argument)))
	if errno != 0 {
		return errno
	}
	return nil
}

// feed keeps the device from resetting the host while something is armed, and disarms it otherwise.
func (w *Watchdog) feed(now time.Duration, armed bool) {
	switch {
	case w == nil || now < w.next:
		return
	case !armed:
		w.release()
		return
	}
	w.next = now + feedEvery
	w.trouble = w.fd == 0 && !w.arm() || w.ioctl(w.fd, unix.WDIOC_KEEPALIVE, &w.argument) != nil
}

// arm opens the device, which starts it, and sets its timeout. One that cannot be set so short is let go:
// it would reset the host after another leader was chosen.
func (w *Watchdog) arm() bool {
	fd, errno := openRaw(unix.AT_FDCWD, w.path, unix.O_WRONLY|unix.O_NONBLOCK)
	if errno != 0 {
		return false
	}
	w.fd, w.argument = fd, int32(WatchdogTimeout/time.Second)
	err := w.ioctl(w.fd, unix.WDIOC_SETTIMEOUT, &w.argument)
	if set := time.Duration(w.argument) * time.Second; err != nil || set > WatchdogTimeout { // the driver says what it took
		w.release()
		return false
	}
	return true
}

// release stops the device: without the magic character it would reset the host when we end.
func (w *Watchdog) release() {
	if w == nil || w.fd == 0 {
		return
	}
	_, _ = unix.Write(w.fd, magicClose) // a driver without it goes on counting: nothing can be done
	_ = unix.Close(w.fd)
	w.fd, w.trouble = 0, false
}

var magicClose = []byte("V")

func (w *Watchdog) state() WatchdogState {
	switch {
	case w == nil:
		return WatchdogOff
	case w.trouble:
		return WatchdogMissing
	case w.fd == 0:
		return WatchdogIdle
	}
	return WatchdogArmed
}
