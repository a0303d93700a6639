package node

import (
	"context"
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/node/rollout"
)

// roll restarts what waits for a restart, one server at a time, while the cluster is well.
func (c *controller) roll(ctx context.Context, state State, cluster string, v ha.View) {
	l := v.Leadership
	if l.Phase != pgctl.Steady || l.NextRule != nil || !l.Serving || l.Paused || v.Request != nil {
		return
	}
	instances := slices.Collect(state.Instances(cluster))
	declared, _ := state.Cluster(cluster)
	var members []rollout.Member
	for i, m := range v.Members {
		r := m.Report
		members = append(members, rollout.Member{
			Instance: m.Instance, Leader: m.Life == l.Leader, Pending: len(r.Pending) > 0 || instances[i].Due != "",
			InPlace: r.InPlace || instances[i].Due == pgctl.DueInPlace,
			Well: m.Age <= ha.Fresh && r.State == ha.Running && r.Applied == declared.Revision && // it says what it waits for
				(m.Life == l.Leader && r.Open || r.Upstream == m.Life.MemberName(l.Epoch)),
			Restarting: instances[i].Restart != r.Restarted,
		})
	}
	switch next := rollout.Decide(members); next.Kind {
	case rollout.Restart:
		c.propose(ctx, cluster, func(ctx context.Context) error { return c.restart(ctx, instances, next.Instance) })
	case rollout.Switchover:
		c.propose(ctx, cluster, func(ctx context.Context) error { return c.handOver(ctx, instances, next.Instance) })
	case rollout.Nothing:
	}
}

// handOver has another instance lead, on which the leader restarts anyway: none is due any more.
func (c *controller) handOver(ctx context.Context, instances []pgctl.Instance, leader string) error {
	for _, i := range instances {
		if i.Name != leader {
			continue
		}
		if i.Due != "" {
			i.Due = ""
			if err := c.node.Proposer.SetInstances(ctx, i.Cluster, []pgctl.Instance{i}, nil, nil); err != nil {
				return err
			}
		}
		c.node.mu.Lock()
		if c.node.requests[i.Cluster] == nil {
			c.node.requests[i.Cluster] = &request{ask: ha.Request{Why: "the rolling restart goes on with a switchover"}, answer: make(chan error, 1)}
		}
		c.node.mu.Unlock()
	}
	return nil
}

func (c *controller) restart(ctx context.Context, instances []pgctl.Instance, name string) error {
	for _, i := range instances {
		if i.Name != name {
			continue
		}
		why := "settings wait for it"
		if i.Due != "" {
			why = "an operator ordered it"
		}
		i.Restart, i.Due = i.Restart+1, ""
		return c.node.Proposer.SetInstances(ctx, i.Cluster, []pgctl.Instance{i}, nil, []pgctl.Event{{
			Severity: pgctl.Info, Cluster: i.Cluster, Instance: i.Name, Host: i.Host, Kind: "instance.restart",
			Message: i.Name + " restarts: " + why,
		}})
	}
	return nil
}
