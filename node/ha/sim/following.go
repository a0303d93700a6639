package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// detach makes sure that nothing streams into an instance, nor will after a restart.
func (w *World) detach(h int, o *operation) progress {
	x := &w.hosts[h]
	p := &x.pg
	switch o.part {
	case 0:
		planned := o.was.Planned
		if !w.assume(h, o, func(s *posture) {
			s.upstream, s.replayNow, s.names = target{}, true, namesClosed()
			s.open = s.open && (planned == nil || planned.To != x.agent.self.Life)
		}) {
			return again(0)
		}
		return goOn
	case 1:
		if !w.within(o, ha.DetachWithin) {
			w.count("restarted without upstream")
			return goOn
		}
		receiver := w.receiverOf(h)
		if planted.PledgeWithReceiver.On() {
			receiver = -1
		}
		if receiver >= 0 {
			w.endReceiver(receiver) // by pid: a startup process that is busy does not look (P10)
		}
		if p.state == ha.Running && !p.conf.upstream.set && receiver < 0 {
			w.unblock(h)
			return over
		}
		return again(5 * time.Millisecond)
	case 2:
		w.down(h, false, false)
		return goOn
	}
	p.signal = true
	w.launch(h, true)
	return over
}

// unblock ends the queries that hold up replay.
func (w *World) unblock(h int) {
	if p := &w.hosts[h].pg; p.blocked && !planted.PledgeWaitsForReplay.On() {
		p.blocked = false
		w.startup(h, w.soon())
	}
}

// followStep streams from the leader under the epoch's name; the timeline is noted before.
func (w *World) followStep(h int, o *operation) progress {
	x := &w.hosts[h]
	switch o.part {
	case 0:
		w.note(h, func(l *ha.Local) {
			l.Mark, l.Pledge, l.Rewinding, l.Rewound = max(l.Mark, o.step.Timeline), max(l.Pledge, o.step.Epoch), 0, false
		})
		return goOn
	case 1:
		if !w.assume(h, o, func(s *posture) {
			s.upstream = w.targetOf(h, o)
			s.replayNow, s.promoted, s.open = false, nil, true
		}) {
			return again(0)
		}
		return goOn
	case 2:
		if !x.pg.alone || x.pg.state == ha.Down {
			return over
		}
		w.down(h, false, false)
		return goOn
	}
	w.launch(h, false)
	return over
}

// rewind makes the log a point of the source's history. An interrupted one ruins the directory.
func (w *World) rewind(h int, o *operation) progress {
	x := &w.hosts[h]
	p := &x.pg
	from := w.current(h).hostOf(o.source.Life)
	switch o.part {
	case 0:
		if l := x.disk.local; l.Rewound || l.Rewinding != o.step.Epoch {
			p.rewound = false
		}
		w.note(h, func(l *ha.Local) { l.Rewinding, l.Rewound, l.Pledge = o.step.Epoch, false, max(l.Pledge, o.step.Epoch) })
		return goOn
	case 1:
		if p.state != ha.Down {
			w.down(h, p.state == ha.Running && p.log.end() == p.replayed && w.n(2) == 0, false)
		}
		return goOn
	case 2:
		x.disk.posture = posture{names: namesClosed(), lax: x.disk.posture.lax}
		x.agent.stopped, x.agent.confirmed = nil, nil
		if p.rewinding {
			return progress{lost: "an earlier rewind was interrupted"}
		}
		if p.rewound { // done, but a crash came before it was noted
			o.part = 5
		}
		return goOn
	case 3: // a server that was not shut down in order is started for its recovery
		return w.recoverFirst(h)
	case 4:
		if from < 0 || !w.serves(h, from) || !w.hosts[from].pg.primary || w.hosts[from].pg.checkpoint != w.hosts[from].pg.timeline() {
			return fails("the source cannot be asked")
		}
		p.rewinding = true
		p.log.ruin(p.log.common(&w.hosts[from].pg.log), &w.hosts[from].pg.log)
		p.flushed, p.replayed, x.disk.noted = p.log.end(), min(p.replayed, p.log.end()), 0
		return progress{next: true, again: w.Rewind + time.Duration(50+w.n(1500))*time.Millisecond}
	case 5:
		if from < 0 || !w.serves(h, from) || !w.hosts[from].pg.primary {
			return progress{lost: "the rewind broke off"}
		}
		src := &w.hosts[from].pg
		left := p.log.common(&src.log)
		p.log.copyOf(&src.log, max(1, min(src.flushed, left+w.n(src.flushed-left+1))))
		p.flushed, p.replayed, p.consistent = p.log.end(), max(1, min(left, p.log.end())), src.flushed
		p.histories, p.checkpoint, p.signal, p.clean, p.slots = src.histories, src.checkpoint, true, false, nil
		p.files = x.disk.posture.render()
		p.rewinding, p.rewound = false, true
		return goOn
	}
	p.rewound = false
	w.note(h, func(l *ha.Local) { l.Rewound, l.Mark = true, max(l.Mark, o.source.Timeline) })
	return over
}

// recoverFirst lets a server read its own log to the end, following nobody, and stops it in order.
func (w *World) recoverFirst(h int) progress {
	p := &w.hosts[h].pg
	switch {
	case p.clean && p.state == ha.Down:
		return goOn
	case p.state == ha.Down:
		p.signal = true
		w.launch(h, true)
	case p.state == ha.Running && p.atEnd():
		w.down(h, true, false)
		return goOn
	}
	return again(20 * time.Millisecond)
}

// promoteStep promotes, closed, to the ordered timeline; older sessions are gone before and after.
func (w *World) promoteStep(h int, o *operation) progress {
	x := &w.hosts[h]
	p := &x.pg
	if p.state != ha.Running && o.part > 0 {
		return fails("the server is gone")
	}
	switch o.part {
	case 0:
		if !w.assume(h, o, func(s *posture) { s.names, s.upstream, s.open, s.promoted = namesNobody, target{}, false, nil }) {
			return again(0)
		}
		return goOn
	case 1, 5:
		if planted.OlderSessionsLeft.On() {
			return goOn
		}
		if r := w.emptied(h); !r.done {
			return r
		}
		return goOn
	case 2:
		w.note(h, func(l *ha.Local) { l.Mark = max(l.Mark, o.step.Timeline) })
		return goOn
	case 3:
		switch {
		case p.primary:
		case planted.TimelineByPostgres.On():
			p.promote = true
			w.startup(h, w.soon())
		case p.timeline() >= o.step.Timeline || p.histories&(1<<o.step.Timeline) != 0:
			return fails("the number cannot be had")
		default:
			for t := p.timeline() + 1; t < o.step.Timeline; t++ {
				p.histories |= 1 << t // placeholders
			}
			p.promote = true
			w.startup(h, w.soon())
		}
		return goOn
	case 4:
		switch {
		case !p.primary:
			return again(5 * time.Millisecond)
		case p.timeline() != o.step.Timeline && !planted.TimelineByPostgres.On():
			return fails("it took another timeline")
		}
		return goOn
	}
	if !w.assume(h, o, func(s *posture) {
		s.promoted = &ha.Promotion{Epoch: o.step.Epoch, Timeline: p.timeline(), Record: pgctl.LSN(p.flushed)}
	}) {
		return again(0)
	}
	return over
}

// makeSlots gives every other member its slot and drops those of lives that are gone.
func (w *World) makeSlots(h int, step ha.Step) {
	p := &w.hosts[h].pg
	if p.state != ha.Running {
		return
	}
	w.Tally.Steps[ha.MakeSlots]++
	p.slots = p.slots[:0:0]
	for _, i := range w.current(h).instances {
		if slices.Contains(step.Slots, i.Life.Slot()) {
			p.slots = append(p.slots, i.Life)
		}
	}
	slices.Sort(p.slots)
}

// mayTend does the upkeep that is not about leadership, while there is nothing else to do.
func (w *World) mayTend(h int, l pgctl.Leadership) {
	x := &w.hosts[h]
	a, p := &x.agent, &x.pg
	if a.op.active || p.state != ha.Running || a.failed != 0 && w.now-a.failed < retryAfter || w.now-a.tended < time.Second {
		return
	}
	a.tended = w.now
	if p.files != w.render(h) || p.conf != p.files && !p.alone {
		p.files = w.render(h)
		w.reload(h)
	}
	x.disk.noted = p.flushed
	switch {
	case p.primary && p.checkpoint != p.timeline():
		w.after(w.soon()*4, evTend, h, 0, p.pid)
	case !p.primary && x.disk.posture.replayNow && !a.observed.AtEnd:
		w.unblock(h)
	}
}

// onTend: a checkpoint that was asked for is done.
func (w *World) onTend(h int) {
	p := &w.hosts[h].pg
	if p.primary {
		w.write(h)
		p.checkpoint = p.timeline()
		w.flush(h)
	}
}
