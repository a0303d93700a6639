package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// lister is a member's server that keeps what it is told, or cannot.
type lister struct {
	fake
	listed []pgctl.Life
	full   bool
}

func (l *lister) NoteListed(_ context.Context, leader pgctl.Life) error {
	if l.full {
		return pgctl.Errorf(pgctl.CodeUnavailable, "the disk is full")
	}
	l.listed = append(l.listed, leader)
	return nil
}

// circle is the leader of a lease cluster and its members, each with a daemon of its own that the others
// can call, but no store.
type circle struct {
	clock   atomic.Int64
	state   *group
	agents  map[string]*agent // by host, which is also its address
	servers map[string]*lister
	mu      sync.Mutex
	called  []string // hosts
	away    string   // the host that does not answer
	moved   []pgctl.Instant
}

func (c *circle) Call(ctx context.Context, address, method string, in, out any) error {
	c.mu.Lock()
	c.called = append(c.called, address)
	away := c.away == address
	c.mu.Unlock()
	text, err := json.Marshal(in)
	if away || err != nil || method != "vouch" {
		return pgctl.Errorf(pgctl.CodeUnavailable, "nobody answers at %s: %v", address, err)
	}
	answer, err := c.agents[address].node.serveVouch(ctx, "one", text)
	if err == nil {
		*out.(*ha.VouchAnswer) = answer.(ha.VouchAnswer)
	}
	return err
}

func newCircle(t *testing.T, hosts ...string) *circle {
	t.Helper()
	c := &circle{agents: map[string]*agent{}, servers: map[string]*lister{}}
	c.clock.Store(int64(boot))
	p := picture{cluster: pgctl.Cluster{Name: "shop"}}
	p.leadership = pgctl.Leadership{Cluster: "shop", Mode: pgctl.Lease, Epoch: 3, Phase: pgctl.Steady, Leader: "aaaaaaaa"}
	for at, host := range hosts {
		life := pgctl.Life(slices.Repeat([]byte{byte('a' + at)}, 8))
		p.hosts = append(p.hosts, pgctl.Host{Name: host, API: host})
		p.instances = append(p.instances, pgctl.Instance{Name: "shop-" + host, Cluster: "shop", Host: host, Life: life})
	}
	c.state = &group{now: p}
	for _, i := range p.instances {
		server := &lister{}
		n := New(Config{
			Host: i.Host, Boot: "boot-" + i.Host, Store: c.state, Peers: c, Log: slog.New(slog.DiscardHandler),
			Clock:     func() time.Duration { return time.Duration(c.clock.Load()) },
			LeaseFile: filepath.Join(t.TempDir(), "leases.json"),
			MoveDeadline: func(_ pgctl.Life, _ pgctl.Epoch, until pgctl.Instant) {
				c.moved = append(c.moved, until)
			},
		})
		a := &agent{node: n, self: i, server: server, log: n.Log, wake: make(chan struct{}, 1), vouching: vouching{at: n.lastVouch()}}
		a.report.Life = i.Life // it was looked at
		n.agents[i.Name] = a
		c.agents[i.Host], c.servers[i.Host] = a, server
	}
	return c
}

func (c *circle) pass(d time.Duration) { c.clock.Add(int64(d)) }

// round is one of the leader's rounds; it returns the hosts that it called, in order.
func (c *circle) round(t *testing.T, goOn bool) []string {
	c.called = nil
	l, _ := c.state.State().Leadership("shop")
	c.agents["one"].askRound(t.Context(), c.state.State(), l, goOn)
	slices.Sort(c.called)
	return c.called
}

func (c *circle) left() time.Duration { return c.agents["one"].node.leaseLeft("shop", 3) }

func TestAllMembersLetTheLeaderGoOn(t *testing.T) {
	c := newCircle(t, "one", "two", "three")
	c.pass(time.Second)
	if got := c.round(t, true); !slices.Equal(got, []string{"three", "two"}) {
		t.Fatalf("asked %v", got)
	}
	if c.left() != ha.LeaseTime || len(c.moved) != 1 || c.moved[0].Up != boot+time.Second+ha.LeaseTime {
		t.Errorf("%s are left, the guard's deadline was moved to %v", c.left(), c.moved)
	}
	now := time.Duration(c.clock.Load())
	c.pass(300 * time.Millisecond)
	for _, host := range []string{"two", "three"} {
		if r := c.agents[host].current(now + 300*time.Millisecond); r.Vouched != 300*time.Millisecond {
			t.Errorf("%s says that it let the leader go on %s ago", host, r.Vouched)
		}
		if got := c.servers[host].listed; !slices.Equal(got, []pgctl.Life{"aaaaaaaa"}) {
			t.Errorf("%s noted %v", host, got)
		}
	}
	alone := newCircle(t, "one")
	if alone.round(t, true); alone.left() != ha.LeaseTime {
		t.Error("a leader without members has nobody to ask")
	}
}

func TestOneMemberEndsIt(t *testing.T) {
	for name, spoil := range map[string]func(c *circle){
		"it does not answer":    func(c *circle) { c.away = "three" },
		"its host is not known": func(c *circle) { c.state.now.hosts = c.state.now.hosts[:2] },
		"it pledged":            func(c *circle) { c.agents["three"].observed.Local.Pledge = 4 },
		"it is about to pledge": func(c *circle) { c.agents["three"].renounce(4) },
		"it runs no more":       func(c *circle) { delete(c.agents["three"].node.agents, "shop-three") },
		"it was not looked at":  func(c *circle) { c.agents["three"].report.Life = "" },
		"it cannot note it":     func(c *circle) { c.servers["three"].full = true },
		"it has a new life":     func(c *circle) { c.agents["three"].self.Life = "dddddddd" },
		"it knows of an election": func(c *circle) {
			later := c.state.now
			later.leadership.Epoch, later.leadership.Phase, later.leadership.Leader = 4, pgctl.Recruiting, ""
			c.agents["three"].node.Store = &group{now: later}
		},
		"it knows of another leader": func(c *circle) {
			other := c.state.now
			other.leadership.Leader = "bbbbbbbb"
			c.agents["three"].node.Store = &group{now: other}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCircle(t, "one", "two", "three")
			spoil(c)
			if c.round(t, true); c.left() != 0 || len(c.moved) != 0 {
				t.Errorf("the leader goes on for %s", c.left())
			}
		})
	}
}

// Telling is not asking: the lease does not grow, and a member does not say that it let anybody go on.
func TestMembersAreTold(t *testing.T) {
	c := newCircle(t, "one", "two", "three")
	c.away = "three"
	c.pass(time.Minute)
	if got := c.round(t, false); !slices.Equal(got, []string{"three", "two"}) || c.left() != 0 {
		t.Fatalf("told %v, %s are left", got, c.left())
	}
	if got := c.agents["two"].current(time.Duration(c.clock.Load())).Vouched; got != time.Minute {
		t.Errorf("a member that was told says that it let the leader go on %s ago", got)
	}
	c.away = ""
	if got := c.round(t, false); !slices.Equal(got, []string{"three"}) {
		t.Errorf("told %v; only three had not heard it", got)
	}
	if got := c.round(t, false); len(got) != 0 {
		t.Errorf("told %v although all know", got)
	}
	c.pass(tellAgain)
	if got := c.round(t, false); len(got) != 2 {
		t.Errorf("after a while told %v", got)
	}
	c.state.now.leadership.Epoch = 4
	if got := c.round(t, false); len(got) != 2 {
		t.Errorf("in the next epoch told %v", got)
	}
}

// Who has no data yet agrees, but has nothing to note it beside: it is told again.
func TestAMemberWithoutData(t *testing.T) {
	c := newCircle(t, "one", "two")
	c.agents["two"].observed.Directory = ha.NoDirectory
	if c.round(t, true); c.left() != ha.LeaseTime || len(c.servers["two"].listed) != 0 {
		t.Errorf("%s are left; noted %v", c.left(), c.servers["two"].listed)
	}
	c.agents["two"].observed.Directory = ha.ReadyDirectory
	if got := c.round(t, false); len(got) != 1 || len(c.servers["two"].listed) != 1 {
		t.Errorf("told %v, noted %v", got, c.servers["two"].listed)
	}
}

// Whatever a step is about to do, no older leader is let go on from its beginning.
func TestAStepRenounces(t *testing.T) {
	c := newCircle(t, "one", "two")
	a := c.agents["two"]
	a.running = t.Context()
	a.begin(t.Context(), Task{Step: ha.Step{Do: ha.PledgeTo, Epoch: 4}, View: ha.InstanceView{Leadership: pgctl.Leadership{Epoch: 4}}})
	c.round(t, true)
	<-a.doing.done
	if c.left() != 0 {
		t.Error("the leader goes on with the leave of a member that pledges")
	}
}

// A lease only grows, within its boot, and the guard's deadline with it.
func TestRenewalsMoveTheDeadline(t *testing.T) {
	c := newCircle(t, "one")
	n := c.agents["one"].node
	n.leases["shop"] = lease{Epoch: 3, Until: pgctl.Instant{Boot: "before", Up: time.Hour}}
	until := pgctl.Instant{Boot: n.Boot, Up: boot + ha.LeaseTime}
	n.extend("shop", 3, until)
	n.extend("shop", 3, pgctl.Instant{Boot: n.Boot, Up: boot})
	n.extend("shop", 2, pgctl.Instant{Boot: n.Boot, Up: boot + time.Hour})
	if len(c.moved) != 1 || c.moved[0] != until || n.leaseEnd("shop", 3) != until {
		t.Errorf("moved %v, ends %v", c.moved, n.leaseEnd("shop", 3))
	}
	if !n.heldLease("shop", pgctl.Leadership{NextMode: pgctl.Lease}) || n.heldLease("shop", pgctl.Leadership{Mode: pgctl.Quorum}) ||
		n.heldLease("shop", pgctl.Leadership{NextMode: pgctl.Lease}) {
		t.Error("a lease of before the cluster went by leases again counts")
	}
}

// A member whose agent was started anew does not know whether it let the leader go on a moment before.
func TestARestartedMemberMayHaveAgreed(t *testing.T) {
	c := newCircle(t, "one", "two")
	a := c.agents["two"]
	if age := a.current(a.node.Clock()).Vouched; age != 0 {
		t.Errorf("it says that it last agreed %s ago", age)
	}
}
