package peer

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var shared = bytes.Repeat([]byte{1}, 32)

// network is the real socket with a bad network behind it that may lose or repeat what is sent.
type network struct {
	packetConn
	mu   sync.Mutex
	sent [][]byte                 // copies of what went out, in order
	fate func(n int) (copies int) // of the n-th datagram, from 0; nil: one copy of each
}

func (n *network) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n.mu.Lock()
	copies := 1
	if n.fate != nil {
		copies = n.fate(len(n.sent))
	}
	n.sent = append(n.sent, bytes.Clone(b))
	n.mu.Unlock()
	for range copies {
		if _, err := n.packetConn.WriteToUDPAddrPort(b, to); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// replay sends everything that ever went out once more, from elsewhere, byte by byte the same.
func (n *network) replay(t *testing.T, to netip.AddrPort) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range n.sent {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

// log keeps what arrived as text.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *log) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func (l *log) wait(t testing.TB, line string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !slices.Contains(l.all(), line); {
		if time.Now().After(deadline) {
			t.Fatalf("%q did not arrive, but %q", line, l.all())
		}
		time.Sleep(time.Millisecond)
	}
}

func socket(t testing.TB, config Config, fate func(int) int) (*Heartbeats, *network) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if config.Key == nil {
		config.Key = shared
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	n := &network{packetConn: conn, fate: fate}
	h, err := start(config, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, n
}

// server keeps "host boot first-payload" of each datagram and answers with the first payload.
func server(t testing.TB) (*Heartbeats, *log, []netip.AddrPort) {
	beats := &log{}
	h, _ := socket(t, Config{Host: "server", Boot: "s", OnBeat: func(b Beat) []byte {
		for _, p := range b.Payloads {
			beats.add("%s %s %s", b.Host, b.Boot, p[:min(len(p), 20)])
		}
		if len(b.Payloads) == 0 {
			return nil
		}
		return append([]byte("re "), b.Payloads[0][:min(len(b.Payloads[0]), 20)]...)
	}}, nil)
	return h, beats, []netip.AddrPort{h.Addr()}
}

func send(t testing.TB, h *Heartbeats, to []netip.AddrPort, payloads ...string) uint64 {
	t.Helper()
	raw := make([][]byte, len(payloads))
	for i, p := range payloads {
		raw[i] = []byte(p)
	}
	n, err := h.Send(raw, to)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBeatsAndAnswers(t *testing.T) {
	t.Parallel()
	answers := &log{}
	_, beats, to := server(t)
	h, network := socket(t, Config{Host: "db-1", Boot: "b1", OnAnswer: func(a Answer) {
		answers.add("%s %d.%d %s", a.Host, a.Beat, a.Part, a.Payload)
	}}, nil)
	big := strings.Repeat("y", 50_000)
	small := strings.Repeat("x", 600)
	send(t, h, to, "first")
	beats.wait(t, "db-1 b1 first") // the very first counts: it is sent again after the challenge
	answers.wait(t, "server 1.0 re first")
	before := len(network.sent)
	if n := send(t, h, to, "a"+small, "b"+small, "c"+small, big, "d"); n != 2 {
		t.Errorf("beat %d", n)
	}
	for _, first := range []string{"a", "b", "c"} {
		beats.wait(t, "db-1 b1 "+first+small[:19])
	}
	beats.wait(t, "db-1 b1 "+big[:20])
	beats.wait(t, "db-1 b1 d")
	answers.wait(t, "server 2.3 re d")
	sizes := []int{}
	for _, d := range network.sent[before:] {
		sizes = append(sizes, len(d))
	}
	if len(sizes) != 4 || sizes[0] > datagramSize || sizes[0] < 1200 || sizes[2] < 50_000 {
		t.Errorf("datagrams of %v bytes", sizes)
	}
	if _, err := h.Send([][]byte{make([]byte, PayloadLimit+1), []byte("rest")}, to); err == nil {
		t.Error("a payload beyond the limit was accepted")
	}
	beats.wait(t, "db-1 b1 rest")
}

func TestNothingReplayedCounts(t *testing.T) {
	t.Parallel()
	_, beats, to := server(t)
	old, recorded := socket(t, Config{Host: "db-1", Boot: "b1"}, nil)
	for _, p := range []string{"1", "2", "3"} {
		send(t, old, to, p)
		beats.wait(t, "db-1 b1 "+p)
	}
	recorded.replay(t, to[0])
	// The same socket, later: had the replay counted, it would have come before this.
	send(t, old, to, "4")
	beats.wait(t, "db-1 b1 4")

	// Another process of the host takes over; what the former one said is old for ever.
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	young, _ := socket(t, Config{Host: "db-1", Boot: "b2"}, nil)
	send(t, young, to, "5")
	beats.wait(t, "db-1 b2 5")
	recorded.replay(t, to[0])
	send(t, young, to, "6")
	beats.wait(t, "db-1 b2 6")

	want := []string{"db-1 b1 1", "db-1 b1 2", "db-1 b1 3", "db-1 b1 4", "db-1 b2 5", "db-1 b2 6"}
	if got := beats.all(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}

	// A receiver without memory (it was started again) is not deceived either.
	_, fresh, address := server(t)
	recorded.replay(t, address[0])
	send(t, young, address, "7")
	fresh.wait(t, "db-1 b2 7")
	if got := fresh.all(); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

func TestLossAndDuplication(t *testing.T) {
	t.Parallel()
	_, beats, to := server(t)
	answers := &log{}
	// Every third datagram is lost, every third comes twice.
	h, _ := socket(t, Config{Host: "db-1", Boot: "b", OnAnswer: func(a Answer) { answers.add("%s", a.Payload) }},
		func(n int) int { return n % 3 })
	arrived := 0
	for i := range 60 {
		payload := fmt.Sprint(i)
		send(t, h, to, payload)
		time.Sleep(time.Millisecond)
	}
	for arrived == 0 || !slices.Contains(beats.all(), "db-1 b last") {
		send(t, h, to, "last")
		arrived++
		time.Sleep(time.Millisecond)
	}
	seen := map[string]int{}
	for _, l := range beats.all() {
		if seen[l]++; seen[l] > 1 && l != "db-1 b last" {
			t.Errorf("%s counted %d times", l, seen[l])
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d of 60 arrived", len(seen))
	}
	answers.wait(t, "re last")
}

func TestAnotherKey(t *testing.T) {
	t.Parallel()
	warnings := &log{}
	beats := &log{}
	h, _ := socket(t, Config{
		Host: "server", Log: slog.New(slog.NewTextHandler(writer{warnings}, nil)),
		OnBeat: func(b Beat) []byte { beats.add("%s", b.Host); return nil },
	}, nil)
	to := []netip.AddrPort{h.Addr()}
	stranger, _ := socket(t, Config{Host: "x", Key: bytes.Repeat([]byte{2}, 32)}, nil)
	friend, _ := socket(t, Config{Host: "y"}, nil)
	send(t, stranger, to, "1")
	send(t, stranger, to, "2")
	send(t, friend, to, "1")
	beats.wait(t, "y")
	lines := warnings.all()
	if len(lines) != 1 || !strings.Contains(lines[0], "encrypted with another key") || len(beats.all()) != 1 {
		t.Errorf("%q %q", lines, beats.all())
	}
}

type writer struct{ log *log }

func (w writer) Write(b []byte) (int, error) { w.log.add("%s", b); return len(b), nil }

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	h, _ := socket(t, Config{Host: "a"}, nil)
	for what, config := range map[string]Config{
		"is not an address":      {Host: "a", Key: shared, Listen: "nowhere"},
		"another daemon on this": {Host: "a", Key: shared, Listen: h.Addr().String()},
		"a key of 16 bytes":      {Host: "a", Listen: "127.0.0.1:0"},
	} {
		config.Log = slog.New(slog.DiscardHandler)
		if _, err := Listen(config); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzHandle(f *testing.F) {
	h, _ := socket(f, Config{Host: "a", OnBeat: func(Beat) []byte { return nil }, OnAnswer: func(Answer) {}}, nil)
	aead, err := h.keys.session(token{9})
	if err != nil {
		f.Fatal(err)
	}
	good := seal(nil, aead, token{9}, 5, &frame{kind: kindBeat, host: []byte("b"), payloads: [][]byte{[]byte("x"), {}}})
	f.Add(good, false)
	f.Add(slices.Clone(good[headerSize:len(good)-tagSize]), true)
	f.Add([]byte{1, 0, 255}, true)
	f.Fuzz(func(_ *testing.T, data []byte, inside bool) {
		// From outside nothing is authentic; inside, anything may have been encrypted by a member.
		if inside {
			_ = decode(data, &frame{})
			return
		}
		nobody := &network{packetConn: h.conn, fate: func(int) int { return 0 }}
		other := Heartbeats{config: h.config, conn: nobody, keys: h.keys, aead: h.aead, receiver: receiver{
			bySession: map[token]*session{}, byHost: map[string]*peerState{}, answered: map[string]answered{},
		}}
		_ = other.handle(slices.Clone(data), netip.AddrPort{})
	})
}

// BenchmarkReceive is one datagram of a known host. 1,000 hosts × 3/s are 3,000 of them a second.
func BenchmarkReceive(b *testing.B) {
	h, _ := socket(b, Config{Host: "a", OnBeat: func(Beat) []byte { return nil }}, nil)
	id := token{9}
	aead, err := h.keys.session(id)
	if err != nil {
		b.Fatal(err)
	}
	own := &Heartbeats{config: h.config, keys: h.keys, receiver: receiver{
		bySession: map[token]*session{id: {id: id, aead: aead, challenge: token{1}}}, byHost: map[string]*peerState{},
	}}
	own.receiver.byHost["db-1"] = &peerState{name: "db-1", active: own.receiver.bySession[id]}
	payload := bytes.Repeat([]byte("p"), 300)
	f := &frame{kind: kindBeat, token: token{1}, host: []byte("db-1"), boot: []byte("b"), payloads: [][]byte{payload, payload}}
	counted := 0
	own.config.OnBeat = func(Beat) []byte { counted++; return nil }
	var buf []byte
	sequence := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		sequence++
		buf = seal(buf, aead, id, sequence, f)
		if err := own.handle(buf, netip.AddrPort{}); err != nil {
			b.Fatal(err)
		}
	}
	if counted != int(sequence) {
		b.Fatal(counted, sequence)
	}
}
