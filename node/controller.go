package node

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// controller is what runs on the Raft leader. Nothing that it remembers matters for safety.
type controller struct {
	node     *Node
	clusters map[string]*ha.Memory
	agenda   agenda
	started  time.Duration // punctual time of its election
	forgot   time.Duration // on the node's clock: when it looked last what to forget about hosts
	working  sync.WaitGroup

	mu   sync.Mutex
	busy map[string]bool // clusters with a proposal under way
}

func newController(n *Node) *controller {
	return &controller{
		node: n, clusters: map[string]*ha.Memory{}, agenda: newAgenda(), busy: map[string]bool{}, started: n.Observer.punctual(),
	}
}

// control runs a controller for as long as this daemon is the Raft leader.
func (n *Node) control(ctx context.Context) {
	var c *controller
	for pause(ctx, n.until(ha.Tick), n.ticks) {
		n.Observer.tick(n.Clock())
		switch leads := n.Quorum.IsLeader(); {
		case leads && c == nil:
			n.Observer.Restart()
			c = newController(n)
			n.Log.Info("this daemon decides now: it leads the Raft group")
		case !leads && c != nil:
			c.working.Wait()
			n.refuseRequests()
			c = nil
		}
		if c != nil {
			c.round(ctx)
		}
	}
	if c != nil {
		c.working.Wait()
	}
}

// claim says whether nothing is being proposed about the cluster.
func (c *controller) claim(cluster string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.busy[cluster]
}

// consider decides about one cluster and proposes beside the loop, so that a slow commit of one does
// not delay the others.
func (c *controller) consider(ctx context.Context, state State, cluster pgctl.Cluster) {
	leadership, led := state.Leadership(cluster.Name)
	c.agenda.restless[cluster.Name] = true // until this look finds nothing to do
	if plan := c.assign(state, cluster, leadership, led); plan != nil {
		c.propose(ctx, cluster.Name, plan)
		return
	}
	if !led || cluster.Deleted != nil {
		return
	}
	m := c.clusters[cluster.Name]
	if m == nil {
		m = ha.NewMemory(c.node.Observer.punctual())
		c.clusters[cluster.Name] = m
	}
	instances := slices.Collect(state.Instances(cluster.Name))
	if c.fire(ctx, cluster.Name, leadership, instances) {
		return
	}
	view := c.view(state, cluster, leadership, m)
	decision := ha.Decide(view)
	c.tellRefusal(cluster.Name, &decision)
	decision.Replace = append(decision.Replace, reinits(leadership, view, instances)...)
	c.node.noteDecision(cluster.Name, view, decision)
	if decision.Next == nil {
		c.node.answerRequest(cluster.Name, decision)
	}
	if err := ha.Check(view, decision); err != nil {
		text, _ := json.Marshal(view) // for debug replay; views have no secrets
		c.node.Log.Error("a decision was refused", "error", err, "view", string(text))
		return
	}
	for _, life := range decision.Ask {
		if member := find(view.Members, life); member != nil {
			c.node.Observer.ask(member.Host, cluster.Name)
		}
	}
	m.Remember(view, decision)
	if decision.Next == nil && len(decision.Replace) == 0 && len(decision.Events) > 0 {
		c.propose(ctx, cluster.Name, func(ctx context.Context) error {
			return c.node.Proposer.SetInstances(ctx, cluster.Name, nil, nil, decision.Events)
		})
		return
	}
	if decision.Next == nil && len(decision.Replace) == 0 {
		c.roll(ctx, state, cluster.Name, view)
		if calm(view, decision) {
			delete(c.agenda.restless, cluster.Name)
		}
		return
	}
	old := leadership
	c.propose(ctx, cluster.Name, func(ctx context.Context) error {
		if decision.Next != nil {
			if err := c.node.Proposer.SetLeadership(ctx, old, *decision.Next, decision.Events); err != nil {
				return err
			}
			c.node.answerRequest(cluster.Name, decision) // not earlier: what was not committed is not begun
		}
		return c.replace(ctx, cluster.Name, decision.Replace)
	})
}

// tellRefusal makes an event of it that something scheduled was refused.
func (c *controller) tellRefusal(cluster string, d *ha.Decision) {
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	if why := c.node.refused[cluster]; why != nil {
		delete(c.node.refused, cluster)
		d.Events = append(d.Events, pgctl.Event{
			Severity: pgctl.Warning, Cluster: cluster, Kind: "schedule.refused", Message: "what was scheduled is refused: " + why.Error(),
		})
	}
}

// propose runs one proposal; the next round follows when it is done.
func (c *controller) propose(ctx context.Context, cluster string, work func(context.Context) error) {
	c.mu.Lock()
	c.busy[cluster] = true
	c.mu.Unlock()
	c.working.Go(func() {
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := work(bounded); err != nil && ctx.Err() == nil {
			c.node.Log.Info("a decision was not committed; it is made again", "cluster", cluster, "error", err)
		}
		c.mu.Lock()
		delete(c.busy, cluster)
		c.mu.Unlock()
		poke(c.node.ticks)
	})
}

// replace gives instances whose data is lost new lives, to be copied anew.
func (c *controller) replace(ctx context.Context, cluster string, lives []pgctl.Life) error {
	var put []pgctl.Instance
	var events []pgctl.Event
	for i := range c.node.Store.State().Instances(cluster) {
		if slices.Contains(lives, i.Life) {
			old := i.Life
			i.Life, i.Reinit, i.Due = c.node.NewLife(), false, ""
			put = append(put, i)
			events = append(events, pgctl.Event{
				Severity: pgctl.Warning, Cluster: cluster, Instance: i.Name, Host: i.Host, Kind: "instance.replaced",
				Message: i.Name + " is copied anew; the old data directory (life " + string(old) + ") is kept beside",
			})
		}
	}
	if len(put) == 0 {
		return nil
	}
	return c.node.Proposer.SetInstances(ctx, cluster, put, nil, events)
}

// acksOf is how many standbys a commit should wait for: those for which none may wait do not count, and
// across data centers only those count that are not in the leader's.
func acksOf(state State, cluster pgctl.Cluster, l pgctl.Leadership) int {
	d, n := cluster.Spec.Durability, cluster.Spec.Instances
	lead, center := l.Leader, ""
	if lead == "" {
		lead = l.Rule.Leader
	}
	elsewhere, centers := 0, map[string]int{}
	for i := range state.Instances(cluster.Name) {
		if t := cluster.Spec.Tags[i.Name]; i.Life != lead && t.Follows() {
			n--
			continue
		}
		host, _ := state.Host(i.Host)
		centers[host.DataCenter]++
		if i.Life == lead {
			center = host.DataCenter
		}
	}
	for name, here := range centers {
		if name != center {
			elsewhere += here
		}
	}
	if d.AcrossDataCenters && d.Mode == pgctl.Quorum && elsewhere > 0 {
		return (elsewhere + 1) / 2
	}
	return d.Acks(n)
}

// view gathers what Decide decides on.
func (c *controller) view(state State, cluster pgctl.Cluster, l pgctl.Leadership, m *ha.Memory) ha.View {
	d := cluster.Spec.Durability
	v := ha.View{
		Declared: ha.Declared{
			Acks: acksOf(state, cluster, l), Strict: d.Strict, Across: d.AcrossDataCenters, Mode: d.Mode,
			Instances: cluster.Spec.Instances, MaximumLag: d.MaximumLag,
		},
		Leadership: l,
		Request:    c.node.requestOf(cluster.Name),
		LeaseAge:   c.node.Observer.leaseAge(cluster.Name, c.started),
	}
	for i := range state.Instances(cluster.Name) {
		host, _ := state.Host(i.Host)
		report, age := c.node.Observer.report(i.Host, i.Name, c.started)
		v.Members = append(v.Members, ha.Member{
			Instance: i.Name, Host: i.Host, DataCenter: host.DataCenter, Life: i.Life, Leaving: i.Wanted == pgctl.WantRemoved || i.Reinit,
			Report: report, Age: age, Detect: host.Detect, Tags: cluster.Spec.Tags[i.Name],
		})
	}
	m.Complete(&v, c.node.Observer.punctual(), c.node.Observer.began())
	return v
}

func find(members []ha.Member, life pgctl.Life) *ha.Member {
	for i := range members {
		if members[i].Life == life {
			return &members[i]
		}
	}
	return nil
}

// serveView is the struct on which leadership is decided, for pgctl debug view.
func (n *Node) serveView(_ context.Context, _ string, body json.RawMessage) (any, error) {
	var name string
	if err := json.Unmarshal(body, &name); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable request: %v", err)
	}
	return n.View(name)
}

// Decided is a View and what was decided on it.
type Decided struct {
	View     ha.View     `json:"view"`
	Decision ha.Decision `json:"decision"`
}

// noteDecision keeps the last decision that changed something, and what the cluster waits for now.
func (n *Node) noteDecision(cluster string, v ha.View, d ha.Decision) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d.Next != nil || len(d.Replace) > 0 {
		n.decided[cluster] = Decided{v, d}
	}
	n.waiting[cluster] = d.Waiting
}

// Waiting is why a cluster is not as it should be, as the controller here last saw it; "" for nothing.
func (n *Node) Waiting(cluster string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if why := n.unplaced[cluster]; why != "" {
		return why
	}
	return n.waiting[cluster]
}

// View is the last View on which this daemon changed a cluster's leadership, with the decision; before
// the first change, what it would decide on now. Only the Raft leader has one.
func (n *Node) View(name string) (Decided, error) {
	if err := n.leads(); err != nil {
		return Decided{}, err
	}
	n.mu.Lock()
	last, decided := n.decided[name]
	n.mu.Unlock()
	if decided {
		return last, nil
	}
	state := n.Store.State()
	cluster, ok := state.Cluster(name)
	l, led := state.Leadership(name)
	if !ok || !led {
		return Decided{}, pgctl.Errorf(pgctl.CodeNotFound, "there is no cluster %q with a leadership", name)
	}
	c := &controller{node: n}
	v := c.view(state, cluster, l, ha.NewMemory(0))
	return Decided{v, ha.Decide(v)}, nil
}

// hostLoads counts the instances of every host.
func hostLoads(state State) map[string]int {
	loads := map[string]int{}
	for cluster := range state.Clusters() {
		for i := range state.Instances(cluster.Name) {
			loads[i.Host]++
		}
	}
	return loads
}
