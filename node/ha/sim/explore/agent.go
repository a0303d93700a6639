package explore

import (
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// agentSteps are what agents do with their instances. An agent's picture of the store may be old; where
// that matters, a step asks only what the agent noted durably, and whom the store ever let lead.
func (e *engine) agentSteps(s *state) {
	for i := range e.Nodes {
		n := &s.nodes[i]
		if !n.data {
			e.copyData(s, i)
			continue
		}
		switch n.run {
		case down:
			e.start(s, i)
		case standby:
			e.detach(s, i)
			e.stopOld(s, i)
			e.pledgeTo(s, i)
			e.follow(s, i)
			e.promoteTo(s, i)
		case primary:
			e.stopOld(s, i)
			e.letIn(s, i)
			e.writeOlder(s, i)
		}
		e.unfinished(s, i)
	}
}

// start: closed, with names that nobody fulfils, and without upstream.
func (e *engine) start(s *state, i int) {
	n := &s.nodes[i]
	if n.rewinding != 0 && !planted.RecruitHalfRewound.On() {
		return
	}
	t := *s
	m := &t.nodes[i]
	m.run, m.names, m.waits, m.leads = standby, namesNobody, true, false
	m.unsure = planted.PositionTooLow.On()
	m.upNode, m.upEpoch = m.restored, m.restoredEpoch
	e.add(&t, step{do: starts, a: uint8(i)})
	epoch := s.store.steadyEpoch
	if s.leaders[epoch] != n.life || n.pledge > epoch {
		return
	}
	t = *s
	m = &t.nodes[i]
	m.run, m.waits, m.leads = primary, true, true
	m.upNode, m.upEpoch = 0, 0
	if planted.CrashedOpens.On() {
		t.openTo(i)
		m.waits = m.names != namesEmpty
	} else if !planted.NamesNotDurable.On() {
		m.names = namesNobody
	} else {
		m.waits = m.names != namesEmpty
	}
	e.add(&t, step{do: startsAsLeader, a: uint8(i)})
}

// detach takes the upstream out of the settings; the receiver is ended after that.
func (e *engine) detach(s *state, i int) {
	n := &s.nodes[i]
	if n.upNode == 0 || s.store.epoch <= n.upEpoch {
		return
	}
	t := *s
	m := &t.nodes[i]
	if planted.PledgeUndone.On() {
		m.restored, m.restoredEpoch = n.upNode, n.upEpoch
	}
	m.upNode, m.upEpoch, m.seen = 0, 0, s.store.epoch
	e.add(&t, step{do: detaches, a: uint8(i)})
}

// pledgeTo notes durably that no older epoch is acknowledged.
func (e *engine) pledgeTo(s *state, i int) {
	n, c := &s.nodes[i], &s.store
	alone := n.upNode == 0 && (s.receiver(i) < 0 || planted.PledgeWithReceiver.On())
	if c.phase != recruiting || c.plan.on && !c.plan.released && !planted.ChosenBeforeStop.On() || n.pledge >= c.epoch || !alone ||
		n.rewinding != 0 && !planted.RecruitHalfRewound.On() {
		return
	}
	t := *s
	t.nodes[i].pledge, t.nodes[i].seen = c.epoch, c.epoch
	t.heard |= n.life.set()
	e.add(&t, step{do: pledges, a: uint8(i)})
}

// follow streams from whom the store let lead, in the present epoch or in an older one that nobody has
// told this agent to be over.
func (e *engine) follow(s *state, i int) {
	n := &s.nodes[i]
	if n.upNode != 0 || s.receiver(i) >= 0 || n.rewinding != 0 {
		return
	}
	least := max(n.pledge, n.seen)
	if planted.PledgeFollowsOlder.On() {
		least = 1
	}
	for epoch := max(least, 1); epoch <= s.store.epoch; epoch++ {
		at := s.nodeOf(s.leaders[epoch])
		if at < 0 || at == i || s.nodes[at].run != primary {
			continue
		}
		leader := &s.nodes[at]
		if !s.ruled[epoch] && leader.promoted != epoch || leader.seen > epoch {
			continue
		}
		fit := e.compare(n, leader)
		if planted.HistoriesOfNobody.On() || planted.HistoriesOfFormerLeaders.On() && n.ruleEpoch == 0 {
			fit = ha.Fits
		}
		switch fit {
		case ha.Fits:
			t := *s
			m := &t.nodes[i]
			m.mark, m.pledge = max(m.mark, leader.timeline(leader.flushed)), max(m.pledge, epoch)
			m.upNode, m.upEpoch, m.open = uint8(at+1), epoch, true
			m.seen = max(m.seen, epoch)
			e.add(&t, step{do: follows, a: uint8(i), b: uint8(at), c: epoch})
		case ha.Diverged:
			e.rewind(s, i, at, epoch)
		case ha.Beyond:
			t := *s
			t.ruin(e, i)
			e.add(&t, step{do: givenUp, a: uint8(i)})
		}
	}
}

// rewind ruins the log before it makes it a point of the source's.
func (e *engine) rewind(s *state, i, from int, epoch uint8) {
	if epoch != s.store.epoch {
		return
	}
	t := *s
	m, source := &t.nodes[i], &t.nodes[from]
	t.stop(e, i)
	m.rewinding, m.pledge, m.seen = epoch, max(m.pledge, epoch), epoch
	m.claim = source.timeline(source.flushed)<<4 | source.flushed
	m.cut(m.common(source))
	m.closed = min(m.closed, m.end)
	e.add(&t, step{do: rewinds, a: uint8(i), b: uint8(from)})
}

// unfinished ends a rewind, or gives the directory up when its source was deposed.
func (e *engine) unfinished(s *state, i int) {
	n := &s.nodes[i]
	if n.rewinding == 0 {
		return
	}
	from := s.nodeOf(s.leaders[n.rewinding])
	if from >= 0 && s.nodes[from].run == primary && n.run == down {
		t := *s
		m, source := &t.nodes[i], &t.nodes[from]
		m.copyOf(source)
		m.rewinding, m.claim, m.leads = 0, 0, false
		m.mark, m.closed = max(m.mark, source.timeline(source.flushed)), m.end
		e.add(&t, step{do: rewound, a: uint8(i), b: uint8(from)})
	}
	if n.rewinding < s.store.epoch && s.store.phase != recruiting {
		t := *s
		t.ruin(e, i)
		e.add(&t, step{do: givenUp, a: uint8(i)})
	}
}

// ruin: the directory cannot go on.
func (s *state) ruin(e *engine, i int) {
	s.stop(e, i)
	s.nodes[i] = node{life: s.nodes[i].life}
}

// copyData makes the directory of a new life from the leader's, or from that of a standby that follows it.
func (e *engine) copyData(s *state, i int) {
	n, c := &s.nodes[i], &s.store
	if n.life == 0 || !n.unmade && !planted.LifeKept.On() || c.phase != steady {
		return
	}
	for from := range e.Nodes {
		source := &s.nodes[from]
		follows := source.run == standby && source.upEpoch == c.epoch
		if leads := source.run == primary && source.life == c.leader; !follows && !leads {
			continue
		}
		t := *s
		m := &t.nodes[i]
		m.data, m.unmade, m.pledge, m.mark = true, false, c.epoch, source.timeline(source.flushed)
		m.copyOf(source)
		m.closed = m.end
		e.add(&t, step{do: copies, a: uint8(i), b: uint8(from)})
	}
}

// promoteTo promotes, closed, to the timeline that was given out.
func (e *engine) promoteTo(s *state, i int) {
	n, c := &s.nodes[i], &s.store
	if c.phase != promoting || c.leader != n.life || n.upNode != 0 || s.receiver(i) >= 0 || n.pledge > c.epoch || n.end == maxLog {
		return
	}
	r := c.last()
	number := r.number
	if planted.TimelineByPostgres.On() {
		number = n.timeline(n.end) + 1
	}
	if own := n.timeline(n.end); (number <= own || own > r.parent) && !planted.TimelineByPostgres.On() {
		return // somebody promoted it by hand since it was chosen
	}
	t := *s
	m := &t.nodes[i]
	m.pledge, m.mark, m.upNode, m.upEpoch = c.epoch, max(m.mark, number), 0, 0
	m.becomePrimary(number)
	m.seen = c.epoch
	m.promoted, m.promotedAt, m.names, m.waits = c.epoch, m.end, namesNobody, true
	m.open = m.open && planted.OlderSessionsLeft.On()
	m.rewinding, m.claim = 0, 0
	e.add(&t, step{do: promotes, a: uint8(i), b: number})
}

// becomePrimary ends recovery with a record on the timeline.
func (n *node) becomePrimary(timeline uint8) {
	n.append(newRecord(timeline, n.life, false))
	n.run, n.leads, n.release, n.closed = primary, true, 0, n.end
}

// stopOld stops a primary that somebody else leads instead of, or that is to stop in order; and a leader that
// runs as a standby, because it was started before it heard that it leads.
func (e *engine) stopOld(s *state, i int) {
	n, c := &s.nodes[i], &s.store
	asked := c.phase == recruiting && c.plan.on && c.plan.from == n.life
	replaced := c.leader != n.life && (c.phase != recruiting || c.chosen())
	r := c.line(n.timeline(n.end))
	stray := r == nil || r.leader != n.life
	if n.run == standby {
		asked, replaced, stray = c.phase == steady && c.leader == n.life, false, false
	}
	if !asked && !replaced && !stray {
		return
	}
	t := *s
	t.stop(e, i)
	t.nodes[i].seen = c.epoch
	e.add(&t, step{do: stops, a: uint8(i)})
}
