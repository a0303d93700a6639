package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pgctl/pgctl"
)

// The file is a header of one page and slots. The header: magic (8), version (4), number of slots (4),
// size of a slot (4), checksum (4) of these and of the id of the boot (40, from 24 on); then what the
// guard writes: a counter (8, at 64), when it counted last (8, ns of CLOCK_BOOTTIME), the state of the
// watchdog (4). A slot: two records, then what the guard writes: the deadline on which it acted last (8)
// and how many processes it killed (4).
const (
	magic       = "pgctlgrd"
	fileVersion = 1
	headerSize  = 4096
	slotCount   = 256
	slotSize    = 2*recordSize + 64
	fileSize    = headerSize + slotCount*slotSize

	guardLock  = 0 // bytes that are locked by whoever writes that part
	daemonLock = 1
)

// errTaken is when another process has the same part.
var errTaken = errors.New("it is in use by another process")

// file is the shared file, mapped.
type file struct {
	fd          int
	path        []byte // ends with a zero byte
	mapped      []byte
	stat        unix.Stat_t
	device, ino uint64
	buffer      [recordSize]byte
}

// openFile opens the file, or makes it. One of another boot, or one that is damaged, is replaced: nothing
// in it may be acted on. One of another version is the daemon's to replace; the guard waits for that
// (pgctl.CodeConflict). A file of another user is refused: who writes it decides who is killed.
func openFile(path, boot string, lock int64) (*file, error) {
	for range 5 {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if errors.Is(err, unix.ENOENT) {
			if err := create(path, boot, os.Link); err != nil && !errors.Is(err, os.ErrExist) {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		f, err := use(fd, path, boot, lock)
		if f != nil || err != nil {
			return f, err
		}
	}
	return nil, pgctl.Errorf(pgctl.CodeUnavailable, "%s is replaced again and again", path)
}

// use maps an open file; neither file nor error when it was replaced and is to be opened again.
func use(fd int, path, boot string, lock int64) (*file, error) {
	f := &file{fd: fd, path: append([]byte(path), 0)}
	err := f.trust(path)
	if err == nil {
		err = f.take(lock)
	}
	if err == nil && f.stat.Nlink > 0 {
		var head [headerSize]byte
		n, _ := unix.Pread(fd, head[:], 0) // what is too short is damaged
		version := binary.LittleEndian.Uint32(head[8:])
		switch {
		case intact(head[:n], boot) && f.stat.Size == fileSize:
			f.mapped, err = unix.Mmap(fd, 0, fileSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err == nil {
				return f, nil
			}
		case string(head[:len(magic)]) == magic && version != fileVersion && lock == guardLock:
			err = pgctl.Errorf(pgctl.CodeConflict, "%s has version %d, this guard knows %d", path, version, fileVersion)
		default:
			err = create(path, boot, os.Rename)
		}
	}
	_ = unix.Close(fd) // nothing was written through it
	return nil, err
}

// trust refuses a file that others could have written.
func (f *file) trust(path string) error {
	if err := unix.Fstat(f.fd, &f.stat); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	f.device, f.ino = f.stat.Dev, f.stat.Ino
	if f.stat.Mode&unix.S_IFMT != unix.S_IFREG || int(f.stat.Uid) != os.Geteuid() || f.stat.Mode&0o077 != 0 {
		return pgctl.Errorf(pgctl.CodeRefused, "%s is not a file that only user %d can write", path, os.Geteuid()).
			WithHint("remove it; guard and daemon must run as the same user")
	}
	return nil
}

// take locks one part for this process.
func (f *file) take(lock int64) error {
	err := unix.FcntlFlock(uintptr(f.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: lock, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errTaken
	}
	return err
}

// create makes an empty file under a name of its own and puts it in place, whole.
func create(path, boot string, place func(from, to string) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	head := make([]byte, fileSize)
	le := binary.LittleEndian
	copy(head, magic)
	le.PutUint32(head[8:], fileVersion)
	le.PutUint32(head[12:], slotCount)
	le.PutUint32(head[16:], slotSize)
	copy(head[24:64], boot)
	le.PutUint32(head[20:], headSum(head))
	own := fmt.Sprintf("%s.new-%d", path, os.Getpid())
	defer func() { _ = os.Remove(own) }() // gone already when it was renamed
	if err := os.WriteFile(own, head, 0o600); err != nil {
		return err
	}
	return place(own, path)
}

// intact says whether a header is ours and of this boot.
func intact(head []byte, boot string) bool {
	le := binary.LittleEndian
	return len(head) == headerSize && string(head[:len(magic)]) == magic && le.Uint32(head[8:]) == fileVersion &&
		le.Uint32(head[12:]) == slotCount && le.Uint32(head[16:]) == slotSize && le.Uint32(head[20:]) == headSum(head) &&
		string(upToZero(head[24:64])) == boot
}

func headSum(head []byte) uint32 { return checksum(head[:20]) ^ checksum(head[24:64]) }

// replaced says whether the path names another file by now, or this one was cut short.
func (f *file) replaced() bool {
	fd, errno := openRaw(unix.AT_FDCWD, f.path, unix.O_PATH|unix.O_NOFOLLOW)
	if errno != 0 {
		return errno == unix.ENOENT // otherwise it cannot be said now
	}
	err := unix.Fstat(fd, &f.stat)
	_ = unix.Close(fd) // only looked at
	return err == nil && (f.stat.Dev != f.device || f.stat.Ino != f.ino || f.stat.Size != fileSize)
}

// openRaw opens without allocating; the path ends with a zero byte.
func openRaw(dir int, path []byte, flags uintptr) (int, unix.Errno) {
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&path[0])), flags|unix.O_CLOEXEC, 0, 0, 0)
	return int(fd), errno
}

// record is the place of one of a slot's two records.
func (f *file) record(slot, which int) []byte {
	at := headerSize + slot*slotSize + which*recordSize
	return f.mapped[at : at+recordSize : at+recordSize]
}

// slotState is what can be read of a slot.
type slotState int

const (
	slotEmpty slotState = iota
	slotGood
	slotTorn // neither record is whole
)

// newest reads the newest whole record of a slot into the scratch space.
func (f *file) newest(slot int, scratch *[2]record) (*record, slotState) {
	blank := 0
	for which := range scratch {
		place := f.record(slot, which)
		if scratch[which].whole = false; zero(place) {
			blank++
			continue
		}
		scratch[which].decode(place, &f.buffer)
	}
	a, b := &scratch[0], &scratch[1]
	switch {
	case !a.whole && !b.whole && blank == len(scratch):
		return nil, slotEmpty
	case !a.whole && !b.whole:
		return nil, slotTorn
	case !a.whole || b.whole && b.Sequence > a.Sequence:
		return b, slotGood
	}
	return a, slotGood
}

// zero says whether a record was never written: its sequence, format and checksum never are all zero.
func zero(place []byte) bool {
	for _, c := range place[:16] {
		if c != 0 {
			return false
		}
	}
	return true
}

// word is a number that one process writes while others read it.
func (f *file) word(at int) *uint64 { return (*uint64)(unsafe.Pointer(&f.mapped[at])) }

const (
	beatAt     = 64
	beatTimeAt = 72
	watchdogAt = 80
)

// beat says that the guard looked at all deadlines.
func (f *file) beat(now time.Duration, w WatchdogState) {
	atomic.StoreUint64(f.word(watchdogAt), uint64(w))
	atomic.StoreUint64(f.word(beatTimeAt), uint64(now))
	atomic.AddUint64(f.word(beatAt), 1)
}

// lastBeat is when the guard looked last, 0 for never, and what it said of the watchdog.
func (f *file) lastBeat() (time.Duration, WatchdogState) {
	return time.Duration(atomic.LoadUint64(f.word(beatTimeAt))), WatchdogState(atomic.LoadUint64(f.word(watchdogAt)))
}

func (f *file) firedAt(slot int) int { return headerSize + slot*slotSize + 2*recordSize }

// fire notes on which deadline the guard acted, and how many processes it killed.
func (f *file) fire(slot int, deadline time.Duration, killed int) {
	atomic.StoreUint64(f.word(f.firedAt(slot)+8), uint64(killed))
	atomic.StoreUint64(f.word(f.firedAt(slot)), uint64(deadline))
}

// fired says how many processes were killed on that deadline; 0 if it was not acted on.
func (f *file) fired(slot int, deadline time.Duration) int {
	if time.Duration(atomic.LoadUint64(f.word(f.firedAt(slot)))) != deadline {
		return 0
	}
	return int(atomic.LoadUint64(f.word(f.firedAt(slot) + 8)))
}

func (f *file) close() {
	_ = unix.Munmap(f.mapped) // neither can fail for what we mapped and opened
	_ = unix.Close(f.fd)
}
