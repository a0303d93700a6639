package guard

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgctl/pgctl"
)

// Instance is what the guard must know about an instance to kill it, and nothing else.
type Instance struct {
	Name       string
	Cluster    string
	Life       pgctl.Life
	Directory  string // its data directory
	Postmaster int    // process id
	Started    uint64 // when it started, in clock ticks since the boot
}

// Deadlines is the daemon's side of the shared file: it arms instances, moves their deadlines and takes
// them back. All methods may be called from several goroutines; none waits for the guard.
type Deadlines struct {
	path, boot string
	clock      func() time.Duration

	mu      sync.Mutex
	file    *file
	scratch [2]record
}

// NewDeadlines names the file; it is opened, and made if need be, when it is needed. The clock is
// CLOCK_BOOTTIME of that boot.
func NewDeadlines(path, boot string, clock func() time.Duration) *Deadlines {
	return &Deadlines{path: path, boot: boot, clock: clock}
}

// Close lets go of the file. What is armed stays armed.
func (d *Deadlines) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != nil {
		d.file.close()
		d.file = nil
	}
	return nil
}

// ready opens the file, or again when it was replaced; the caller holds mu.
func (d *Deadlines) ready() error {
	if d.file != nil && !d.file.replaced() {
		return nil
	}
	if d.file != nil {
		d.file.close()
		d.file = nil
	}
	f, err := openFile(d.path, d.boot, daemonLock)
	if errors.Is(err, errTaken) {
		return pgctl.Errorf(pgctl.CodeConflict, "another daemon moves the guard's deadlines in %s", d.path)
	}
	d.file = f
	return err
}

// Arm makes the guard kill the instance at the deadline, unless it is moved or taken back. Of another
// boot than the file's it is refused.
func (d *Deadlines) Arm(i Instance, epoch pgctl.Epoch, until pgctl.Instant) error {
	if until.Boot != d.boot {
		return pgctl.Errorf(pgctl.CodeInvalid, "a deadline of boot %q, this is %q", until.Boot, d.boot)
	}
	r := record{State: stateArmed, Deadline: until.Up, Epoch: uint64(epoch), PID: int32(i.Postmaster), Started: i.Started}
	var stat unix.Stat_t
	if err := unix.Stat(i.Directory, &stat); err != nil {
		return fmt.Errorf("look at %s: %w", i.Directory, err)
	}
	r.Device, r.Inode = stat.Dev, stat.Ino
	name := copy(r.Instance[:], i.Name)
	if name < len(i.Name) || !i.Life.Valid() {
		return pgctl.Errorf(pgctl.CodeInvalid, "%q (life %q) cannot be guarded", i.Name, i.Life)
	}
	copy(r.Cluster[:], i.Cluster)
	copy(r.Group[:len(r.Group)-1], groupOf(i.Postmaster, i.Name))
	copy(r.Directory[:], i.Directory[max(0, len(i.Directory)-len(r.Directory)):])
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.put(i.Life, r)
}

// put writes a record into the slot of its life, or into one that nobody needs; the caller holds mu.
func (d *Deadlines) put(life pgctl.Life, r record) error {
	if err := d.ready(); err != nil {
		return err
	}
	copy(r.Life[:], life)
	copy(r.Boot[:], d.boot)
	slot, _, found := d.find(life)
	if !found {
		if slot = d.vacant(); slot < 0 {
			return pgctl.Errorf(pgctl.CodeUnavailable, "the guard has room for %d instances", slotCount)
		}
	}
	d.write(slot, r)
	return nil
}

// write replaces the older record of a slot.
func (d *Deadlines) write(slot int, r record) {
	newest, state := d.file.newest(slot, &d.scratch)
	which := 0
	if state == slotGood {
		r.Sequence = newest.Sequence
		if newest == &d.scratch[0] {
			which = 1
		}
	}
	r.Sequence++
	r.encode(d.file.record(slot, which))
}

// find looks for the slot of a life.
func (d *Deadlines) find(life pgctl.Life) (slot int, r *record, found bool) {
	for slot = range slotCount {
		if r, state := d.file.newest(slot, &d.scratch); state == slotGood && string(r.Life[:]) == string(life) {
			return slot, r, true
		}
	}
	return 0, nil, false
}

// vacant is a slot that was never used, or the one that was disarmed first; then one in which nothing
// whole is left; -1 when all are armed.
func (d *Deadlines) vacant() int {
	best, oldest := -1, ^uint64(0)
	for slot := range slotCount {
		switch r, state := d.file.newest(slot, &d.scratch); {
		case state == slotEmpty:
			return slot
		case state == slotTorn && best < 0:
			best = slot
		case state == slotGood && r.State == stateDisarmed && r.Sequence < oldest:
			best, oldest = slot, r.Sequence
		}
	}
	return best
}

// Extend moves the deadline of an armed instance forward; it does nothing for others.
func (d *Deadlines) Extend(life pgctl.Life, epoch pgctl.Epoch, until pgctl.Instant) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if until.Boot != d.boot || until.Up <= d.clock() || d.file == nil && !exists(d.path) {
		return nil // what is over by now was acted on, and that is still to be told
	}
	if err := d.ready(); err != nil {
		return err
	}
	slot, r, found := d.find(life)
	if !found || r.State != stateArmed || !r.of(d.boot) || until.Up <= r.Deadline {
		return nil
	}
	next := *r
	next.Deadline, next.Epoch = until.Up, uint64(epoch)
	d.write(slot, next)
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Disarm takes an instance's deadline back. It is said even of a life that the file does not know: the
// guard may remember it from a file that is gone.
func (d *Deadlines) Disarm(life pgctl.Life) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil && !exists(d.path) {
		return nil
	}
	if err := d.ready(); err != nil {
		return err
	}
	if _, r, found := d.find(life); found && r.State == stateDisarmed {
		return nil
	}
	return d.put(life, record{State: stateDisarmed})
}

// Slot is what the file says about one life.
type Slot struct {
	Armed      bool
	Deadline   pgctl.Instant
	Postmaster int
	Started    uint64
	Killed     int // processes that the guard killed on this deadline
}

// Look reads what the file says about a life: the zero Slot for nothing.
func (d *Deadlines) Look(life pgctl.Life) Slot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil && !exists(d.path) || d.ready() != nil {
		return Slot{}
	}
	slot, r, found := d.find(life)
	if !found || !r.of(d.boot) {
		return Slot{}
	}
	return Slot{
		Armed: r.State == stateArmed, Deadline: pgctl.Instant{Boot: d.boot, Up: r.Deadline},
		Postmaster: int(r.PID), Started: r.Started, Killed: d.file.fired(slot, r.Deadline),
	}
}

// Answers is nil when a guard looked at the deadlines within Silence; otherwise it says why not.
func (d *Deadlines) Answers() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(); err != nil {
		return err
	}
	at, _ := d.file.lastBeat()
	switch age := d.clock() - at; {
	case at == 0:
		return pgctl.Errorf(pgctl.CodeUnavailable, "no guard has run since the boot").WithHint("systemctl start pgctl-guard")
	case age > Silence:
		return pgctl.Errorf(pgctl.CodeUnavailable, "the guard has been silent for %s", age.Round(Tick)).
			WithHint("systemctl status pgctl-guard")
	}
	return nil
}

// Watchdog is what the guard said last about the watchdog device.
func (d *Deadlines) Watchdog() WatchdogState {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ready() != nil {
		return WatchdogOff
	}
	_, state := d.file.lastBeat()
	return state
}
