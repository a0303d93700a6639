package node

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// sweepEvery is how often every cluster is looked at, whether or not anything is known to have changed.
const sweepEvery = time.Second

// agenda says which clusters a round of the controller looks at. Those in which something is going on
// come every time, the many others in turn: an installation of thousands at rest costs little.
type agenda struct {
	order     []string          // all clusters
	revisions map[string]uint64 // of their declarations, as last seen
	listed    time.Duration     // on the node's clock: when order was made
	cursor    int
	restless  map[string]bool // the last look found something to do or to wait for
}

func newAgenda() agenda {
	return agenda{revisions: map[string]uint64{}, restless: map[string]bool{}}
}

// round looks at the clusters that are due.
func (c *controller) round(ctx context.Context) {
	state := c.node.Store.State()
	c.list(state)
	for name := range c.due(state) {
		if cluster, ok := state.Cluster(name); ok && c.claim(name) {
			c.consider(ctx, state, cluster)
		}
	}
}

// due are the clusters that this round looks at.
func (c *controller) due(state State) map[string]bool {
	due := map[string]bool{}
	for name := range c.agenda.restless {
		due[name] = true
	}
	for instance := range c.node.Observer.takeNews() {
		due[instance[:max(strings.LastIndexByte(instance, '-'), 0)]] = true
	}
	for host, age := range c.node.Observer.Hosts() {
		if age <= ha.Fresh {
			continue
		}
		for i := range state.InstancesOf(host) {
			due[i.Cluster] = true
		}
	}
	for _, name := range c.node.requested() {
		due[name] = true
	}
	a := &c.agenda
	for range min(len(a.order), len(a.order)/int(sweepEvery/ha.Tick)+1) {
		a.cursor = (a.cursor + 1) % len(a.order)
		due[a.order[a.cursor]] = true
	}
	return due
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
