package node

import (
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// fleet is a state with many clusters, each with one instance.
type fleet struct {
	State
	clusters []pgctl.Cluster
}

func (f *fleet) Clusters() iter.Seq[pgctl.Cluster] {
	return func(yield func(pgctl.Cluster) bool) {
		for _, c := range f.clusters {
			if !yield(c) {
				return
			}
		}
	}
}

func (f *fleet) InstancesOf(host string) iter.Seq[pgctl.Instance] {
	return func(yield func(pgctl.Instance) bool) {
		for i := range f.clusters {
			if i%100 == len(host) && !yield(pgctl.Instance{Cluster: f.clusters[i].Name}) {
				return
			}
		}
	}
}

// Of a thousand clusters at rest each is looked at once a second; those with something going on, with
// news, changed ones and those of a silent host come at once.
func TestOnlyWhatIsDueIsLookedAt(t *testing.T) {
	f := &fleet{}
	for i := range 1000 {
		f.clusters = append(f.clusters, pgctl.Cluster{Name: fmt.Sprintf("c%04d", i), Revision: 1})
	}
	clock := time.Hour
	n := New(Config{Host: "one", Clock: func() time.Duration { return clock }, Log: slog.New(slog.DiscardHandler)})
	c := newController(n)
	round := func() map[string]bool {
		clock += ha.Tick
		n.Observer.tick(clock)
		c.list(f)
		return c.due(f)
	}
	seen := map[string]bool{}
	for range 4 {
		maps.Copy(seen, round())
	}
	if len(seen) != 1000 {
		t.Fatalf("a new controller looks at %d of 1000 in its first rounds", len(seen))
	}
	clear(c.agenda.restless) // nothing was found in any of them
	clear(seen)
	for range 20 {
		due := round()
		if len(due) > sweepBudget {
			t.Fatalf("%d clusters in one round, all at rest", len(due))
		}
		maps.Copy(seen, due)
	}
	if len(seen) != 1000 {
		t.Errorf("within two seconds %d of 1000 were looked at", len(seen))
	}
	f.clusters[7].Revision = 2
	n.declared.Store(true)
	if !round()["c0007"] {
		t.Error("a changed declaration waits for its turn")
	}
	n.Observer.hear("h", 1, []ha.Report{{Instance: "c0500-0", Life: "aaaaaaaa"}})
	if !round()["c0500"] {
		t.Error("news wait for their turn")
	}
	for range 10 {
		round()
	}
	if due := round(); !due["c0001"] || !due["c0901"] {
		t.Error("the clusters of a silent host wait for their turn")
	}
	f.clusters = f.clusters[:500]
	n.declared.Store(true)
	if round(); len(c.agenda.revisions) != 500 {
		t.Errorf("%d clusters are remembered of 500", len(c.agenda.revisions))
	}
}

// TestThousandsThatWaitComeInTurn: a data center is gone, and more clusters wait than a round may look at.
func TestThousandsThatWaitComeInTurn(t *testing.T) {
	n := New(Config{Host: "one", Clock: func() time.Duration { return time.Hour }, Log: slog.New(slog.DiscardHandler)})
	c := newController(n)
	for n := range 2*roundBudget + 1 {
		c.agenda.restless[fmt.Sprintf("cluster-%04d", n)] = true
	}
	seen := map[string]bool{}
	for _, want := range []int{roundBudget, roundBudget, 1, roundBudget} {
		due := c.due(&fleet{})
		if len(due) != want {
			t.Fatalf("a round looks at %d, not %d", len(due), want)
		}
		maps.Copy(seen, due)
	}
	if len(seen) != len(c.agenda.restless) {
		t.Errorf("one lap looked at %d of %d", len(seen), len(c.agenda.restless))
	}
	clear(c.agenda.restless)
	for range 3 {
		c.due(&fleet{})
	}
	c.agenda.restless["a"], c.agenda.restless["b"] = true, true
	for range 2 {
		if due := c.due(&fleet{}); len(due) != 2 {
			t.Errorf("of two that wait %d come", len(due))
		}
	}
}
