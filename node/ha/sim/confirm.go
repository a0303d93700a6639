package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// stubborn is how long a WAL sender may neither follow the new names nor answer.
const stubborn = time.Second

// confirm carries out steps 2 to 4 of a rule change, in the order of provision/postgres/sync.
func (w *World) confirm(h int, o *operation) progress {
	x := &w.hosts[h]
	p := &x.pg
	if o.part > 0 && (p.pid != o.pid || p.state != ha.Running) {
		return fails("the server is gone")
	}
	wanted := w.namesOf(o.step.Rule, o.step.Epoch)
	switch o.part {
	case 0:
		mark := ha.RuleMark{Epoch: o.step.Epoch, Version: o.step.Rule.Version}
		if written := x.disk.local.Rule; written != nil && mark.Older(*written) && !planted.OlderVersionApplied.On() {
			return fails("the rule is older than what was written last")
		}
		if p.state != ha.Running {
			return fails("the server does not run")
		}
		o.pid = p.pid
		if written := x.disk.local.Rule; written != nil && *written == mark && planted.NamesNotDurable.On() {
			o.part = 8 // they are on disk, it believes
		}
		return goOn
	case 1: // between nobody and somebody waiting, commits are seen to wait first (P4)
		s := x.disk.posture
		fromNobody, toNobody := (s.names == namesEmpty || s.lax) && wanted != namesEmpty, s.names != namesEmpty && wanted == namesEmpty
		if !fromNobody && !toNobody || planted.CheckpointerNotWaited.On() {
			o.part = 5
		}
		return goOn
	case 2, 6:
		w.note(h, func(l *ha.Local) { l.Rule = &ha.RuleMark{Epoch: o.step.Epoch, Version: o.step.Rule.Version} })
		return goOn
	case 3:
		return w.setNames(h, o, namesNobody)
	case 4:
		return w.shown(h, namesNobody)
	case 5:
		return w.seenWaiting(h)
	case 7:
		return w.setNames(h, o, wanted)
	case 8:
		return w.shown(h, wanted)
	default:
		return w.prove(h, o, wanted)
	}
}

// prove is what follows once new sessions show the names.
func (w *World) prove(h int, o *operation, wanted int) progress {
	x := &w.hosts[h]
	p := &x.pg
	switch o.part {
	case 9:
		if wanted == namesEmpty && p.commits {
			return again(5 * time.Millisecond) // the waiter is not released
		}
		p.waiting = slices.DeleteFunc(p.waiting, func(c waiter) bool { return c.own })
		o.older = w.connections
		return goOn
	case 10:
		o.probe = w.write(h)
		return goOn
	case 11:
		if p.flushed < o.probe && !w.flush(h) {
			return again(20 * time.Millisecond)
		}
		return w.judge(h, o)
	}
	if wanted != namesEmpty && !w.assume(h, o, func(s *posture) { s.lax = false }) {
		return again(0)
	}
	x.agent.confirmed, x.agent.pid = &ha.Confirmation{Epoch: o.step.Epoch, Version: o.step.Rule.Version}, o.pid
	w.count("rule confirmed by a leader")
	return over
}

// namesOf is the number of the names of a rule.
func (w *World) namesOf(r *pgctl.Rule, epoch pgctl.Epoch) int {
	switch {
	case r.Acks == 0:
		return namesEmpty
	case r.Acks > len(r.Standbys):
		return namesNobody // after a loss: nobody is left who could acknowledge
	}
	epoch = named(epoch)
	for i := len(w.rules) - 1; i > namesNobody; i-- {
		if k := &w.rules[i]; k.acks == r.Acks && k.epoch == epoch && slices.Equal(k.members, r.Standbys) {
			return i
		}
	}
	w.rules = append(w.rules, rule{acks: r.Acks, epoch: epoch, members: slices.Clone(r.Standbys)})
	return len(w.rules) - 1
}

// setNames writes the names.
func (w *World) setNames(h int, o *operation, names int) progress {
	if !w.assume(h, o, func(s *posture) {
		s.former = s.names
		s.lax, s.names = s.lax || s.names == namesEmpty || names == namesEmpty, names
	}) {
		return again(0)
	}
	return goOn
}

// shown waits until a new session shows the names.
func (w *World) shown(h int, names int) progress {
	if w.hosts[h].pg.conf.names == names {
		return goOn
	}
	return again(5 * time.Millisecond)
}

// seenWaiting has a commit of the agent's own seen waiting; one that returned is replaced.
func (w *World) seenWaiting(h int) progress {
	p := &w.hosts[h].pg
	if slices.ContainsFunc(p.waiting, func(c waiter) bool { return c.own }) {
		return goOn
	}
	at := w.write(h)
	if w.flush(h) && p.commits {
		p.waiting = append(p.waiting, waiter{id: p.log.records[at-1].id, position: at, own: true})
		w.oracle.begin(p.log.records[at-1].id, w.now)
	}
	return again(5 * time.Millisecond)
}

// judge looks for WAL senders that may still go by the old names, and counts the members that have
// flushed the probe.
func (w *World) judge(h int, o *operation) progress {
	impatient := !w.within(o, stubborn)
	rule := o.step.Rule
	switch returned := w.hosts[h].pg.released >= o.probe || !w.hosts[h].pg.commits; {
	case planted.ConfirmedUnprobed.On(), planted.ConfirmedByReturned.On() && returned:
		return goOn
	case planted.ConfirmedByReturned.On():
		return again(5 * time.Millisecond)
	}
	flushed, stale := 0, false
	for i := range w.conns {
		c := &w.conns[i]
		if !c.sending || int(c.up) != h {
			continue
		}
		wanted := rule.Acks > 0 && (c.epoch == named(o.step.Epoch) || planted.JoinerByPosition.On()) && rule.Names(c.life)
		answered := !c.streaming || c.answered >= o.probe
		if o.step.Joint.Names(c.life) && c.id <= o.older && (w.counts(c) != wanted || !answered) {
			stale = true
			if impatient {
				w.count("stubborn sender terminated")
				w.endSender(i)
			}
			continue
		}
		if wanted && c.streaming && c.flushed >= o.probe {
			flushed++
		}
	}
	if stale || flushed < rule.Acks {
		return again(5 * time.Millisecond)
	}
	return goOn
}
