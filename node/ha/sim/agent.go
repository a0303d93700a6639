package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

const (
	quickLook   = 25 * time.Millisecond // as node's
	retryAfter  = time.Second
	sourceRetry = 20 * time.Millisecond
	sourceLimit = 2 * time.Second
)

// agent is the volatile memory of the daemon about its instance: node's agent and the local server.
type agent struct {
	employed bool
	self     pgctl.Instance
	turn     uint64 // the turn that was arranged last
	reading  int    // the version of the state that the turn under way goes by
	op       operation
	failed   time.Duration
	problem  string
	lost     string
	sourcing ha.Sourcing
	asked    bool // a question to the leader is under way
	question uint64
	askedAt  time.Duration
	askNext  time.Duration
	answer   *ha.Source
	answered bool

	report   ha.Report
	told     time.Duration // when it was last sent as news
	observed ha.Observed
	proven   time.Duration
	probe    *ha.Probe
	probed   time.Duration
	probing  time.Duration // until then
	tended   time.Duration
	acked    time.Duration // when so many members streamed last that commits could return

	vouching vouching

	confirmed *ha.Confirmation
	pid       uint64 // of the postmaster that confirmed
	stopped   *ha.Stopped
	atEnd     int
	downSince time.Duration
}

// wake arranges the next turn.
func (w *World) wake(h int, after time.Duration) {
	a := &w.hosts[h].agent
	if !a.employed {
		return
	}
	w.turns++
	a.turn = w.turns
	w.after(after, evTurn, h, 0, a.turn)
}

// onTurn begins a turn: the state is read before the instance is looked at.
func (w *World) onTurn(h int, mark uint64) {
	a := &w.hosts[h].agent
	if !a.employed || a.turn != mark {
		return
	}
	a.reading = w.hosts[h].seen
	w.after(w.soon()/4, evLook, h, 0, mark)
}

// onLook is the rest of a turn, as node's agent does it.
func (w *World) onLook(h int, mark uint64) {
	x := &w.hosts[h]
	a := &x.agent
	if !a.employed || a.turn != mark || a.reading >= len(w.raft.versions) {
		return
	}
	now := &w.raft.versions[a.reading]
	l := now.leadership
	if a.op.active && a.op.step.Outdated(a.op.was, l) {
		w.abandon(h)
	}
	seen := w.observe(h)
	v := ha.InstanceView{
		Self: now.instances[h], Leadership: l, Members: now.instances, Local: seen.Local, Server: seen.Server,
		StoreAge: w.now - x.contact, Lease: w.leaseLeft(h, l.Epoch), Held: x.lease.epoch > 0,
	}
	if a.self.Life != v.Self.Life { // manage comes soon
		return
	}
	if a.op.active && !a.op.step.Yields() {
		v.Server.Busy = string(a.op.step.Do)
	}
	if a.acked == 0 || !seen.Open || seen.Acknowledged(l) {
		a.acked = w.now
	} else {
		v.Unacked = w.now - a.acked
	}
	w.source(h, &v)
	if a.op.active && a.op.ended {
		w.collect(h, &v)
	}
	steps := ha.Act(v)
	w.publish(h, v, seen)
	busy := l.Phase != pgctl.Steady || a.op.active
	if len(steps) == 0 {
		w.supersede(h, nil)
		w.mayTend(h, l)
	} else {
		busy = true
		w.supersede(h, steps)
		if a.failed == 0 || w.now-a.failed >= retryAfter {
			if len(steps) > 1 && steps[0].Do == ha.MakeSlots {
				w.makeSlots(h, steps[0])
				steps = steps[1:]
			}
			if !a.op.active {
				w.begin(h, steps[0], v)
			}
		}
	}
	next := ha.Heartbeat
	if busy {
		next = quickLook
	}
	w.wake(h, next+w.soon()/8)
}

func (w *World) begin(h int, step ha.Step, v ha.InstanceView) {
	a := &w.hosts[h].agent
	w.Tally.Steps[step.Do]++
	a.vouching.renounced = max(a.vouching.renounced, v.Leadership.Epoch)
	if w.talks {
		w.say(h, "begins %s%s: %s", step.Do, standbyText(step), step.Why)
	}
	w.turns++
	a.op = operation{active: true, id: w.turns, step: step, was: v.Leadership, source: v.Source, members: v.Members, restart: v.Self.Restart}
	w.after(w.soon()/4, evOp, h, 0, a.op.id)
}

func standbyText(step ha.Step) string {
	if step.Do == ha.Start && step.Standby {
		return " as a standby"
	}
	return ""
}

// collect takes the result of a finished operation.
func (w *World) collect(h int, v *ha.InstanceView) {
	a := &w.hosts[h].agent
	failed := a.op.failed
	a.op = operation{}
	v.Server.Busy = "looking again" // this view was observed before the step ended
	if failed != "" {
		w.complain(h, failed)
		return
	}
	a.failed, a.problem = 0, ""
}

func (w *World) complain(h int, problem string) {
	a := &w.hosts[h].agent
	a.failed, a.problem = w.now, problem
	w.say(h, "fails: %s", problem)
}

func (w *World) abandon(h int) {
	a := &w.hosts[h].agent
	if a.op.active {
		w.say(h, "abandons %s", a.op.step.Do)
		w.count("abandoned " + string(a.op.step.Do))
	}
	a.op = operation{}
}

func (w *World) supersede(h int, steps []ha.Step) {
	a := &w.hosts[h].agent
	if !a.op.active || !a.op.step.Yields() {
		return
	}
	for i := range steps {
		if s := &steps[i]; s.Do == a.op.step.Do && s.Epoch == a.op.step.Epoch && sameRule(s.Rule, a.op.step.Rule) {
			return
		}
	}
	w.abandon(h)
}

func sameRule(a, b *pgctl.Rule) bool {
	return a == b || a != nil && b != nil && a.Version == b.Version && a.Leader == b.Leader && a.Acks == b.Acks &&
		slices.Equal(a.Standbys, b.Standbys) && slices.Equal(a.Lost, b.Lost)
}

// publish makes what was seen the host's word; news are sent at once.
func (w *World) publish(h int, v ha.InstanceView, seen ha.Observed) {
	a := &w.hosts[h].agent
	d := ha.Doing{Problem: a.problem, Lost: a.lost, Restarted: a.report.Restarted}
	if a.op.active {
		d.Step = &a.op.step
	}
	report := ha.Describe(v, seen, d)
	news := !report.Same(&a.report) || v.Leadership.Phase != pgctl.Steady && (!report.SameAll(&a.report) || w.now-a.told >= ha.Tick)
	if news {
		a.told = w.now
	}
	a.report, a.observed = report, seen
	if news {
		w.onBeat(h, false)
	}
}

// source asks the leader about its data when that is needed, and takes its answer.
func (w *World) source(h int, v *ha.InstanceView) {
	a := &w.hosts[h].agent
	ask, void := a.sourcing.Look(v)
	if void {
		a.asked, a.answered, a.answer, a.askNext = false, false, nil, 0
	}
	switch {
	case !ask:
	case a.answered:
		a.asked, a.answered, a.askNext = false, false, w.now+sourceRetry
		a.sourcing.Take(v, a.answer)
		a.answer = nil
	case a.asked && w.now-a.askedAt > sourceLimit:
		a.asked, a.askNext = false, w.now+sourceRetry
	case !a.asked && w.now >= a.askNext:
		to := w.current(h).hostOf(v.Leadership.Leader)
		if to < 0 {
			return
		}
		w.turns++
		a.asked, a.askedAt, a.question = true, w.now, w.turns
		if w.reaches(h, to) {
			w.after(w.latency(), evAsk, to, w.post(message{from: int8(h), number: a.question, epoch: uint64(v.Leadership.Epoch)}), 0)
		}
	}
}

// onAsk answers with what this instance holds, if it leads that epoch and its data can be followed.
func (w *World) onAsk(h int, at int32) {
	m := w.take(at)
	x := &w.hosts[h]
	if !x.daemon || !x.ready || !x.agent.employed {
		return
	}
	answer := message{from: int8(h), number: m.number}
	l := w.current(h).leadership
	if ha.Followable(l, x.agent.self.Life, pgctl.Epoch(m.epoch), x.agent.observed) {
		if o := w.observe(h); o.State == ha.Running && o.Primary {
			answer.source = &ha.Source{
				Life: x.agent.self.Life, Epoch: pgctl.Epoch(m.epoch), SystemID: o.Local.SystemID, Timeline: o.End.Timeline,
				History: slices.Clone(o.History), End: o.End.LSN, Checkpoint: o.Checkpoint, Address: x.name, Port: 1,
			}
		}
	}
	if w.reaches(h, int(m.from)) {
		w.after(w.latency(), evSource, int(m.from), w.post(answer), 0)
	}
}

func (w *World) onSource(h int, at int32) {
	m := w.take(at)
	if a := &w.hosts[h].agent; a.employed && a.asked && a.question == m.number {
		a.answered, a.answer = true, m.source
		w.wake(h, 0)
	}
}

// onProve keeps the age of the server's last proof of health.
func (w *World) onProve(h int) {
	x := &w.hosts[h]
	w.after(time.Second, evProve, h, 0, x.generation)
	if x.agent.observed.State == ha.Running && x.pg.state == ha.Running && x.stalled <= w.now {
		x.agent.proven = w.now
	}
}

// onProbe: a member looks at the leader by itself, one look at a time.
func (w *World) onProbe(h int) {
	x := &w.hosts[h]
	l := w.current(h).leadership
	to := w.current(h).hostOf(l.Leader)
	if to < 0 || to == h || w.now < x.agent.probing {
		return
	}
	p := ha.Probe{Leader: l.Leader, Epoch: l.Epoch}
	x.agent.probing = w.now + time.Second
	switch there := &w.hosts[to]; {
	case !w.reaches(h, to) || !w.reaches(to, h) || there.frozen > w.now: // no answer in time
		return
	case there.pg.state == ha.Down:
		p.Refused = true
	default:
		p.Answered = true
		if there.pg.state == ha.Running && there.pg.primary && there.stalled <= w.now {
			written := there.pg.log.end() + 1 // the next that a client writes
			if !planted.IdleIsSilent.On() {
				written = w.write(to)
			}
			w.flush(to)
			if p.Closed = there.pg.conf.names == namesNobody || !there.pg.conf.open; !p.Closed {
				w.after(20*time.Millisecond, evProbed, h, int32(written), x.generation)
				return
			}
		}
	}
	w.noteProbe(h, p)
}

// onProbed: what was written at the leader has arrived here, or has not after a second.
func (w *World) onProbed(h int, written int) {
	x := &w.hosts[h]
	l := w.current(h).leadership
	arrived := x.pg.streamed && x.pg.flushed >= written
	if !arrived && w.now < x.agent.probing {
		w.after(20*time.Millisecond, evProbed, h, int32(written), x.generation)
		return
	}
	x.agent.probing = w.now
	w.noteProbe(h, ha.Probe{Leader: l.Leader, Epoch: l.Epoch, Answered: true, Progress: arrived})
}

func (w *World) noteProbe(h int, p ha.Probe) {
	a := &w.hosts[h].agent
	a.probe, a.probed = &p, w.now
	w.count("probe")
	w.onBeat(h, false)
}
