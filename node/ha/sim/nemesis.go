package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// Fault is one kind of thing that happens to a world.
type Fault uint8

// The faults.
const (
	PowerLoss      Fault = iota // a host is gone, and comes back
	Freeze                      // a host stands still for long
	Stun                        // or for a moment
	DaemonKill                  // a daemon is gone, and comes back
	DaemonHang                  // or stands still
	PostgresKill                // a postmaster is killed
	CutOneWay                   // one host does not hear another
	CutPair                     // two hosts do not hear each other
	Isolate                     // nobody hears a host, or it hears nobody
	Split                       // two halves do not hear each other
	SlowHost                    // datagrams to a host are late
	DiskStall                   // a disk does not flush
	DiskLoss                    // a disk is gone
	DataLoss                    // a data directory is
	ReplayBlock                 // a query holds up replay
	ServerMoves                 // another server leads the group
	Switchover                  // an operator asks for one
	Failover                    // by hand
	LossyFailover               // by hand, loss accepted
	Cancel                      // a waiting commit is cancelled
	HandPromotion               // somebody promotes a standby
	RestartOrder                // a restart is ordered
	Pause                       // no automatic failover for a while
	LostConnection              // a replication connection breaks
	OldData                     // an older state of a data directory is put back
	StandStill                  // everything stands still for a moment
	Secession                   // two hosts hear each other only, and the daemon of one is started anew
	faults
)

var faultNames = [...]string{
	"power loss", "freeze", "stun", "daemon killed", "daemon hangs", "postmaster killed", "one-way cut", "pair cut", "isolation",
	"split", "slow host", "disk stall", "disk lost", "data directory lost", "replay blocked", "server election", "switchover", "failover by hand",
	"failover with loss", "commit cancelled", "promotion by hand", "restart ordered", "pause", "connection lost", "older data put back", "all stand still", "secession",
}

// String is its name.
func (f Fault) String() string { return faultNames[f] }

// calm are the faults that must not move a leader, alone and however often: of PowerLoss only that of
// another host.
var calm = []Fault{PowerLoss, DaemonKill, DaemonHang, ServerMoves, LostConnection, CutPair, CutOneWay, StandStill}

// Faults are all of them.
func Faults() []Fault {
	all := make([]Fault, faults)
	for i := range all {
		all[i] = Fault(i)
	}
	return all
}

// relents are faults that end: which, and for whom.
const (
	backPower = iota
	backDaemon
	backLink
	backSlow
	backReplay
	backPause
)

// short and long draw how long something lasts.
func (w *World) short() time.Duration { return time.Duration(100+w.n(1900)) * time.Millisecond }

func (w *World) long() time.Duration {
	if w.n(3) == 0 {
		return w.short()
	}
	return time.Duration(2000+w.n(15000)) * time.Millisecond
}

// provoke lets something bad happen soon after a phase began: that is when it matters.
func (w *World) provoke() {
	if w.n(3) == 0 {
		w.after(time.Duration(w.n(w.n(2)*400+60))*time.Millisecond, evNemesis, 0, 1, 0)
	}
}

// victim is a host; the leader's, or the last one's, more often than chance would have it.
func (w *World) victim() int {
	l := &w.raft.now().leadership
	if leader := w.raft.now().hostOf(l.Leader); w.Calm && w.Faults[0] == PowerLoss && leader >= 0 {
		return (leader + 1 + w.n(len(w.hosts)-1)) % len(w.hosts) // anybody else
	}
	switch w.n(5) {
	case 0, 1:
		if h := w.raft.now().hostOf(l.Leader); h >= 0 {
			return h
		}
	case 2:
		if h := w.raft.now().hostOf(l.Rule.Leader); h >= 0 {
			return h
		}
	}
	return w.n(len(w.hosts))
}

// onNemesis lets one bad thing happen. Sometimes the next follows on its heels. Beside the chain of those
// (chained), one may be provoked by a change of the leadership.
func (w *World) onNemesis(chained bool) {
	if len(w.Faults) == 0 {
		return
	}
	if chained {
		next := w.wait(w.Pace)
		switch {
		case w.Calm: // one after the other has ended
			next = 18*time.Second + w.short()
		case w.n(4) == 0:
			next /= 20
		}
		w.after(next, evNemesis, 0, 0, 0)
	}
	f := w.Faults[w.n(len(w.Faults))]
	if w.inflict(f, w.victim()) {
		w.Tally.Faults[f]++
		if p := w.raft.now().leadership.Phase; p == pgctl.Recruiting || p == pgctl.Promoting {
			w.Tally.InElection[f]++
		}
	}
}

// inflict says whether the fault could happen.
func (w *World) inflict(f Fault, h int) bool {
	x := &w.hosts[h]
	if f <= SlowHost || f == LostConnection {
		return w.disturb(f, h)
	}
	w.say(h, "%s", f)
	switch f {
	case DiskStall:
		x.stalled = w.now + w.long()
	case DiskLoss, DataLoss:
		return w.loseData(f, h)
	case OldData:
		return w.putBack(h)
	case Secession:
		return w.secede(h, w.n(len(w.hosts)))
	case StandStill:
		until := w.now + w.short()
		for o := range w.hosts {
			w.hosts[o].frozen = max(w.hosts[o].frozen, until)
		}
	case ReplayBlock:
		if !x.up || x.pg.primary || x.pg.state != ha.Running {
			return false
		}
		x.pg.blocked = true
		w.after(w.long()*2, evRelent, h, backReplay, x.pg.pid)
	case ServerMoves:
		if w.raft.leader < 0 {
			return false
		}
		w.raft.leader, w.raft.quiet = -1, w.now-time.Second
	case Switchover, Failover, LossyFailover:
		return w.ask(f, h)
	case Cancel:
		p := &x.pg
		if len(p.waiting) == 0 || p.waiting[0].own {
			return false
		}
		if l := &w.raft.now().leadership; l.Phase == pgctl.Promoting && l.Leader == p.life && p.primary {
			w.violate("I2: %s, which is being promoted, tells an older session of commit %d", p.life, p.waiting[0].id)
		}
		p.waiting = append(p.waiting[:0:0], p.waiting[1:]...) // the client is told, with a warning (P9)
	case HandPromotion:
		p := &x.pg
		if p.primary || p.state != ha.Running {
			return false
		}
		p.promote = true
		w.startup(h, w.soon())
	case RestartOrder:
		return w.orderRestart(h)
	case Pause:
		w.setPaused(true)
		w.after(w.long(), evRelent, 0, backPause, 0)
	}
	return true
}

// disturb is what happens to machines, processes and links.
func (w *World) disturb(f Fault, h int) bool {
	x := &w.hosts[h]
	if !x.up && f <= PostgresKill {
		return false
	}
	other := w.n(len(w.hosts))
	w.say(h, "%s (%d)", f, other)
	switch f {
	case PowerLoss:
		w.powerOff(h)
		w.after(w.long(), evRelent, h, backPower, 0)
	case Freeze:
		x.frozen = w.now + w.long()
	case Stun:
		x.frozen = w.now + w.short()
	case DaemonKill:
		w.endDaemon(h)
		w.after(w.long()/4, evRelent, h, backDaemon, 0)
	case DaemonHang:
		x.hung = w.now + w.long()
	case PostgresKill:
		w.down(h, false, false)
	case CutOneWay, CutPair:
		if other == h {
			return false
		}
		w.sever(h, other, f == CutPair)
	case Isolate:
		way := w.n(3)
		for o := range w.hosts {
			if o != h && way != 0 {
				w.sever(h, o, way == 2)
			} else if o != h {
				w.sever(o, h, false)
			}
		}
		w.after(w.long(), evRelent, h, backLink, 255)
	case Split:
		for a := range w.hosts {
			for b := range w.hosts {
				if a != b && a <= other && b > other {
					w.sever(a, b, true)
				}
			}
		}
	case SlowHost:
		w.slow[h] = time.Duration(w.n(500)) * time.Millisecond
		w.after(w.long(), evRelent, h, backSlow, 0)
	case LostConnection:
		if len(w.conns) == 0 {
			return false
		}
		i := w.n(len(w.conns))
		c := &w.conns[i]
		w.after(0, evBroken, int([]int8{c.up, c.down}[w.n(2)]), int32(i), c.id)
	}
	return true
}

// sever cuts a link for a while, in one direction or in both.
func (w *World) sever(from, to int, both bool) {
	w.cut[from][to] = true
	w.cut[to][from] = w.cut[to][from] || both
	w.after(w.long(), evRelent, from, backLink, uint64(to))
}

// secede cuts two hosts off together.
func (w *World) secede(h, with int) bool {
	if h == with || !w.hosts[with].up {
		return false
	}
	for o := range w.hosts {
		if o != h && o != with {
			w.sever(h, o, true)
			w.sever(with, o, true)
		}
	}
	w.cut[h][with], w.cut[with][h] = false, false
	w.endDaemon(with)
	w.after(w.short()/4, evRelent, with, backDaemon, 0)
	return true
}

// loseData loses a disk, or the data directory on it.
func (w *World) loseData(f Fault, h int) bool {
	x := &w.hosts[h]
	if h >= w.Instances || !x.up || w.oracle.lost >= w.Acks {
		return false // more than what the rule promises to survive proves nothing
	}
	w.oracle.lost++
	if f == DiskLoss {
		w.powerOff(h)
		x.disk = disk{posture: posture{names: namesNobody}}
		w.after(w.long(), evRelent, h, backPower, 0)
	}
	w.down(h, false, true)
	x.pg = postgres{state: ha.Down, life: x.pg.life}
	return true
}

// putBack replaces a data directory by what it was some time ago, in a snapshot say, with its life.
func (w *World) putBack(h int) bool {
	x := &w.hosts[h]
	p := &x.pg
	least := min(x.disk.noted-1, p.flushed-1, p.log.end()-1)
	if !x.up || !p.exists || p.rewinding || x.disk.local.Rewinding != 0 || least < 1 || w.oracle.lost >= w.Acks {
		return false
	}
	w.oracle.lost++
	w.down(h, false, true)
	p.log.cut(max(1, least-w.n(20)))
	p.flushed, p.replayed = p.log.end(), min(p.replayed, p.log.end())
	p.checkpoint = min(p.checkpoint, p.timeline())
	return true
}

// ask puts an operator's wish before the server that leads.
func (w *World) ask(f Fault, h int) bool {
	s := w.raft.leader
	if f == LossyFailover && w.serving() { // an operator who accepts loss knows that the old leader is dead
		return false
	}
	if s < 0 || !w.hosts[s].leads || w.hosts[s].controller.request != nil {
		return false
	}
	r := &ha.Request{To: w.raft.now().life(h), Failover: f != Switchover, Lossy: f == LossyFailover, OldDead: f == LossyFailover}
	if f == Switchover && w.n(2) == 0 {
		r.To = ""
	}
	c := &w.hosts[s].controller
	c.request, c.asked = r, w.now
	return true
}

// serving says whether any primary could take writes if it were let.
func (w *World) serving() bool {
	return slices.ContainsFunc(w.hosts, func(x host) bool { return x.pg.primary })
}

// orderRestart changes an assignment, as a rolling restart does.
func (w *World) orderRestart(h int) bool {
	now := w.raft.now()
	if h >= len(now.instances) || w.raft.leader < 0 || now.leadership.Leader == now.instances[h].Life {
		return false
	}
	instances := append([]pgctl.Instance(nil), now.instances...)
	instances[h].Restart++
	w.raft.amend(state{leadership: now.leadership, instances: instances})
	w.spread(w.raft.leader)
	return true
}

func (w *World) setPaused(paused bool) {
	now := w.raft.now()
	if w.raft.leader < 0 && paused || now.leadership.Paused == paused {
		return
	}
	l := now.leadership
	l.Paused = paused
	w.raft.commit(state{leadership: l, instances: now.instances})
	if w.raft.leader >= 0 {
		w.spread(w.raft.leader)
	}
}

// onRelent ends what does not last.
func (w *World) onRelent(e event) {
	h := int(e.where)
	x := &w.hosts[h]
	switch e.what {
	case backPower:
		if !x.up {
			w.say(h, "power returns")
			w.boot(h)
		}
	case backDaemon:
		w.startDaemon(h)
	case backLink:
		if e.mark == 255 {
			for o := range w.hosts {
				w.cut[h][o], w.cut[o][h] = false, false
			}
		} else {
			w.cut[h][e.mark], w.cut[e.mark][h] = false, false
		}
		w.say(h, "links return")
	case backSlow:
		w.slow[h] = 0
	case backReplay:
		if x.pg.pid == e.mark {
			w.unblock(h)
		}
	case backPause:
		w.setPaused(false)
	}
}
