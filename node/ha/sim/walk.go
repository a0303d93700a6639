package sim

import (
	"math/rand/v2"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// Bound is within which time after everything healed a cluster has to take writes again: 30 s beyond
// what is replayed, rewound or copied meanwhile, which takes a few seconds here.
const Bound = 45 * time.Second

// Draw are the options of a seed. Each walk leaves some faults out, so that the others meet more often.
func Draw(seed uint64) Options {
	r := rand.New(rand.NewPCG(seed, 2))
	o := Options{
		Seed: seed, Instances: []int{3, 3, 3, 2, 2, 4, 5}[r.IntN(7)], Strict: r.IntN(6) == 0,
		Chaos: time.Duration(8+r.IntN(25)) * time.Second, Pace: time.Duration(250+r.IntN(3000)) * time.Millisecond,
		Writes: []time.Duration{40, 40, 150, 800, 5000}[r.IntN(5)] * time.Millisecond,
		Lazy:   []int{1000, 30, 4}[r.IntN(3)], Replay: []int{100, 5, 1}[r.IntN(3)], Loss: []int{0, 0, 0, 5, 30}[r.IntN(5)],
	}
	o.Acks = o.Instances / 2
	if r.IntN(8) == 0 {
		o.Acks = r.IntN(o.Instances)
	}
	if seed%12 == 0 {
		o.Instances = max(o.Instances, 3) // of two, one has lost its leader when a link is cut
		o.Acks = o.Instances / 2
		o.Calm, o.Faults, o.Loss = true, []Fault{calm[r.IntN(len(calm))]}, 0
		o.Pace, o.Chaos = 20*time.Second, time.Duration(20+r.IntN(40))*time.Second
		return o
	}
	leave := r.IntN(80) + 10 // percent
	for _, f := range Faults() {
		likely := r.IntN(100) >= leave
		if rare := f == HandPromotion || f == LossyFailover || f == DiskLoss || f == DataLoss || f == Pause; rare {
			likely = likely && r.IntN(4) == 0
		}
		often := []int{1, 1, 2, 4, 8}[r.IntN(5)] // beside the others
		if f == PowerLoss || f == PostgresKill || f == Freeze || f == Isolate || f == Split || f == Switchover {
			often *= 3 // they end leaderships
		}
		for range often {
			if likely {
				o.Faults = append(o.Faults, f)
			}
		}
	}
	return o
}

// Walk runs a world until it was bad for long enough, heals it, and waits until it takes writes again.
func Walk(o Options) *World {
	w := New(o)
	start := w.now
	w.Run(start + o.Chaos)
	if w.Violation() != "" {
		return w
	}
	w.heal()
	healed := w.now
	for w.now < healed+Bound {
		w.Run(w.now + 500*time.Millisecond)
		if w.Violation() != "" {
			return w
		}
		if w.oracle.last > healed && w.well() {
			w.Tally.Healed(w.now - healed)
			return w
		}
	}
	if why := w.hopeless(); why != "" {
		w.count("no leader, rightly: " + why)
		return w
	}
	w.violate("I3: %s after everything healed nothing is acknowledged; %s", Bound, w.hosts[max(0, w.raft.leader)].controller.waiting)
	return w
}

// well says whether there is a leader that takes writes, with everything that was acknowledged.
func (w *World) well() bool {
	l := w.raft.now().leadership
	h := w.raft.now().hostOf(l.Leader)
	if l.Phase != pgctl.Steady || h < 0 || !w.hosts[h].pg.primary {
		return false
	}
	w.lacking(h, l)
	return true
}

// hopeless says why nothing automatic may make the cluster write again, or "": too many of those that
// may have acknowledged have lost their data.
func (w *World) hopeless() string {
	now := w.raft.now()
	l := now.leadership
	if l.Phase == pgctl.Unknown {
		return "the store is behind"
	}
	intact := ha.Lives{}
	standing := 0
	for h := range w.Instances {
		x := &w.hosts[h]
		if x.pg.exists && x.pg.life == now.life(h) && !x.pg.rewinding && x.agent.lost == "" && !w.foreign(h) {
			intact[now.life(h)] = true
			standing++
		}
	}
	switch {
	case !ha.Enough(ha.Binding(&l), intact):
		return "too few have their data"
	case w.Strict && standing-1 < w.Acks:
		return "strict, and too few are left"
	}
	return ""
}

// foreign says whether an instance is on a timeline that was not given to it, or to nobody.
func (w *World) foreign(h int) bool {
	x := &w.hosts[h]
	timeline, l := x.pg.log.at(x.pg.log.end()), w.raft.now().leadership
	_, given := l.Record(timeline)
	return timeline > x.disk.local.Mark || !given
}
