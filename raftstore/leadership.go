package raftstore

import (
	"slices"

	"github.com/pgctl/pgctl"
)

var leadershipsTable = newTable("leaderships", func(l *pgctl.Leadership) string { return l.Cluster })

// LeadershipExpectation is the state of a leadership that a decision was made on. All zero: there is
// none yet.
type LeadershipExpectation struct {
	Epoch       pgctl.Epoch `json:"epoch"`
	Phase       pgctl.Phase `json:"phase"`
	RuleVersion uint64      `json:"ruleVersion"` // of the rule in force
	Revision    uint64      `json:"revision"`
}

// ExpectLeadership is the expectation that nothing changed since l was read.
func ExpectLeadership(l pgctl.Leadership) LeadershipExpectation {
	return LeadershipExpectation{l.Epoch, l.Phase, l.RuleInForce().Version, l.Revision}
}

// SetLeadership replaces the leadership of a cluster, if it is still the expected one when the
// command is applied. What can never be right is refused even then.
type SetLeadership struct {
	Expect LeadershipExpectation `json:"expect"`
	Next   pgctl.Leadership      `json:"next"`
	Events []pgctl.Event         `json:"events,omitempty"` // recorded with it
}

func (SetLeadership) kind() string { return "leadership.set" }

func (c SetLeadership) check() error {
	if err := checkName("cluster", c.Next.Cluster, maxClusterName); err != nil {
		return err
	}
	if err := c.Next.Check(); err != nil {
		return err
	}
	return RecordEvents{c.Events}.check()
}

func (c SetLeadership) apply(t *tx) error {
	name := c.Next.Cluster
	if _, err := findCluster(t, name); err != nil {
		return err
	}
	have, old := LeadershipExpectation{}, find[pgctl.Leadership](t, leadershipsTable, name)
	if old != nil {
		have = ExpectLeadership(*old)
	}
	if have != c.Expect {
		return pgctl.Errorf(pgctl.CodeConflict, "the leadership of %s changed meanwhile: it is at epoch %d, phase %q, "+
			"rule %d, revision %d, not %d, %q, %d, %d", name, have.Epoch, have.Phase, have.RuleVersion, have.Revision,
			c.Expect.Epoch, c.Expect.Phase, c.Expect.RuleVersion, c.Expect.Revision).WithHint("decide again on the new state")
	}
	if old != nil {
		if err := old.CheckSuccessor(&c.Next); err != nil {
			return err
		}
	}
	next := c.Next
	next.Revision, next.History = t.index, slices.Clone(next.History)
	for i := range next.History {
		if r := &next.History[i]; r.At.IsZero() {
			r.At = t.at
		}
	}
	t.put(leadershipsTable, &next)
	t.touchCluster(name)
	return RecordEvents{c.Events}.apply(t)
}
