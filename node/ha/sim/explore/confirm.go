package explore

import "github.com/pgctl/pgctl/internal/planted"

// confirmSteps are steps 2 to 4 of a rule change, and those before them between nobody and somebody
// waiting. What is confirmed was read once: the store may have gone on since.
func (e *engine) confirmSteps(s *state, i int) {
	e.begin(s, i)
	n := &s.nodes[i]
	switch n.op {
	case begun:
		e.writeNames(s, i)
	case waiting:
		if n.waits { // a commit of the agent's own is seen waiting
			t := *s
			t.nodes[i].apply()
			e.add(&t, step{do: writesNames, a: uint8(i)})
		}
	case written:
		if n.opNames != namesEmpty || !n.waits { // or the one that waited is seen released
			t := *s
			t.probe(e, i)
			e.add(&t, step{do: probes, a: uint8(i)})
		}
	case probed:
		e.judge(s, i)
	}
}

// writeOlder is planted: what was written before is written again.
func (e *engine) writeOlder(s *state, i int) {
	n := &s.nodes[i]
	if planted.OlderVersionApplied.On() && n.older != 0 && n.op == idle && n.older != n.names {
		t := *s
		t.nodes[i].names, t.nodes[i].older = n.older, 0
		e.add(&t, step{do: writesNames, a: uint8(i)})
	}
}

// begin takes up the rule in force.
func (e *engine) begin(s *state, i int) {
	n, c := &s.nodes[i], &s.store
	epoch, r := c.steadyEpoch, c.inForce()
	if planted.OpensBeforeSteady.On() && c.phase == promoting && c.leader == n.life && n.promoted == c.epoch {
		epoch = c.epoch
		r = rule{leader: n.life, acks: uint8(e.Acks), version: r.version + 1}
		for k := range e.Nodes {
			if s.conn(i, k).epoch == epoch {
				r.standbys |= s.nodes[k].life.set()
			}
		}
		r.acks = min(r.acks, r.standbys.count())
	} else if s.leaders[epoch] != n.life {
		return
	}
	if n.pledge > epoch {
		return
	}
	started := n.opEpoch == epoch && n.opVersion == r.version && n.op != idle || n.confirmEpoch == epoch && n.confirmVersion == r.version
	if !started {
		e.take(s, i, epoch, r)
	}
	if planted.ShrunkBeforeStore.On() && s.used[changes] < e.Changes {
		for m := r.standbys; m != 0; m = (m - 1) & r.standbys {
			if to := e.target(r, r.standbys&^m); to.standbys != r.standbys {
				to.version = r.version
				t := *s
				t.used[changes]++
				e.take(&t, i, epoch, to)
			}
		}
	}
}

// take begins the confirmation of a rule; one that is under way is left.
func (e *engine) take(s *state, i int, epoch uint8, r rule) {
	n := &s.nodes[i]
	to := namesEmpty
	switch {
	case r.acks > r.standbys.count():
		to = namesNobody // after a loss: nobody is left who could acknowledge
	case r.acks > 0:
		acks := r.acks
		if planted.AcksLoweredSilently.On() {
			acks--
		}
		if acks > 0 {
			to = namesOf(epoch, acks, r.standbys)
		}
	}
	if epoch < n.ruleEpoch || epoch == n.ruleEpoch && r.version < n.ruleVersion {
		return // never an older version than what was written last
	}
	t := *s
	m := &t.nodes[i]
	m.forgetOp()
	m.op, m.opNames, m.opEpoch, m.opVersion, m.opJoint = begun, to, epoch, r.version, r.standbys
	if s.store.pending {
		m.opJoint |= s.store.joint.standbys
	} else {
		m.opJoint |= s.store.rule.standbys
	}
	e.add(&t, step{do: begins, a: uint8(i), b: r.version})
}

// writeNames writes the names of the rule, or before that those that nobody fulfils.
func (e *engine) writeNames(s *state, i int) {
	n := &s.nodes[i]
	t := *s
	m := &t.nodes[i]
	if !n.waits && n.opNames != namesEmpty && !planted.CheckpointerNotWaited.On() {
		m.names, m.op = namesNobody, waiting
		e.add(&t, step{do: writesNobody, a: uint8(i)})
		return
	}
	m.apply()
	e.add(&t, step{do: writesNames, a: uint8(i)})
}

// apply writes the names, durably; new sessions show them.
func (n *node) apply() {
	if planted.OlderVersionApplied.On() || planted.NamesNotDurable.On() {
		n.older = n.names
	}
	n.ruleEpoch, n.ruleVersion, n.names, n.op = n.opEpoch, n.opVersion, n.opNames, written
}

// probe flushes a record. WAL senders that are there may go by older names.
func (s *state) probe(e *engine, i int) {
	n := &s.nodes[i]
	n.op, n.opProbe = probed, n.end
	for k := range e.Nodes {
		c := s.conn(i, k)
		c.before, c.fresh = c.life != 0, false
	}
}

// judge looks for WAL senders that may still go by the old names, and counts the members that have flushed
// the probe.
func (e *engine) judge(s *state, i int) {
	n := &s.nodes[i]
	flushed, stale := uint8(0), false
	for k := range e.Nodes {
		c := s.conn(i, k)
		if c.life == 0 {
			continue
		}
		wanted := n.opNames.counts(c.life, n.opEpoch) && (named(c.epoch, n.opEpoch) || planted.JoinerByPosition.On())
		if n.opJoint.has(c.life) && c.before && (c.names.counts(c.life, c.epoch) != wanted || c.known && !c.fresh) {
			stale = true
			if c.receives && e.Stubborn { // it is terminated after a second
				t := *s
				*t.conn(i, k) = conn{}
				e.add(&t, step{do: terminates, a: uint8(i), b: uint8(k)})
			}
			continue
		}
		if wanted && c.known && c.taken >= n.opProbe {
			flushed++
		}
	}
	need := uint8(0)
	if n.opNames != namesEmpty {
		need = n.opNames.acks()
	}
	switch {
	case planted.ConfirmedUnprobed.On():
	case planted.ConfirmedByReturned.On():
		if n.opNames != namesEmpty && n.release < n.opProbe {
			return
		}
	case stale || flushed < need:
		return
	}
	t := *s
	m := &t.nodes[i]
	m.confirmEpoch, m.confirmVersion = n.opEpoch, n.opVersion
	m.forgetOp()
	for k := range e.Nodes {
		c := t.conn(i, k)
		c.before, c.fresh = false, false
	}
	e.add(&t, step{do: proves, a: uint8(i), b: n.opVersion})
}

// letIn opens a leader whose rule this very server has proven. When nobody has to acknowledge, the store
// is asked first.
func (e *engine) letIn(s *state, i int) {
	n, c := &s.nodes[i], &s.store
	early := planted.OpensBeforeSteady.On() && n.promoted == c.epoch && n.op == written
	if n.open || n.confirmEpoch == 0 && !early {
		return
	}
	current := c.phase == steady && c.epoch == n.confirmEpoch && c.leader == n.life
	if n.names == namesEmpty && !current && !early && !planted.CrashedOpensAlone.On() {
		return
	}
	t := *s
	t.openTo(i)
	e.add(&t, step{do: opens, a: uint8(i)})
}
