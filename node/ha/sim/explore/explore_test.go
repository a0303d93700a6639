package explore

import (
	"hash/maphash"
	"strings"
	"testing"
)

// TestSmallWorlds searches them completely.
func TestSmallWorlds(t *testing.T) {
	for _, c := range Small() {
		r := Search(c)
		t.Log(r)
		if r.Violation != "" || !r.Complete {
			t.Errorf("%s\n%s", r, strings.Join(r.History, "\n"))
		}
	}
}

// TestHuntsAreClean: where bugs are looked for, nothing is found without one.
func TestHuntsAreClean(t *testing.T) {
	violation, states, history := Find(20_000)
	if history != nil || states < 200_000 {
		t.Errorf("after %d states: %s\n%s", states, violation, strings.Join(history, "\n"))
	}
}

// TestSearchRepeats: the same world gives the same states in the same number of steps.
func TestSearchRepeats(t *testing.T) {
	c := Small()[0]
	c.Depth = 14
	first, second := Search(c), Search(c)
	if first.States != second.States || first.Depth != second.Depth || first.Bound != "14 steps" {
		t.Errorf("%s\n%s", first, second)
	}
	c.Depth, c.States = 0, 1000
	if r := Search(c); r.Complete || r.Bound != "1000 states" || r.States < 1000 {
		t.Error(r)
	}
}

// TestNumbersOfNodes: states that differ in nothing else are one.
func TestNumbersOfNodes(t *testing.T) {
	c := Config{Nodes: 3, Acks: 1, Joined: 2, Epochs: 2, Writes: 1, Crashes: 1, Disks: 1, Changes: 1}
	e := newEngine(c, maphash.MakeSeed())
	level := []state{e.first()}
	different := map[uint64]bool{}
	for range 6 {
		var next []state
		for i := range level {
			s := level[i]
			id := e.identity(&s)
			different[id] = true
			for k := range e.permutations {
				var other state
				e.permutations[k].apply(&s, &other, c.Nodes)
				if got := e.identity(&other); got != id {
					t.Fatalf("%+v\nis not the same as\n%+v", s, other)
				}
			}
			for k, found := range e.successors(&s) {
				if k%3 == i%3 {
					next = append(next, found.state)
				}
			}
		}
		level = next
	}
	if len(different) < 100 {
		t.Errorf("only %d states were different", len(different))
	}
}

// TestJudged: each kind of violation is seen.
func TestJudged(t *testing.T) {
	e := newEngine(Config{Nodes: 2, Acks: 1, Joined: 1}, maphash.MakeSeed())
	s := e.first()
	if got := e.judged(&s); got != nothing {
		t.Error(wrongTexts[got])
	}
	lost := s
	lost.note(acked{newRecord(1, 1, true), 2})
	if got := e.judged(&lost); got != acknowledgedLost {
		t.Error("a commit that the leader lacks: ", got)
	}
	mixture := s
	for i, by := range []life{1, 2} {
		mixture.nodes[i].mark = 2
		mixture.nodes[i].append(newRecord(2, by, false))
		mixture.nodes[i].append(newRecord(2, 1, false))
	}
	if got := e.judged(&mixture); got != mixed {
		t.Error("two histories of one number: ", got)
	}
	both := s
	both.nodes[0].append(newRecord(1, 1, true))
	both.acknowledge(0, 2)
	both.nodes[1].ruleEpoch = 1
	both.nodes[1].append(newRecord(2, 2, true))
	both.acknowledge(1, 2)
	if got := e.judged(&both); got != twoAcknowledge {
		t.Error("two acknowledge in one epoch: ", got)
	}
}

// TestStandsStill: a leader that alone had everything loses its disk, and nobody else may lead. Without an
// operator that is for ever, and the nearest history is that one step.
func TestStandsStill(t *testing.T) {
	r := Search(Config{Name: "alone", Nodes: 2, Acks: 1, Coarse: true, Lively: true, Epochs: 3, Disks: 1})
	if r.Violation != standstill || len(r.History) != 1 || r.History[0] != "a: its disk is lost" {
		t.Errorf("%s\n%s", r, strings.Join(r.History, "\n"))
	}
}

// TestRefused: what the store does not let pass is a violation, and says why.
func TestRefused(t *testing.T) {
	e := newEngine(Config{Nodes: 2, Acks: 1, Joined: 1}, maphash.MakeSeed())
	s := e.first()
	worse := s
	worse.store.rule.acks = 3
	e.commit(&s, &worse, step{do: confirms})
	if e.out[0].state.bad != refused || !strings.Contains(e.refusal(), "3 acknowledgements of 1 standbys") {
		t.Errorf("%v %q", e.out[0].state.bad, e.refusal())
	}
}
