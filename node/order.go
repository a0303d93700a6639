package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// Order is what an operator asks of a cluster besides a change of leadership, as it travels between daemons.
type Order struct {
	Cluster  string    `json:"cluster"`
	Do       string    `json:"do"`                 // pause, resume, reload, restart, reinit, switchover (with At), cancel
	Instance string    `json:"instance,omitempty"` // restart, reinit: which; switchover: who is to lead
	Rolling  bool      `json:"rolling,omitempty"`  // restart: a leader hands over first
	Pending  bool      `json:"pending,omitempty"`  // restart: only what has settings that wait for it
	At       time.Time `json:"at,omitzero"`        // restart, switchover: not before
}

// Order carries an order out, or sees to it that it will be. It works on the Raft leader only; elsewhere it
// fails with pgctl.CodeUnavailable.
func (n *Node) Order(ctx context.Context, o Order) error {
	if err := n.leads(); err != nil {
		return err
	}
	state := n.Store.State()
	instances := slices.Collect(state.Instances(o.Cluster))
	switch {
	case o.Instance != "" && !slices.ContainsFunc(instances, func(i pgctl.Instance) bool { return i.Name == o.Instance }):
		return pgctl.Errorf(pgctl.CodeNotFound, "cluster %s has no instance %q", o.Cluster, o.Instance).At("instance")
	case !o.At.IsZero() && !o.At.After(n.Wall()):
		return pgctl.Errorf(pgctl.CodeInvalid, "%s is over", o.At.UTC().Format(time.RFC3339)).At("at").WithHint("leave it out to have it done at once")
	}
	ask := ha.Request{}
	switch paused := o.Do == "pause"; {
	case o.Do == "pause" || o.Do == "resume":
		ask.Pause = &paused
	case o.Do == "cancel":
		ask.Schedule = &pgctl.Scheduled{}
	case !o.At.IsZero() && (o.Do == "switchover" || o.Do == "restart"):
		ask.Schedule = &pgctl.Scheduled{Do: pgctl.Task(o.Do), Rolling: o.Rolling, Pending: o.Pending, At: o.At.UTC().Truncate(time.Second)}
		for _, i := range instances {
			if i.Name == o.Instance {
				ask.Schedule.To = i.Life
			}
		}
	case o.Do == "restart":
		return n.due(ctx, o)
	case o.Do == "reinit":
		return n.reinit(ctx, o)
	case o.Do == "reload":
		return n.reload(ctx, state, instances)
	default:
		return pgctl.Errorf(pgctl.CodeInvalid, "there is no order %q", o.Do).At("do")
	}
	return n.submit(ctx, o.Cluster, &request{ask: ask, answer: make(chan error, 1)})
}

func (n *Node) serveOrder(ctx context.Context, _ string, body json.RawMessage) (any, error) {
	var o Order
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable order: %v", err)
	}
	return struct{}{}, n.Order(ctx, o)
}

// due notes which instances are to restart; the controller does it, one at a time.
func (n *Node) due(ctx context.Context, o Order) error {
	reports := n.Observer.Reports()
	kind := pgctl.DueInPlace
	if o.Rolling {
		kind = pgctl.DueRolling
	}
	var put []pgctl.Instance
	for i := range n.Store.State().Instances(o.Cluster) {
		waits := len(reports[i.Name].Report.Pending) > 0
		if i.Wanted == pgctl.WantRunning && (o.Instance == "" || o.Instance == i.Name) && (waits || !o.Pending) {
			i.Due = kind
			put = append(put, i)
		}
	}
	if len(put) == 0 {
		return pgctl.Errorf(pgctl.CodeConflict, "nothing of %s waits for a restart", o.Cluster)
	}
	return n.Proposer.SetInstances(ctx, o.Cluster, put, nil, []pgctl.Event{{
		Severity: pgctl.Info, Cluster: o.Cluster, Instance: o.Instance, Kind: "restart.ordered",
		Message: fmt.Sprintf("an operator ordered a restart of %d instances, %s", len(put), kind),
	}})
}

// reinit notes that an instance is to be copied anew. The rule lets go of it first, as of one that leaves.
func (n *Node) reinit(ctx context.Context, o Order) error {
	state := n.Store.State()
	l, _ := state.Leadership(o.Cluster)
	for i := range state.Instances(o.Cluster) {
		switch {
		case i.Name != o.Instance:
			continue
		case l.Leader == i.Life || l.Phase != pgctl.Steady:
			return pgctl.Errorf(pgctl.CodeConflict, "%s leads, or nobody does: its data is what the others are copied from", i.Name).
				WithHint("pgctl switchover %s first", o.Cluster)
		case i.Reinit:
			return pgctl.Errorf(pgctl.CodeConflict, "%s is about to be copied anew already", i.Name)
		}
		i.Reinit = true
		return n.Proposer.SetInstances(ctx, o.Cluster, []pgctl.Instance{i}, nil, []pgctl.Event{{
			Severity: pgctl.Warning, Cluster: o.Cluster, Instance: i.Name, Host: i.Host, Kind: "reinit.ordered",
			Message: "an operator ordered that " + i.Name + " is copied anew",
		}})
	}
	return pgctl.Errorf(pgctl.CodeInvalid, "which instance is to be copied anew?").At("instance")
}

// reload has every running server of a cluster read its files again.
func (n *Node) reload(ctx context.Context, state State, instances []pgctl.Instance) error {
	var failed []error
	for _, i := range instances {
		host, known := state.Host(i.Host)
		if !known || i.Wanted != pgctl.WantRunning {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, sourceTimeout)
		if err := n.Peers.Call(bounded, host.API, "reload", i.Name, nil); err != nil {
			failed = append(failed, pgctl.Errorf(pgctl.CodeUnavailable, "%s: %v", i.Name, err))
		}
		cancel()
	}
	return errors.Join(failed...)
}

// serveReload has one server of this host read its files again.
func (n *Node) serveReload(ctx context.Context, _ string, body json.RawMessage) (any, error) {
	return n.doAt(ctx, body, ha.Reload)
}

// reinits are lives that an operator wants to go, and that nobody counts on any more.
func reinits(l pgctl.Leadership, v ha.View, instances []pgctl.Instance) (lives []pgctl.Life) {
	leader := find(v.Members, l.Leader)
	if l.Phase != pgctl.Steady || leader == nil || leader.Age > ha.Fresh {
		return nil
	}
	for _, i := range instances {
		named := i.Life == l.Leader || i.Life == l.Rule.Leader || ha.Joint(ha.Binding(&l), l.RuleInForce()).Names(i.Life)
		if i.Reinit && !named {
			lives = append(lives, i.Life)
		}
	}
	return lives
}

// fire submits what is scheduled when its time has come; true when there was something to do. It is taken
// off the schedule first: an order that comes twice is worse than one that has to be given again.
func (c *controller) fire(ctx context.Context, name string, l pgctl.Leadership, instances []pgctl.Instance) bool {
	s := l.Scheduled
	if s == nil || c.node.Wall().Before(s.At) {
		return false
	}
	next := l
	next.Scheduled = nil
	c.propose(ctx, name, func(ctx context.Context) error {
		err := c.node.Proposer.SetLeadership(ctx, l, next, []pgctl.Event{{
			Severity: pgctl.Info, Cluster: name, Epoch: l.Epoch, Kind: "schedule.due", Message: fmt.Sprintf("the scheduled %s begins", s.Do),
		}})
		if err != nil {
			return err
		}
		if s.Do == pgctl.TaskRestart {
			return c.node.due(ctx, Order{Cluster: name, Rolling: s.Rolling, Pending: s.Pending})
		}
		c.node.checkpoint(ctx, l, instances)
		c.node.mu.Lock()
		defer c.node.mu.Unlock()
		if c.node.requests[name] == nil {
			c.node.requests[name] = &request{ask: ha.Request{To: s.To}, answer: make(chan error, 1), unattended: true}
		}
		return nil
	})
	return true
}
