package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// rule is a value of synchronous_standby_names: ANY acks of the members of an epoch.
type rule struct {
	acks    int
	epoch   pgctl.Epoch
	members []pgctl.Life
}

// The values that every server knows; others are indexes of World.rules.
const (
	namesEmpty  = 0 // commits wait for nobody
	namesNobody = 1 // commits wait for one who does not exist
)

// target is what primary_conninfo says: from which host to stream, under which epoch's name.
type target struct {
	set   bool
	host  int8
	epoch pgctl.Epoch
}

// settings are the configuration that pgctl renders.
type settings struct {
	names     int
	upstream  target
	open      bool // pg_hba lets clients in
	replayNow bool // no query may hold up replay
}

// waiter is a commit that waits for acknowledgements.
type waiter struct {
	id       uint32
	position int
	own      bool // the agent's: nobody is told
}

// postgres is a data directory and the server on it. PostgreSQL's facts P1 to P11 are noted where they
// are modelled.
type postgres struct {
	exists     bool
	life       pgctl.Life // the marker inside
	log        wal
	flushed    int  // of the log: what survives a power loss
	replayed   int  // of the log: what is applied
	consistent int  // a standby takes no sessions before this position is applied
	unread     bool // it crashed as a primary: whatever it becomes, it first reads to the end of its own log
	signal     bool
	clean      bool   // it was shut down in order
	rewinding  bool   // a rewind was begun and not ended
	rewound    bool   // it ended, and nobody has noted that
	histories  uint64 // timelines of which a history file is in pg_wal, a bit each
	checkpoint pgctl.Timeline
	slots      []pgctl.Life // sorted
	files      settings

	state      ha.State // Down, Starting or Running
	pid        uint64
	primary    bool
	conf       settings // as the postmaster has read it: new sessions show it
	commits    bool     // the checkpointer's flag: commits wait (P4)
	upstream   target   // the startup process's copy (P10)
	alone      bool     // started without upstream on its command line
	streamed   bool     // a receiver was started since this postmaster
	blocked    bool     // a query holds up replay; the startup process does not look at its settings (P10)
	promote    bool     // it was told to
	stopping   bool
	due        bool // an event of the startup process is under way
	sessions   bool // of clients
	terminated int  // what was written up to here by clients is nobody's any more
	waiting    []waiter
	released   int // what was acknowledged to waiting commits so far
	leaderEnd  int // of a standby: the end of its upstream's log, as it last heard
	recovered  int // where its recovery from a crash ended, until a client has seen that
}

func (p *postgres) atEnd() bool { return p.replayed == p.flushed && !p.blocked }

// timeline is that of the applied data.
func (p *postgres) timeline() pgctl.Timeline { return p.log.at(p.replayed) }

// next is the timeline that PostgreSQL takes at a promotion: the first without a history file (P3).
func (p *postgres) next() pgctl.Timeline {
	t := p.timeline() + 1
	for p.histories&(1<<t) != 0 {
		t++
	}
	return t
}

func (w *World) newRecord(t pgctl.Timeline) record {
	w.records++
	return record{w.records, t}
}

// write appends a record of a primary's own and flushes it; the position is its end.
func (w *World) write(h int) int {
	p := &w.hosts[h].pg
	p.log.append(w.newRecord(p.log.at(p.log.end())))
	p.replayed = p.log.end()
	return p.replayed
}

// flush makes the log durable, if the disk lets it.
func (w *World) flush(h int) bool {
	if w.hosts[h].stalled > w.now {
		return false
	}
	p := &w.hosts[h].pg
	p.flushed = p.log.end()
	w.archive(h)
	w.streamAll(h)
	return true
}

// launch starts a postmaster on a directory.
func (w *World) launch(h int, alone bool) {
	p := &w.hosts[h].pg
	w.pids++
	p.pid, p.state, p.primary = w.pids, ha.Starting, false
	p.conf, p.alone, p.streamed, p.blocked, p.promote, p.stopping, p.sessions = p.files, alone, false, false, false, false, false
	p.commits = p.conf.names != namesEmpty // names that are set before the start are obeyed from the first commit (P4)
	p.upstream, p.released, p.terminated, p.recovered, p.leaderEnd, p.due = p.conf.upstream, 0, 0, 0, 0, false
	if alone {
		p.upstream, p.conf.upstream = target{}, target{}
	}
	highest := max(p.checkpoint, p.log.at(p.log.end()))
	p.histories &= 1<<(highest+1) - 1
	if !p.clean {
		back := w.n(4) // from the last restart point
		if w.n(2) == 0 {
			back = w.n(60)
		}
		p.replayed = max(1, p.replayed-back)
	}
	w.startup(h, w.soon())
}

// down ends all processes. lost says that the host's memory is gone too, with what was not flushed.
func (w *World) down(h int, clean, lost bool) {
	p := &w.hosts[h].pg
	if p.state != ha.Starting && p.state != ha.Running {
		p.lose(w, lost)
		return
	}
	p.unread = p.unread || p.primary && !clean
	p.state, p.pid, p.primary, p.sessions, p.waiting, p.clean = ha.Down, 0, false, false, nil, clean
	p.promote, p.stopping, p.blocked = false, false, false
	p.lose(w, lost)
	for i := range w.conns {
		w.ended(i, h, lost)
	}
}

// lose is what becomes of the log when a host's memory is gone: what was flushed stays, and what the kernel
// had written by itself.
func (p *postgres) lose(w *World, lost bool) {
	if keep := p.flushed; lost && keep < p.log.end() {
		if w.n(2) == 0 {
			keep += w.n(p.log.end() - keep + 1)
		}
		p.log.cut(keep)
	}
	p.replayed = min(p.replayed, p.log.end())
}

// startup lets the startup process go on after a while.
func (w *World) startup(h int, after time.Duration) {
	p := &w.hosts[h].pg
	if !p.due && p.state != ha.Down {
		p.due = true
		w.after(after, evStartup, h, 0, p.pid)
	}
}

// onStartup is one round of the startup process: replay, then look at the settings, then for more log.
func (w *World) onStartup(h int) {
	p := &w.hosts[h].pg
	p.due = false
	if p.primary || p.state == ha.Down {
		return
	}
	if p.blocked {
		return // whoever unblocks it lets it go on
	}
	if stalled := w.hosts[h].stalled; (p.state == ha.Starting || p.promote) && stalled > w.now { // recovery ends with a flush
		w.startup(h, stalled-w.now+w.soon())
		return
	}
	if p.state == ha.Starting && w.receiverOf(h) < 0 {
		p.flushed = p.log.end() // what is found is made durable before it is read
	}
	if behind := p.flushed - p.replayed; behind > 0 {
		p.replayed += min(behind, 1+w.n(w.replayPace))
	}
	if p.signal && p.state == ha.Starting && p.replayed >= p.consistent && (!p.unread || p.replayed == p.log.end()) {
		p.unread, p.state, p.sessions = false, ha.Running, p.conf.open && w.n(2) == 0
	}
	if p.replayed < p.flushed {
		w.startup(h, w.soon())
		return
	}
	switch {
	case !p.signal:
		w.becomePrimary(h, p.timeline())
		p.recovered = p.log.end()
		p.checkpoint = p.timeline() // a recovery from a crash ends with one, a promotion does not
		w.count("recovered")
		return
	case p.promote && p.state == ha.Running && w.Lasting == StuckPromotion && w.broken == h+1:
		p.promote = false // it never comes to its end
		return
	case p.promote && p.state == ha.Running:
		if i := w.receiverOf(h); i >= 0 {
			if w.endReceiver(i) {
				w.startup(h, w.soon())
			}
			return
		}
		t := p.next()
		p.histories |= 1 << t
		p.signal = false
		w.becomePrimary(h, t)
		w.say(h, "PostgreSQL is promoted to timeline %d", t)
		return
	}
	if !p.alone {
		p.upstream = p.conf.upstream
		if i := w.receiverOf(h); i >= 0 && !w.feeds(i, p.upstream) {
			w.endReceiver(i)
		}
	}
	if w.receiverOf(h) < 0 && !p.promote && w.restore(h) {
		w.startup(h, w.soon())
		return
	}
	if p.upstream.set && w.receiverOf(h) < 0 && !p.promote {
		w.connect(h)
		w.startup(h, 100*time.Millisecond+w.soon()) // wal_retrieve_retry_interval
	}
}

// becomePrimary ends recovery with a record on the timeline.
func (w *World) becomePrimary(h int, t pgctl.Timeline) {
	p := &w.hosts[h].pg
	p.log.append(w.newRecord(t))
	p.replayed = p.log.end()
	p.state, p.primary, p.promote, p.consistent, p.clean, p.unread = ha.Running, true, false, 0, false, false
	w.flush(h)
}

// reload has the postmaster read its files soon.
func (w *World) reload(h int) {
	p := &w.hosts[h].pg
	if p.state != ha.Down {
		w.after(w.soon(), evReload, h, 0, p.pid)
	}
}

// onReload: the postmaster reads, its children follow one after the other (P4, P10).
func (w *World) onReload(h int) {
	p := &w.hosts[h].pg
	upstream := p.files.upstream
	p.conf = p.files
	if planted.PledgeUndone.On() {
		p.conf.upstream = w.hosts[h].disk.posture.upstream
	}
	if p.alone {
		p.conf.upstream = target{}
	} else if p.signal && upstream != p.upstream {
		w.startup(h, w.soon())
	}
	w.after(w.child(), evCheckpointer, h, 0, p.pid)
	for i := range w.conns {
		if c := &w.conns[i]; c.sending && int(c.up) == h {
			w.after(w.child(), evSender, h, int32(i), c.id)
		}
	}
	if p.primary || p.state == ha.Running {
		p.sessions = p.sessions || p.conf.open && w.n(2) == 0
	}
}

// child is how long a process takes to follow a reload.
func (w *World) child() time.Duration {
	if w.n(w.lazy) == 0 {
		return time.Duration(w.n(3000)) * time.Millisecond
	}
	return w.soon()
}

func (w *World) onCheckpointer(h int) {
	p := &w.hosts[h].pg
	p.commits = p.conf.names != namesEmpty
	if !p.commits { // it wakes everybody who waits
		for _, c := range p.waiting {
			w.acknowledge(h, c)
		}
		p.waiting = p.waiting[:0]
	}
}

// terminateSessions ends those of clients. Their commits were not acknowledged, and are still there.
func (w *World) terminateSessions(h int) {
	p := &w.hosts[h].pg
	p.sessions, p.terminated = false, p.log.end()
	p.waiting = slices.DeleteFunc(p.waiting, func(c waiter) bool { return !c.own })
}
