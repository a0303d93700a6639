package hosts

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// wire is a network of a lab, with its router, but without anything that runs on its hosts.
type wire struct {
	*Lab
	t       *testing.T
	sockets map[string]net.PacketConn // by host and port
	number  int
}

const testPort, otherPort = 9000, 9100

func newWire(t *testing.T, sites ...int) *wire {
	t.Helper()
	if lacks := Missing(); len(lacks) > 0 {
		t.Skipf("this machine lacks what a lab needs: %s", strings.Join(lacks, "; "))
	}
	w := &wire{Lab: &Lab{Name: "pgctl-wire", Dir: t.TempDir(), Layout: layout, Sites: sites}, t: t, sockets: map[string]net.PacketConn{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	if err := w.network(ctx); err != nil {
		t.Fatal(err)
	}
	all := append(w.Hosts(), w.client())
	ended := make(chan error, 1)
	t.Cleanup(func() {
		cancel()
		for _, s := range w.sockets {
			_ = s.Close()
		}
		for _, h := range all {
			if err := w.unplug(context.Background(), h); err != nil {
				t.Error(err)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := removeNetwork(context.Background(), w.Name); err != nil {
			t.Error(err)
		}
	})
	go func() { ended <- Route(ctx, w.Lab) }()
	if err := await(ctx, groupPatience, "no router", func() bool { return w.tell(ctx, request{Do: "ask"}) == nil }); err != nil {
		t.Fatal(err)
	}
	for _, h := range w.Hosts() {
		if err := w.connect(ctx, h); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range all {
		for _, port := range []int{testPort, otherPort} {
			w.sockets[fmt.Sprint(h.Name, port)] = listen(t, h, port)
		}
	}
	return w
}

// listen opens a UDP port on a host.
func listen(t *testing.T, h Host, port int) net.PacketConn {
	t.Helper()
	type result struct {
		conn net.PacketConn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := enterNet(h.namespace)
		var conn net.PacketConn
		if err == nil {
			conn, err = net.ListenPacket("udp4", fmt.Sprintf("%s:%d", h.Address, port))
		}
		done <- result{conn, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.conn
}

// passes says whether a datagram gets from one host to another within a time, and how long it took.
func (w *wire) passes(from, to Host, port int, within time.Duration) (bool, time.Duration) {
	w.t.Helper()
	w.number++
	token := fmt.Sprint("datagram ", w.number)
	in, out := w.sockets[fmt.Sprint(to.Name, port)], w.sockets[fmt.Sprint(from.Name, port)]
	sent := time.Now()
	if _, err := out.WriteTo([]byte(token), &net.UDPAddr{IP: to.Address.AsSlice(), Port: port}); err != nil {
		w.t.Fatal(err)
	}
	if err := in.SetReadDeadline(sent.Add(within)); err != nil {
		w.t.Fatal(err)
	}
	buffer := make([]byte, 100)
	for {
		n, _, err := in.ReadFrom(buffer)
		if err != nil {
			return false, 0
		}
		if string(buffer[:n]) == token {
			return true, time.Since(sent)
		}
	}
}

// expect compares what passes with what should: pairs as "h1>h2".
func (w *wire) expect(story string, port int, pairs map[string]bool) {
	w.t.Helper()
	for pair, want := range pairs {
		names := strings.Split(pair, ">")
		var ends [2]Host
		for i, name := range names {
			ends[i] = w.client()
			if name != clientName {
				var err error
				if ends[i], err = w.Host(name); err != nil {
					w.t.Fatal(err)
				}
			}
		}
		within := 10 * time.Second // on a busy machine
		if !want {
			within = 100 * time.Millisecond
		}
		if got, _ := w.passes(ends[0], ends[1], port, within); got != want {
			w.t.Errorf("%s: %s, port %d: passes %t", story, pair, port, got)
		}
	}
}

// A fault that does not happen would make every scenario pass.
func TestNetworkFaults(t *testing.T) {
	w := newWire(t, 2, 1)
	ctx := t.Context()
	h := w.Hosts()
	try := func(story string, fault error, port int, pairs map[string]bool) {
		t.Helper()
		if fault != nil {
			t.Fatalf("%s: %v", story, fault)
		}
		w.expect(story, port, pairs)
	}
	heal := func() {
		t.Helper()
		try("healed", w.healNetwork(ctx), testPort, map[string]bool{
			"h1>h2": true, "h2>h1": true, "h1>h3": true, "h3>h1": true, "client>h1": true, "h3>client": true,
		})
	}
	heal()
	try("cut", w.Cut(ctx, h[0], h[1:], BothWays, Ports{}), testPort, map[string]bool{
		"h1>h2": false, "h2>h1": false, "h1>h3": false, "h3>h1": false, "h2>h3": true, "client>h1": true,
	})
	heal()
	try("cut one way", w.Cut(ctx, h[0], h[1:], Outgoing, Ports{}), testPort, map[string]bool{
		"h1>h2": false, "h2>h1": true, "h1>h3": false, "h3>h1": true,
	})
	heal()
	ports := Ports{First: testPort, Last: testPort + 1}
	try("a service cut", w.Cut(ctx, h[0], h[2:], BothWays, ports), testPort, map[string]bool{"h1>h3": false, "h3>h1": false, "h1>h2": true})
	w.expect("a service cut", otherPort, map[string]bool{"h1>h3": true, "h3>h1": true})
	heal()
	try("mute", w.Isolate(ctx, h[0], Outgoing), testPort, map[string]bool{"h1>h2": false, "h2>h1": true, "client>h1": true, "h1>client": false})
	heal()
	try("deaf", w.Isolate(ctx, h[0], Incoming), testPort, map[string]bool{"h1>h2": true, "h2>h1": false, "client>h1": false, "h1>client": true})
	heal()
	try("data centers cut one way", w.CutSites(ctx, "a", "b"), testPort, map[string]bool{"h1>h3": false, "h2>h3": false, "h3>h1": true, "client>h3": true})
	heal()
	try("all lost", w.Lose(ctx, 100), testPort, map[string]bool{"h1>h3": false, "client>h1": false, "h1>h2": true})
	heal()
	if err := w.Delay(ctx, "a", "b", 100*time.Millisecond, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if ok, took := w.passes(h[0], h[2], testPort, 10*time.Second); !ok || took < 100*time.Millisecond {
		t.Errorf("delayed by %s, %t", took, ok)
	}
	heal()
}
