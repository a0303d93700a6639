package facts

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/pgctl/pgctl"
)

// receiver is a client that speaks the replication protocol: what pg_receivewal and pg_recvlogical are, or
// a standby that answers just what the test wants.
type receiver struct {
	*session
	got atomic.Uint64 // the end of what was received
}

// physical streams from the server under a name, beginning at a position; more is added to the command.
func (s *server) physical(name, slot string, from pgctl.LSN) *receiver {
	s.Helper()
	command := fmt.Sprintf("START_REPLICATION PHYSICAL %s", from)
	if slot != "" {
		command = fmt.Sprintf("START_REPLICATION SLOT %s PHYSICAL %s", slot, from)
	}
	r, err := s.stream("replication=true application_name="+name, command)
	s.must(err)
	return r
}

// stream opens a connection and starts a stream in it. An error is the server's answer to either.
func (s *server) stream(more, command string) (*receiver, error) {
	c, err := s.dial(more)
	if err != nil {
		return nil, err
	}
	f := c.conn.Frontend()
	f.Send(&pgproto3.Query{String: command})
	if err := f.Flush(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	for {
		message, err := c.conn.ReceiveMessage(ctx)
		if err != nil {
			return nil, err
		}
		switch message := message.(type) {
		case *pgproto3.ErrorResponse:
			return nil, pgconn.ErrorResponseToPgError(message)
		case *pgproto3.CopyBothResponse:
			r := &receiver{session: c}
			go r.read()
			return r, nil
		}
	}
}

// read takes what is sent, until the connection ends.
func (r *receiver) read() {
	for {
		message, err := r.conn.ReceiveMessage(context.Background())
		if err != nil {
			return
		}
		data, ok := message.(*pgproto3.CopyData)
		if !ok || len(data.Data) < 25 || data.Data[0] != 'w' {
			continue // keepalives
		}
		end := binary.BigEndian.Uint64(data.Data[1:]) + uint64(len(data.Data)-25)
		if r.got.Load() < end {
			r.got.Store(end)
		}
	}
}

// has waits until everything up to a position was received.
func (r *receiver) has(lsn pgctl.LSN) {
	r.Helper()
	r.until("the stream brings "+lsn.String(), func() bool { return r.got.Load() >= uint64(lsn) })
}

// acknowledge reports a position as written, flushed and applied.
func (r *receiver) acknowledge(lsn pgctl.LSN) {
	r.Helper()
	m := []byte{'r'}
	for range 3 {
		m = binary.BigEndian.AppendUint64(m, uint64(lsn))
	}
	sinceY2K := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Microseconds()
	m = append(binary.BigEndian.AppendUint64(m, uint64(sinceY2K)), 0)
	f := r.conn.Frontend()
	f.Send(&pgproto3.CopyData{Data: m})
	r.must(f.Flush())
}

// release acknowledges what was received until a statement returns: more than once, as every receiver does,
// since an answer counts only when its sender has nothing left to send.
func (r *receiver) release(w *call) {
	r.Helper()
	r.until(w.sqlText+" returns", func() bool {
		r.acknowledge(pgctl.LSN(r.got.Load()))
		return w.over()
	})
	w.returns()
}

// hang sends a command of the replication protocol and reads nothing of what the server answers.
func (c *session) hang(command string) {
	c.Helper()
	f := c.conn.Frontend()
	f.Send(&pgproto3.Query{String: command})
	c.must(f.Flush())
}
