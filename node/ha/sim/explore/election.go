package explore

import (
	"github.com/pgctl/pgctl/internal/planted"
)

// elections are the steps of the store that change who leads.
func (e *engine) elections(s *state) {
	c := &s.store
	switch c.phase {
	case steady:
		if c.epoch < e.Epochs {
			e.recruit(s)
			e.switchover(s)
			e.byHand(s)
		}
	case recruiting:
		e.planSteps(s)
		e.resume(s)
		e.choose(s)
		e.byHand(s)
	case promoting:
		e.settle(s)
		if c.epoch < e.Epochs {
			t := *s
			t.store.last().state = failed
			t.nextEpoch()
			if !t.store.plan.lossy {
				t.store.plan = plan{}
			}
			e.commit(s, &t, step{do: startsOver})
		}
	}
}

func (s *state) nextEpoch() {
	s.store.epoch++
	s.store.phase, s.store.leader, s.heard, s.halted = recruiting, 0, 0, false
}

// recruit: the leader is believed to have failed. Time is not modelled, so that may be an error at any
// moment; others in contact are those who run.
func (e *engine) recruit(s *state) {
	others := lives(0)
	for i := range e.Nodes {
		if n := &s.nodes[i]; n.data && n.life != s.store.leader {
			others |= n.life.set()
		}
	}
	if !e.suffices(&s.store, others) {
		return
	}
	t := *s
	t.nextEpoch()
	t.store.plan = plan{}
	e.commit(s, &t, step{do: recruits})
}

// suffices says whether a set of recruits is enough.
func (e *engine) suffices(c *store, recruits lives) bool {
	binding := c.binding()
	switch {
	case planted.NextRuleIgnored.On():
		binding = c.rule
	case planted.RulesEachForItself.On() && c.pending:
		return e.enough(c.rule, recruits) && e.enough(c.next, recruits)
	}
	if planted.OneRecruitTooFew.On() && recruits != 0 && binding.acks > 0 {
		return recruits.count() >= (binding.standbys|binding.lost).count()-binding.acks
	}
	return e.enough(binding, recruits)
}

func (e *engine) switchover(s *state) {
	c := &s.store
	from := s.nodeOf(c.leader)
	if s.used[plans] >= e.Plans || c.pending || from < 0 {
		return
	}
	for to := range e.Nodes {
		if k := s.conn(from, to); to != from && k.known && named(k.epoch, c.epoch) && s.nodes[to].life == k.life {
			t := *s
			t.used[plans]++
			t.nextEpoch()
			t.store.plan = plan{on: true, from: c.leader, to: k.life}
			e.commit(s, &t, step{do: switches, a: uint8(to)})
		}
	}
}

// planSteps wait for the stop of the old leader.
func (e *engine) planSteps(s *state) {
	p := s.store.plan
	if to := s.nodeOf(p.to); p.lossy && (to < 0 || !s.nodes[to].data) { // who was to lead has lost its data
		t := *s
		t.store.plan = plan{}
		e.commit(s, &t, step{do: planForgotten})
	}
	if !p.on || p.released {
		return
	}
	from := s.nodeOf(p.from)
	if from < 0 || s.halted {
		t := *s
		t.store.plan.released, t.store.plan.stopped = true, true
		e.commit(s, &t, step{do: stopHeard})
	}
	t := *s
	t.store.plan.released = true
	e.commit(s, &t, step{do: stopAwaited})
	t = *s
	t.store.plan = plan{}
	e.commit(s, &t, step{do: planForgotten})
}

// resume: the old leader is heard healthy, and nobody was chosen since its epoch.
func (e *engine) resume(s *state) {
	c := &s.store
	at := s.nodeOf(c.rule.leader)
	if at < 0 || s.nodes[at].run != primary || c.plan.stopped {
		return
	}
	if c.chosen() && !planted.ResumedAfterChoice.On() {
		return
	}
	old := &s.nodes[at]
	if r := c.line(old.timeline(old.end)); r == nil || r.leader != old.life {
		return // promoted by hand
	}
	t := *s
	n := &t.store
	again := c.rule
	again.version = c.inForce().version + 1
	n.joint, n.next, n.pending = joint(c.binding(), c.rule), again, true
	if planted.ResumingClearsJoint.On() {
		n.joint = c.rule
	}
	n.joint.version = again.version
	n.phase, n.leader, n.steadyEpoch, n.plan = steady, old.life, c.epoch, plan{}
	t.leaders[c.epoch], t.ruled[c.epoch] = old.life, true
	e.commit(s, &t, step{do: resumes, a: uint8(at)})
}

// position is the end of a log as the agent reports it.
func (n *node) position() (timeline, end uint8) {
	switch {
	case n.rewinding != 0 && n.claim != 0:
		return n.claim >> 4, n.claim & 15
	case n.unsure && n.end > 1:
		return n.timeline(n.end - 1), n.end - 1
	}
	return n.timeline(n.end), n.end
}

// recruitsOf are those whose pledge of this epoch was heard and can be trusted. Their servers may be gone
// again: a pledge is durable.
func (e *engine) recruitsOf(s *state) (set lives) {
	p := s.store.plan
	for i := range e.Nodes {
		n := &s.nodes[i]
		named := p.lossy && p.to == n.life // the operator knows what it is
		if n.data && s.heard.has(n.life) && (named || !e.foreign(&s.store, n)) {
			set |= n.life.set()
		}
	}
	return set
}

// foreign says whether a log is of a timeline that was not given to it, or left its parent elsewhere.
func (e *engine) foreign(c *store, n *node) bool {
	if planted.StrayRecruited.On() || planted.TimelineByPostgres.On() {
		return false
	}
	timeline, _ := n.position()
	parent, left := n.parent()
	r := c.line(timeline)
	return r == nil || timeline > n.mark || r.parent != 0 && r.parent != parent && n.rewinding == 0 || r.left != 0 && r.left != left && n.rewinding == 0
}

// further orders two recruits: negative, zero or positive.
func (e *engine) further(c *store, a, b *node) int {
	switch {
	case planted.OrderByPosition.On():
		_, p := a.position()
		_, q := b.position()
		return int(p) - int(q)
	case planted.OrderByTimeline.On():
		t, p := a.position()
		u, q := b.position()
		return int(t)<<4 + int(p) - int(u)<<4 - int(q)
	}
	return e.rank(c, a).Compare(e.rank(c, b))
}

// choose: somebody is to lead than whom nobody of R is further, and R is enough. Who pledged may have fallen
// silent since, so R is any part of those whose pledge was heard.
func (e *engine) choose(s *state) {
	c := &s.store
	set := e.recruitsOf(s)
	if c.plan.on && !c.plan.released && !planted.ChosenBeforeStop.On() {
		return
	}
	named := (planted.ChosenBeforeStop.On() && c.plan.on || c.plan.lossy) && set.has(c.plan.to)
	for i := range e.Nodes {
		n := &s.nodes[i]
		if !set.has(n.life) || (named || c.plan.lossy) && n.life != c.plan.to {
			continue
		}
		within := lives(0)
		for j := range e.Nodes {
			if o := &s.nodes[j]; set.has(o.life) && (e.further(c, o, n) <= 0 || planted.ChosenBeforeCaughtUp.On()) {
				within |= o.life.set()
			}
		}
		if named || e.suffices(c, within) {
			e.promote(s, i, within)
		}
	}
}

// promote gives out a timeline number, above all that were given out or seen. Whoever did not pledge may
// not have been heard.
func (e *engine) promote(s *state, i int, set lives) {
	heard, all := uint8(0), uint8(0)
	for _, r := range s.store.lines {
		heard = max(heard, r.number)
	}
	for j := range e.Nodes {
		o := &s.nodes[j]
		if timeline := o.timeline(o.end); set.has(o.life) {
			heard = max(heard, timeline)
		} else if o.data {
			all = max(all, timeline)
		}
	}
	e.choice(s, i, heard+1)
	if all > heard {
		e.choice(s, i, all+1)
	}
}

func (e *engine) choice(s *state, i int, number uint8) {
	n := &s.nodes[i]
	timeline, _ := n.position()
	t := *s
	c := &t.store
	if planted.TimelineByPostgres.On() {
		number = n.timeline(n.end) + 1
		if c.line(number) != nil {
			number = c.last().number + 1
		}
	}
	if number > 7 || c.lines[maxLines-1].number != 0 {
		return
	}
	if r := c.line(timeline); r != nil && r.state != settled {
		r.parent, r.left = n.parent()
	}
	for k := range c.lines {
		if c.lines[k].number == 0 {
			c.lines[k] = line{number: number, epoch: c.epoch, leader: n.life, parent: timeline}
			break
		}
	}
	c.phase, c.leader = promoting, n.life
	t.leaders[c.epoch] = n.life
	e.commit(s, &t, step{do: chooses, a: uint8(i)})
}

// settle makes the promoted one steady, with those who have proven it.
func (e *engine) settle(s *state) {
	c := &s.store
	at := s.nodeOf(c.leader)
	if at < 0 {
		return
	}
	leader, r := &s.nodes[at], c.last()
	if leader.run != primary || leader.promoted != c.epoch || leader.timeline(leader.end) != r.number && !planted.TimelineByPostgres.On() {
		return
	}
	proven := lives(0)
	for i := range e.Nodes {
		n, k := &s.nodes[i], s.conn(at, i)
		flushed := k.known && named(k.epoch, c.epoch) && k.life == n.life && k.taken >= leader.promotedAt
		if planted.SteadyUnproven.On() || planted.JoinerByPosition.On() && n.end >= leader.promotedAt {
			flushed = n.data
		}
		if i != at && flushed {
			proven |= n.life.set()
		}
	}
	acks := min(uint8(e.Acks), proven.count())
	if acks < uint8(e.Acks) && e.Strict {
		return
	}
	if acks == 0 {
		proven = 0
	}
	t := *s
	n := &t.store
	n.rule = rule{leader: c.leader, standbys: proven, acks: acks, version: max(c.rule.version, c.inForce().version) + 1}
	n.next, n.joint, n.pending, n.plan = rule{}, rule{}, false, plan{}
	n.phase, n.steadyEpoch = steady, c.epoch
	r = n.last()
	r.state = settled
	r.parent, r.left = leader.parent()
	if planted.OrderByLateHistory.On() {
		r.state, n.late = given, true
	}
	t.ruled[c.epoch] = true
	if t.used[losses] > 0 { // what the chosen one lacked was given up
		t.forget(leader)
	}
	e.commit(s, &t, step{do: settles, a: uint8(at)})
}

// byHand: an operator says who leads, as soon as enough have pledged; or accepts loss, when the old leader
// is known to be down.
func (e *engine) byHand(s *state) {
	c := &s.store
	old := s.nodeOf(c.rule.leader)
	for i := -1; i < e.Nodes; i++ {
		to := life(0) // whoever is best
		if i >= 0 {
			to = s.nodes[i].life
		}
		ordered := plan{on: true, from: c.rule.leader, to: to, released: true}
		if s.used[plans] < e.Plans && c.plan != ordered {
			t := *s
			t.used[plans]++
			t.order(ordered)
			e.commit(s, &t, step{do: orders, a: uint8(i)})
		}
		ordered.lossy = true
		if s.used[losses] < e.Losses && c.plan != ordered && i >= 0 && (i == old || old < 0 || s.nodes[old].run != primary) {
			t := *s
			t.used[losses]++
			t.order(ordered)
			e.commit(s, &t, step{do: accepts, a: uint8(i)})
		}
	}
}

// order takes up what an operator decided.
func (s *state) order(p plan) {
	if s.store.phase == steady {
		s.nextEpoch()
	}
	s.store.plan = p
}
