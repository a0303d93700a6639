package raftstore

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/pgctl/pgctl"
)

// serveForward answers the requests of another daemon.
func (s *Store) serveForward(conn net.Conn) {
	f, done := newFramer(conn), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { f.run(done) })
	defer wg.Wait()
	defer close(done)
	for r := bufio.NewReaderSize(conn, 64<<10); ; {
		id, op, payload, err := readFrame(r)
		if err != nil {
			return
		}
		s.answer(f, id, op, payload)
	}
}

func (s *Store) answer(f *framer, id uint64, op byte, payload []byte) {
	if op == opServers {
		all, err := s.Servers()
		if data, jsonErr := json.Marshal(all); err == nil && jsonErr == nil {
			f.put(id, opOK, data)
		} else {
			f.put(id, opNotLeader, nil)
		}
		return
	}
	done := func(index uint64, err error) { s.respond(f, id, index, err) }
	if err := s.request(s.ctx, op, payload, done); err != nil {
		done(0, err)
	}
}

func (s *Store) respond(f *framer, id, index uint64, err error) {
	switch {
	case err == nil:
		f.put(id, opOK, binary.AppendUvarint(nil, index))
	case errors.Is(err, errNotLeader):
		_, leader := s.Leader()
		if leader == s.address {
			leader = ""
		}
		f.put(id, opNotLeader, []byte(leader))
	default:
		e := pgctl.Errorf(pgctl.CodeOf(err), "%v", err)
		if own, ok := errors.AsType[*pgctl.Error](err); ok {
			e = own
		}
		data, _ := json.Marshal(refusal{index, e, errors.Is(err, ErrOutcomeUnknown)}) // strings and numbers only
		f.put(id, opRefused, data)
	}
}

// request begins what only the leader can do, if this server is it.
func (s *Store) request(ctx context.Context, op byte, payload []byte, done func(uint64, error)) error {
	if s.raft.State() != raft.Leader {
		return errNotLeader
	}
	switch op {
	case opApply:
		if len(payload) > maxUnit {
			return pgctl.Errorf(pgctl.CodeInvalid, "the change has %d bytes; %d are possible", len(payload), maxUnit)
		}
		select {
		case s.waiting <- &pending{payload, done}:
		case <-ctx.Done():
			return errNotLeader
		}
	case opRead:
		select {
		case s.reads <- &read{done}:
		case <-ctx.Done():
			return errNotLeader
		}
	default:
		return pgctl.Errorf(pgctl.CodeInvalid, "operation %q is unknown here", op).
			WithHint("all daemons need the same version of pgctl")
	}
	return nil
}

// ask asks the leader, another daemon or ("") this one, for something that is answered by an index.
func (s *Store) ask(ctx context.Context, leader string, op byte, payload []byte) (uint64, error) {
	type result struct {
		index uint64
		err   error
	}
	results := make(chan result, 1)
	var err error
	if leader == "" {
		err = s.request(ctx, op, payload, func(index uint64, err error) { results <- result{index, err} })
	} else {
		err = s.leaders.send(ctx, leader, op, payload, func(answer []byte, err error) {
			index, n := binary.Uvarint(answer)
			if err == nil && n <= 0 {
				err = outcomeUnknown("the leader's answer is damaged")
			}
			results <- result{index, err}
		})
	}
	if err != nil {
		return 0, err
	}
	select {
	case r := <-results:
		return r.index, r.err
	case <-ctx.Done():
		return 0, outcomeUnknown("no answer from the leader in time")
	case <-s.ctx.Done():
		return 0, outcomeUnknown("the store was closed meanwhile")
	}
}

// askServers asks any server who the servers are.
func (s *Store) askServers() ([]ServerInfo, error) {
	ctx, cancel := context.WithTimeout(s.ctx, writeTimeout)
	defer cancel()
	for _, address := range s.leaders.preferred(s.addresses()) {
		answers := make(chan []byte, 1)
		err := s.leaders.send(ctx, address, opServers, nil, func(answer []byte, _ error) { answers <- answer })
		if err != nil {
			continue
		}
		select {
		case answer := <-answers:
			var all []ServerInfo
			if json.Unmarshal(answer, &all) == nil {
				return all, nil
			}
		case <-ctx.Done():
		}
	}
	return nil, pgctl.Errorf(pgctl.CodeUnavailable, "no server answers")
}

// read is somebody who waits for the index of a linearizable read.
type read struct{ done func(index uint64, err error) }

// confirmReads makes one quorum round for all reads that wait when it begins.
func (s *Store) confirmReads() {
	for {
		var batch []*read
		select {
		case r := <-s.reads:
			batch = append(batch, r)
		case <-s.ctx.Done():
			return
		}
		for more := true; more; {
			select {
			case r := <-s.reads:
				batch = append(batch, r)
			default:
				more = false
			}
		}
		index, err := s.confirm()
		for _, r := range batch {
			r.done(index, err)
		}
	}
}

// confirm returns the index of a state that contains everything committed before the call, or
// errNotLeader. The commit index is that only in a term whose first entry is committed (lead), and
// only if nobody else led when it was read, which the quorum round shows.
func (s *Store) confirm() (uint64, error) {
	term := s.lead.Load()
	if term == 0 || s.raft.CurrentTerm() != term {
		return 0, errNotLeader
	}
	committed := s.raft.CommitIndex()
	if s.settle(s.raft.VerifyLeader()) != nil || s.raft.CurrentTerm() != term {
		return 0, errNotLeader
	}
	for {
		state := s.State()
		if s.fsm.applied() >= committed {
			return s.State().index, nil
		}
		select {
		case <-state.next:
		case <-time.After(retryPause): // a configuration moves applied, too
		case <-s.ctx.Done():
			return 0, errNotLeader
		}
	}
}

// VerifyLeader asks a majority of the servers whether this one still leads.
func (s *Store) VerifyLeader(ctx context.Context) error {
	if s.raft != nil {
		if _, err := s.ask(ctx, "", opRead, nil); err == nil {
			return nil
		}
	}
	return pgctl.Errorf(pgctl.CodeUnavailable, "this daemon is not the leader of the servers")
}

// Linearize returns when State contains everything that was committed anywhere before the call.
// Without a deadline of its own it gives up after 15 s.
func (s *Store) Linearize(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	var index uint64
	err := s.withLeader(ctx, func(leader string) (err error) {
		if index, err = s.ask(ctx, leader, opRead, nil); errors.Is(err, ErrOutcomeUnknown) {
			return errNotLeader // asking again does no harm
		}
		return err
	})
	if err != nil || index == 0 {
		return err
	}
	if _, err := s.Wait(ctx, index-1, Everything); err != nil {
		return pgctl.Errorf(pgctl.CodeUnavailable, "this daemon did not receive the newest state in time: %v", err)
	}
	return nil
}
