package node

import (
	"fmt"
	"iter"
	"log/slog"
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
	if first := round(); len(first) != 1000 {
		t.Fatalf("a new controller looks at %d of 1000", len(first))
	}
	clear(c.agenda.restless) // nothing was found in any of them
	seen := map[string]bool{}
	for range 10 {
		due := round()
		if len(due) > 110 {
			t.Fatalf("%d clusters in one round, all at rest", len(due))
		}
		for name := range due {
			seen[name] = true
		}
	}
	if len(seen) != 1000 {
		t.Errorf("within a second %d of 1000 were looked at", len(seen))
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
