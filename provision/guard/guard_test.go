package guard

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The whole family dies at the deadline, not before; whoever is not armed, or has time left, does not.
func TestKillsAtTheDeadline(t *testing.T) {
	w := newWorld(t)
	late, well, quorum := startServer(t, "late-0", "aaaaaaaa"), startServer(t, "well-0", "bbbbbbbb"), startServer(t, "quorum-0", "cccccccc")
	w.arm(t, late, time.Hour)
	w.arm(t, well, time.Hour)
	w.turn(t)
	if err := w.daemon.Extend(late.Life, 4, in(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if late.living() != 4 {
		t.Fatalf("%d of 4 live before the deadline", late.living())
	}
	w.arm(t, late, -time.Millisecond)
	w.killed(t, late)
	if well.living() != 4 || quorum.living() != 4 {
		t.Errorf("others were killed: %d and %d of 4 live", well.living(), quorum.living())
	}
	w.turn(t)
	if slot := w.daemon.Look(late.Life); slot.Killed < 4 || !slot.Armed {
		t.Errorf("the daemon is not told: %+v", slot)
	}
	if !strings.Contains(w.said.String(), "late-0 (life aaaaaaaa)") {
		t.Errorf("said %q", w.said.String())
	}
}

// The postmaster is gone, what it left works on: that is killed as well.
func TestKillsOrphans(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, "late-0", "aaaaaaaa")
	w.arm(t, s, time.Hour)
	if err := unix.Kill(s.Postmaster, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the postmaster is gone", func() bool { return s.living() < 4 })
	other := exec.Command(s.command.Path, "-c", "sleep 1002") // a backend that the postmaster left behind
	other.Dir = s.Directory
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	w.arm(t, s, -time.Millisecond)
	ended := make(chan error, 1)
	go func() { ended <- other.Wait() }()
	until(t, "it is killed", func() bool {
		w.turn(t)
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
}

// A pid that is another process's by now is not killed: neither at the look nor at the signal.
func TestRecycledPID(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, "other-0", "bbbbbbbb")
	stale := Instance{Name: "shop-0", Life: "aaaaaaaa", Directory: t.TempDir(), Postmaster: s.Postmaster, Started: s.Started - 1}
	if err := w.daemon.Arm(stale, 3, in(-time.Second)); err != nil {
		t.Fatal(err)
	}
	w.turn(t)
	if w.guard.hunter.kill(victim{int32(s.Postmaster), s.Started - 1}) || s.living() != 4 {
		t.Error("a process of another start was killed")
	}
	if w.guard.hunter.kill(victim{pid: 1 << 21}) {
		t.Error("killed nobody")
	}
}

// What the guard must not act on.
func TestLeftAlone(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, w *world, s *fake){
		"disarmed": func(t *testing.T, w *world, s *fake) {
			if err := w.daemon.Disarm(s.Life); err != nil {
				t.Fatal(err)
			}
		},
		"a record of another boot": func(t *testing.T, w *world, _ *fake) {
			rewrite(t, w, func(r *record) { copy(r.Boot[:], "another-boot-") })
		},
		"a file of another boot": func(t *testing.T, w *world, _ *fake) { edit(t, w.path, 24, "another-boot-") },
		"a damaged header":       func(t *testing.T, w *world, _ *fake) { edit(t, w.path, 13, "\xff") },
		"a newer version":        func(t *testing.T, w *world, _ *fake) { edit(t, w.path, 8, "\x02") },
		"no header":              func(t *testing.T, w *world, _ *fake) { edit(t, w.path, 0, "x") },
		"damaged records": func(t *testing.T, w *world, _ *fake) {
			edit(t, w.path, headerSize+24, "\x01")
			edit(t, w.path, headerSize+recordSize+24, "\x01")
		},
		"records of a newer format": func(t *testing.T, w *world, _ *fake) {
			for which := range 2 {
				edit(t, w.path, int64(headerSize+which*recordSize+4), "\x02")
			}
		},
		"a file that is too short": func(t *testing.T, w *world, _ *fake) {
			if err := os.Truncate(w.path, headerSize+10); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := startServer(t, "shop-0", "aaaaaaaa")
			w.stop() // it has not seen the slot before
			w.arm(t, s, -time.Second)
			spoil(t, w, s)
			w.start(t)
			for range 30 {
				w.turn(t)
			}
			if s.living() != 4 {
				t.Errorf("killed; said %q", w.said.String())
			}
		})
	}
}

// edit changes bytes of the file.
func edit(t *testing.T, path string, at int64, bytes string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt([]byte(bytes), at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// rewrite changes the first slot's newest record, with a right checksum.
func rewrite(t *testing.T, w *world, change func(*record)) {
	t.Helper()
	r, state := w.daemon.file.newest(0, &w.daemon.scratch)
	if state != slotGood {
		t.Fatal("nothing there")
	}
	next := *r
	change(&next)
	w.daemon.write(0, next)
}

// A guard that is started again goes by the file; two at once there are not.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	s := startServer(t, "shop-0", "aaaaaaaa")
	w.arm(t, s, time.Hour)
	w.turn(t)
	second, err := New(w.guard.options)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, errTaken) {
		t.Errorf("a second guard of the host: %v", err)
	}
	w.stop()
	if s.living() != 4 {
		t.Fatal("stopping the guard touched the instance")
	}
	w.arm(t, s, -time.Millisecond) // while no guard runs
	w.start(t)
	w.killed(t, s)
}

// Whatever becomes of the file: what was read whole before counts until its life is heard of again.
func TestFileGoesAway(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"removed":   os.Remove,
		"cut short": func(path string) error { return os.Truncate(path, 100) },
		"renamed":   func(path string) error { return os.Rename(path, path+".old") },
		"replaced":  func(path string) error { return create(path, boot, os.Rename) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			late, well := startServer(t, "late-0", "aaaaaaaa"), startServer(t, "well-0", "bbbbbbbb")
			w.arm(t, late, 300*time.Millisecond)
			w.arm(t, well, 300*time.Millisecond)
			w.turn(t)
			if err := spoil(w.path); err != nil {
				t.Fatal(err)
			}
			w.turn(t)
			w.guard.retry = 0
			w.arm(t, well, time.Hour) // the daemon makes the file anew
			w.turn(t)
			w.killed(t, late)
			if well.living() != 4 {
				t.Error("what was armed again was killed")
			}
		})
	}
}

// A file that is cut while it is mapped faults when it is read: the guard survives it.
func TestFault(t *testing.T) {
	w := newWorld(t)
	w.turn(t)
	if err := os.Truncate(w.path, 0); err != nil {
		t.Fatal(err)
	}
	if err := create(w.path, boot, os.Rename); err != nil {
		t.Fatal(err)
	}
	good, err := openFile(w.path, boot, daemonLock)
	if err != nil {
		t.Fatal(err)
	}
	w.guard.file.device, w.guard.file.ino = good.device, good.ino // it was cut just after it was looked at
	w.turn(t)
	if w.guard.file != nil {
		t.Error("it goes on reading what is not there")
	}
	w.guard.retry = 0
	w.turn(t)
	good.close()
	if err := w.daemon.Answers(); err != nil {
		t.Errorf("after a new file was made: %v", err)
	}
}

// The loop allocates nothing: with deadlines that are far, over, of instances that are gone, and while it
// kills.
func TestNoAllocation(t *testing.T) {
	w := newWorld(t)
	w.guard.options.Log = func([]byte) {}
	s := startServer(t, "shop-0", "aaaaaaaa")
	gone := s.Instance
	gone.Life, gone.Directory, gone.Postmaster = "bbbbbbbb", t.TempDir(), 0
	w.arm(t, s, time.Hour)
	if err := w.daemon.Arm(gone, 3, in(-time.Second)); err != nil {
		t.Fatal(err)
	}
	w.turn(t)
	if n := testing.AllocsPerRun(50, func() {
		w.turn(t)
		for i := range w.guard.seen {
			w.guard.seen[i].next = 0 // search now
		}
	}); n != 0 {
		t.Errorf("%v allocations a look", n)
	}
	w.guard.hunter.signal = 0 // found and signalled again and again
	state := &watched{record: w.guard.seen[0].record, known: true}
	if n := testing.AllocsPerRun(20, func() {
		state.Deadline, state.done, state.killed = 0, false, 0
		w.guard.judge(state, 0, uptime())
	}); n != 0 || state.killed != 4 {
		t.Errorf("%v allocations while it kills %d processes", n, state.killed)
	}
}

func TestRunEnds(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.guard.Run(ctx) }()
	until(t, "it beats", func() bool { return w.daemon.Answers() == nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.guard = nil
	until(t, "its silence is noticed", func() bool { return w.daemon.Answers() != nil })
}
