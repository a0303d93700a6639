package explore

import "slices"

// wrong is a violation that was seen in a step.
type wrong uint8

// What can be wrong. Only the first is no violation.
const (
	nothing wrong = iota
	twoAcknowledge
	refused
	acknowledgedLost
	mixed
)

var wrongTexts = [...]string{
	twoAcknowledge:   "I2: two lives acknowledge commits of one epoch",
	refused:          "the store refuses a step: ",
	acknowledgedLost: "I1: a commit that was acknowledged, or seen, is not in the steady leader's log",
	mixed:            "two logs share a record, and not what precedes it",
}

// acknowledge tells clients whose sessions wait up to a position.
func (s *state) acknowledge(i int, upTo uint8) {
	n := &s.nodes[i]
	for at := n.closed + 1; at <= min(upTo, n.end); at++ {
		if r := n.log[at-1]; r.client() && s.note(acked{r, at}) {
			switch by := &s.by[n.ruleEpoch]; *by {
			case 0, n.life:
				*by = n.life
			default:
				s.bad = twoAcknowledge
			}
		}
	}
}

// openTo lets clients in: they see whatever the log holds (P9), so it is as good as acknowledged.
func (s *state) openTo(i int) {
	n := &s.nodes[i]
	n.open = true
	for at := uint8(1); at <= n.end; at++ {
		if r := n.log[at-1]; r.client() {
			s.note(acked{r, at})
		}
	}
}

// note remembers a commit, once; the list is sorted.
func (s *state) note(a acked) bool {
	if slices.Contains(s.acked[:], a) {
		return false
	}
	for i := range s.acked {
		if at := s.acked[i]; at.at == 0 || a.at < at.at || a.at == at.at && a.record < at.record {
			s.acked[i], a = a, at
		}
	}
	return true
}

// forget leaves only what a leader has, after an operator accepted that the rest is lost.
func (s *state) forget(leader *node) {
	var kept [maxAcked]acked
	k := 0
	for _, a := range s.acked {
		if a.at != 0 && leader.has(a) {
			kept[k], k = a, k+1
		}
	}
	s.acked = kept
}

// judged is what is wrong in a state.
func (e *engine) judged(s *state) wrong {
	if s.bad != nothing {
		return s.bad
	}
	for i := range e.Nodes {
		for k := range i {
			a, b := &s.nodes[i], &s.nodes[k]
			if a.timeline(a.end) > a.mark || b.timeline(b.end) > b.mark {
				continue // foreign, and known to be
			}
			for at := a.common(b); at < min(a.end, b.end); at++ {
				if a.log[at] == b.log[at] {
					return mixed
				}
			}
		}
	}
	if at := s.nodeOf(s.store.leader); s.store.phase == steady && at >= 0 && s.nodes[at].data {
		for _, a := range s.acked {
			if a.at != 0 && !s.nodes[at].has(a) {
				return acknowledgedLost
			}
		}
	}
	return nothing
}
