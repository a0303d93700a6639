package main

import (
	"context"
	"os"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
)

// Do carries one step out. Each is safe to repeat after a crash in its middle.
func (s *localServer) Do(ctx context.Context, task node.Task) error {
	s.know(task)
	switch task.Do {
	case ha.Initialize:
		return s.initialize(ctx, task)
	case ha.CopyData:
		return s.copyData(ctx, task)
	case ha.Start:
		return s.start(ctx, task)
	case ha.Stop:
		return s.stop(ctx, task)
	case ha.Detach:
		return s.detach(ctx, task)
	case ha.PledgeTo:
		return s.noteLocal(func(l *ha.Local) { // whoever can pledge is consistent: a rewind before it is over
			l.Pledge, l.Rewinding, l.Rewound = max(l.Pledge, task.Epoch), 0, false
		})
	case ha.Follow:
		return s.follow(ctx, task)
	case ha.Rewind:
		return s.rewind(ctx, task)
	case ha.Promote:
		return s.promote(ctx, task)
	case ha.MakeSlots:
		return s.makeSlots(ctx, task)
	case ha.Confirm:
		return s.confirm(ctx, task)
	case ha.Open:
		return s.open(ctx, task)
	case ha.Close:
		return s.shut(ctx)
	case ha.Restart:
		return s.restart(ctx, task)
	case ha.Reload:
		return s.pg.Reload(ctx)
	case ha.Checkpoint:
		return s.pg.PrepareStop(ctx)
	case ha.Arm:
		return s.arm(task)
	case ha.Disarm:
		return s.disarm()
	}
	return pgctl.Errorf(pgctl.CodeInternal, "there is no step %q", task.Do)
}

// prepare makes the life's folder with what an instance needs before there is data.
func (s *localServer) prepare(ctx context.Context) error {
	passwords, err := s.around.passwords(ctx, s.self.Cluster)
	if _, missing := os.Stat(s.pg.Passfile()); err != nil && missing == nil {
		s.log.Info("no server of the store says the passwords; those on disk are used", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	cert, key, ca, err := s.around.tls()
	if err != nil {
		return err
	}
	_, err = s.pg.WriteSecrets(control.Secrets{Password: passwords[config.ReplicationRole], Cert: cert, Key: key, CA: ca})
	return err
}

func (s *localServer) initialize(ctx context.Context, task node.Task) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if err := s.pg.Init(ctx, task.Cluster.Spec.InitDB); err != nil {
		return err
	}
	return s.adopt(ctx, 1, 0)
}

// adopt notes what a directory that was just made is.
func (s *localServer) adopt(ctx context.Context, mark pgctl.Timeline, epoch pgctl.Epoch) error {
	data, err := s.pg.ControlData(ctx)
	if err != nil {
		return err
	}
	return s.noteLocal(func(l *ha.Local) {
		l.SystemID, l.Mark, l.Pledge = data.SystemID, max(l.Mark, mark), max(l.Pledge, epoch)
	})
}

// adoptFound notes it of a directory that was made just before the daemon was killed.
func (s *localServer) adoptFound(ctx context.Context) error {
	s.mu.Lock()
	adopted := s.local.SystemID != ""
	s.mu.Unlock()
	if adopted {
		return nil
	}
	data, err := s.pg.ControlData(ctx)
	if err != nil {
		return err
	}
	return s.adopt(ctx, data.Timeline, 0)
}

func (s *localServer) copyData(ctx context.Context, task node.Task) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	source := task.View.Source
	err := s.pg.BaseBackup(ctx, s.pg.Upstream(source.From(), source.Port, "pgctl-copy"), s.self.Life.Slot(), func(done, _ int64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.copied = uint64(done)
	})
	if err != nil {
		return err
	}
	return s.adopt(ctx, source.Timeline, task.Epoch)
}

// start starts closed, waiting for nobody's acknowledgement but that of an instance that does not
// exist, and without upstream.
func (s *localServer) start(ctx context.Context, task node.Task) error {
	if err := s.endedEarly(); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if err := s.adoptFound(ctx); err != nil {
		return err
	}
	if err := s.pg.SetStandby(task.Standby); err != nil { // before: the configuration of a standby differs
		return err
	}
	err := s.assume(ctx, func(p *posture) {
		p.Names, p.Lax, p.Upstream, p.Open, p.ReplayNow, p.Started = config.Nobody, false, nil, false, task.Standby, true
		if task.Upstream {
			p.Upstream = s.upstreamOf(task)
		}
	})
	if err != nil {
		return err
	}
	if err := s.pg.Start(ctx); err != nil || task.Standby {
		s.begun.Store(err == nil)
		return err
	}
	if err := s.awaitRunning(ctx); err != nil {
		return err
	}
	return s.ensureReplication(ctx)
}

// endedEarly is the error of a start that seemed to succeed: nobody waits for a standby to take sessions,
// and its server was never seen to do so before it was gone.
func (s *localServer) endedEarly() error {
	if s.begun.Swap(false) {
		return s.pg.Ended()
	}
	return nil
}

const lookAgain = 5 * time.Millisecond

// awaitRunning waits until the server takes sessions; it may have to recover first.
func (s *localServer) awaitRunning(ctx context.Context) error {
	for {
		seen, err := s.pg.Observe(ctx)
		switch {
		case err == nil && seen.State == control.Running:
			return nil
		case seen.State == control.Down:
			return s.pg.Ended()
		}
		if err := sleep(ctx, lookAgain); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// stop ends the sessions of others and stops within the budget, notes where the log ended, and leaves the
// instance closed: a stray hand that starts it lets nobody in. Sessions are not waited for and the way in is
// not closed before, because a shutdown does both, and sooner; but a WAL sender that is no member's would
// make it wait.
func (s *localServer) stop(ctx context.Context, task node.Task) error {
	s.mu.Lock()
	s.posture.Started, s.pending, s.applied, s.confirmed = false, nil, 0, nil
	left := s.posture
	s.mu.Unlock()
	if err := s.save("posture.json", left); err != nil {
		return err
	}
	s.releaseEarly(ctx, task)
	if err := s.pg.DismissSessions(ctx); err != nil {
		s.log.Info("sessions were not ended before the stop, which ends them too", "error", err)
	}
	clean, err := s.pg.StopTelling(ctx, task.Budget, func() {
		if task.Epoch != 0 && task.Tell != nil && s.noteStop(ctx, task.Epoch) == nil { // or it is noted at the end
			task.Tell() // others wait for nothing else
		}
	})
	if err != nil {
		return err
	}
	if clean && task.Epoch != 0 {
		if err := s.noteStop(ctx, task.Epoch); err != nil {
			return err
		}
	}
	if err := s.disarm(); err != nil {
		s.log.Warn("the guard's deadline was not taken back; it is tried again", "error", err)
	}
	return s.assume(ctx, func(p *posture) { p.Names, p.Upstream, p.Open = config.Nobody, nil, false })
}

// noteStop notes where the log of a server that was shut down in order ends.
func (s *localServer) noteStop(ctx context.Context, epoch pgctl.Epoch) error {
	data, err := s.pg.ControlData(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = data
	s.stopped = &ha.Stopped{Epoch: epoch, At: pgctl.Position{Timeline: data.Timeline, LSN: data.Checkpoint}}
	return nil
}

// restart notes that it was carried out first: a server that does not come back must not be stopped
// again and again. What follows is the start of any stopped instance.
func (s *localServer) restart(ctx context.Context, task node.Task) error {
	s.mu.Lock()
	s.pending, s.applied = nil, 0 // or it would seem to need another one before it is asked again
	s.mu.Unlock()
	if err := s.noteLocal(func(l *ha.Local) { l.Restarted = task.View.Self.Restart }); err != nil {
		return err
	}
	return s.stop(ctx, task)
}

// shut lets nobody in but the agent and members, and ends the sessions of everybody else.
func (s *localServer) shut(ctx context.Context) error {
	s.mu.Lock()
	s.confirmed = nil // to open again it has to prove its rule again
	s.mu.Unlock()
	if err := s.assume(ctx, func(p *posture) { p.Open = false }); err != nil {
		return err
	}
	return s.emptied(ctx)
}

// emptied waits until the server keeps clients out, then ends the sessions of others until none is seen.
func (s *localServer) emptied(ctx context.Context) error {
	if err := s.pg.AwaitRead(ctx); err != nil {
		return err
	}
	return s.dismissed(ctx)
}

// dismissed ends the sessions of others until none is seen.
func (s *localServer) dismissed(ctx context.Context) error {
	for {
		left, err := s.pg.TerminateSessions(ctx)
		if err != nil || left == 0 {
			return err
		}
		if err := sleep(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// detach makes sure that nothing streams into this instance, nor will after a restart. It goes on
// serving reads, unless it is to lead: that it closes then is one thing less to wait for when it is promoted.
func (s *localServer) detach(ctx context.Context, task node.Task) error {
	planned := task.View.Leadership.Planned
	err := s.assume(ctx, func(p *posture) {
		p.Upstream, p.ReplayNow, p.Names = nil, true, config.Nobody
		p.Open = p.Open && (planned == nil || planned.To != s.self.Life)
	})
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, ha.DetachWithin)
	defer cancel()
	for read := false; ; {
		if !read { // as long as the server goes by the old settings another receiver may come
			read = s.pg.AwaitRead(within) == nil
		}
		gone, err := s.pg.TerminateReceiver(within)
		if err == nil && gone && read {
			if err := s.unblock(ctx); err != nil {
				s.log.Info("sessions that may hold up replay could not be ended; it is tried again", "error", err)
			}
			return nil
		}
		if sleep(within, lookAgain) != nil {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.log.Warn("the WAL receiver does not end; the instance is restarted without upstream")
	if _, err := s.pg.Stop(ctx, ha.StopFailover); err != nil {
		return err
	}
	return s.pg.StartRecruit(ctx)
}

// unblock ends the sessions that hold up replay: during an election nobody may wait for their queries.
// Lowering the delays by reload does not end a conflict that is there already.
func (s *localServer) unblock(ctx context.Context) error {
	ended, err := s.pg.ReplayUnblock(ctx)
	if ended > 0 {
		s.note(pgctl.Warning, "replay.unblocked", "%d sessions that held up replay were ended", ended)
	}
	return err
}

// follow streams from the leader under the epoch's name, and serves reads; the timeline is noted before.
func (s *localServer) follow(ctx context.Context, task node.Task) error {
	err := s.noteLocal(func(l *ha.Local) {
		l.Mark, l.Pledge, l.Rewinding, l.Rewound = max(l.Mark, task.Timeline), max(l.Pledge, task.Epoch), 0, false
	})
	if err != nil {
		return err
	}
	err = s.assume(ctx, func(p *posture) {
		p.Upstream = s.upstreamOf(task)
		p.ReplayNow, p.Promoted, p.Open, p.Hurry = false, nil, true, false
	})
	if err != nil {
		return err
	}
	if seen, err := s.pg.Observe(ctx); err == nil && seen.Alone {
		if _, err := s.pg.Stop(ctx, ha.StopFailover); err != nil {
			return err
		}
		return s.pg.Start(ctx)
	}
	return nil
}

func (s *localServer) upstreamOf(task node.Task) *upstream {
	source := task.View.Source
	return &upstream{Host: source.From(), Port: source.Port, Name: s.self.Life.MemberName(task.Epoch)}
}

// promote promotes, closed, to the ordered timeline; older sessions are gone before and after.
func (s *localServer) promote(ctx context.Context, task node.Task) error {
	err := s.assume(ctx, func(p *posture) {
		p.Names, p.Upstream, p.Open, p.Promoted, p.Hurry = config.Nobody, nil, false, nil, true
	})
	if err != nil {
		return err
	}
	if err := s.emptied(ctx); err != nil {
		return err
	}
	if err := s.noteLocal(func(l *ha.Local) { l.Mark = max(l.Mark, task.Timeline) }); err != nil {
		return err
	}
	if err := s.pg.Promote(ctx, task.Timeline); err != nil {
		return err
	}
	if err := s.dismissed(ctx); err != nil {
		return err
	}
	seen, err := s.pg.Observe(ctx)
	if err != nil || seen.InRecovery || seen.End.LSN == 0 {
		return pgctl.Errorf(pgctl.CodeUnavailable, "the promoted server does not say where its log is").WithHint("it is asked again")
	}
	return s.notePosture(func(p *posture) { // the files have nothing of it
		p.Promoted = &ha.Promotion{Epoch: task.Epoch, Timeline: seen.Timeline, Record: seen.End.LSN}
	})
}
