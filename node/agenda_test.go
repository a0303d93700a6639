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
	a, waiting := newAgenda(), map[string]bool{}
	for n := range 2*roundBudget + 1 {
		waiting[fmt.Sprintf("cluster-%04d", n)] = true
	}
	seen := map[string]bool{}
	for range 3 {
		due := map[string]bool{}
		a.inTurn(waiting, due)
		if len(due) != roundBudget {
			t.Fatalf("a round looks at %d", len(due))
		}
		maps.Copy(seen, due)
	}
	if len(seen) != len(waiting) {
		t.Errorf("three rounds looked at %d of %d", len(seen), len(waiting))
	}
	few, due := map[string]bool{"a": true, "b": true}, map[string]bool{}
	if a.inTurn(few, due); len(due) != 2 {
		t.Errorf("of two that wait %d come", len(due))
	}
}
