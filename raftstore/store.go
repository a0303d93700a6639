package raftstore

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/raft"
	"github.com/pgctl/pgctl"
)

// Store is one daemon's copy of the replicated state, and its way to change it: a server's (Open) or
// an agent's (Follow). All methods may be called at the same time.
type Store struct {
	name, address string
	log           *slog.Logger
	fsm           *fsm
	dialer        dialer
	leaders       clients
	ctx           context.Context
	cancel        context.CancelFunc
	loops         sync.WaitGroup
	closing       sync.Once
	closed        error
	failed        chan error
	dead          chan struct{} // closed when Raft was stopped by a failure

	// Of a server only.
	raft      *raft.Raft
	net       *raft.NetworkTransport
	transport *transport
	disk      *disk
	patience  [2]time.Duration // Raft's heartbeat and election timeouts as a follower
	identity  *age.X25519Identity
	lead      atomic.Uint64 // the term in which this server leads and knows everything before; 0: it does not
	changes   chan Lead
	waiting   chan *pending
	proposed  chan *proposal
	slots     chan struct{}
	committed chan uint64 // the newest entry whose commit the followers may not know of
	reads     chan *read

	// Of an agent only.
	addresses func() []string
	current   atomic.Int64 // nanoseconds of time.Since(started) at which the state was current; 0: never
	started   time.Time
}

func newStore(name string, t *tls.Config, log *slog.Logger) *Store {
	s := &Store{
		name: name, log: log, fsm: newFSM(log), failed: make(chan error, 1), dead: make(chan struct{}),
		changes: make(chan Lead, 1),
		waiting: make(chan *pending, 4096), proposed: make(chan *proposal, maxProposals),
		slots: make(chan struct{}, maxProposals), committed: make(chan uint64, 1), reads: make(chan *read, 1024), started: time.Now(),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.dialer = dialer{tls: t, log: log}
	s.leaders = clients{dialer: &s.dialer, open: map[string]*client{}}
	return s
}

func (s *Store) start(loops ...func()) {
	for _, loop := range loops {
		s.loops.Go(loop)
	}
}

// Close stops everything and waits for it. A server that closes as the leader leaves the others to
// elect a new one.
func (s *Store) Close() error {
	s.closing.Do(func() { s.closed = s.release() })
	return s.closed
}

func (s *Store) release() error {
	var errs []error
	s.cancel()
	s.loops.Wait() // before Raft stops: it does not answer all that it was asked before
	if s.raft != nil {
		errs = append(errs, s.raft.Shutdown().Error())
	}
	if s.net != nil {
		errs = append(errs, s.net.Close())
	}
	if s.transport != nil {
		s.transport.stop()
	}
	s.leaders.close()
	if s.disk != nil {
		errs = append(errs, s.disk.Close())
	}
	return errors.Join(errs...)
}

// Failed gets the error that ends the server: a disk that is full or fails. The daemon must exit on
// it; Raft is stopped already.
func (s *Store) Failed() <-chan error { return s.failed }

func (s *Store) fail(err error) {
	select {
	case s.failed <- err:
		s.log.Error("the store stops", "err", err)
		if s.disk != nil && s.disk.running.Load() {
			s.raft.Shutdown() // must not be waited for: Raft's own goroutine may be the caller
			close(s.dead)
		}
	default:
	}
}

// settle waits for what Raft was asked. When a failure stopped Raft it may never answer; then the
// goroutine stays behind, in a process that is about to end.
func (s *Store) settle(f raft.Future) error {
	settled := make(chan error, 1)
	go func() { settled <- f.Error() }()
	select {
	case err := <-settled:
		return err
	case <-s.dead:
		return raft.ErrRaftShutdown
	}
}

// cover waits for a barrier and notes that the entries up to it are applied: it is not for the FSM, and
// readers would wait for it.
func (s *Store) cover(barrier raft.Future) error {
	err := s.settle(barrier)
	if position, ok := barrier.(raft.IndexFuture); ok && err == nil {
		s.fsm.cover(position.Index())
	}
	return err
}

// State is the newest state that this daemon knows.
func (s *Store) State() *State { return s.fsm.current.Load() }

// Age is how long ago the state was known to be current: 0 on the leader, the time since the last
// contact with a leader elsewhere; very long when there was none yet.
func (s *Store) Age() time.Duration {
	if s.raft == nil {
		at := s.current.Load()
		if at == 0 {
			return time.Since(time.Time{})
		}
		return max(time.Since(s.started)-time.Duration(at), 0)
	}
	if s.IsLeader() {
		return 0
	}
	return time.Since(s.raft.LastContact())
}

// Lead says that this server leads from now on (Term > 0: Raft's term), or not any more.
type Lead struct{ Term uint64 }

// LeaderChanges tells when this server begins to lead, its state then being complete, and when it
// ceases to. Only the newest change is kept for a slow reader; a new term always means that another
// server may have led in between. It has one reader.
func (s *Store) LeaderChanges() <-chan Lead { return s.changes }

// IsLeader says whether this server leads as far as it knows. Only VerifyLeader is sure.
func (s *Store) IsLeader() bool {
	return s.lead.Load() != 0 && s.raft.State() == raft.Leader
}

// Leader is the leader's name and address as far as this daemon knows; empty when there is none. An
// agent knows none.
func (s *Store) Leader() (name, address string) {
	if s.raft == nil {
		return "", ""
	}
	a, id := s.raft.LeaderWithID()
	return string(id), string(a)
}

func (s *Store) setLead(term uint64) {
	if s.lead.Swap(term) == term {
		return
	}
	select { // replace what nobody has read yet
	case <-s.changes:
	default:
	}
	s.changes <- Lead{term}
}

// trackLeadership follows Raft. A new leader counts only once everything that was committed before
// is in its state.
func (s *Store) trackLeadership() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case leads := <-s.raft.LeaderCh():
			s.setLead(0)
			s.pace(leads)
			if !leads {
				continue
			}
			term, barrier := s.raft.CurrentTerm(), s.raft.Barrier(0)
			if s.cover(barrier) != nil {
				continue
			}
			if s.raft.State() == raft.Leader && s.raft.CurrentTerm() == term {
				s.setLead(term)
			}
		}
	}
}

// pace makes a leader send heartbeats half as often as Raft would: it derives how often from its own
// patience as a follower, of which it needs none while it leads. Idle servers cost what they are woken up
// for. Two heartbeats or more still fit into the patience of the others.
func (s *Store) pace(leads bool) {
	config := s.raft.ReloadableConfig()
	config.HeartbeatTimeout, config.ElectionTimeout = s.patience[0], s.patience[1]
	if leads {
		config.HeartbeatTimeout, config.ElectionTimeout = 2*s.patience[0], max(2*s.patience[0], s.patience[1])
	}
	if err := s.raft.ReloadConfig(config); err != nil {
		s.log.Warn("Raft does not take another pace", "err", err)
	}
}

// ServerInfo is a member of the Raft group.
type ServerInfo struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
	Leader  bool   `json:"leader"`
}

// Servers are the members of the Raft group as this server knows them; an agent asks one.
func (s *Store) Servers() ([]ServerInfo, error) {
	if s.raft == nil {
		return s.askServers()
	}
	future := s.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeUnavailable, "the servers are not known: %v", err)
	}
	leader, _ := s.Leader()
	var all []ServerInfo
	for _, m := range future.Configuration().Servers {
		all = append(all, ServerInfo{
			Name: string(m.ID), Address: string(m.Address), Voter: m.Suffrage == raft.Voter, Leader: string(m.ID) == leader,
		})
	}
	return all, nil
}
