package guard

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// device is a fake of a watchdog: a file for what is written, and a function for its controls. A real one
// cannot be had where tests run.
type device struct {
	path     string
	calls    []uint
	shortest int32
	refuses  bool
}

func (d *device) ioctl(_ int, request uint, argument *int32) error {
	d.calls = append(d.calls, request)
	if request == unix.WDIOC_SETTIMEOUT {
		*argument = max(*argument, d.shortest)
	}
	if d.refuses {
		return unix.EOPNOTSUPP
	}
	return nil
}

func newDevice(t *testing.T) (*device, *Watchdog) {
	t.Helper()
	d := &device{path: filepath.Join(t.TempDir(), "watchdog")}
	if err := os.WriteFile(d.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := NewWatchdog(d.path)
	w.ioctl = d.ioctl
	return d, w
}

func (d *device) wrote(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(d.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWatchdogIsFedWhileArmed(t *testing.T) {
	d, w := newDevice(t)
	w.feed(time.Second, false)
	if w.state() != WatchdogIdle || len(d.calls) != 0 {
		t.Fatalf("touched with nothing to guard: %v", d.calls)
	}
	for tick := range 25 { // 2.5 s
		w.feed(time.Second+time.Duration(tick)*Tick, true)
	}
	want := []uint{unix.WDIOC_SETTIMEOUT, unix.WDIOC_KEEPALIVE, unix.WDIOC_KEEPALIVE, unix.WDIOC_KEEPALIVE}
	if w.state() != WatchdogArmed || len(d.calls) != len(want) || d.calls[0] != want[0] || d.calls[3] != want[3] || d.wrote(t) != "" {
		t.Errorf("state %d, calls %v, written %q", w.state(), d.calls, d.wrote(t))
	}
	w.feed(time.Minute, false)
	if w.state() != WatchdogIdle || d.wrote(t) != "V" {
		t.Errorf("not released: state %d, written %q", w.state(), d.wrote(t))
	}
}

func TestWatchdogThatCannotBeUsed(t *testing.T) {
	d, w := newDevice(t)
	d.shortest = 60 // it would reset the host long after another leader was chosen
	w.feed(time.Second, true)
	if w.state() != WatchdogMissing || d.wrote(t) != "V" {
		t.Errorf("state %d, written %q", w.state(), d.wrote(t))
	}
	d.shortest, d.refuses = 0, true
	w.feed(time.Minute, true)
	if w.state() != WatchdogMissing {
		t.Errorf("one that refuses its timeout: state %d", w.state())
	}
	gone := NewWatchdog(filepath.Join(t.TempDir(), "none"))
	gone.feed(time.Second, true)
	if gone.state() != WatchdogMissing {
		t.Errorf("one that is not there: state %d", gone.state())
	}
	d.refuses = false
	w.feed(2*time.Minute, true)
	if w.state() != WatchdogArmed {
		t.Errorf("tried again: state %d", w.state())
	}
	if NewWatchdog("").state() != WatchdogOff {
		t.Error("none is off")
	}
}

// The guard feeds it only while it watches something, tells the daemon, and lets go of it at its end.
func TestGuardFeedsTheWatchdog(t *testing.T) {
	d, w := newDevice(t)
	world := newWorld(t)
	world.guard.options.Watchdog = w
	world.turn(t)
	if err := world.daemon.Arm(instance(t, "aaaaaaaa"), 3, in(time.Hour)); err != nil {
		t.Fatal(err)
	}
	world.turn(t)
	world.turn(t)
	if got := world.daemon.Watchdog(); got != WatchdogArmed {
		t.Errorf("the daemon is told %d", got)
	}
	world.stop()
	if d.wrote(t) != "V" {
		t.Errorf("ended without letting go: %q", d.wrote(t))
	}
}
