package node

import (
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// picture is a State of one cluster.
type picture struct {
	cluster    pgctl.Cluster
	leadership pgctl.Leadership
	instances  []pgctl.Instance
	hosts      []pgctl.Host
}

func (p picture) Clusters() iter.Seq[pgctl.Cluster] { return slices.Values([]pgctl.Cluster{p.cluster}) }

func (p picture) Cluster(name string) (pgctl.Cluster, bool) { return p.cluster, name == p.cluster.Name }

func (p picture) Leadership(string) (pgctl.Leadership, bool) {
	return p.leadership, p.leadership.Epoch > 0
}

func (p picture) Instances(string) iter.Seq[pgctl.Instance] { return slices.Values(p.instances) }

func (p picture) InstancesOf(string) iter.Seq[pgctl.Instance] { return slices.Values(p.instances[:0]) }

func (p picture) Hosts() iter.Seq[pgctl.Host] { return slices.Values(p.hosts) }

func (p picture) Host(name string) (pgctl.Host, bool) {
	for _, h := range p.hosts {
		if h.Name == name {
			return h, true
		}
	}
	return pgctl.Host{}, false
}

func (p picture) Index() uint64 { return p.leadership.Revision }

// leased is a lease cluster that shop-0 on host one leads.
func leased() picture {
	return picture{
		cluster:    pgctl.Cluster{Name: "shop"},
		leadership: pgctl.Leadership{Cluster: "shop", Mode: pgctl.Lease, Epoch: 3, Phase: pgctl.Steady, Leader: "aaaaaaaa"},
		instances:  []pgctl.Instance{{Name: "shop-0", Cluster: "shop", Host: "one", Life: "aaaaaaaa", Wanted: pgctl.WantRunning}},
		hosts:      []pgctl.Host{{Name: "one"}},
	}
}

func leaderWord() ha.Report {
	r := word("shop-0")
	r.Epoch = 3
	return r
}

func TestOnlyTheSteadyLeaderRenews(t *testing.T) {
	for name, spoil := range map[string]func(o *Observer, p *picture){
		"a recruitment":          func(_ *Observer, p *picture) { p.leadership.Phase = pgctl.Recruiting },
		"a newer epoch":          func(_ *Observer, p *picture) { p.leadership.Epoch = 4 },
		"another leader":         func(_ *Observer, p *picture) { p.leadership.Leader = "bbbbbbbb" },
		"a quorum cluster":       func(_ *Observer, p *picture) { p.leadership.Mode = pgctl.Quorum },
		"another life's beat":    func(_ *Observer, p *picture) { p.instances[0].Life = "bbbbbbbb"; p.leadership.Leader = "bbbbbbbb" },
		"silence of the host":    func(o *Observer, _ *picture) { pass(o, time.Second) },
		"silence about the life": func(o *Observer, _ *picture) { pass(o, time.Second); o.hear("one", 8, nil) },
	} {
		o, p := observer(), leased()
		o.hear("one", 7, []ha.Report{leaderWord()})
		spoil(o, &p)
		if got := o.renewals(p); len(got) != 0 {
			t.Errorf("%s: renewed %v", name, got)
		}
	}
	o := observer()
	o.hear("one", 7, []ha.Report{leaderWord()})
	if got := o.renewals(leased()); got["one"].number != 7 || got["one"].leases["shop"] != 3 {
		t.Errorf("the leader's beat renews: %v", got)
	}
}

func TestAGrantIsForTheBeatBeforeTheRound(t *testing.T) {
	o, p := observer(), leased()
	o.hear("one", 7, []ha.Report{leaderWord()})
	renewals := o.renewals(p)
	o.hear("one", 8, []ha.Report{leaderWord()}) // during the round
	pass(o, 300*time.Millisecond)
	o.granted(renewals, p)
	if a := o.answerTo("one"); a == nil || a.Granted != 7 || a.Leases["shop"] != 3 {
		t.Errorf("answered %+v", a)
	}
	pass(o, time.Second)
	if age := o.leaseAge("shop", 0); age != time.Second {
		t.Errorf("the controller counts from the grant, not %s", age)
	}
	if age := o.leaseAge("shop", o.punctual()); age != 0 {
		t.Errorf("a new Raft leader counts a full lease from its election, not %s", age)
	}
	o.Restart()
	if a := o.answerTo("one"); a != nil {
		t.Errorf("a grant outlives an election: %+v", a)
	}
}

func TestNothingIsGrantedOnceRecruitingBegan(t *testing.T) {
	o, p := observer(), leased()
	o.hear("one", 7, []ha.Report{leaderWord()})
	renewals := o.renewals(p)
	p.leadership.Phase, p.leadership.Epoch = pgctl.Recruiting, 4
	o.granted(renewals, p)
	if a := o.answerTo("one"); a != nil && len(a.Leases) > 0 {
		t.Errorf("granted %+v", a)
	}
}

// TestALeaseHoldsFromSending: from when the beat was sent, not from when the answer came; and not for an
// epoch before the one that was granted.
func TestALeaseHoldsFromSending(t *testing.T) {
	var clock atomic.Int64
	clock.Store(int64(boot))
	file := filepath.Join(t.TempDir(), "leases.json")
	n := New(Config{Host: "one", Boot: "boot", LeaseFile: file, Clock: func() time.Duration { return time.Duration(clock.Load()) }, Log: slog.New(slog.DiscardHandler)})
	n.sent = []sentBeat{{number: 7, at: pgctl.Instant{Boot: "boot", Up: boot}}, {number: 8, at: pgctl.Instant{Boot: "boot", Up: boot + time.Second}}}
	say := func(a answer) {
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		n.Answered(text)
	}
	left := func(at time.Duration, epoch pgctl.Epoch) time.Duration {
		clock.Store(int64(at))
		return n.leaseLeft("shop", epoch)
	}
	say(answer{Granted: 7, Leases: map[string]pgctl.Epoch{"shop": 3}})
	if got := left(boot+2*time.Second, 3); got != ha.LeaseTime-2*time.Second {
		t.Errorf("2 s after sending %s are left", got)
	}
	for bootID, want := range map[string]time.Duration{"boot": ha.LeaseTime - 2*time.Second, "another": 0} {
		restarted := New(Config{Host: "one", Boot: bootID, LeaseFile: file, Clock: n.Clock})
		if got := restarted.leaseLeft("shop", 3); got != want {
			t.Errorf("a daemon started again in boot %q has %s left, not %s", bootID, got, want)
		}
	}
	if got := left(boot+2*time.Second, 4); got != ha.LeaseTime-2*time.Second {
		t.Errorf("resumed in the next epoch %s are left", got)
	}
	if got := left(boot+2*time.Second, 2); got != 0 {
		t.Errorf("an older epoch has %s left", got)
	}
	say(answer{Granted: 8, Leases: map[string]pgctl.Epoch{"shop": 3}})
	say(answer{Granted: 7, Leases: map[string]pgctl.Epoch{"shop": 3}}) // late: it does not shorten
	if got := left(boot+2*time.Second, 3); got != ha.LeaseTime-time.Second {
		t.Errorf("renewed a second later, %s are left", got)
	}
	say(answer{Granted: 99, Leases: map[string]pgctl.Epoch{"shop": 3}}) // a beat that this process never sent
	say(answer{Leases: map[string]pgctl.Epoch{"shop": 3}})
	n.Answered([]byte("not JSON"))
	if got := left(boot+ha.LeaseTime+2*time.Second, 3); got != 0 {
		t.Errorf("over, but %s are left", got)
	}
}

// outvoted is a server that believes to lead, and whom no majority hears any more.
type outvoted struct{ *group }

func (outvoted) Verify(context.Context) error {
	return pgctl.Errorf(pgctl.CodeUnavailable, "no majority answers")
}

func TestADeposedServerGrantsNothing(t *testing.T) {
	for _, deposed := range []bool{false, true} {
		g := &group{now: leased()}
		n := New(Config{Host: "one", Store: g, Quorum: g, Log: slog.New(slog.DiscardHandler), Clock: func() time.Duration { return boot }})
		if deposed {
			n.Quorum = outvoted{g}
		}
		n.Observer.hear("one", 7, []ha.Report{leaderWord()})
		n.grantRound(t.Context())
		if granted := len(n.Observer.grants) > 0; granted == deposed {
			t.Errorf("deposed %v: granted %v", deposed, granted)
		}
	}
}
