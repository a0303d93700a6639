// Package node is the daemon. On every host it runs one agent for each assigned instance: observe,
// decide (node/ha), act, report in a heartbeat. On the Raft leader it runs the controllers, which
// re-derive everything from the replicated state and fresh heartbeats. It sees the store, Postgres and
// the network through the small interfaces declared here; cmd/pgctl wires them.
package node

import (
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// State is a picture of the replicated state at one moment.
type State interface {
	Clusters() iter.Seq[pgctl.Cluster]
	Cluster(name string) (pgctl.Cluster, bool)
	Leadership(cluster string) (pgctl.Leadership, bool)
	Instances(cluster string) iter.Seq[pgctl.Instance]
	InstancesOf(host string) iter.Seq[pgctl.Instance]
	Hosts() iter.Seq[pgctl.Host]
	Host(name string) (pgctl.Host, bool)
	Index() uint64
}

// Store gives pictures of the replicated state, and waits for newer ones.
type Store interface {
	State() State
	// Wait returns when something about the cluster, or about anything for "", is newer than index.
	Wait(ctx context.Context, cluster string, index uint64) error
	// Age is the time since a server of the store was known to be reachable.
	Age() time.Duration
	// Linearize returns when State has everything that was committed before the call.
	Linearize(ctx context.Context) error
}

// Quorum is this daemon's part in the Raft group.
type Quorum interface {
	IsLeader() bool
	Verify(ctx context.Context) error // one round: still the leader?
}

// Proposer commits changes. Each is compared with what it was decided on, and fails with
// pgctl.CodeConflict when that has changed.
type Proposer interface {
	SetLeadership(ctx context.Context, old, next pgctl.Leadership, events []pgctl.Event) error
	SetInstances(ctx context.Context, cluster string, put []pgctl.Instance, remove []string, events []pgctl.Event) error
	LearnHost(ctx context.Context, host string, detect time.Duration, events []pgctl.Event) error
	Purge(ctx context.Context, cluster string) error
}

// Server is one local PostgreSQL instance.
type Server interface {
	// Observe looks once, cheaply, and within its context whatever the server does.
	Observe(ctx context.Context) Observed
	// Do carries one step out. It is safe to repeat.
	Do(ctx context.Context, task Task) error
	// Tend does what is not about leadership: configuration, slots, users and databases.
	Tend(ctx context.Context, task Task) error
}

// Prober looks for signs of life on paths of their own.
type Prober interface {
	Prove(ctx context.Context) error                                 // of the own server
	ProbeLeader(ctx context.Context, host string, port int) ha.Probe // of the leader, as a member
}

// LocalServer is what one instance needs of its host.
type LocalServer interface {
	Server
	Prober
	// NoteListed notes durably which leader said that it will ask this instance before it goes on by itself.
	NoteListed(ctx context.Context, leader pgctl.Life) error
	// AwaitEnd waits for the end of the postmaster that runs; false when that cannot be waited for, or ctx ended.
	AwaitEnd(ctx context.Context) bool
	Close() error
}

// Peers calls the daemons of other hosts.
type Peers interface {
	Call(ctx context.Context, address, method string, in, out any) error
}

// Beats sends heartbeats.
type Beats interface {
	Send(payloads [][]byte, targets []netip.AddrPort) (number uint64, err error)
}

// Observed is what a look at an instance shows.
type Observed = ha.Observed

// Task is a step and everything it may need.
type Task struct {
	ha.Step
	View    ha.InstanceView
	Cluster pgctl.Cluster
	Hosts   map[string]pgctl.Host
	Until   pgctl.Instant // the end of the lease by which the instance leads; the zero Instant for none
	Tell    func()        // has the agent look, and report, before the step's end; may be nil
}

// Config wires a node.
type Config struct {
	Host      string
	Store     Store
	Quorum    Quorum   // nil on an agent
	Proposer  Proposer // nil on an agent
	Peers     Peers
	NewServer func(pgctl.Instance, pgctl.Cluster) (LocalServer, error)
	NewLife   func() pgctl.Life
	Note      func(pgctl.Event) // records an event; it may take its time
	Boot      string            // id of this boot of the host
	LeaseFile string            // where leases outlive the daemon, not the boot
	// MoveDeadline tells the guard that a lease was renewed; nil: there is none. It must not block.
	MoveDeadline func(life pgctl.Life, epoch pgctl.Epoch, until pgctl.Instant)
	Clock        func() time.Duration // CLOCK_BOOTTIME of that boot
	Wall         func() time.Time     // dates only: when a deletion is final
	Log          *slog.Logger
}

// Node is a running daemon's heart. Create it with New, connect Beats, then Run it.
type Node struct {
	Config
	Observer *Observer
	beats    Beats
	wake     chan struct{} // a report changed: beat at once
	ticks    chan struct{} // something the controller should look at
	declared atomic.Bool   // a cluster was declared, changed or purged since the controller looked

	mu       sync.Mutex
	agents   map[string]*agent // by instance
	sent     []sentBeat        // the last beats, for leases
	leases   map[string]lease  // by cluster
	asked    map[string]bool   // clusters whose leader this host was asked to prove
	requests map[string]*request
	refused  map[string]error  // by cluster: why something scheduled was refused, until that is an event
	unplaced map[string]string // by cluster: why instances could not be placed
	waiting  map[string]string // by cluster: what the controller waits for
	decided  map[string]Decided
	started  time.Duration // on the own clock
}

// settleTime is how long a starting group listens before it places a first instance: hosts that have
// not spoken yet would be passed over.
const settleTime = 2 * ha.Fresh

func (n *Node) settleUntil() time.Duration { return n.started + settleTime }

// New makes a node; nothing runs yet.
func New(c Config) *Node {
	return &Node{
		Config: c, Observer: newObserver(), wake: make(chan struct{}, 1), ticks: make(chan struct{}, 1),
		agents: map[string]*agent{}, leases: findLeases(c.LeaseFile), asked: map[string]bool{}, requests: map[string]*request{}, refused: map[string]error{},
		unplaced: map[string]string{}, waiting: map[string]string{}, decided: map[string]Decided{}, started: c.Clock(),
	}
}

// Run works until ctx ends, then waits for everything it started. Postgres goes on.
func (n *Node) Run(ctx context.Context, beats Beats) {
	n.beats = beats
	var running sync.WaitGroup
	running.Go(func() { n.manageAgents(ctx) })
	running.Go(func() { n.beat(ctx) })
	if n.Quorum != nil {
		running.Go(func() { n.control(ctx) })
		running.Go(func() { n.grant(ctx) })
	}
	running.Wait()
}

// Methods are what this daemon answers to others.
func (n *Node) Methods() map[string]func(ctx context.Context, from string, body json.RawMessage) (any, error) {
	return map[string]func(context.Context, string, json.RawMessage) (any, error){
		"source":     n.serveSource,
		"checkpoint": n.serveCheckpoint,
		"reload":     n.serveReload,
		"order":      n.serveOrder,
		"vouch":      n.serveVouch,
		"request":    n.serveRequest,
		"view":       n.serveView,
	}
}

// poke wakes a loop that listens on a channel of capacity one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// until is how long to wait for the next multiple of a period. What idle daemons cost is being woken up, so
// everything that comes round does so in the same moments.
func (n *Node) until(period time.Duration) time.Duration { return period - n.Clock()%period }

// pause waits for d, a wake-up or the end of ctx; false at the end.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}
