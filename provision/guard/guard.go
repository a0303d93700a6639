// Package guard is the dead-man switch of a host: a small process of its own that kills an instance of a
// lease cluster when its lease is over, whatever state the daemon is in. The daemon moves deadlines in a
// shared file (Deadlines); the guard (Guard) reads them. Everything it needs to know is in that file, so
// it can be restarted and upgraded without touching Postgres. It never acts on anything but a deadline of
// this boot that was read whole.
package guard

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Tick is how often the guard looks at the deadlines: an instance is killed at most that much after
	// its lease.
	Tick = 100 * time.Millisecond
	// Silence is how old the guard's last sign of life may be for an instance to count as guarded.
	Silence = time.Second
	// lookAgain is how often a directory is searched once nothing was found in it any more: as long as the
	// deadline is not taken back, nobody may work there.
	lookAgain = time.Second
)

// Options say what a guard watches.
type Options struct {
	Path     string // of the shared file
	Boot     string // id of this boot of the host
	Watchdog *Watchdog
	Log      func(line []byte) // one line for people, without its end; called without allocating
}

// Guard watches the deadlines of one host. Its fields are allocated once: its loop allocates nothing, so
// that it works on when memory is short.
type Guard struct {
	options Options
	file    *file
	seen    [slotCount]watched
	orphans [slotCount]watched // armed in a file that was replaced before they were disarmed
	scratch [2]record
	hunter  *hunter
	clock   unix.Timespec
	line    [512]byte
	retry   time.Duration // when to try again to open the file
	stuck   bool          // processes survive SIGKILL: the watchdog is not fed any more
	said    string        // the last error
}

// watched is what the guard knows about one slot.
type watched struct {
	record
	known  bool
	torn   int           // looks in a row that found nothing whole
	done   bool          // nothing of the instance was found at the last search
	next   time.Duration // of the next search
	since  time.Duration // the first search that found something
	killed int
}

// New opens what the guard needs beside the file. Only one guard of a host works on a file; Run says so.
func New(o Options) (*Guard, error) {
	h, err := newHunter()
	if err != nil {
		return nil, err
	}
	return &Guard{options: o, hunter: h}, nil
}

// Run watches until ctx ends. It returns an error only when another guard has the file already.
func (g *Guard) Run(ctx context.Context) error {
	defer g.close()
	g.rehearse()
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	for {
		if err := g.turn(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// turn is one look. A file that is cut short under our eyes faults; it is opened again then.
func (g *Guard) turn() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			g.leave("the shared file cannot be read")
		}
	}()
	now := g.now()
	if g.file == nil && now >= g.retry {
		if err := g.open(); errors.Is(err, errTaken) {
			return err
		}
	}
	if g.file != nil && g.file.replaced() {
		g.leave("the shared file was replaced")
	}
	g.look(now)
	if !g.stuck {
		g.options.Watchdog.feed(now, g.armed())
	}
	return nil
}

func (g *Guard) now() time.Duration {
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &g.clock) // cannot fail with this clock
	return time.Duration(g.clock.Nano())
}

// open maps the file; a file of another boot, or a damaged one, is made anew. Errors other than errTaken
// are said once, and it is tried again.
func (g *Guard) open() error {
	g.retry = g.now() + time.Second
	f, err := openFile(g.options.Path, g.options.Boot, guardLock)
	if err == nil {
		g.file, g.said = f, ""
		g.say("watches", nil, 0)
		return nil
	}
	if g.said != err.Error() {
		g.said = err.Error()
		g.options.Log([]byte("nothing is guarded: " + g.said))
	}
	return err
}

// leave unmaps the file. What was armed in it stays armed until its life is found again.
func (g *Guard) leave(why string) {
	g.say(why, nil, 0)
	if g.file != nil {
		g.file.close()
		g.file = nil
	}
	for i := range g.seen {
		if w := &g.seen[i]; w.known && w.State == stateArmed {
			g.adopt(w)
		}
		g.seen[i] = watched{}
	}
}

func (g *Guard) adopt(w *watched) {
	for i := range g.orphans {
		if !g.orphans[i].known {
			g.orphans[i] = *w
			return
		}
	}
}

// look reads every slot, acts on deadlines that have passed, and says that it is alive.
func (g *Guard) look(now time.Duration) {
	g.stuck = false
	if g.file != nil {
		for i := range g.seen {
			g.read(i)
			g.judge(&g.seen[i], i, now)
		}
		g.file.beat(now, g.options.Watchdog.state())
	}
	for i := range g.orphans {
		w := &g.orphans[i]
		if g.judge(w, -1, now); w.done {
			*w = watched{}
		}
	}
}

// read takes over what is in a slot. Without anything whole in it the last that was whole holds.
func (g *Guard) read(i int) {
	w := &g.seen[i]
	r, state := g.file.newest(i, &g.scratch)
	switch {
	case state == slotTorn:
		if w.torn++; w.torn == 20 { // two seconds: it is not being written
			g.say("a slot of the shared file is damaged; it counts as it was read last", &w.record, 0)
		}
	case state == slotEmpty:
		*w = watched{}
	case !w.known || w.Sequence != r.Sequence || w.Life != r.Life:
		renewed := w.known && w.Life == r.Life && w.State == r.State && w.Deadline == r.Deadline
		if !renewed {
			*w = watched{}
		}
		w.record, w.known = *r, true
		g.found(r)
	default:
		w.torn = 0
	}
}

// found drops what a former file said of a life.
func (g *Guard) found(r *record) {
	for i := range g.orphans {
		if g.orphans[i].known && g.orphans[i].Life == r.Life {
			g.orphans[i] = watched{}
		}
	}
}

// judge kills when a deadline has passed. Slots of other boots and disarmed ones are left alone.
func (g *Guard) judge(w *watched, slot int, now time.Duration) {
	if !w.known || w.State != stateArmed || !w.of(g.options.Boot) || now < w.Deadline || w.done && now < w.next {
		return
	}
	killed, left := g.hunter.hunt(&w.record)
	w.next, w.done = now+lookAgain, left == 0
	if w.killed == 0 && killed > 0 {
		w.since = now
		g.say("kills, its lease is over:", &w.record, killed)
	}
	if left > 0 && now-w.since > stuckAfter {
		g.stuck = true
		g.say("processes survive SIGKILL:", &w.record, left)
	}
	w.killed += killed
	if slot >= 0 && w.killed > 0 {
		g.file.fire(slot, w.Deadline, w.killed)
	}
}

// stuckAfter is when a process that survives SIGKILL is a case for the watchdog.
const stuckAfter = 2 * time.Second

// armed says whether any deadline of this boot is watched.
func (g *Guard) armed() bool {
	for i := range g.seen {
		if g.live(&g.seen[i]) || g.live(&g.orphans[i]) {
			return true
		}
	}
	return false
}

func (g *Guard) live(w *watched) bool {
	return w.known && w.State == stateArmed && !w.done && w.of(g.options.Boot)
}

// say writes a line without allocating.
func (g *Guard) say(what string, about *record, n int) {
	b := append(g.line[:0], what...)
	if about != nil {
		b = append(append(b, ' '), about.instance()...)
		b = append(append(append(b, " (life "...), about.Life[:]...), ')')
		b = append(appendNumber(append(b, ", processes: "...), uint64(n)), "; "...)
		b = append(b, about.directory()...)
	}
	g.options.Log(b[:min(len(b), len(g.line))])
}

func (g *Guard) close() {
	if g.file != nil {
		g.file.close()
	}
	g.hunter.close()
	g.options.Watchdog.release()
}
