package node

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

const (
	lookTimeout = time.Second
	retryAfter  = time.Second // a failed step is tried again
	tendEvery   = time.Second // between two rounds of upkeep while nothing changes
)

// agent looks after one life of one instance of this host.
type agent struct {
	node    *Node
	self    pgctl.Instance
	server  LocalServer
	log     *slog.Logger
	wake    chan struct{}
	ask     chan struct{} // a server asks for a proof of the leader
	stop    context.CancelFunc
	done    chan struct{}
	running context.Context // of everything the agent does; ends with it
	calls   sync.WaitGroup
	tending chan struct{} // holds a token while the upkeep runs

	// of the loop alone
	doing    *operation
	failed   time.Duration // on the node's clock: when a step failed last
	problem  string        // what it said
	trouble  trouble
	lossTold bool          // that its life is lost
	tended   upkeep        // what the last upkeep was about
	tendedAt time.Duration // on the node's clock
	lost     error         // after it only a fresh copy helps
	acked    time.Duration // on the node's clock: when so many members streamed last that commits could return
	source   ha.Sourcing
	waits    fetch

	mu       sync.Mutex // guards what others read
	report   ha.Report
	observed Observed
	told     time.Duration // when the report was last sent as news
	proven   time.Duration // on the node's clock: when the server last proved its health
	full     bool          // its disk had no room at the last proof
	frozen   bool          // its postmaster was stopped by a signal then
	probe    *ha.Probe
	probed   time.Duration
	vouching vouching
}

// manageAgents keeps one agent for each life that is assigned to this host.
func (n *Node) manageAgents(ctx context.Context) {
	defer n.stopAgents()
	n.awaitStore(ctx)
	for ctx.Err() == nil {
		state := n.Store.State()
		wanted := map[string]pgctl.Instance{}
		for i := range state.InstancesOf(n.Host) {
			wanted[i.Name] = i
		}
		n.retire(wanted)
		for _, i := range wanted {
			n.employ(ctx, i, state)
		}
		waiting, cancel := context.WithTimeout(ctx, time.Second)
		if n.Store.Wait(waiting, "", state.Index()) == nil { // a time-out only means another look
			n.declared.Store(true)
			poke(n.ticks)
		}
		cancel()
	}
}

// awaitStore waits until the local copy of the state has everything that was committed before this
// daemon started: on an older one a former leader would be started as the leader that it was.
func (n *Node) awaitStore(ctx context.Context) {
	for ctx.Err() == nil {
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		err := n.Store.Linearize(bounded)
		cancel()
		if err == nil {
			return
		}
		n.Log.Debug("waits for the store", "error", err)
		pause(ctx, 50*time.Millisecond, nil)
	}
}

// retire ends agents whose instance, or whose life of it, is no longer assigned here.
func (n *Node) retire(wanted map[string]pgctl.Instance) {
	n.mu.Lock()
	var gone []*agent
	for name, a := range n.agents {
		if i, ok := wanted[name]; !ok || i.Life != a.self.Life {
			gone = append(gone, a)
			delete(n.agents, name)
		}
	}
	n.mu.Unlock()
	for _, a := range gone {
		a.stop()
		<-a.done
	}
}

// employ is called by one goroutine only. A former life may have to be stopped first, which takes its
// time; the host's heartbeats go on meanwhile.
func (n *Node) employ(ctx context.Context, i pgctl.Instance, state State) {
	n.mu.Lock()
	employed := n.agents[i.Name] != nil
	n.mu.Unlock()
	cluster, declared := state.Cluster(i.Cluster)
	if employed || !declared {
		return
	}
	log := n.Log.With("instance", i.Name, "life", i.Life)
	server, err := n.NewServer(i, cluster)
	if err != nil {
		log.Error("cannot look after the instance", "error", err)
		return
	}
	running, stop := context.WithCancel(ctx)
	a := &agent{
		node: n, self: i, server: server, log: log, wake: make(chan struct{}, 1), ask: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
		running: running, tending: make(chan struct{}, 1), proven: n.Clock(), vouching: vouching{at: n.lastVouch()},
	}
	n.mu.Lock()
	n.agents[i.Name] = a
	n.mu.Unlock()
	go a.run(running)
}

func (n *Node) stopAgents() {
	n.retire(nil)
}

// run is the agent's loop; what it starts ends before it does.
func (a *agent) run(ctx context.Context) {
	defer close(a.done)
	var beside sync.WaitGroup
	beside.Go(func() { a.watch(ctx) })
	beside.Go(func() { a.watchServer(ctx) })
	beside.Go(func() { a.prove(ctx) })
	beside.Go(func() { a.lookAtLeader(ctx) })
	beside.Go(func() { a.askMembers(ctx) })
	for {
		rest := a.turn(ctx)
		if rest >= ha.Tick {
			rest = a.node.until(rest)
		}
		if !pause(ctx, rest, a.wake) {
			break
		}
	}
	a.abandon()
	beside.Wait()
	a.calls.Wait()
	if err := a.server.Close(); err != nil {
		a.log.Warn("closing the agent's sessions", "error", err)
	}
}

// watch wakes the loop when something about the cluster changed.
func (a *agent) watch(ctx context.Context) {
	index := a.node.Store.State().Index()
	for ctx.Err() == nil {
		if a.node.Store.Wait(ctx, a.self.Cluster, index) == nil {
			index = a.node.Store.State().Index()
			poke(a.wake)
		}
	}
}

// watchServer wakes the loop at the end of a postmaster, whoever ended it.
func (a *agent) watchServer(ctx context.Context) {
	for ctx.Err() == nil {
		if a.server.AwaitEnd(ctx) {
			poke(a.wake)
		}
		pause(ctx, a.node.until(tendEvery), nil)
	}
}

// turn is one round: observe, decide, act, report. It says when to look again.
func (a *agent) turn(ctx context.Context) time.Duration {
	state := a.node.Store.State()
	leadership, led := state.Leadership(a.self.Cluster)
	cluster, declared := state.Cluster(a.self.Cluster)
	if !led || !declared {
		return ha.Heartbeat
	}
	a.outdate(leadership)
	looking, cancel := context.WithTimeout(ctx, lookTimeout)
	seen := a.server.Observe(looking)
	cancel()
	view, hosts := a.view(state, leadership, seen)
	a.collect(&view)
	if seen.State == ha.Running && a.trouble.do == ha.Start {
		a.problem = ""
		a.managed(ha.Start)
	}
	steps := ha.Act(view)
	a.publish(view, seen)
	task := Task{
		View: view, Cluster: cluster, Hosts: hosts, Until: a.node.leaseEnd(a.self.Cluster, leadership.Epoch),
		Tell: func() { poke(a.wake) },
	}
	if len(steps) == 0 {
		a.supersede(nil)
		a.tend(task)
		return pace(view, a.doing != nil)
	}
	a.supersede(steps)
	if a.failed != 0 && a.node.Clock()-a.failed < retryAfter {
		return slowLook
	}
	if len(steps) > 1 && steps[0].Do == ha.MakeSlots { // also while a rule is being confirmed: a member may need its slot for that
		task.Step = steps[0]
		if err := a.server.Do(ctx, task); err != nil {
			a.complain(task, err)
		} else {
			a.managed(task.Do)
		}
		steps = steps[1:]
	}
	if a.doing == nil {
		task.Step = steps[0]
		a.begin(ctx, task)
	}
	return pace(view, true)
}

// view gathers what Act decides on.
func (a *agent) view(state State, l pgctl.Leadership, seen Observed) (ha.InstanceView, map[string]pgctl.Host) {
	v := ha.InstanceView{
		Self: a.self, Leadership: l, Local: seen.Local, Server: seen.Server,
		StoreAge: a.node.Store.Age(), Lease: a.node.leaseLeft(a.self.Cluster, l.Epoch),
		Held: a.node.heldLease(a.self.Cluster, l),
	}
	hosts := map[string]pgctl.Host{}
	for i := range state.Instances(a.self.Cluster) {
		v.Members = append(v.Members, i)
		if i.Name == a.self.Name {
			v.Self = i
		}
		if host, ok := state.Host(i.Host); ok {
			hosts[i.Host] = host
		}
	}
	if a.doing != nil && !a.doing.task.Yields() {
		v.Server.Busy = string(a.doing.task.Do)
	}
	if now := a.node.Clock(); a.acked == 0 || !seen.Open || seen.Acknowledged(l) {
		a.acked = now
	} else {
		v.Unacked = now - a.acked
	}
	a.fetchSource(&v, hosts)
	cluster, _ := state.Cluster(a.self.Cluster)
	a.applyTags(&v, cluster.Spec.Tags, hosts)
	return v, hosts
}

// begin starts a step beside the loop.
func (a *agent) begin(ctx context.Context, task Task) {
	running, cancel := context.WithCancel(ctx)
	op := &operation{task: task, cancel: cancel, done: make(chan error, 1), began: a.node.Clock()}
	a.doing = op
	a.renounce(task.View.Leadership.Epoch)
	a.log.Info("step", "do", task.Do, "why", task.Why, "epoch", task.View.Leadership.Epoch)
	go func() {
		op.done <- a.server.Do(running, task)
		poke(a.wake)
	}()
}

// collect takes the result of a finished operation.
func (a *agent) collect(v *ha.InstanceView) {
	if a.doing == nil {
		return
	}
	select {
	case err := <-a.doing.done:
		a.doing.cancel()
		task := a.doing.task
		a.log.Info("step ended", "do", task.Do, "took", a.node.Clock()-a.doing.began)
		a.doing = nil
		v.Server.Busy = "looking again" // this view was observed before the step ended
		poke(a.wake)
		if err != nil {
			a.complain(task, err)
			return
		}
		a.failed = 0
		if task.Do != ha.Start { // that counts when its server was seen to run
			a.problem = ""
			a.managed(task.Do)
		}
	default:
	}
}

func (a *agent) complain(task Task, err error) {
	a.failed, a.problem = a.node.Clock(), err.Error()
	if _, ok := errors.AsType[CopyNeeded](err); ok {
		a.lost = err
	}
	a.log.Warn("step failed", "do", task.Do, "error", err)
	a.troubled(task.Do, err)
}

// upkeep is what the upkeep depends on; when it changes it does not wait for its turn.
type upkeep struct {
	revision uint64
	epoch    pgctl.Epoch
	open     bool
}

func upkeepOf(task Task) upkeep {
	return upkeep{task.Cluster.Revision, task.View.Leadership.Epoch, task.View.Server.Open}
}

// tend does the upkeep that is not about leadership beside the loop, one at a time, while there is
// nothing else to do.
func (a *agent) tend(task Task) {
	now, about := a.node.Clock(), upkeepOf(task)
	if task.View.Leadership.Phase != pgctl.Steady && about != a.tended { // an election needs the processors, and mostly ends sooner
		a.tended, a.tendedAt = about, now
	}
	if a.doing != nil || task.View.Server.State != ha.Running || a.failed != 0 && now-a.failed < retryAfter ||
		about == a.tended && now-a.tendedAt < tendEvery {
		return
	}
	select {
	case a.tending <- struct{}{}:
	default:
		return
	}
	a.tended, a.tendedAt = about, now
	a.calls.Go(func() {
		defer func() { <-a.tending }()
		bounded, cancel := context.WithTimeout(a.running, time.Minute)
		defer cancel()
		if err := a.server.Tend(bounded, task); err != nil && a.running.Err() == nil {
			a.log.Warn("upkeep failed", "error", err)
		}
	})
}

// serveSource tells a member about the data of the leader that it is to follow.
func (n *Node) serveSource(ctx context.Context, _ string, body json.RawMessage) (any, error) {
	var ask struct {
		Instance string
		Epoch    pgctl.Epoch
	}
	if err := json.Unmarshal(body, &ask); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable request: %v", err)
	}
	n.mu.Lock()
	a := n.agents[ask.Instance]
	n.mu.Unlock()
	if a == nil {
		return nil, pgctl.Errorf(pgctl.CodeNotFound, "no instance %s here", ask.Instance)
	}
	return a.asSource(ctx, ask.Epoch)
}
