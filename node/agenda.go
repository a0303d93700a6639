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

	waiting []string // what waits for its turn in this lap
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
	for instance := range c.node.Observer.takeNews() {
		due[instance[:max(strings.LastIndexByte(instance, '-'), 0)]] = true
	}
	if len(a.waiting) == 0 { // they have all had their turn, which takes one round but in a disaster
		a.waiting = c.restless(state)
	}
	turn := min(len(a.waiting), roundBudget)
	for _, name := range a.waiting[:turn] {
		due[name] = true
	}
	a.waiting = a.waiting[turn:]
	for _, name := range c.node.requested() {
		due[name] = true
	}
	for range min(len(a.order), len(a.order)/int(sweepEvery/ha.Tick)+1, sweepBudget) {
		a.cursor = (a.cursor + 1) % len(a.order)
		due[a.order[a.cursor]] = true
	}
	return due
}

// restless are the clusters in which something is going on, or that have an instance on a silent host.
func (c *controller) restless(state State) []string {
	names := slices.Collect(maps.Keys(c.agenda.restless))
	for host, age := range c.node.Observer.Hosts() {
		if age <= ha.Fresh {
			continue
		}
		for i := range state.InstancesOf(host) {
			names = append(names, i.Cluster)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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
