package explore

// standstill is the violation of I3.
const standstill = "I3: from here no commit is possible any more, although nothing goes wrong from now on"

// edge is a step that is no fault, from the state of a number to one of an identity.
type edge struct {
	from uint32
	to   uint64
}

// fault says whether a step is something going wrong, or an operator's doing: neither may be needed for the
// cluster to come back.
func (d deed) fault() bool {
	switch d {
	case crashed, diskLost, breaks, strayPromotes, switches, orders, accepts:
		return true
	}
	return false
}

// mark notes what a state of a lively world is: one in which a commit is possible, or one from which that has
// to be reached. Two more epochs and two more changes of the rule are left to get there.
func (e *engine) mark(s *state, number uint32) {
	if !e.Lively {
		return
	}
	if e.serves(s) {
		e.goals = append(e.goals, number)
	} else if s.store.epoch+2 <= e.Epochs && (e.Changes == 0 || s.used[changes]+2 <= e.Changes) {
		e.due = append(e.due, number)
	}
}

// serves says whether a client's commit would be acknowledged.
func (e *engine) serves(s *state) bool {
	c := &s.store
	at := s.nodeOf(c.leader)
	if c.phase != steady || at < 0 || c.pending {
		return false
	}
	n := &s.nodes[at]
	if n.run != primary || !n.open || n.confirmEpoch != c.epoch || n.confirmVersion != c.rule.version {
		return false
	}
	with := uint8(0)
	for i := range e.Nodes {
		if k := s.conn(at, i); k.receives && !k.stuck && n.names.counts(k.life, k.epoch) {
			with++
		}
	}
	return n.names == namesEmpty || with >= n.names.acks()
}

// standsStill finds the nearest state from which no commit can be reached, by walking all steps backwards from
// where one is possible.
func (s *search) standsStill() (at uint32, stands bool) {
	from := make([][]uint32, s.seen.len())
	alive := make([]bool, s.seen.len())
	var reached []uint32
	for _, e := range s.engines {
		for _, k := range e.edges {
			to := s.seen.slots[s.seen.slot(k.to)] - 1
			from[to] = append(from[to], k.from)
		}
		for _, goal := range e.goals {
			alive[goal], reached = true, append(reached, goal)
		}
	}
	for len(reached) > 0 {
		to := reached[len(reached)-1]
		reached = reached[:len(reached)-1]
		for _, k := range from[to] {
			if !alive[k] {
				alive[k], reached = true, append(reached, k)
			}
		}
	}
	for _, e := range s.engines {
		for _, due := range e.due {
			if !alive[due] && (!stands || due < at) {
				at, stands = due, true
			}
		}
	}
	return at, stands
}
