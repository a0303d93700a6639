package sim

import (
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// operation is a step under way. It goes on in small parts, each of which is one thing that is done
// before anything else can happen: between any two of them the daemon may die, the epoch may change,
// PostgreSQL may go. The parts are those of cmd's localServer, in its order.
type operation struct {
	active  bool
	ended   bool
	failed  string
	id      uint64
	step    ha.Step
	was     pgctl.Leadership
	source  *ha.Source
	members []pgctl.Instance
	restart uint64

	part  int
	sub   int // of the part
	until time.Duration
	pid   uint64
	probe int    // the position that proves a rule
	older uint64 // connections up to this one may go by other names
}

// progress is what a part of a step says.
type progress struct {
	next   bool          // the part is done
	done   bool          // the step is
	failed string        // why it failed
	lost   string        // why only a fresh copy helps
	again  time.Duration // look again after that
}

var (
	goOn = progress{next: true}
	over = progress{done: true}
)

func again(d time.Duration) progress { return progress{again: d} }

func fails(why string) progress { return progress{failed: why} }

// onOp lets the step under way go on by one part.
func (w *World) onOp(h int, id uint64) {
	o := &w.hosts[h].agent.op
	if !o.active || o.id != id || o.ended {
		return
	}
	r := w.carryOut(h, o)
	after := max(r.again, w.soon()/2)
	switch {
	case r.lost != "":
		w.hosts[h].agent.lost = r.lost
		o.ended, o.failed = true, r.lost
	case r.failed != "":
		o.ended, o.failed = true, r.failed
	case r.done:
		o.ended = true
	case r.next:
		o.part, o.sub, o.until = o.part+1, 0, 0
		w.after(after, evOp, h, 0, id)
		return
	default:
		w.after(after, evOp, h, 0, id)
		return
	}
	w.wake(h, 0)
}

func (w *World) carryOut(h int, o *operation) progress {
	if making := o.step.Do == ha.Initialize || o.step.Do == ha.CopyData; !making && !w.hosts[h].pg.exists {
		return fails("its data is gone")
	}
	switch o.step.Do {
	case ha.Initialize:
		return w.initialize(h, o)
	case ha.CopyData:
		return w.copyData(h, o)
	case ha.Start:
		return w.start(h, o)
	case ha.Stop:
		return w.stop(h, o)
	case ha.Restart:
		return w.restart(h, o)
	case ha.Detach:
		return w.detach(h, o)
	case ha.PledgeTo:
		return w.pledge(h, o)
	case ha.Follow:
		return w.followStep(h, o)
	case ha.Rewind:
		return w.rewind(h, o)
	case ha.Promote:
		return w.promoteStep(h, o)
	case ha.MakeSlots:
		w.makeSlots(h, o.step)
		return over
	case ha.Confirm:
		return w.confirm(h, o)
	case ha.Open:
		return w.open(h, o)
	case ha.Close:
		return w.closeStep(h, o)
	case ha.Arm, ha.Disarm:
		return w.onArm(h, o.step)
	}
	return over
}

// assume takes a posture: on disk, in the server's files, read by the server.
func (w *World) assume(h int, o *operation, change func(*posture)) bool {
	x := &w.hosts[h]
	switch o.sub {
	case 0:
		change(&x.disk.posture)
	case 1:
		x.pg.files = w.render(h)
	default:
		w.reload(h)
		return true
	}
	o.sub++
	return false
}

// within says whether a wait that begins now may go on.
func (w *World) within(o *operation, limit time.Duration) bool {
	if o.until == 0 {
		o.until = w.now + limit
	}
	return w.now < o.until
}

func (w *World) initialize(h int, o *operation) progress {
	x := &w.hosts[h]
	if o.part == 0 {
		if !x.pg.exists {
			x.pg = postgres{exists: true, life: x.agent.self.Life, state: ha.Down, clean: true, checkpoint: 1}
			x.pg.log.append(w.newRecord(1))
			x.pg.flushed, x.pg.replayed = 1, 1
		}
		return goOn
	}
	w.adopt(h, 1, 0)
	return over
}

// adopt notes what a directory that was just made is.
func (w *World) adopt(h int, mark pgctl.Timeline, epoch pgctl.Epoch) {
	w.note(h, func(l *ha.Local) {
		l.SystemID, l.Mark, l.Pledge = systemID, max(l.Mark, mark), max(l.Pledge, epoch)
	})
}

// note changes what is kept of the life; it is on disk when it returns.
func (w *World) note(h int, change func(*ha.Local)) {
	x := &w.hosts[h]
	l := &x.disk.local
	l.Format, l.Cluster, l.Instance, l.Life = 1, cluster, x.instance, x.agent.self.Life
	change(l)
}

func (w *World) copyData(h int, o *operation) progress {
	x := &w.hosts[h]
	from := w.current(h).hostOf(o.source.Life)
	switch o.part {
	case 0:
		return progress{next: true, again: time.Duration(200+w.n(2000)) * time.Millisecond}
	case 1:
		if from < 0 || !w.serves(h, from) {
			return fails("the source cannot be reached")
		}
		src := &w.hosts[from].pg
		x.pg = postgres{exists: true, life: x.agent.self.Life, state: ha.Down, signal: true, checkpoint: src.checkpoint, histories: src.histories}
		x.pg.log.copyOf(&src.log, src.flushed)
		x.pg.flushed, x.pg.consistent, x.pg.replayed = src.flushed, src.flushed, max(1, src.flushed-3)
		return goOn
	}
	w.adopt(h, o.source.Timeline, o.step.Epoch)
	return over
}

// serves says whether a server takes sessions from a host.
func (w *World) serves(h, to int) bool {
	there := &w.hosts[to]
	return w.reaches(h, to) && w.reaches(to, h) && there.frozen <= w.now && there.pg.state == ha.Running && !there.pg.stopping
}

func (w *World) start(h int, o *operation) progress {
	x := &w.hosts[h]
	p := &x.pg
	switch o.part {
	case 0:
		if x.disk.local.SystemID == "" {
			w.adopt(h, p.timeline(), 0)
		}
		p.signal = o.step.Standby
		return goOn
	case 1:
		if !w.assume(h, o, func(s *posture) {
			former := *s
			*s = posture{names: namesClosed(), replayNow: o.step.Standby, started: true, promoted: s.promoted}
			if planted.NamesNotDurable.On() && !o.step.Standby {
				s.names, s.former = former.names, former.former
			}
			if planted.CrashedOpens.On() && !o.step.Standby {
				s.names, s.open = former.names, true
			}
			if o.step.Upstream {
				s.upstream = w.targetOf(h, o)
			}
		}) {
			return again(0)
		}
		return goOn
	case 2:
		if p.state == ha.Down {
			w.launch(h, false)
		}
		if o.step.Standby {
			return over
		}
		return goOn
	}
	switch p.state {
	case ha.Running:
		w.write(h) // the role of the members
		w.flush(h)
		return over
	case ha.Down:
		return fails("Postgres ended while it started")
	}
	return again(20 * time.Millisecond)
}

func (w *World) targetOf(h int, o *operation) target {
	host := w.current(h).hostOf(o.source.Life)
	return target{set: host >= 0, host: int8(max(host, 0)), epoch: named(o.step.Epoch)}
}

// stop ends the sessions of others, stops within the budget, notes where the log ended, and leaves the
// instance closed.
func (w *World) stop(h int, o *operation) progress {
	x := &w.hosts[h]
	p := &x.pg
	switch o.part {
	case 0:
		x.agent.confirmed = nil
		x.disk.posture.started = false
		return goOn
	case 1:
		w.terminateSessions(h)
		return goOn
	case 2:
		return w.shutdown(h, o)
	case 3:
		if p.clean && o.step.Epoch != 0 {
			x.agent.stopped = &ha.Stopped{Epoch: o.step.Epoch, At: p.log.position(p.log.end())}
		}
		return goOn
	}
	if !w.assume(h, o, func(s *posture) { s.names, s.upstream, s.open = namesNobody, target{}, false }) {
		return again(0)
	}
	return over
}

// shutdown is fast for a third of the budget, then immediate. A primary ends with a checkpoint that its
// WAL senders deliver.
func (w *World) shutdown(h int, o *operation) progress {
	x := &w.hosts[h]
	p := &x.pg
	if p.state == ha.Down {
		return goOn
	}
	if p.state == ha.Running && !p.stopping && o.until == 0 {
		w.terminateSessions(h)
		p.waiting = nil
		p.stopping = true
		if p.primary {
			w.write(h)
			p.checkpoint = p.timeline()
		}
	}
	if !w.within(o, o.step.Budget/3) || p.state == ha.Starting {
		w.down(h, false, false)
		return goOn
	}
	w.finishStop(h)
	return again(5 * time.Millisecond)
}

// finishStop ends a server that shuts down, once its WAL senders have delivered everything; PostgreSQL
// does that by itself.
func (w *World) finishStop(h int) {
	p := &w.hosts[h].pg
	if !p.stopping || !w.flush(h) {
		return
	}
	for i := range w.conns {
		if c := &w.conns[i]; c.sending && int(c.up) == h && p.primary && !c.stuck && c.answered < p.flushed {
			return
		}
	}
	w.down(h, true, false)
}

func (w *World) restart(h int, o *operation) progress {
	if o.part == 0 {
		w.note(h, func(l *ha.Local) { l.Restarted = o.restart })
		return goOn
	}
	o.part--
	r := w.stop(h, o)
	o.part++
	return r
}

func (w *World) pledge(h int, o *operation) progress {
	w.note(h, func(l *ha.Local) { l.Pledge, l.Rewinding, l.Rewound = max(l.Pledge, o.step.Epoch), 0, false })
	w.count("pledge")
	return over
}

// closeStep lets nobody in but the agent and members, and ends the sessions of everybody else.
func (w *World) closeStep(h int, o *operation) progress {
	x := &w.hosts[h]
	if o.part == 0 {
		x.agent.confirmed = nil
		if !w.assume(h, o, func(s *posture) { s.open = false }) {
			return again(0)
		}
		return goOn
	}
	return w.emptied(h)
}

// emptied ends the sessions of clients until none is seen, nor can come.
func (w *World) emptied(h int) progress {
	w.terminateSessions(h)
	if p := &w.hosts[h].pg; p.state == ha.Running && p.conf.open {
		return again(5 * time.Millisecond)
	}
	return over
}

// open lets clients in. When nobody has to acknowledge, the store is asked first.
func (w *World) open(h int, o *operation) progress {
	switch {
	case o.part == 0 && o.step.Asks:
		if !w.linearize(h) {
			if w.within(o, 5*time.Second) {
				return again(50 * time.Millisecond)
			}
			return fails("the store does not answer")
		}
		if l := w.raft.now().leadership; l.Leader != w.hosts[h].agent.self.Life || l.Epoch != o.step.Epoch || l.Phase != pgctl.Steady {
			return fails("the epoch is over")
		}
		return goOn
	case o.part == 0:
		return goOn
	}
	if !w.assume(h, o, func(s *posture) { s.open = true }) {
		return again(0)
	}
	return over
}
