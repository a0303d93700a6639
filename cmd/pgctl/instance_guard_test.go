package main

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/guard"
)

// guarded is a bench whose host has a guard, of which only the file is there.
func guarded(t *testing.T, policy string) *bench {
	b := newBench(t)
	b.around.clock = bootTime
	deadlines := guard.NewDeadlines(filepath.Join(b.around.dataDir, "guard"), bootID(), bootTime)
	t.Cleanup(func() { _ = deadlines.Close() })
	b.around.guarding = &guarding{deadlines, policy, guardOff}
	b.task.View.Leadership.Mode = pgctl.Lease
	return b
}

func (b *bench) lease(left time.Duration) {
	b.task.Until = pgctl.Instant{Boot: bootID(), Up: bootTime() + left}
}

// watching runs a guard.
func (b *bench) watching() {
	b.t.Helper()
	g, err := guard.New(guard.Options{Path: filepath.Join(b.around.dataDir, "guard"), Boot: bootID(), Log: func([]byte) {}})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
}

// A real server is armed before it is opened, disarmed by its stop, and killed at the end of its lease when
// nobody renews that; then it is told.
func TestALeaderByLeaseIsGuarded(t *testing.T) {
	b := guarded(t, guardAuto)
	var notes []string
	b.around.note = func(e pgctl.Event) { notes = append(notes, e.Kind+" "+e.Message) }
	s := b.started(false)
	deadlines := b.around.guarding.deadlines
	state := func() *ha.GuardState { return s.Observe(b.ctx).Guard }
	if g := state(); g.Armed || !strings.Contains(g.Trouble, "no guard has run") {
		t.Errorf("before a guard runs: %+v", g)
	}
	b.watching()
	b.eventually("the guard answers", func() bool { return state().Trouble == "" })
	b.lease(time.Hour)
	b.do(s, ha.Step{Do: ha.Open, Epoch: 3})
	slot := deadlines.Look(s.self.Life)
	pid, started, _, _ := s.pg.Processes.Find(s.pg.PGData())
	if !state().Armed || state().Stale || slot.Deadline != b.task.Until || slot.Postmaster != pid || slot.Started != started {
		t.Errorf("opened: %+v, %+v", state(), slot)
	}
	b.do(s, ha.Step{Do: ha.Stop, Budget: ha.StopFailover, Epoch: 3})
	if state().Armed {
		t.Error("stopped, but armed")
	}
	b.do(s, ha.Step{Do: ha.Start})
	b.lease(300 * time.Millisecond)
	b.do(s, ha.Step{Do: ha.Open, Epoch: 3})
	b.eventually("the guard kills it", func() bool { return s.Observe(b.ctx).State == ha.Down })
	b.eventually("nothing is left of it", func() bool { return deadlines.Look(s.self.Life).Killed > 1 })
	b.do(s, ha.Step{Do: ha.Disarm})
	if state().Armed || !strings.Contains(strings.Join(notes, "\n"), "guard.killed the guard killed shop-0") {
		t.Errorf("%+v; told %q", state(), notes)
	}
	b.do(s, ha.Step{Do: ha.Start})
	b.lease(time.Hour)
	b.do(s, ha.Step{Do: ha.Open, Epoch: 3})
	if err := syscall.Kill(func() int { pid, _, _, _ := s.pg.Processes.Find(s.pg.PGData()); return pid }(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.eventually("it is down", func() bool { return s.Observe(b.ctx).State == ha.Down })
	b.do(s, ha.Step{Do: ha.Start})
	if g := state(); !g.Armed || !g.Stale {
		t.Errorf("the deadline of a postmaster that is gone: %+v", g)
	}
	b.do(s, ha.Step{Do: ha.Arm, Epoch: 3})
	if g := state(); !g.Armed || g.Stale {
		t.Errorf("armed anew: %+v", g)
	}
}

// A planned stop takes the deadline back when nobody is left to be told of a commit, not at its end.
func TestAPlannedStopIsNotCutOff(t *testing.T) {
	b := guarded(t, guardAuto)
	s := b.started(false)
	b.lease(time.Hour)
	b.do(s, ha.Step{Do: ha.Open, Epoch: 3})
	task := b.task
	task.Step = ha.Step{Do: ha.Stop, Budget: ha.StopPlanned}
	s.releaseEarly(b.ctx, task)
	seen := s.Observe(b.ctx)
	if seen.Guard.Armed || seen.Open || seen.State != ha.Running {
		t.Errorf("%s, open %v, armed %v", seen.State, seen.Open, seen.Guard.Armed)
	}
	b.do(s, task.Step)
}

// Where a guard is required, an instance that cannot be given a deadline is not opened.
func TestRequiredGuard(t *testing.T) {
	b := guarded(t, guardRequired)
	s := b.started(false)
	b.task.Until = pgctl.Instant{Boot: "another", Up: 1}
	task := b.task
	task.Step = ha.Step{Do: ha.Open, Epoch: 3}
	if err := s.Do(b.ctx, task); err == nil || s.Observe(b.ctx).Open {
		t.Errorf("opened: %v", err)
	}
	b.around.guarding.guard = guardAuto
	if err := s.Do(b.ctx, task); err != nil || !s.Observe(b.ctx).Open {
		t.Errorf("not opened where it is not required: %v", err)
	}
}

// A watchdog that is required and that the guard does not have is trouble.
func TestRequiredWatchdog(t *testing.T) {
	b := guarded(t, guardAuto)
	b.around.guarding.watchdog = guardRequired
	b.watching()
	b.eventually("the guard answers", func() bool { return b.around.guarding.deadlines.Answers() == nil })
	if g := b.around.guarding; !g.required() || !strings.Contains(g.trouble(true), "without the watchdog") {
		t.Errorf("required %v, trouble %q", g.required(), g.trouble(true))
	}
}
