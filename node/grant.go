package node

import (
	"context"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// grant renews the leases of lease clusters: a renewal that arrived before a Raft quorum round began
// is granted when the round succeeded. A deposed or paused Raft leader grants nothing.
func (n *Node) grant(ctx context.Context) {
	for pause(ctx, n.until(ha.Heartbeat), nil) {
		if n.Quorum.IsLeader() {
			n.grantRound(ctx)
		}
	}
}

func (n *Node) grantRound(ctx context.Context) {
	state := n.Store.State()
	renewals := n.Observer.renewals(state)
	if len(renewals) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, time.Second)
	err := n.Quorum.Verify(bounded)
	cancel()
	if err == nil || planted.GrantedByDeposed.On() {
		n.Observer.granted(renewals, n.Store.State())
	}
}

// renewals are the beats, by host, that came from leaders of lease clusters.
func (o *Observer) renewals(state State) map[string]grant {
	renewals := map[string]grant{}
	for _, name := range o.leaseClusters(state) {
		l, led := state.Leadership(name)
		if !led || !l.ByLease() || l.Phase != pgctl.Steady && !planted.GrantedWhileRecruiting.On() {
			continue
		}
		for i := range state.Instances(name) {
			if i.Life == l.Leader || planted.GrantedWhileRecruiting.On() && i.Life == l.Rule.Leader {
				o.renew(renewals, i, l.Epoch)
			}
		}
	}
	return renewals
}

// leaseClusters are the names of all lease clusters. Of thousands of clusters there may be few, and the state
// is mostly that of the tick before.
func (o *Observer) leaseClusters(state State) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if index := state.Index(); o.leasedAt == 0 || o.leasedAt != index {
		o.leasedAt, o.leased = index, nil
		for cluster := range state.Clusters() {
			if l, led := state.Leadership(cluster.Name); led && l.ByLease() {
				o.leased = append(o.leased, cluster.Name)
			}
		}
	}
	return o.leased
}

func (o *Observer) renew(renewals map[string]grant, i pgctl.Instance, epoch pgctl.Epoch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.heard.Hosts()[i.Host]
	if h == nil || o.heard.Punctual()-h.Each[i.Name] > ha.Fresh || h.Reports[i.Name].Life != i.Life || h.Reports[i.Name].Epoch != epoch {
		return
	}
	g := renewals[i.Host]
	if g.leases == nil {
		g = grant{number: h.Number, leases: map[string]pgctl.Epoch{}}
	}
	g.leases[i.Cluster] = epoch
	renewals[i.Host] = g
}

// granted makes renewals part of the next answers, unless the cluster has left that epoch meanwhile.
// From here the controller counts the lease.
func (o *Observer) granted(renewals map[string]grant, state State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for host, g := range renewals {
		for cluster, epoch := range g.leases {
			if l, _ := state.Leadership(cluster); (l.Epoch != epoch || l.Phase != pgctl.Steady) && !planted.GrantedWhileRecruiting.On() {
				delete(g.leases, cluster)
				continue
			}
			o.leases[cluster] = o.heard.Punctual()
		}
		o.grants[host] = g
	}
}

// leaseAge is the time since the last renewal of a cluster's lease was granted.
func (o *Observer) leaseAge(cluster string, since time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.heard.Punctual() - max(o.leases[cluster], since)
}
