package sim

import (
	"fmt"
	"time"

	"github.com/pgctl/pgctl/node/ha"
)

// Lasting is what is wrong with one host for ever when everything else heals: the cluster has to write again
// without it.
type Lasting uint8

// What lasts.
const (
	Nothing        Lasting = iota
	GoneHost               // it has no power
	GoneDaemon             // its daemon does not run; PostgreSQL does
	StalledDisk            // its disk does not flush
	StuckPromotion         // its server cannot be promoted
	Barren                 // nobody can stream from its server
	BusyReplay             // it has no power, and queries hold up the replay of all others, again and again
	lastings
)

// last breaks the host that does not heal: mostly the leader's.
func (w *World) last() {
	if w.Lasting == Nothing {
		return
	}
	h := w.victim()
	if w.Lasting == StuckPromotion || h >= w.Instances {
		h = w.n(w.Instances)
	}
	if l := &w.raft.now().leadership; w.Lasting == Barren && h == w.raft.now().hostOf(l.Leader) {
		h = (h + 1) % w.Instances // a strict leader that nobody can follow waits, and has not failed
	}
	w.broken = h + 1
	w.say(h, "is broken for ever: %d", w.Lasting)
	switch w.Lasting {
	case StuckPromotion, Barren: // it is only seen when another one has to lead
		leader := w.raft.now().hostOf(w.raft.now().leadership.Leader)
		if leader >= 0 && leader != h && w.Instances > 2 && w.hosts[leader].up {
			w.powerOff(leader)
			w.dark = leader + 1
		}
	case GoneHost, BusyReplay:
		w.powerOff(h)
	case GoneDaemon:
		w.endDaemon(h)
	case StalledDisk:
		w.hosts[h].stalled = w.now + time.Hour
	}
	for o := range w.hosts {
		if p := &w.hosts[o].pg; w.Lasting == BusyReplay && !p.primary && p.state == ha.Running {
			p.blocked = true
		}
	}
}

// useless says whether nothing can be expected of a host.
func (w *World) useless(h int) bool {
	return w.dark == h+1 || w.broken == h+1 && (w.Lasting == GoneHost || w.Lasting == BusyReplay || w.Lasting == StalledDisk || w.Lasting == GoneDaemon)
}

// heal ends everything bad, and nothing bad follows.
func (w *World) heal() {
	w.say(-1, "everything heals")
	w.Faults = nil
	for h := range w.hosts {
		x := &w.hosts[h]
		x.frozen, x.hung, x.stalled = min(x.frozen, w.now), min(x.hung, w.now), min(x.stalled, w.now)
		w.slow[h] = 0
		w.unblock(h)
		if !x.up {
			w.boot(h)
		}
		w.startDaemon(h)
	}
	w.last()
	w.cut = [8][8]bool{}
	w.Loss = 0
	w.walLoss = 0
	w.setPaused(false)
	w.Writes = min(w.Writes, 200*time.Millisecond)
	w.after(0, evWrite, 0, 0, 0)
	if w.talks {
		w.say(-1, "%s", fmt.Sprint(w.raft.now().leadership.Phase))
	}
}
