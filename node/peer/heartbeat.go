package peer

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
)

const (
	// datagramSize is what passes every usual network in one piece, tunnels included.
	datagramSize = 1350
	// PayloadLimit bounds one payload or answer, in bytes: it must fit into one datagram.
	PayloadLimit = 60_000
	bufferSize   = 1 << 16
	socketBuffer = 4 << 20
	complainOnce = time.Minute
)

// Config says how heartbeats are sent and received.
type Config struct {
	Host   string // our name
	Boot   string // id of this boot of our host
	Listen string // ip:port (UDP) to receive on and send from
	Key    []byte // shared by all daemons of the installation: the gossip key
	Log    *slog.Logger

	// OnBeat takes what another host says, and may answer. It is called by the one reading goroutine,
	// so it must not block; the beat's payloads are valid only until it returns. Nil: not a receiver.
	OnBeat func(Beat) (answer []byte)
	// OnAnswer takes answers to our beats, under the same conditions.
	OnAnswer func(Answer)
}

// Beat is one datagram of another host. It is fresh: it was sent by the process that last proved to be
// that host's, after everything heard from it before, and not recorded and sent again by somebody.
type Beat struct {
	Host, Boot  string
	Number      uint64 // of the beat; grows, and begins anew with every start of the sender
	Part, Parts int    // which of the beat's datagrams this is, from 0
	Sequence    uint64 // of the datagram
	Payloads    [][]byte
	From        netip.AddrPort
}

// Answer is what a receiver said to one datagram of our beat of that number. Answers of one host come in
// the order of what they answer; an older or repeated one is dropped.
type Answer struct {
	Host    string
	Beat    uint64
	Part    int // of the beat's datagrams, from 0
	Payload []byte
	From    netip.AddrPort
}

// Heartbeats is a socket that sends beats and receives those of others.
type Heartbeats struct {
	config  Config
	conn    packetConn
	keys    keys
	session token
	aead    cipher.AEAD
	done    chan struct{}
	reader  sync.WaitGroup
	closing sync.Once

	mu       sync.Mutex
	sequence uint64 // of the last datagram sent
	beat     uint64 // number of the last beat
	packed   [][][]byte
	lanes    []*lane // index: lane number
	byTarget map[netip.AddrPort]*lane
	scratch  []byte

	receiver receiver // belongs to the reading goroutine
}

// lane is what a sender knows about one receiver.
type lane struct {
	number     uint32
	target     netip.AddrPort
	challenge  token
	challenged uint64 // the beat that was challenged last
}

// packetConn is what is used of *net.UDPConn; tests put a lossy network in between.
type packetConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// Listen opens the socket and begins to receive.
func Listen(config Config) (*Heartbeats, error) {
	address, err := netip.ParseAddrPort(config.Listen)
	if err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%q is not an address ip:port", config.Listen).At("heartbeat address")
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
	if err != nil {
		return nil, pgctl.Errorf(pgctl.CodeUnavailable, "heartbeats: %v", err).
			WithHint("another daemon on this address, or an address that is not this host's?")
	}
	if err := conn.SetReadBuffer(socketBuffer); err != nil {
		config.Log.Debug("heartbeats: the socket keeps its buffer", "error", err)
	}
	return start(config, conn)
}

func start(config Config, conn packetConn) (*Heartbeats, error) {
	if len(config.Host) == 0 || len(config.Host) > nameLimit || len(config.Boot) > nameLimit || len(config.Key) < 16 {
		return nil, errors.Join(conn.Close(),
			pgctl.Errorf(pgctl.CodeInvalid, "heartbeats need a host name, a boot id and a key of 16 bytes or more"))
	}
	h := &Heartbeats{config: config, conn: conn, done: make(chan struct{}), byTarget: map[netip.AddrPort]*lane{}}
	_, _ = rand.Read(h.session[:]) // never fails: documented
	var err error
	if h.keys, err = newKeys(config.Key); err == nil {
		h.aead, err = h.keys.session(h.session)
	}
	if err != nil {
		return nil, errors.Join(conn.Close(), err)
	}
	h.receiver = receiver{bySession: map[token]*session{}, byHost: map[string]*peerState{}, answered: map[string]answered{}}
	h.reader.Go(h.read)
	return h, nil
}

// Addr is the address that the socket listens on.
func (h *Heartbeats) Addr() netip.AddrPort { return h.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close closes the socket and waits until nothing is being handled any more. Only the first call counts.
func (h *Heartbeats) Close() error {
	var err error
	h.closing.Do(func() {
		close(h.done)
		err = h.conn.Close()
		h.reader.Wait()
	})
	return err
}

// Send sends one beat with all payloads to every target, in as few datagrams as they fit into, and
// returns the beat's number, by which answers name it. The payloads must not be changed until the next
// Send: a receiver that does not know this process yet is sent them again at once. Errors do not
// keep the rest from being sent.
func (h *Heartbeats) Send(payloads [][]byte, targets []netip.AddrPort) (uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	h.beat++
	h.packed = h.packed[:0]
	room := 0
	for i, p := range payloads {
		need := len(p) + 3 // length of its length, as far as it fits into a datagram with others
		switch {
		case len(p) > PayloadLimit:
			errs = append(errs, pgctl.Errorf(pgctl.CodeInvalid, "heartbeat payload %d has %d bytes, the limit is %d",
				i, len(p), PayloadLimit))
		case len(h.packed) > 0 && need <= room:
			last := len(h.packed) - 1
			h.packed[last] = append(h.packed[last], p)
			room -= need
		default:
			h.packed = append(h.packed, [][]byte{p})
			room = datagramSize - headerSize - fixedSize - tagSize - 2 - len(h.config.Host) - len(h.config.Boot) - need
		}
	}
	if len(h.packed) == 0 {
		h.packed = append(h.packed, nil) // a beat without payloads still says that we live
	}
	for _, t := range targets {
		errs = append(errs, h.sendTo(h.laneTo(t)))
	}
	return h.beat, errors.Join(errs...)
}

func (h *Heartbeats) laneTo(target netip.AddrPort) *lane {
	l, ok := h.byTarget[target]
	if !ok {
		l = &lane{number: uint32(len(h.lanes)), target: target}
		h.lanes = append(h.lanes, l)
		h.byTarget[target] = l
	}
	return l
}

// sendTo sends the last beat.
func (h *Heartbeats) sendTo(l *lane) error {
	var errs []error
	for i, payloads := range h.packed {
		errs = append(errs, h.write(l.target, &frame{
			kind: kindBeat, token: l.challenge, lane: l.number, beat: h.beat,
			part: uint16(i + 1), parts: uint16(len(h.packed)), payloads: payloads,
		}))
	}
	return errors.Join(errs...)
}

func (h *Heartbeats) write(to netip.AddrPort, f *frame) error {
	f.host, f.boot = []byte(h.config.Host), []byte(h.config.Boot)
	h.sequence++
	h.scratch = seal(h.scratch, h.aead, h.session, h.sequence, f)
	_, err := h.conn.WriteToUDPAddrPort(h.scratch, to)
	return err
}

// reply answers a datagram of another session.
func (h *Heartbeats) reply(to netip.AddrPort, of token, kind byte, beat *frame, payload []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.write(to, &frame{
		kind: kind, token: of, lane: beat.lane, beat: beat.beat, part: beat.part, parts: beat.parts,
		payloads: [][]byte{payload},
	})
	if err != nil {
		h.config.Log.Debug("heartbeats: an answer was not sent", "to", to, "error", err)
	}
}

// challenged takes a receiver's challenge: the last beat goes out again with it.
func (h *Heartbeats) challenged(f *frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if int(f.lane) >= len(h.lanes) || len(f.payloads) != 1 || len(f.payloads[0]) != tokenSize {
		return
	}
	l := h.lanes[f.lane]
	challenge := token(f.payloads[0])
	if f.beat > h.beat || f.beat < l.challenged || challenge == l.challenge {
		return // an old challenge, or one already heeded (each datagram of a beat is challenged)
	}
	l.challenge, l.challenged = challenge, f.beat
	if err := h.sendTo(l); err != nil {
		h.config.Log.Debug("heartbeats: a beat was not sent again", "to", l.target, "error", err)
	}
}
