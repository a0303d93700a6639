package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// Options are what a walk is like.
type Options struct {
	Seed      uint64
	Instances int
	Acks      int // as declared
	Strict    bool
	Chaos     time.Duration              // for how long bad things happen
	Pace      time.Duration              // mean time between two of them
	Writes    time.Duration              // mean time between two commits
	Faults    []Fault                    // that may happen
	Calm      bool                       // only such as must not move the leader
	Lazy      int                        // one in so many processes takes long to follow a reload
	Replay    int                        // records that are replayed at a time, at most
	Loss      int                        // percent of datagrams
	Lease     bool                       // what protects is time, and clocks drift
	Lasting   Lasting                    // what does not heal
	Barred    int                        // the instance of that number, from 1, may not lead
	Rewind    time.Duration              // that a rewind takes at least
	Trace     bool                       // keep a history that people can read
	Watch     func(ha.View, ha.Decision) // is told of every decision that is about to be committed
}

const servers = 3 // hosts with a vote: the first ones

// World is everything there is, at one moment. It has no clock but its own, and no other state.
type World struct {
	Options
	now      time.Duration
	rng      rand.PCG
	queue    queue
	order    uint64
	hosts    []host
	raft     raft
	conns    []conn
	messages []message
	free     []int32
	archived map[pgctl.Timeline][]record // only where a bug has standbys restore from it
	cut      [8][8]bool                  // from, to
	slow     [8]time.Duration
	rules    []rule

	records     uint32
	pids        uint64
	connections uint64
	lives       int
	turns       uint64
	replayPace  int
	lazy        int
	heard       [1]ha.Report // scratch
	seen        []ha.Member  // scratch
	dark        int          // the host without power for ever, from 1
	broken      int          // the host that does not heal, from 1
	walLoss     int
	talks       bool

	oracle  oracle
	Tally   Tally
	history []string
}

// New is a world in which a cluster runs well.
func New(o Options) *World {
	w := &World{
		Options: o, rng: *rand.NewPCG(o.Seed, 4), talks: o.Trace, replayPace: max(1, o.Replay), lazy: max(1, o.Lazy),
		rules: []rule{{}, {acks: 1}}, now: 100 * time.Second,
	}
	w.Tally = NewTally()
	w.Tally.Walks = 1
	for h := range max(o.Instances, servers) {
		w.hosts = append(w.hosts, newHost(h))
	}
	w.settle()
	for h := range w.hosts {
		w.boot(h)
	}
	w.after(0, evRaft, 0, 0, 0)
	w.after(w.wait(o.Writes), evWrite, 0, 0, 0)
	w.after(w.wait(o.Pace), evNemesis, 0, 0, 0)
	return w
}

// settle makes the cluster that the walk begins with: the first instance leads, the others follow it.
func (w *World) settle() {
	var instances []pgctl.Instance
	var standbys []pgctl.Life
	for h := range w.Instances {
		i := pgctl.Instance{
			Name: w.hosts[h].instance, Cluster: cluster, Ordinal: h, Host: w.hosts[h].name, Life: w.newLife(h), Wanted: pgctl.WantRunning,
		}
		instances = append(instances, i)
		if h > 0 && len(standbys) < w.Instances-1 {
			standbys = append(standbys, i.Life)
		}
	}
	mode := pgctl.Quorum
	if w.Lease {
		mode = pgctl.Lease
	}
	l := ha.Found(cluster, mode, instances[0].Life)
	if w.n(8) > 0 {
		l.Phase, l.SteadyEpoch, l.SystemID, l.Serving = pgctl.Steady, 1, systemID, true
		l.History = []pgctl.TimelineRecord{{Timeline: 1, Epoch: 1, Leader: l.Leader, State: pgctl.TimelineSteady}}
		if w.Acks > 0 && !w.Lease {
			l.Rule = pgctl.Rule{Leader: l.Leader, Standbys: standbys, Acks: w.Acks, Version: 7}
		}
		first := w.newRecord(1)
		for h := range w.Instances {
			w.hosts[h].founded(instances[h], first, h == 0)
		}
	}
	w.raft.commit(state{leadership: l, instances: instances})
}

// Run lets time pass until then, or until something is found to be wrong.
func (w *World) Run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until && w.oracle.violation == "" {
		e := w.queue.pop()
		w.now = e.at
		w.Tally.Events++
		w.handle(e)
	}
	w.now = max(w.now, until)
}

// after lets something happen later.
func (w *World) after(d time.Duration, k kind, where int, what int32, mark uint64) {
	w.order++
	w.queue.push(event{at: w.now + d, order: w.order, kind: k, where: int8(where), what: what, mark: mark})
}

// n draws a number below n.
func (w *World) n(n int) int {
	if n <= 1 {
		return 0
	}
	return int(w.rng.Uint64() % uint64(n))
}

// soon is how long a small local thing takes; now and then the machine is busy.
func (w *World) soon() time.Duration {
	r := w.rng.Uint64()
	if r%64 == 0 && !w.Calm {
		return time.Duration(r>>32%400) * time.Millisecond
	}
	return time.Duration(500+r>>32%6000) * time.Microsecond
}

// wait draws a time around a mean.
func (w *World) wait(mean time.Duration) time.Duration {
	return mean/4 + time.Duration(w.rng.Uint64()%uint64(mean*3/2+1))
}

// latency is how long a packet travels.
func (w *World) latency() time.Duration {
	r := w.rng.Uint64()
	if r%128 == 0 && !w.Calm {
		return time.Duration(r>>32%300) * time.Millisecond
	}
	return time.Duration(200+r>>32%3000) * time.Microsecond
}

// reaches says whether packets from one host arrive at another.
func (w *World) reaches(from, to int) bool { return from == to || !w.cut[from][to] && w.hosts[to].up }

func (w *World) count(what string) { w.Tally.Counts[what]++ }

// say adds a line to the history.
func (w *World) say(h int, format string, args ...any) {
	if !w.talks {
		return
	}
	who := "        "
	if h >= 0 {
		who = fmt.Sprintf("host %d  ", h)
	}
	w.history = append(w.history, fmt.Sprintf("%9.3f %s%s", (w.now-100*time.Second).Seconds(), who, fmt.Sprintf(format, args...)))
}

// History is what happened, one line each, if the walk was to keep it.
func (w *World) History() []string { return w.history }

// Violation is what was found to be wrong, or "".
func (w *World) Violation() string { return w.oracle.violation }
