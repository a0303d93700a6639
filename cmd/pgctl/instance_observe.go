package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/postgres/control"
)

const (
	oldestEvery   = 2 * time.Second // a primary looks from where on it has its log
	progressEvery = time.Second     // processes are looked at; whoever makes none for ten seconds has failed
)

// Observe is one cheap look at the instance.
func (s *localServer) Observe(ctx context.Context) node.Observed {
	o := node.Observed{Server: ha.Server{Directory: ha.NoDirectory, State: ha.Absent}}
	if !s.checkDirectory(&o) {
		return o
	}
	seen, err := s.pg.Observe(ctx)
	if err != nil {
		o.Detail = err.Error()
	}
	s.observeGuard(&o)
	s.mu.Lock()
	defer s.mu.Unlock()
	o.Local, o.Version, o.Pending, o.InPlace, o.Slots = s.local, s.pg.Version.Version, s.pending, s.inPlace, seen.Slots
	o.Applied = s.applied
	o.Open, o.Promoted, o.Stopped = s.posture.Open, s.posture.Promoted, s.stopped
	if s.stopped != nil {
		o.Handed = s.stopped.Epoch
	}
	if up := s.posture.Upstream; up != nil {
		o.Upstream, o.Address = up.Name, up.Host
	}
	_, err = os.Stat(filepath.Join(s.pg.PGData(), "standby.signal"))
	o.Signal = err == nil
	o.State, o.Detail = stateOf(seen.State), firstText(o.Detail, seen.Why)
	s.noteDown(&o)
	if o.State == ha.Down {
		if err := s.pg.Behind(); pgctl.CodeOf(err) == pgctl.CodeRefused {
			o.Trouble = err.Error()
		}
	}
	if o.State == ha.Running {
		s.begun.Store(false)
	}
	switch {
	case o.State != ha.Running:
		s.atEnd = 0
		s.readControl(ctx, &o)
		o.Timeline = s.settled.Timeline
		if now := s.around.clock(); s.movedAt == 0 || now-s.movedAt >= progressEvery {
			s.moved, s.movedAt = s.pg.Processes.Progress(s.pg.PGData()), now
		}
		o.Progress = s.copied + s.moved
		o.Open = o.Open && o.State != ha.Down
		return o
	case seen.InRecovery:
		s.observeStandby(&o, seen)
	default:
		s.observePrimary(ctx, &o, seen)
	}
	return o
}

// checkDirectory says whether there is a data directory of this life that can be used.
func (s *localServer) checkDirectory(o *node.Observed) bool {
	s.mu.Lock()
	systemID, ready, copied := s.local.SystemID, s.ready, s.copied
	o.Local = s.local
	s.mu.Unlock()
	o.Progress = copied
	if _, err := os.Stat(s.pg.PGData()); err == nil && ready {
		o.Directory = ha.ReadyDirectory
		return true
	}
	exists, err := s.pg.Exists(systemID)
	switch {
	case err != nil && pgctl.CodeOf(err) != pgctl.CodeRefused: // no file could be opened, say: it is looked at again
		o.Directory, o.State, o.Detail = ha.ReadyDirectory, ha.Starting, err.Error()
	case err != nil:
		o.Trouble, o.Directory = err.Error(), ha.ReadyDirectory
	case exists:
		o.Directory = ha.ReadyDirectory
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = exists && err == nil
	return s.ready
}

func stateOf(s control.State) ha.State {
	switch s {
	case control.Running:
		return ha.Running
	case control.Down:
		return ha.Down
	case control.Absent:
		return ha.Absent
	}
	return ha.Starting
}

// noteDown tells a server that went by itself from one that was stopped.
func (s *localServer) noteDown(o *node.Observed) {
	now := s.around.clock()
	if o.State != ha.Down {
		s.downSince = 0
		return
	}
	if s.downSince == 0 {
		s.downSince = now
	}
	o.Crashed, o.DownFor = s.posture.Started, now-s.downSince
}

// readControl reads pg_control while the server is down, and while a new leader's checkpoint does not
// show its timeline yet.
func (s *localServer) readControl(ctx context.Context, o *node.Observed) {
	data, err := s.pg.ControlData(ctx)
	if err == nil {
		s.settled = data
	} else if o.Detail == "" {
		o.Detail = err.Error()
	}
}

func (s *localServer) observeStandby(o *node.Observed, seen control.Observation) {
	o.Timeline, o.Replayed, o.End = seen.Timeline, seen.Replay, seen.End
	o.History, _ = s.pg.History(seen.Timeline) // none for a first timeline
	o.Parent = o.History.Parent()
	if seen.Receiver != nil {
		o.Receiver, s.leaderEnd = seen.Receiver.Name, seen.Receiver.LatestEnd
	}
	switch {
	case s.posture.Upstream == nil:
		o.Upstream = seen.Upstream // still in force: what was written last did not reach the server
	case seen.Alone:
		o.Upstream = "none before a restart"
	}
	o.LeaderEnd = s.leaderEnd
	delayed := s.cluster.Spec.Tags[s.self.Name].Delay > 0 && seen.Streamed // what it received is known, replayed or not
	if (seen.AtEnd || delayed) && seen.Receiver == nil {
		s.atEnd++
	} else {
		s.atEnd = 0
	}
	o.AtEnd = s.atEnd > 1
	switch {
	case seen.Streamed:
		o.Position = seen.End
	case o.AtEnd:
		o.Position = pgctl.Position{Timeline: seen.Timeline, LSN: seen.Replay}
	}
	o.Progress = uint64(seen.Replay) + uint64(seen.Receive)
	switch {
	case o.Receiver != "":
		o.Detail = firstText(o.Detail, "streams from "+seen.Receiver.Host)
	case !o.AtEnd:
		o.Detail = firstText(o.Detail, "replays its log")
	}
}

func (s *localServer) observePrimary(ctx context.Context, o *node.Observed, seen control.Observation) {
	o.Primary, o.Timeline, o.End, o.Replayed = true, seen.Timeline, seen.End, seen.End.LSN
	o.Position, o.Waiting = seen.End, seen.OldestWait
	o.History, _ = s.pg.History(seen.Timeline) // none for a first timeline
	o.Parent = o.History.Parent()
	o.Progress = uint64(seen.End.LSN)
	if s.settled.Timeline != seen.Timeline {
		s.readControl(ctx, o)
	}
	o.Checkpoint = s.settled.Timeline
	if now := s.around.clock(); s.oldest == 0 || now-s.oldestAt > oldestEvery {
		s.oldest, s.oldestAt = s.pg.OldestLog(), now
	}
	o.Oldest = s.oldest
	if s.confirmed != nil && s.pid == seen.PID {
		o.Confirmed = s.confirmed
	}
	for _, sender := range seen.Senders {
		if life, epoch, ok := sender.Member(); ok {
			o.Senders = append(o.Senders, ha.Sender{
				Life: life, Epoch: epoch, Streaming: sender.State == "streaming", Flushed: sender.Flush,
			})
		}
	}
	slices.SortFunc(o.Senders, func(a, b ha.Sender) int {
		if a.Life < b.Life {
			return -1
		}
		return 1
	})
}

// AwaitEnd waits for the end of the postmaster.
func (s *localServer) AwaitEnd(ctx context.Context) bool { return s.pg.AwaitEnd(ctx) }

// Prove looks for signs of life on a path of its own. An answer of any kind is life.
func (s *localServer) Prove(ctx context.Context) error {
	h := s.pg.HealthProbe(ctx)
	switch {
	case h.Full:
		return fmt.Errorf("%w: %v", node.ErrDiskFull, h.Errors)
	case (h.Session || h.Replication) && h.Disk:
		return nil
	case h.Frozen:
		return fmt.Errorf("%w: %v", node.ErrFrozen, h.Errors)
	}
	return pgctl.Errorf(pgctl.CodeUnavailable, "no sign of life: %v", h.Errors)
}

// ProbeLeader looks at the leader as its member does: whether it answers, is open, and whether a
// record written there arrives here.
func (s *localServer) ProbeLeader(ctx context.Context, host string, port int) ha.Probe {
	found := s.pg.ProbeLeader(ctx, s.pg.Upstream(host, port, "pgctl-probe"))
	p := ha.Probe{Answered: found.Answered, Refused: found.Refused, Closed: found.Closed}
	for found.Written > 0 && found.Open && ctx.Err() == nil && !p.Progress {
		seen, err := s.pg.Observe(ctx)
		if err != nil {
			break
		}
		p.Progress = seen.Receive >= found.Written
		if !p.Progress {
			time.Sleep(20 * time.Millisecond)
		}
	}
	return p
}

// firstText is the first of the texts that says something.
func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
