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
	if err := checkLeadership(&c.Next); err != nil {
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
		if err := checkSuccession(old, &c.Next); err != nil {
			return err
		}
	}
	next := c.Next
	next.Revision = t.index
	t.put(leadershipsTable, &next)
	t.touchCluster(name)
	return RecordEvents{c.Events}.apply(t)
}

// never refuses a leadership that no decision may lead to.
func never(l *pgctl.Leadership, field, format string, args ...any) *pgctl.Error {
	e := pgctl.Errorf(pgctl.CodeRefused, format, args...).At(field)
	e.Message = "leadership of " + l.Cluster + ": " + e.Message
	return e
}

// checkLeadership refuses what is wrong in itself.
func checkLeadership(l *pgctl.Leadership) error {
	phases := []pgctl.Phase{pgctl.Bootstrapping, pgctl.Steady, pgctl.Recruiting, pgctl.Promoting, pgctl.Unknown}
	switch {
	case l.Mode != pgctl.Quorum && l.Mode != pgctl.Lease:
		return never(l, "mode", "%.20q is no mode", l.Mode)
	case !slices.Contains(phases, l.Phase):
		return never(l, "phase", "%.20q is no phase", l.Phase)
	case l.Epoch == 0:
		return never(l, "epoch", "epochs begin at 1")
	case l.SteadyEpoch > l.Epoch:
		return never(l, "steadyEpoch", "%d is beyond epoch %d", l.SteadyEpoch, l.Epoch)
	case l.Leader == "" && (l.Phase == pgctl.Steady || l.Phase == pgctl.Promoting):
		return never(l, "leader", "phase %s needs one", l.Phase)
	case l.Leader != "" && l.Phase == pgctl.Recruiting:
		return never(l, "leader", "nobody leads while recruiting")
	}
	for i, r := range []*pgctl.Rule{&l.Rule, l.NextRule, l.Joint} {
		if r == nil {
			continue
		}
		if err := checkRule(l, []string{"rule", "nextRule", "joint"}[i], r); err != nil {
			return err
		}
	}
	seen := map[pgctl.Timeline]bool{}
	for _, r := range l.History {
		if r.Timeline == 0 || seen[r.Timeline] {
			return never(l, "history", "timeline %d stands there twice, or is none", r.Timeline)
		}
		seen[r.Timeline] = true
	}
	return nil
}

// checkRule refuses numbers of acknowledgements that nobody could give, and lives that count twice.
// A joint rule asks for the smaller number of two, so it may ask for none of many.
func checkRule(l *pgctl.Leadership, field string, r *pgctl.Rule) error {
	lives := slices.Concat([]pgctl.Life{r.Leader}, r.Standbys)
	slices.Sort(lives)
	switch {
	case r.Acks < 0 || r.Acks > len(r.Standbys)+len(r.Lost):
		return never(l, field, "%d acknowledgements of %d standbys and %d lost ones", r.Acks, len(r.Standbys), len(r.Lost))
	case r.Acks == 0 && len(r.Standbys) > 0 && field != "joint":
		return never(l, field, "no acknowledgement of %d standbys", len(r.Standbys))
	case len(slices.Compact(lives)) != len(r.Standbys)+1 && field != "joint":
		return never(l, field, "a life is there twice")
	case slices.ContainsFunc(r.Standbys, func(s pgctl.Life) bool { return slices.Contains(r.Lost, s) }):
		return never(l, field, "a standby is lost")
	}
	return nil
}

// checkSuccession refuses a leadership that cannot follow the old one.
func checkSuccession(old, next *pgctl.Leadership) error {
	unknown := old.Phase == pgctl.Unknown || next.Phase == pgctl.Unknown
	switch {
	case next.Epoch < old.Epoch || next.Epoch > old.Epoch+1 && !unknown:
		return never(next, "epoch", "%d cannot follow %d", next.Epoch, old.Epoch)
	case next.RuleInForce().Version < old.RuleInForce().Version:
		return never(next, "rule.version", "%d cannot follow %d", next.RuleInForce().Version, old.RuleInForce().Version)
	}
	var lost []pgctl.Life
	for _, l := range []*pgctl.Leadership{old, next} {
		for _, r := range []*pgctl.Rule{&l.Rule, l.NextRule, l.Joint} {
			if r != nil {
				lost = append(lost, r.Lost...)
			}
		}
	}
	for _, life := range lost {
		if next.Rule.Names(life) || next.NextRule != nil && next.NextRule.Names(life) {
			return never(next, "rule", "%s is lost and cannot be a standby", life)
		}
	}
	highest := pgctl.Timeline(0)
	for _, r := range next.History {
		highest = max(highest, r.Timeline)
		before, given := old.Record(r.Timeline)
		if given && (before.Epoch != r.Epoch || before.Leader != r.Leader) {
			return never(next, "history", "timeline %d belongs to %s of epoch %d", r.Timeline, before.Leader, before.Epoch)
		}
	}
	for _, r := range old.History {
		if r.Timeline > highest {
			return never(next, "history", "timeline %d is missing and could be given twice", r.Timeline)
		}
	}
	return nil
}
