package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/node/placement"
)

// assign says what to change about which host carries which instance of a cluster; nil for nothing.
func (c *controller) assign(state State, cluster pgctl.Cluster, l pgctl.Leadership, led bool) func(context.Context) error {
	instances := slices.Collect(state.Instances(cluster.Name))
	if put := c.wanted(cluster, instances); len(put) > 0 {
		return func(ctx context.Context) error {
			return c.node.Proposer.SetInstances(ctx, cluster.Name, put, nil, nil)
		}
	}
	if cluster.Deleted != nil && c.node.Wall().After(cluster.Deleted.At.Add(cluster.Deleted.Keep)) {
		return func(ctx context.Context) error { return c.node.Proposer.Purge(ctx, cluster.Name) }
	}
	if cluster.Deleted != nil || cluster.Spec.Instances == 0 {
		return nil
	}
	settled, leaving := census(cluster, instances, led)
	if settled {
		c.noteUnplaced(cluster.Name, nil)
		return nil
	}
	if gone := removable(l, leaving, c.node.Observer.Reports()); len(gone) > 0 {
		return func(ctx context.Context) error {
			return c.node.Proposer.SetInstances(ctx, cluster.Name, nil, gone, nil)
		}
	}
	if led && l.Phase != pgctl.Steady {
		return nil // one thing at a time
	}
	plan, err := placement.Place(placement.Request{
		Cluster: cluster, Instances: instances, Leader: leaderName(l, instances), Hosts: c.candidates(state),
	})
	c.noteUnplaced(cluster.Name, err)
	switch {
	case len(plan.Add) > 0:
		return c.add(cluster, plan, led)
	case len(plan.Remove) > 0:
		return c.leave(cluster.Name, instances, plan.Remove)
	case !led && len(instances) > 0:
		return c.found(cluster, instances)
	}
	return nil
}

// census says whether a cluster has the instances that it asks for and no others, and which of them
// are leaving.
func census(cluster pgctl.Cluster, instances []pgctl.Instance, led bool) (settled bool, leaving []pgctl.Instance) {
	for _, i := range instances {
		if i.Wanted == pgctl.WantRemoved {
			leaving = append(leaving, i)
		}
	}
	return led && len(leaving) == 0 && len(instances) == cluster.Spec.Instances, leaving
}

// wanted are the instances whose wanted state has to follow the declaration.
func (c *controller) wanted(cluster pgctl.Cluster, instances []pgctl.Instance) (put []pgctl.Instance) {
	want := pgctl.WantRunning
	if cluster.Deleted != nil || cluster.Spec.Instances == 0 {
		want = pgctl.WantStopped
	}
	for _, i := range instances {
		if i.Wanted != want && i.Wanted != pgctl.WantRemoved {
			i.Wanted = want
			put = append(put, i)
		}
	}
	return put
}

// removable are leaving instances that no rule names any more and whose server is down, or whose host
// has been silent for so long that nobody waits for it. What is left there is kept aside.
func removable(l pgctl.Leadership, leaving []pgctl.Instance, reports map[string]Heard) (gone []string) {
	for _, i := range leaving {
		named := i.Life == l.Leader || i.Life == l.Rule.Leader || ha.Joint(ha.Binding(&l), l.RuleInForce()).Names(i.Life)
		heard := reports[i.Name]
		state, current := heard.Report.State, heard.Report.Life == i.Life && heard.Host == i.Host
		stopped := current && heard.Age <= ha.Fresh && (state == ha.Down || state == ha.Absent)
		if !named && (stopped || heard.Host != "" && heard.Age > ha.DetectMost) {
			gone = append(gone, i.Name)
		}
	}
	return gone
}

func leaderName(l pgctl.Leadership, instances []pgctl.Instance) string {
	for _, i := range instances {
		if i.Life == l.Leader && l.Leader != "" {
			return i.Name
		}
	}
	return ""
}

// candidates are the hosts as placement sees them.
func (c *controller) candidates(state State) []placement.Host {
	ages, loads := c.node.Observer.Hosts(), hostLoads(state)
	var hosts []placement.Host
	for h := range state.Hosts() {
		age, heard := ages[h.Name]
		hosts = append(hosts, placement.Host{Host: h, Alive: heard && age <= ha.DetectMost, Instances: loads[h.Name]})
	}
	return hosts
}

// noteUnplaced keeps, for status, why instances could not be placed.
func (c *controller) noteUnplaced(cluster string, err error) {
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	if err == nil {
		delete(c.node.unplaced, cluster)
		return
	}
	c.node.unplaced[cluster] = err.Error()
}

func (c *controller) add(cluster pgctl.Cluster, plan placement.Plan, led bool) func(context.Context) error {
	if !led && c.node.Clock() < c.node.settleUntil() {
		return nil // the hosts of a young group are still being heard for the first time
	}
	return func(ctx context.Context) error {
		var put []pgctl.Instance
		var events []pgctl.Event
		for _, a := range plan.Add {
			i := pgctl.Instance{
				Name: fmt.Sprintf("%s-%d", cluster.Name, a.Ordinal), Cluster: cluster.Name, Ordinal: a.Ordinal, Host: a.Host,
				Life: c.node.NewLife(), Wanted: pgctl.WantRunning,
			}
			put = append(put, i)
			events = append(events, pgctl.Event{
				Severity: pgctl.Info, Cluster: cluster.Name, Instance: i.Name, Host: i.Host, Kind: "instance.placed",
				Message: i.Name + " is placed on " + i.Host,
			})
		}
		return c.node.Proposer.SetInstances(ctx, cluster.Name, put, nil, events)
	}
}

// leave marks instances for removal; the rule lets go of them first.
func (c *controller) leave(cluster string, instances []pgctl.Instance, remove []string) func(context.Context) error {
	return func(ctx context.Context) error {
		var put []pgctl.Instance
		for _, i := range instances {
			if slices.Contains(remove, i.Name) {
				i.Wanted = pgctl.WantRemoved
				put = append(put, i)
			}
		}
		return c.node.Proposer.SetInstances(ctx, cluster, put, nil, nil)
	}
}

// found creates the leadership of a new cluster: its first instance on a host in contact makes the
// first data directory.
func (c *controller) found(cluster pgctl.Cluster, instances []pgctl.Instance) func(context.Context) error {
	ages := c.node.Observer.Hosts()
	for _, i := range instances {
		if age, heard := ages[i.Host]; heard && age <= ha.Fresh {
			next := ha.Found(cluster.Name, cluster.Spec.Durability.Mode, i.Life)
			return func(ctx context.Context) error {
				return c.node.Proposer.SetLeadership(ctx, pgctl.Leadership{Cluster: cluster.Name}, next, []pgctl.Event{{
					Severity: pgctl.Info, Cluster: cluster.Name, Instance: i.Name, Host: i.Host, Epoch: 1, Kind: "cluster.founded",
					Message: i.Name + " makes the first data directory",
				}})
			}
		}
	}
	return nil
}
