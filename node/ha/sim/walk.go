package sim

import (
	"math/rand/v2"
	"slices"
	"strings"
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
		if rare := f == HandPromotion || f == LossyFailover || f == DiskLoss || f == DataLoss || f == OldData || f == Pause; rare {
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
	if r.IntN(6) == 0 {
		o.Lasting = Lasting(1 + r.IntN(int(lastings)-1))
	}
	if o.Lease = seed%10 == 5; o.Lease {
		o.Strict = false
	}
	if r.IntN(12) == 0 {
		o.Barred = 1 + r.IntN(o.Instances)
	}
	if r.IntN(12) == 0 {
		o.Rewind = time.Duration(5+r.IntN(15)) * time.Second
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
	healed, bound := w.now, Bound+2*o.Rewind
	if o.Lasting != Nothing {
		bound *= 2 // it has to be noticed first, and what is tried may fail first
	}
	for w.now < healed+bound {
		w.Run(w.now + 500*time.Millisecond)
		if w.Violation() != "" {
			return w
		}
		if w.oracle.last > healed && w.well() {
			w.Tally.Healed(w.now - healed)
			return w
		}
	}
	l := w.raft.now().leadership
	if leader := w.raft.now().hostOf(l.Leader); w.oracle.last > healed && leader >= 0 {
		if h := w.alone(leader, l); h >= 0 {
			w.violate("I3: %s after everything healed host %d does not follow host %d", bound, h, leader)
		}
		return w
	}
	if why := w.hopeless(); why != "" {
		w.count("no leader, rightly: " + why)
		return w
	}
	w.violate("I3: %s after everything healed nothing is acknowledged; %s", bound, w.hosts[max(0, w.raft.leader)].controller.last)
	return w
}

// well says whether there is a leader that takes writes, with everything that was acknowledged.
func (w *World) well() bool {
	l := w.raft.now().leadership
	h := w.raft.now().hostOf(l.Leader)
	if l.Phase != pgctl.Steady || h < 0 || !w.hosts[h].pg.primary || l.NextRule != nil {
		return false
	}
	w.lacking(h, l)
	return w.alone(h, l) < 0
}

// alone is a host that does not follow the leader although nothing keeps it from that, or -1.
func (w *World) alone(leader int, l pgctl.Leadership) int {
	for h := range w.Instances {
		if h == leader || w.useless(h) || w.Lasting == BusyReplay || w.Lasting == StuckPromotion && w.broken == h+1 || w.Lasting == Barren && w.broken == leader+1 || w.useless(leader) {
			continue
		}
		if !slices.ContainsFunc(w.conns, func(c conn) bool {
			return c.sending && c.receiving && c.streaming && !c.stuck && int(c.up) == leader && int(c.down) == h && c.epoch == named(l.Epoch)
		}) {
			return h
		}
	}
	return -1
}

// hopeless says why nothing automatic may make the cluster write again, or "": too many of those that
// may have acknowledged have lost their data.
func (w *World) hopeless() string {
	now := w.raft.now()
	l := now.leadership
	if l.Phase == pgctl.Unknown {
		return "the store is behind"
	}
	if !l.Serving {
		return "a new cluster waits for its members"
	}
	if (l.Phase == pgctl.Recruiting || l.Phase == pgctl.Promoting) && w.furthest() {
		return "whoever is the furthest cannot lead"
	}
	if p := l.Planned; p != nil && p.Lossy && now.hostOf(p.To) >= 0 && w.useless(now.hostOf(p.To)) {
		return "whom an operator wants to lead is gone"
	}
	intact := ha.Lives{}
	standing := 0
	for h := range w.Instances {
		if w.intact(h) {
			intact[now.life(h)] = true
			standing++
		}
	}
	leader := now.hostOf(l.Leader)
	switch {
	case w.Lease && !intact[l.Rule.Leader]:
		return "nobody knows how far the old leader was"
	case w.Lease:
		return ""
	case w.Strict && w.Lasting == Barren && leader+1 == w.broken:
		return "strict, and nobody can follow the leader"
	case !ha.Enough(ha.Binding(&l), intact):
		return "too few have their data"
	case w.Strict && standing-1 < w.Acks:
		return "strict, and too few are left"
	}
	return ""
}

// furthest says whether the one instance that must not lead, or cannot, has what nobody else has: then it is not
// replaced, since nobody catches up from it.
func (w *World) furthest() bool {
	if w.Barred > 0 && w.raft.leader >= 0 && strings.Contains(w.hosts[w.raft.leader].controller.last, "must not lead") {
		return true
	}
	if w.Lasting != StuckPromotion && w.Lasting != Barren || w.broken == 0 {
		return false
	}
	end := func(h int) pgctl.Position { return w.hosts[h].pg.log.position(w.hosts[h].pg.log.end()) }
	for h := range w.Instances {
		if h+1 != w.broken && w.intact(h) && end(h).Compare(end(w.broken-1)) >= 0 {
			return false
		}
	}
	return true
}

// intact says whether an instance could be recruited.
func (w *World) intact(h int) bool {
	x := &w.hosts[h]
	return x.pg.exists && x.pg.life == w.raft.now().life(h) && x.pg.log.end() >= x.disk.noted && !x.pg.rewinding && x.agent.lost == "" &&
		!w.foreign(h) && !w.useless(h) && x.disk.local.Rewinding == 0
}

// foreign says whether an instance is on a timeline that was not given to it, or to nobody.
func (w *World) foreign(h int) bool {
	x := &w.hosts[h]
	timeline, l := x.pg.log.at(x.pg.log.end()), w.raft.now().leadership
	_, given := l.Record(timeline)
	return timeline > x.disk.local.Mark || !given
}
