package raftstore

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/pgctl/pgctl"
)

// FollowConfig is what an agent needs.
type FollowConfig struct {
	Name      string                             // the host's name
	Addresses func() []string                    // host:port of the servers' transports, as known now
	TLS       *tls.Config                        // as of a server
	Log       *slog.Logger                       // nil: nothing is logged
	Explain   func(peer string, err error) error // as of a server
}

const silenceLimit = 3 * time.Second // of a server's stream

// Follow starts an agent: a copy of the state without secrets, kept in memory and fed by any server,
// that stays readable while no server can be reached (see Age). It returns at once; State has index
// 0 until the first server answers.
func Follow(c FollowConfig) (*Store, error) {
	if err := checkName("name", c.Name, maxHostName); err != nil {
		return nil, err
	}
	if c.Addresses == nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "an agent needs the addresses of servers").At("addresses")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := newStore(c.Name, c.TLS, c.Log)
	s.addresses, s.dialer.quiet.explain = c.Addresses, c.Explain
	s.start(s.followServers)
	return s, nil
}

// followServers follows one server after the other, in no order, so that agents spread.
func (s *Store) followServers() {
	for s.ctx.Err() == nil {
		all := s.addresses()
		for _, i := range rand.Perm(len(all)) {
			if s.ctx.Err() != nil {
				return
			}
			if err := s.followServer(all[i]); err != nil && s.ctx.Err() == nil {
				s.log.Debug("following a server ended", "peer", all[i], "err", err)
			}
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(200*time.Millisecond + rand.N(300*time.Millisecond)):
		}
	}
}

func (s *Store) followServer(address string) error {
	conn, err := s.dialer.dial(s.ctx, address, streamProtocol)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(s.ctx, func() { _ = conn.Close() })()
	w := &streamWriter{conn, bufio.NewWriter(conn)}
	_ = w.frame(frameHave, binary.AppendUvarint(nil, s.State().index)) // Flush has its error
	if err := w.out.Flush(); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(silenceLimit))
		kind, payload, err := readStreamFrame(r)
		if err != nil {
			return err
		}
		received := time.Since(s.started)
		switch kind {
		case frameSnapshot:
			err = s.loadStream(&snapshotReader{conn: conn, frames: r, part: payload})
		case frameChange:
			err = s.fsm.follow(payload)
		case frameCurrent:
			err = s.noteCurrent(received, payload)
		default:
			err = fmt.Errorf("a frame %q, which is unknown here", kind)
		}
		if err != nil {
			s.log.Warn("what a server sent cannot be used", "peer", address, "err", err)
			return err
		}
	}
}

func (s *Store) noteCurrent(received time.Duration, payload []byte) error {
	age, n := binary.Uvarint(payload)
	if n <= 0 {
		return errors.New("an age that cannot be read")
	}
	if at := received - time.Duration(age); time.Duration(age) >= 0 && at > 0 {
		s.current.Store(max(int64(at), s.current.Load()))
	}
	return nil
}

// loadStream reads a snapshot to its end and puts it in place of what was there.
func (s *Store) loadStream(r *snapshotReader) error {
	db, d, index, err := loadSnapshot(r)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the end
		return err
	}
	s.fsm.replace(db, d, index)
	return nil
}

// snapshotReader reads the frames of a snapshot as one.
type snapshotReader struct {
	conn   interface{ SetReadDeadline(time.Time) error }
	frames *bufio.Reader
	part   []byte
	ended  bool
}

// Read reads on; io.EOF is the end of the snapshot.
func (r *snapshotReader) Read(p []byte) (int, error) {
	for len(r.part) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		_ = r.conn.SetReadDeadline(time.Now().Add(silenceLimit))
		kind, payload, err := readStreamFrame(r.frames)
		switch {
		case err != nil:
			return 0, err
		case kind == frameEnd:
			r.ended = true
		case kind == frameSnapshot:
			r.part = payload
		default:
			return 0, fmt.Errorf("a frame %q within a snapshot", kind)
		}
	}
	n := copy(p, r.part)
	r.part = r.part[n:]
	return n, nil
}
