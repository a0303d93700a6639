package raftstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"
)

// One port carries three protocols. Each connection begins with a version and the protocol, which
// the other side confirms by its version: with TLS 1.3 only that shows the caller that it was let in.
const (
	raftProtocol    = 'R'
	forwardProtocol = 'F'
	streamProtocol  = 'S'

	greetingTimeout = 5 * time.Second
	dialTimeout     = 2 * time.Second
	userTimeout     = 3 * time.Second // after which an unacknowledged connection is dead
	quietTime       = time.Minute     // between two words about one trouble with one host
)

// dialer opens connections to other daemons.
type dialer struct {
	tls   *tls.Config
	log   *slog.Logger
	open  func(ctx context.Context, network, address string) (net.Conn, error) // nil: plain TCP
	quiet quiet
}

func (d *dialer) dial(ctx context.Context, address string, protocol byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := d.connect(ctx, address)
	if err != nil {
		if ctx.Err() == nil {
			d.quiet.warn(d.log, "a server cannot be reached", address, err)
		}
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	_, err = conn.Write([]byte{wireVersion, protocol})
	answer := make([]byte, 1)
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err == nil && answer[0] != wireVersion {
		err = fmt.Errorf("it speaks version %d of the protocol, this daemon %d", answer[0], wireVersion)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		d.quiet.warn(d.log, "a server did not let this daemon in", address, err)
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	return conn, nil
}

func (d *dialer) connect(ctx context.Context, address string) (net.Conn, error) {
	open := d.open
	if open == nil {
		open = (&net.Dialer{}).DialContext
	}
	conn, err := open(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	limitSilence(conn)
	if d.tls == nil {
		return conn, nil
	}
	config := d.tls.Clone()
	config.MinVersion = tls.VersionTLS13
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// limitSilence lets the kernel notice a peer that is gone without a word.
func limitSilence(conn net.Conn) {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3})
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		})
	}
}

// transport is the listener of a server. It is Raft's stream layer, and hands connections of the
// other protocols to their handlers.
type transport struct {
	net.Listener // closed by stop
	advertise    string
	dialer       *dialer
	tls          *tls.Config
	handlers     map[byte]func(net.Conn)
	raft         chan net.Conn
	ctx          context.Context
	cancel       context.CancelFunc

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

func newTransport(l net.Listener, advertise string, d *dialer, handlers map[byte]func(net.Conn)) *transport {
	t := &transport{
		Listener: l, advertise: advertise, dialer: d, handlers: handlers, raft: make(chan net.Conn),
		conns: map[net.Conn]struct{}{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if d.tls != nil {
		t.tls = d.tls.Clone()
		t.tls.MinVersion, t.tls.ClientAuth = tls.VersionTLS13, tls.RequireAndVerifyClientCert
	}
	return t
}

// address is what Raft is told of our own address.
type address string

// Network is TCP.
func (address) Network() string { return "tcp" }

// String is host:port.
func (a address) String() string { return string(a) }

// Addr is where others reach this server.
func (t *transport) Addr() net.Addr { return address(t.advertise) }

// Dial connects to another server's Raft.
func (t *transport) Dial(a raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	return t.dialer.dial(ctx, string(a), raftProtocol)
}

// Accept waits for a connection of another server's Raft.
func (t *transport) Accept() (net.Conn, error) {
	select {
	case conn := <-t.raft:
		return conn, nil
	case <-t.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close is called by Raft's transport, which does not own the others' connections: stop closes.
func (t *transport) Close() error { return nil }

// stop closes everything and waits for the handlers.
func (t *transport) stop() {
	t.cancel()
	_ = t.Listener.Close()
	t.mu.Lock()
	for c := range t.conns {
		_ = c.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

// start accepts connections until stop.
func (t *transport) start() { t.wg.Go(t.run) }

func (t *transport) run() {
	for {
		conn, err := t.Listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil {
				return
			}
			t.dialer.log.Warn("a connection could not be accepted", "err", err)
			select { // out of file descriptors, say
			case <-time.After(100 * time.Millisecond):
			case <-t.ctx.Done():
				return
			}
			continue
		}
		t.mu.Lock()
		if t.ctx.Err() != nil {
			t.mu.Unlock()
			_ = conn.Close()
			return
		}
		t.conns[conn] = struct{}{}
		t.wg.Go(func() { t.serve(conn) })
		t.mu.Unlock()
	}
}

func (t *transport) serve(tcp net.Conn) {
	limitSilence(tcp)
	conn := net.Conn(&tracked{Conn: tcp, transport: t})
	if t.tls != nil {
		conn = tls.Server(conn, t.tls)
	}
	protocol, err := t.greet(conn)
	if err != nil {
		_ = conn.Close()
		if t.ctx.Err() == nil && !errors.Is(err, io.EOF) {
			t.dialer.quiet.warn(t.dialer.log, "a connection was refused", tcp.RemoteAddr().String(), err)
		}
		return
	}
	if protocol != raftProtocol {
		defer conn.Close()
		t.handlers[protocol](conn)
		return
	}
	select {
	case t.raft <- conn:
	case <-t.ctx.Done():
		_ = conn.Close()
	}
}

func (t *transport) greet(conn net.Conn) (byte, error) {
	if err := conn.SetDeadline(time.Now().Add(greetingTimeout)); err != nil {
		return 0, err
	}
	hello := make([]byte, 2)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return 0, err
	}
	if _, err := conn.Write([]byte{wireVersion}); err != nil {
		return 0, err
	}
	if _, known := t.handlers[hello[1]]; hello[0] != wireVersion || !known && hello[1] != raftProtocol {
		return 0, fmt.Errorf("version %d, protocol %q: neither is known here", hello[0], hello[1])
	}
	return hello[1], conn.SetDeadline(time.Time{})
}

// tracked is a connection that stop closes.
type tracked struct {
	net.Conn
	transport *transport
}

// Close closes and forgets it.
func (c *tracked) Close() error {
	c.transport.mu.Lock()
	delete(c.transport.conns, c.Conn)
	c.transport.mu.Unlock()
	return c.Conn.Close()
}

// quiet keeps a peer that cannot connect, many times a second, from filling the log.
type quiet struct {
	explain func(peer string, err error) error // may be nil

	mu   sync.Mutex
	last map[string]time.Time
}

func (q *quiet) warn(log *slog.Logger, message, peer string, err error) {
	host, _, splitErr := net.SplitHostPort(peer)
	if splitErr != nil {
		host = peer
	}
	key := message + host + err.Error()
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if now.Sub(q.last[key]) < quietTime {
		return
	}
	if len(q.last) > 100 || q.last == nil {
		q.last = map[string]time.Time{}
	}
	q.last[key] = now
	if q.explain != nil {
		err = q.explain(host, err)
	}
	log.Warn(message, "peer", peer, "err", err, "hint", "pgctl servers shows who is heard; it is tried again, and said again once a minute")
}
