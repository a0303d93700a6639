package node

import (
	"context"
	"fmt"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// learn keeps, in the store, what silence of each host means its failure: too little patience costs every
// user of its leaders a failover that nobody needed, too much costs time when one is needed.
func (c *controller) learn(ctx context.Context, state State) {
	ended := c.node.Observer.silences()
	if len(ended) == 0 && c.node.Clock()-c.forgot < time.Minute {
		return
	}
	c.forgot = c.node.Clock()
	for host := range state.Hosts() {
		detect := max(host.Detect, ha.DetectLeast)
		next, events := detect, []pgctl.Event(nil)
		if s, silent := ended[host.Name]; silent {
			next, events = c.lesson(state, host, s)
		} else if c.node.Wall().Sub(host.Learned) >= ha.DetectMemory {
			next = ha.Forget(detect)
		}
		if key := "host " + host.Name; next != detect && c.claim(key) {
			c.propose(ctx, key, func(ctx context.Context) error {
				return c.node.Proposer.LearnHost(ctx, host.Name, next, events)
			})
		}
	}
}

// lesson is what a silence of a host that leads, or led until that silence, teaches.
func (c *controller) lesson(state State, host pgctl.Host, s ha.Silence) (time.Duration, []pgctl.Event) {
	next, events := max(host.Detect, ha.DetectLeast), []pgctl.Event(nil)
	for i := range state.InstancesOf(host.Name) {
		l, led := state.Leadership(i.Cluster)
		r, _ := c.node.Observer.report(host.Name, i.Name, c.started)
		leads := led && l.Phase == pgctl.Steady && l.Leader == i.Life
		moved := led && !leads && r.Life == i.Life && r.Primary && r.State == ha.Running
		if !leads && !moved {
			continue
		}
		learned, falsely := ha.Learn(next, s, moved)
		if next = learned; falsely {
			events = append(events, pgctl.Event{
				Severity: pgctl.Warning, Cluster: i.Cluster, Instance: i.Name, Host: host.Name, Epoch: l.Epoch, Kind: "failover.false",
				Message: fmt.Sprintf("%s served on all the time while its host was not heard for %s; from now on %s of silence mean that %s has failed",
					i.Name, s.Length.Round(ha.Tick), next.Round(ha.Tick), host.Name),
			})
		}
	}
	return next, events
}
