package gossip_test

import (
	"bytes"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/gossip"
)

var key = bytes.Repeat([]byte{7}, gossip.KeySize)

// freeAddress asks the kernel for a port that is free for TCP and UDP.
func freeAddress(t *testing.T, ip string) string {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", ip+":0")
		if err != nil {
			t.Fatal(err)
		}
		address := tcp.Addr().String()
		udp, err := net.ListenPacket("udp", address)
		_ = tcp.Close()
		if err == nil {
			_ = udp.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

type recorder struct {
	mu    sync.Mutex
	found []string
}

func (r *recorder) add(e *pgctl.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = append(r.found, e.Error())
}

func (r *recorder) has(part string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.found, func(s string) bool { return strings.Contains(s, part) })
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.found)
}

func open(t *testing.T, name, bind string, change func(*gossip.Config)) (*gossip.Gossip, *recorder) {
	t.Helper()
	troubles := &recorder{}
	config := gossip.Config{
		Name: name, Bind: bind, Key: key, Log: slog.New(slog.DiscardHandler), OnTrouble: troubles.add,
		Tags: gossip.Tags{DataCenter: "dc-" + name, API: bind, Heartbeat: bind, Version: "1", Server: true},
	}
	if change != nil {
		change(&config)
	}
	g, err := gossip.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g, troubles
}

// eventually polls; its bound is far beyond what is ever needed.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func find(g *gossip.Gossip, name string) gossip.Member {
	for _, m := range g.Members() {
		if m.Name == name {
			return m
		}
	}
	return gossip.Member{}
}

func TestHostsFindEachOtherAndTellTheirTags(t *testing.T) {
	t.Parallel()
	first, second, third := freeAddress(t, "127.0.0.1"), freeAddress(t, "127.0.0.2"), freeAddress(t, "127.0.0.3")
	joinFirst := func(c *gossip.Config) { c.Join = []string{first} }
	// The others come first: they must go on trying.
	b, _ := open(t, "b", second, joinFirst)
	c, _ := open(t, "c", third, joinFirst)
	a, troubles := open(t, "a", first, joinFirst)
	for _, g := range []*gossip.Gossip{a, b, c} {
		eventually(t, "three members", func() bool {
			return len(slices.DeleteFunc(g.Members(), func(m gossip.Member) bool { return !m.Alive })) == 3
		})
	}
	if m := find(c, "b"); m.Address != second || m.Tags.DataCenter != "dc-b" || !m.Tags.Server || m.Tags.API != second {
		t.Errorf("%+v", m)
	}
	if err := b.SetTags(gossip.Tags{DataCenter: "moved"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new tags", func() bool { return find(c, "b").Tags.DataCenter == "moved" })
	for len(a.Changes()) > 0 {
		<-a.Changes()
	}
	if err := c.Leave(); err != nil {
		t.Fatal(err)
	}
	<-a.Changes()
	eventually(t, "c is gone", func() bool { return !find(a, "c").Alive })
	if m := find(a, "c"); m.Tags.DataCenter != "dc-c" {
		t.Errorf("tags of who left: %+v", m)
	}
	if n := troubles.count(); n != 0 {
		t.Error(troubles.found)
	}
}

func TestAnotherKeyIsRefusedAndSaid(t *testing.T) {
	t.Parallel()
	first := freeAddress(t, "127.0.0.1")
	a, troubles := open(t, "a", first, nil)
	b, theirs := open(t, "b", freeAddress(t, "127.0.0.2"), func(c *gossip.Config) {
		c.Join, c.Key = []string{first}, bytes.Repeat([]byte{8}, gossip.KeySize)
	})
	eventually(t, "both say it", func() bool {
		return troubles.has("the gossip key of 127.0.0.") && theirs.has("the gossip key of 127.0.0.1 differs from ours")
	})
	if len(a.Members()) != 1 || len(b.Members()) != 1 {
		t.Error(a.Members(), b.Members())
	}
}

func TestTwoHostsOfOneName(t *testing.T) {
	t.Parallel()
	first := freeAddress(t, "127.0.0.1")
	_, troubles := open(t, "same", first, nil)
	open(t, "same", freeAddress(t, "127.0.0.2"), func(c *gossip.Config) { c.Join = []string{first} })
	eventually(t, "conflict", func() bool { return troubles.has("two hosts call themselves same") })
	if n := troubles.count(); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	good := gossip.Config{Name: "a", Bind: "127.0.0.1:0", Key: key, Log: slog.New(slog.DiscardHandler)}
	for what, change := range map[string]func(*gossip.Config){
		"gossip key has 3 bytes": func(c *gossip.Config) { c.Key = []byte("abc") },
		"needs the host's name":  func(c *gossip.Config) { c.Name = "" },
		"not an address":         func(c *gossip.Config) { c.Bind = "localhost:1" },
		"tags have":              func(c *gossip.Config) { c.Tags.DataCenter = strings.Repeat("x", 600) },
		"another daemon on this": func(c *gossip.Config) {
			held, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = held.Close() })
			c.Bind = held.Addr().String()
		},
	} {
		config := good
		change(&config)
		if _, err := gossip.Open(config); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
