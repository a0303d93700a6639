package explore

import (
	"github.com/pgctl/pgctl/internal/planted"
)

// ruleSteps are the steps of the store that change what commits wait for.
func (e *engine) ruleSteps(s *state) {
	e.lose(s)
	c := &s.store
	at := s.nodeOf(c.leader)
	if c.phase != steady || at < 0 {
		return
	}
	if c.late { // planted: the history is completed only now
		t := *s
		t.store.last().state, t.store.late = settled, false
		e.add(&t, step{do: records})
	}
	leader := &s.nodes[at]
	if leader.run != primary {
		return
	}
	if c.pending && leader.confirmEpoch == c.epoch && leader.confirmVersion == c.next.version {
		t := *s
		n := &t.store
		n.rule, n.next, n.joint, n.pending = n.next, rule{}, rule{}, false
		n.rule.lost = 0
		e.commit(s, &t, step{do: confirms, a: uint8(at)})
	}
	if s.used[changes] < e.Changes {
		e.request(s, at)
	}
}

// request asks for the next step towards any set of standbys that the leader may want: those in force, as
// long as they are not believed to be dead, and others who stream.
func (e *engine) request(s *state, at int) {
	c := &s.store
	from := c.inForce()
	able := from.standbys
	for i := range e.Nodes {
		n, k := &s.nodes[i], s.conn(at, i)
		streams := k.known && !k.stuck && named(k.epoch, c.epoch) && k.life == n.life
		if planted.JoinerByPosition.On() {
			streams = n.data && n.end >= s.nodes[at].end
		}
		if i != at && streams && !c.binding().lost.has(n.life) {
			able |= n.life.set()
		}
	}
	var asked [8]rule
	n := 0
	for wanted := able; ; wanted = (wanted - 1) & able {
		to := e.target(from, wanted)
		same := to.standbys == from.standbys && to.acks == from.acks && to.lost == from.lost
		for _, other := range asked[:n] {
			same = same || other == to
		}
		if !same && n < len(asked) {
			asked[n], n = to, n+1
			e.ask(s, to)
		}
		if wanted == 0 {
			break
		}
	}
	if c.pending && (c.next.standbys != c.rule.standbys || c.next.acks != c.rule.acks) {
		e.ask(s, c.rule) // withdrawn
	}
}

func (e *engine) ask(s *state, to rule) {
	t := *s
	t.used[changes]++
	c := &t.store
	to.version = c.inForce().version + 1
	if to.standbys&c.rule.lost != 0 {
		return
	}
	binding := c.binding()
	if planted.NextRuleForgotten.On() {
		binding = c.rule
	}
	c.joint, c.next, c.pending = joint(binding, to), to, true
	c.joint.version = to.version
	e.commit(s, &t, step{do: asks, a: uint8(to.standbys), b: to.acks})
}

// lose: a life that is in a rule exists no more. Its instance gets a new one, as soon as no rule needs it.
func (e *engine) lose(s *state) {
	c := &s.store
	named := c.rule.standbys
	if c.pending {
		named |= c.next.standbys | c.joint.standbys
	}
	for i := range e.Nodes {
		n := &s.nodes[i]
		if n.data || n.unmade || n.life == 0 || planted.LifeKept.On() {
			continue
		}
		t := *s
		r := &t.store
		switch {
		case named.has(n.life):
			version := c.inForce().version + 1
			for _, k := range []*rule{&r.rule, &r.next, &r.joint} {
				if k.standbys.has(n.life) {
					k.standbys, k.lost = k.standbys&^n.life.set(), k.lost|n.life.set()
				}
			}
			switch {
			case planted.ConfirmedBeforeLoss.On():
			case c.pending:
				r.next.version = version
			default:
				r.rule.version = version
			}
			t.renew(e, i)
			e.commit(s, &t, step{do: loses, a: uint8(i)})
		case n.life == c.leader || n.life == c.rule.leader:
		default:
			t.renew(e, i)
			e.add(&t, step{do: renews, a: uint8(i)})
		}
	}
}

// renew gives an instance without data a new life; the world has two for each.
func (s *state) renew(e *engine, i int) {
	if n := &s.nodes[i]; int(n.life) <= e.Nodes {
		n.life, n.unmade = n.life+life(e.Nodes), true
	} else {
		n.life = 0
	}
}
