package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// group is a Raft group of one that keeps what is proposed.
type group struct {
	mu      sync.Mutex
	now     picture
	refuse  bool // every proposal, as after a change by somebody else
	deposed bool
}

func (g *group) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.now
	p.instances = slices.Clone(p.instances)
	return p
}

func (g *group) Wait(ctx context.Context, _ string, _ uint64) error { <-ctx.Done(); return ctx.Err() }
func (g *group) Age() time.Duration                                 { return 0 }
func (g *group) IsLeader() bool                                     { return !g.deposed }
func (g *group) Verify(context.Context) error                       { return nil }
func (g *group) Linearize(context.Context) error                    { return nil }

func (g *group) SetLeadership(_ context.Context, old, next pgctl.Leadership, _ []pgctl.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse || old.Revision != g.now.leadership.Revision {
		return pgctl.Errorf(pgctl.CodeConflict, "changed meanwhile")
	}
	next.Revision = old.Revision + 1
	g.now.leadership = next
	return nil
}

func (g *group) SetInstances(_ context.Context, _ string, put []pgctl.Instance, _ []string, _ []pgctl.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range put {
		for at := range g.now.instances {
			if g.now.instances[at].Name == i.Name {
				g.now.instances[at] = i
			}
		}
	}
	return nil
}

func (g *group) LearnHost(_ context.Context, host string, detect time.Duration, _ []pgctl.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for at := range g.now.hosts {
		if g.now.hosts[at].Name == host {
			g.now.hosts[at].Detect = detect
		}
	}
	return nil
}

func (g *group) Purge(context.Context, string) error { return nil }

// installation is a cluster of three on three hosts, looked after by one controller.
type installation struct {
	t     *testing.T
	group *group
	node  *Node
	c     *controller
	beat  uint64
}

func install(t *testing.T) *installation {
	g := &group{now: picture{cluster: pgctl.Cluster{Name: "shop", Spec: pgctl.ClusterSpec{Instances: 3}}}}
	g.now.cluster.Spec.Durability.Mode = pgctl.Quorum
	g.now.leadership = pgctl.Leadership{
		Cluster: "shop", Mode: pgctl.Quorum, Epoch: 1, SteadyEpoch: 1, Phase: pgctl.Steady, Leader: "aaaaaaaa", Serving: true, Revision: 1,
		Rule:    pgctl.Rule{Leader: "aaaaaaaa", Standbys: []pgctl.Life{"bbbbbbbb", "cccccccc"}, Acks: 1, Version: 1},
		History: []pgctl.TimelineRecord{{Timeline: 1, Epoch: 1, Leader: "aaaaaaaa", State: pgctl.TimelineSteady}},
	}
	for at, host := range []string{"one", "two", "three"} {
		g.now.hosts = append(g.now.hosts, pgctl.Host{Name: host})
		g.now.instances = append(g.now.instances, pgctl.Instance{
			Name: "shop-" + string(rune('0'+at)), Cluster: "shop", Ordinal: at, Host: host, Wanted: pgctl.WantRunning,
			Life: pgctl.Life(strings.Repeat(string(rune('a'+at)), 8)),
		})
	}
	n := New(Config{
		Host: "two", Store: g, Quorum: g, Proposer: g, Log: slog.New(slog.DiscardHandler),
		Clock: func() time.Duration { return boot }, Wall: time.Now, NewLife: func() pgctl.Life { return "dddddddd" },
	})
	n.Observer.tick(boot)
	return &installation{t: t, group: g, node: n, c: newController(n)}
}

// hear takes a heartbeat of an instance and returns the answer.
func (i *installation) hear(at int, r ha.Report) answer {
	i.beat++
	life := i.group.now.instances[at].Life
	r.Instance, r.Life, r.Epoch = i.group.now.instances[at].Name, life, i.group.now.leadership.Epoch
	if r.State == "" {
		r.State = ha.Running
	}
	text, err := json.Marshal(r)
	if err != nil {
		i.t.Fatal(err)
	}
	var a answer
	if reply := i.node.Heard(i.group.now.instances[at].Host, i.beat, [][]byte{text}); reply != nil {
		if err := json.Unmarshal(reply, &a); err != nil {
			i.t.Fatal(err)
		}
	}
	return a
}

// round is a tick of the controller and the end of what it proposed.
func (i *installation) round() pgctl.Leadership {
	i.node.Observer.tick(i.node.Observer.heard.Clock() + ha.Tick)
	i.c.round(i.t.Context())
	i.c.working.Wait()
	return i.group.now.leadership
}

func (i *installation) everybody() {
	senders := []ha.Sender{{Life: "bbbbbbbb", Epoch: 1, Streaming: true}, {Life: "cccccccc", Epoch: 1, Streaming: true}}
	i.hear(0, ha.Report{Primary: true, Open: true, Senders: senders})
	i.hear(1, ha.Report{})
	i.hear(2, ha.Report{})
}

func TestTheControllerReplacesASilentLeader(t *testing.T) {
	i := install(t)
	i.everybody()
	asked := false
	for tick := 1; i.round().Phase == pgctl.Steady; tick++ {
		if tick > int(ha.DetectLeast/ha.Tick)+1 {
			t.Fatal("the leader is silent for longer than detect, and still leads")
		}
		a := i.hear(1, ha.Report{})
		i.hear(2, ha.Report{})
		asked = asked || slices.Equal(a.Ask, []string{"shop"})
	}
	l := i.group.now.leadership
	if l.Phase != pgctl.Recruiting || l.Epoch != 2 || l.Rule.Acks != 1 || !asked {
		t.Fatalf("asked the members: %v; %+v", asked, l)
	}
	pledge := &ha.Pledge{Epoch: 2, Position: pgctl.Position{Timeline: 1, LSN: 0x500}}
	i.hear(1, ha.Report{Pledge: pledge})
	if l = i.round(); l.Phase != pgctl.Recruiting {
		t.Fatalf("one of two is not enough: %+v", l)
	}
	i.hear(2, ha.Report{Pledge: pledge})
	if l = i.round(); l.Phase != pgctl.Promoting || l.Leader != "bbbbbbbb" {
		t.Fatalf("both pledged: %+v", l)
	}
}

func TestALeaderThatItsMembersSeeWorkingStays(t *testing.T) {
	i := install(t)
	i.everybody()
	for range 50 {
		sees := &ha.Probe{Leader: "aaaaaaaa", Epoch: 1, Progress: true}
		i.hear(1, ha.Report{Probe: sees})
		i.hear(2, ha.Report{})
		if l := i.round(); l.Phase != pgctl.Steady || l.Revision != 1 {
			t.Fatalf("a daemon that is upgraded moves the leader: %+v", l)
		}
	}
}

func TestALostLifeIsLetGoThenReplaced(t *testing.T) {
	i := install(t)
	i.everybody()
	i.hear(2, ha.Report{State: ha.Absent, LifeLost: "its data directory is gone"})
	l := i.round()
	if !slices.Equal(l.Rule.Lost, []pgctl.Life{"cccccccc"}) || l.Rule.Names("cccccccc") {
		t.Fatalf("the rule still names it: %+v", l.Rule)
	}
	if life := i.group.now.instances[2].Life; life != "dddddddd" {
		t.Fatalf("its instance has the life %s", life)
	}
}

func TestARefusedProposalIsMadeAgain(t *testing.T) {
	i := install(t)
	i.everybody()
	i.group.refuse = true
	i.hear(0, ha.Report{State: ha.Down, Primary: true, Failed: "its Postgres is gone"})
	if l := i.round(); l.Epoch != 1 {
		t.Fatalf("committed although refused: %+v", l)
	}
	i.group.refuse = false
	if l := i.round(); l.Phase != pgctl.Recruiting {
		t.Fatalf("not decided again: %+v", l)
	}
}

func TestARequestIsAnsweredWhenItIsCommitted(t *testing.T) {
	i := install(t)
	i.everybody()
	r := &request{ask: ha.Request{To: "bbbbbbbb"}, answer: make(chan error, 1)}
	i.node.requests["shop"] = r
	i.group.refuse = true
	i.round()
	if len(r.answer) > 0 {
		t.Fatal("answered although nothing was committed")
	}
	i.group.refuse = false
	if l := i.round(); l.Planned == nil || l.Planned.To != "bbbbbbbb" {
		t.Fatalf("the switchover did not begin: %+v", l)
	}
	if err := <-r.answer; err != nil {
		t.Fatal(err)
	}
	r = &request{ask: ha.Request{To: "cccccccc"}, answer: make(chan error, 1)}
	i.node.requests["shop"] = r
	i.round()
	if err := <-r.answer; pgctl.CodeOf(err) != pgctl.CodeConflict {
		t.Fatalf("a second one is refused, not %v", err)
	}
}
