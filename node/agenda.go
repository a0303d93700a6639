package node

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// sweepEvery is how often every cluster is looked at, whether or not anything is known to have changed; in
// large installations less often, since one round looks at sweepBudget of them at most.
const (
	sweepEvery  = time.Second
	sweepBudget = 50
)

// roundBudget bounds how many clusters one round looks at without news of them. When thousands wait for
// something at the same time (a data center is gone) they come in turn, and the others are not held up.
const roundBudget = 300

// agenda says which clusters a round of the controller looks at. Those in which something is going on
// come every time, the many others in turn: an installation of thousands at rest costs little.
type agenda struct {
	order     []string          // all clusters
	revisions map[string]uint64 // of their declarations, as last seen
	listed    time.Duration     // on the node's clock: when order was made
	cursor    int
	restless  map[string]bool // the last look found something to do or to wait for

	lastWaiting string // the last of them that came in turn
}

func newAgenda() agenda {
	return agenda{revisions: map[string]uint64{}, restless: map[string]bool{}}
}

// round looks at the clusters that are due.
func (c *controller) round(ctx context.Context) {
	state := c.node.Store.State()
	c.list(state)
	c.learn(ctx, state)
	for name := range c.due(state) {
		if cluster, ok := state.Cluster(name); ok && c.claim(name) {
			c.consider(ctx, state, cluster)
		}
	}
}

// due are the clusters that this round looks at.
func (c *controller) due(state State) map[string]bool {
	a, due := &c.agenda, map[string]bool{}
	waiting := maps.Clone(a.restless)
	for instance := range c.node.Observer.takeNews() {
		due[instance[:max(strings.LastIndexByte(instance, '-'), 0)]] = true
	}
	for host, age := range c.node.Observer.Hosts() {
		if age <= ha.Fresh {
			continue
		}
		for i := range state.InstancesOf(host) {
			waiting[i.Cluster] = true
		}
	}
	a.inTurn(waiting, due)
	for _, name := range c.node.requested() {
		due[name] = true
	}
	for range min(len(a.order), len(a.order)/int(sweepEvery/ha.Tick)+1, sweepBudget) {
		a.cursor = (a.cursor + 1) % len(a.order)
		due[a.order[a.cursor]] = true
	}
	return due
}

// inTurn moves those that wait to those that are due, as many as a round may look at, beginning after the
// last one that it moved.
func (a *agenda) inTurn(waiting, due map[string]bool) {
	names := slices.Sorted(maps.Keys(waiting))
	from, found := slices.BinarySearch(names, a.lastWaiting)
	if found {
		from++
	}
	for n := range min(len(names), roundBudget) {
		a.lastWaiting = names[(from+n)%len(names)]
		due[a.lastWaiting] = true
	}
}

// list makes the list of all clusters anew when one may have been declared, changed or purged.
func (c *controller) list(state State) {
	a := &c.agenda
	if now := c.node.Clock(); !c.node.declared.Swap(false) && a.order != nil && now-a.listed < sweepEvery {
		return
	}
	a.listed, a.order = c.node.Clock(), a.order[:0]
	for cluster := range state.Clusters() {
		a.order = append(a.order, cluster.Name)
		if a.revisions[cluster.Name] != cluster.Revision {
			a.revisions[cluster.Name], a.restless[cluster.Name] = cluster.Revision, true
		}
	}
	if len(a.order) == len(a.revisions) {
		return
	}
	for name := range a.revisions {
		if _, there := slices.BinarySearch(a.order, name); !there {
			delete(a.revisions, name)
			delete(a.restless, name)
			delete(c.clusters, name)
		}
	}
}

// calm says whether there is nothing that the next round should look at again.
func calm(v ha.View, d ha.Decision) bool {
	return v.Leadership.Phase == pgctl.Steady && v.Leadership.NextRule == nil && v.Leadership.Serving && d.Waiting == "" &&
		v.Request == nil
}
