package raftstore

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
	"github.com/pgctl/pgctl"
)

const (
	maxProposals  = 3         // entries in flight; more only makes them smaller
	maxBatch      = 1024      // units of one entry
	maxEntry      = 256 << 10 // bytes of one entry, unless a single unit is larger
	applyTimeout  = 15 * time.Second
	retryPause    = 20 * time.Millisecond
	announceAfter = 20 * time.Millisecond // that nothing else was committed
)

// Result says where a change stands in the log.
type Result struct {
	// Index is that of the first state that contains the change. Expectations take the revision from
	// a state, not from here: a later change of the same row may stand in the same entry.
	Index uint64
}

// ErrOutcomeUnknown is in the chain of errors of changes that may have been made or not: the leader
// was lost in their middle. Read the state, or repeat the change with an expectation.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// errNotLeader means that nothing was done: another server leads.
var errNotLeader = errors.New("not the leader")

type unknownOutcome struct{ error *pgctl.Error }

// Error is the message of the pgctl.Error.
func (e unknownOutcome) Error() string { return e.error.Error() }

// Unwrap lets both the code and ErrOutcomeUnknown be found.
func (e unknownOutcome) Unwrap() []error { return []error{ErrOutcomeUnknown, e.error} }

func outcomeUnknown(why any) error {
	return unknownOutcome{pgctl.Errorf(pgctl.CodeUnavailable, "outcome unknown: %v", why).
		WithHint("look whether the change was made before repeating it")}
}

// pending is a unit that waits for its result. done is called once, must not block, and gets
// errNotLeader when the unit was certainly not proposed.
type pending struct {
	unit []byte
	done func(index uint64, err error)
}

// proposal is an entry in flight.
type proposal struct {
	batch  []*pending
	future raft.ApplyFuture
}

// Apply makes all of the commands or none, in order, on whatever daemon it is called, and returns
// when that is durable on a majority of the servers. Errors are *pgctl.Error; ErrOutcomeUnknown is
// in the chain of those after which the change may or may not have been made. Without a deadline of
// its own it gives up after 15 s. On a follower or agent State may show the change a little later:
// Wait(ctx, result.Index-1, Everything) waits for it.
func (s *Store) Apply(ctx context.Context, cmds ...Command) (Result, error) {
	unit, err := encodeUnit(time.Now(), cmds)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	var index uint64
	err = s.withLeader(ctx, func(leader string) error {
		index, err = s.ask(ctx, leader, opApply, unit)
		return err
	})
	return Result{index}, err
}

// withLeader tries until somebody says to be the leader. try gets "" for this server itself.
func (s *Store) withLeader(ctx context.Context, try func(leader string) error) error {
	hint := ""
	for {
		for _, leader := range s.candidates(hint) {
			err := try(leader)
			redirect, moved := errors.AsType[*notLeader](err)
			if !moved && !errors.Is(err, errNotLeader) {
				return err
			}
			if hint = ""; moved {
				hint = redirect.leader
			}
			if hint != "" && hint != leader {
				break
			}
		}
		pause := retryPause
		if hint != "" {
			pause = time.Millisecond
		}
		select {
		case <-ctx.Done():
			return pgctl.Errorf(pgctl.CodeUnavailable, "no leader among the servers").
				WithHint("a majority of the servers must run and reach each other; nothing was changed")
		case <-s.ctx.Done():
			return pgctl.Errorf(pgctl.CodeUnavailable, "the store is closed")
		case <-time.After(pause):
		}
	}
}

// candidates are the addresses where the leader may be; "" is this server.
func (s *Store) candidates(hint string) []string {
	switch {
	case hint != "" && hint != s.address:
		return []string{hint}
	case s.raft == nil:
		return s.leaders.preferred(s.addresses())
	case s.raft.State() == raft.Leader:
		return []string{""}
	}
	if _, leader := s.Leader(); leader != "" && leader != s.address {
		return []string{leader}
	}
	return nil
}

// pack puts all units that wait into one entry, as soon as one of the few slots is free: under load
// entries grow instead of queues.
func (s *Store) pack() {
	defer close(s.proposed)
	var next *pending
	for {
		if next == nil {
			select {
			case next = <-s.waiting:
			case <-s.ctx.Done():
				return
			}
		}
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			next.done(0, errNotLeader)
			return
		}
		var batch []*pending
		batch, next = s.gather(next)
		s.proposed <- &proposal{batch, s.raft.Apply(encodeEntry(batch), 0)}
	}
}

// gather takes what waits, within the bounds of an entry; one that does not fit is next.
func (s *Store) gather(first *pending) (batch []*pending, next *pending) {
	batch = []*pending{first}
	size := len(first.unit)
	for len(batch) < maxBatch {
		select {
		case p := <-s.waiting:
			if size += len(p.unit); size > maxEntry {
				return batch, p
			}
			batch = append(batch, p)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

// announce tells the followers that an entry is committed when no other one follows soon. Raft would tell
// them with the next entry, or after up to twice its commit timeout; that is long, since idle servers cost
// what they are woken up for. An entry that does nothing tells them.
func (s *Store) announce() {
	for {
		var index uint64
		select {
		case <-s.ctx.Done():
			return
		case index = <-s.committed:
		}
		for quiet := false; !quiet; {
			select {
			case <-s.ctx.Done():
				return
			case index = <-s.committed:
			case <-time.After(announceAfter):
				quiet = true
			}
		}
		if s.raft.State() == raft.Leader && s.raft.LastIndex() == index {
			_ = s.cover(s.raft.Barrier(0)) // its outcome says nothing new
		}
	}
}

// hurries says whether the other servers should know at once that the entry is committed: in a failover
// every step waits for the one before.
func hurries(batch []*pending) bool {
	for _, p := range batch {
		r := wireReader{data: p.unit}
		_, _, _ = r.byte(), r.varint(), r.uvarint()
		switch string(r.bytes()) {
		case "setting.put", "events.record", "host.put":
		default:
			return true
		}
	}
	return false
}

// await hands out the results of entries in flight.
func (s *Store) await() {
	for p := range s.proposed {
		err := s.settle(p.future)
		<-s.slots
		if err == nil && len(s.waiting) == 0 && len(s.proposed) == 0 {
			if hurries(p.batch) {
				s.loops.Go(func() { _ = s.cover(s.raft.Barrier(0)) }) // its outcome says nothing new
			} else {
				select { // replace what announce has not taken yet
				case <-s.committed:
				default:
				}
				s.committed <- p.future.Index()
			}
		}
		switch {
		case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
			err = errNotLeader
		case err != nil:
			err = outcomeUnknown(err)
		}
		if err != nil {
			for _, unit := range p.batch {
				unit.done(0, err)
			}
			continue
		}
		results, _ := p.future.Response().([]error)
		for i, unit := range p.batch {
			switch {
			case i >= len(results):
				unit.done(0, outcomeUnknown("the entry has no result"))
			case results[i] != nil:
				unit.done(p.future.Index(), known(results[i]))
			default:
				unit.done(p.future.Index(), nil)
			}
		}
	}
	for { // what was not proposed
		select {
		case p := <-s.waiting:
			p.done(0, errNotLeader)
		default:
			return
		}
	}
}
