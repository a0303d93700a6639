package raftstore

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
)

// Requests and answers of the forward protocol: length, id, operation, payload. Many are under way
// on one connection, in any order.
const (
	opApply   = 'a' // a unit; answer: index
	opRead    = 'r' // nothing; answer: the index that a linearizable read must wait for
	opServers = 's' // nothing; answer: JSON

	opOK        = '+'
	opRefused   = '-' // JSON of a refusal
	opNotLeader = '>' // the leader's address, if known

	maxFrame     = 8 << 20  // bytes
	maxUnsent    = 32 << 20 // bytes
	writeTimeout = 5 * time.Second
)

type refusal struct {
	Index   uint64       `json:"index,omitempty"`
	Error   *pgctl.Error `json:"error"`
	Unknown bool         `json:"unknown,omitempty"`
}

// notLeader is the answer of a server that does not lead.
type notLeader struct{ leader string }

func (*notLeader) Error() string { return errNotLeader.Error() }

// framer writes frames without blocking who has one: a goroutine sends what came together.
type framer struct {
	conn   net.Conn
	mu     sync.Mutex
	buffer []byte
	ready  chan struct{}
}

func newFramer(conn net.Conn) *framer { return &framer{conn: conn, ready: make(chan struct{}, 1)} }

// put appends a frame; false when too much is unsent.
func (f *framer) put(id uint64, op byte, payload []byte) bool {
	f.mu.Lock()
	if len(f.buffer)+len(payload) > maxUnsent {
		f.mu.Unlock()
		return false
	}
	f.buffer = binary.BigEndian.AppendUint32(f.buffer, uint32(9+len(payload)))
	f.buffer = binary.BigEndian.AppendUint64(f.buffer, id)
	f.buffer = append(append(f.buffer, op), payload...)
	f.mu.Unlock()
	select {
	case f.ready <- struct{}{}:
	default:
	}
	return true
}

// run sends until the connection fails or done is closed.
func (f *framer) run(done <-chan struct{}) {
	var spare []byte
	for {
		select {
		case <-done:
			return
		case <-f.ready:
		}
		f.mu.Lock()
		out := f.buffer
		f.buffer = spare[:0]
		f.mu.Unlock()
		_ = f.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := f.conn.Write(out); err != nil {
			_ = f.conn.Close()
			return
		}
		if spare = out; cap(spare) > 1<<20 {
			spare = nil
		}
	}
}

func readFrame(r *bufio.Reader) (id uint64, op byte, payload []byte, err error) {
	var head [13]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 9 || size > maxFrame {
		return 0, 0, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	payload = make([]byte, size-9)
	_, err = io.ReadFull(r, payload)
	return binary.BigEndian.Uint64(head[4:]), head[12], payload, err
}

// answerFunc gets the answer of a request, once. It must not block.
type answerFunc func(payload []byte, err error)

// client is a connection to a server.
type client struct {
	ready  chan struct{} // closed when it is open, or err says why not
	err    error
	framer *framer
	mu     sync.Mutex
	calls  map[uint64]answerFunc // nil when the connection is gone
	lastID uint64
}

// clients are the connections to servers, at most one to each.
type clients struct {
	dialer *dialer
	mu     sync.Mutex
	open   map[string]*client
	last   string // where the last answer came from
	closed bool
	wg     sync.WaitGroup
}

// send sends a request. An error means that it was certainly not sent.
func (c *clients) send(ctx context.Context, address string, op byte, payload []byte, answer answerFunc) error {
	conn := c.get(ctx, address)
	select {
	case <-conn.ready:
	case <-ctx.Done():
		return errNotLeader
	}
	if conn.err != nil {
		return errNotLeader
	}
	conn.mu.Lock()
	if conn.calls == nil {
		conn.mu.Unlock()
		return errNotLeader
	}
	conn.lastID++
	id := conn.lastID
	conn.calls[id] = answer
	conn.mu.Unlock()
	if !conn.framer.put(id, op, payload) && conn.take(id) != nil {
		return errNotLeader
	}
	return nil
}

// get finds the connection to an address or begins one.
func (c *clients) get(ctx context.Context, address string) *client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn, ok := c.open[address]; ok {
		return conn
	}
	conn := &client{ready: make(chan struct{}), calls: map[uint64]answerFunc{}}
	if c.closed {
		conn.err = errNotLeader
		close(conn.ready)
		return conn
	}
	c.open[address] = conn
	c.wg.Go(func() { c.run(context.WithoutCancel(ctx), conn, address) })
	return conn
}

func (c *clients) run(ctx context.Context, conn *client, address string) {
	socket, err := c.dialer.dial(ctx, address, forwardProtocol)
	c.mu.Lock()
	if err == nil && c.closed {
		err = errNotLeader
		_ = socket.Close()
	}
	if err != nil {
		delete(c.open, address)
		conn.err = err
	} else {
		conn.framer = newFramer(socket)
	}
	close(conn.ready)
	c.mu.Unlock()
	if err != nil {
		return
	}
	done := make(chan struct{})
	c.wg.Go(func() { conn.framer.run(done) })
	err = conn.read(func() { c.note(address) })
	_ = socket.Close()
	close(done)
	c.mu.Lock()
	delete(c.open, address)
	c.mu.Unlock()
	conn.mu.Lock()
	calls := conn.calls
	conn.calls = nil
	conn.mu.Unlock()
	for _, answer := range calls {
		answer(nil, outcomeUnknown(fmt.Sprintf("the connection to %s was lost: %v", address, err)))
	}
}

// note remembers who answers as the leader.
func (c *clients) note(address string) {
	c.mu.Lock()
	c.last = address
	c.mu.Unlock()
}

// preferred puts the address that answered last in front.
func (c *clients) preferred(all []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == "" {
		return all
	}
	return append([]string{c.last}, slices.DeleteFunc(slices.Clone(all), func(a string) bool { return a == c.last })...)
}

func (c *clients) close() {
	c.mu.Lock()
	c.closed = true
	for _, conn := range c.open {
		if conn.framer != nil {
			_ = conn.framer.conn.Close()
		}
	}
	c.mu.Unlock()
	c.wg.Wait()
}

func (c *client) take(id uint64) answerFunc {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := c.calls[id]
	delete(c.calls, id)
	return answer
}

// read hands out answers until the connection ends.
func (c *client) read(leads func()) error {
	r, first := bufio.NewReaderSize(c.framer.conn, 64<<10), true
	for {
		id, op, payload, err := readFrame(r)
		if err != nil {
			return err
		}
		answer := c.take(id)
		if answer == nil {
			continue
		}
		switch op {
		case opNotLeader:
			answer(nil, &notLeader{string(payload)})
		case opRefused:
			answer(nil, decodeRefusal(payload))
		default:
			if first {
				leads()
				first = false
			}
			answer(payload, nil)
		}
	}
}

func decodeRefusal(payload []byte) error {
	var r refusal
	if err := json.Unmarshal(payload, &r); err != nil || r.Error == nil {
		return outcomeUnknown("the leader's answer is damaged")
	}
	if r.Unknown {
		return unknownOutcome{r.Error}
	}
	return r.Error
}
