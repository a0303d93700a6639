package explore

import "hash/maphash"

// permutation gives nodes, and with them their lives, other numbers.
type permutation struct {
	nodes [maxNodes]uint8 // old to new
	lives [9]life
	sets  [256]lives
}

// permutations are all of so many nodes.
func permutations(nodes int) []permutation {
	var all []permutation
	var build func(p permutation, at int, taken uint8)
	build = func(p permutation, at int, taken uint8) {
		if at == nodes {
			for l := 1; l <= 2*nodes; l++ {
				p.lives[l] = life(int(p.nodes[(l-1)%nodes]) + (l-1)/nodes*nodes + 1)
			}
			for set := range p.sets {
				for l := life(1); int(l) <= 2*nodes; l++ {
					if lives(set).has(l) {
						p.sets[set] |= p.lives[l].set()
					}
				}
			}
			all = append(all, p)
			return
		}
		for to := range nodes {
			if taken&(1<<to) == 0 {
				q := p
				q.nodes[at] = uint8(to)
				build(q, at+1, taken|1<<to)
			}
		}
	}
	var first permutation
	for i := range first.nodes {
		first.nodes[i] = uint8(i)
	}
	build(first, 0, 0)
	return all
}

func (p *permutation) names(n names) names {
	if n == namesNobody {
		return n
	}
	return n&^255 | names(p.sets[n.members()])
}

func (p *permutation) record(r record) record {
	return r&^0x1e | record(p.lives[r>>1&15])<<1
}

func (p *permutation) rule(r *rule) {
	r.leader, r.standbys, r.lost = p.lives[r.leader], p.sets[r.standbys], p.sets[r.lost]
}

// apply writes a state with other numbers into t.
func (p *permutation) apply(s, t *state, nodes int) {
	*t = *s
	for i := range nodes {
		n := &t.nodes[p.nodes[i]]
		*n = s.nodes[i]
		n.names, n.opNames, n.older = p.names(n.names), p.names(n.opNames), p.names(n.older)
		n.life, n.opJoint = p.lives[n.life], p.sets[n.opJoint]
		if n.upNode != 0 {
			n.upNode = p.nodes[n.upNode-1] + 1
		}
		if n.restored != 0 {
			n.restored = p.nodes[n.restored-1] + 1
		}
		for k := range n.end {
			n.log[k] = p.record(n.log[k])
		}
		for k := range nodes {
			c := t.conn(int(p.nodes[i]), int(p.nodes[k]))
			*c = *s.conn(i, k)
			c.names, c.life = p.names(c.names), p.lives[c.life]
		}
	}
	t.heard = p.sets[s.heard]
	c := &t.store
	p.rule(&c.rule)
	p.rule(&c.next)
	p.rule(&c.joint)
	c.leader, c.plan.from, c.plan.to = p.lives[c.leader], p.lives[c.plan.from], p.lives[c.plan.to]
	for k := range c.lines {
		c.lines[k].leader = p.lives[c.lines[k].leader]
	}
	for k := range t.by {
		t.by[k], t.leaders[k] = p.lives[t.by[k]], p.lives[t.leaders[k]]
	}
	t.acked = [maxAcked]acked{}
	for _, a := range s.acked {
		if a.at != 0 {
			t.note(acked{p.record(a.record), a.at})
		}
	}
}

// profile is what can be said of a node whatever its number is.
func (s *state) profile(i int) uint64 {
	n, c := &s.nodes[i], &s.store
	bits := func(all ...bool) (x uint64) {
		for _, b := range all {
			x <<= 1
			if b {
				x |= 1
			}
		}
		return x
	}
	key := bits(n.data, n.leads, n.open, n.waits, c.leader == n.life, c.rule.leader == n.life, c.rule.standbys.has(n.life), c.next.standbys.has(n.life), c.joint.standbys.has(n.life))
	for _, x := range []uint8{n.run, n.end, n.pledge, n.mark, n.promoted, n.upEpoch, n.op} {
		key = key<<4 | uint64(x&15)
	}
	log := uint64(0)
	for _, r := range n.log {
		log = log*31 + uint64(r&0xe1)
	}
	return key ^ log<<37
}

// identity is the same for states that differ only in the numbers of nodes.
func (e *engine) identity(s *state) uint64 {
	var profiles [maxNodes]uint64
	for i := range e.Nodes {
		profiles[i] = s.profile(i)
	}
	least := ^uint64(0)
	var t state
	for k := range e.permutations {
		p := &e.permutations[k]
		var sorted [maxNodes]uint64
		for i := range e.Nodes {
			sorted[p.nodes[i]] = profiles[i]
		}
		ordered := true
		for i := 1; i < e.Nodes; i++ {
			ordered = ordered && sorted[i-1] <= sorted[i]
		}
		if ordered {
			p.apply(s, &t, e.Nodes)
			least = min(least, maphash.Comparable(e.seed, t))
		}
	}
	return least
}
