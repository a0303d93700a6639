package ha

import (
	"cmp"
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// Check holds a decision against the invariants once more, by other code than the one that made it.
// What it refuses is a bug of ours: nothing is committed, and the error is shown.
func Check(v View, d Decision) error {
	if d.Next == nil {
		return nil
	}
	old, next := v.Leadership, *d.Next
	wrong := func(format string, args ...any) error {
		return pgctl.Errorf(pgctl.CodeInternal, "refused to commit a leadership of %s: "+format, append([]any{old.Cluster}, args...)...)
	}
	switch {
	case next.Cluster != old.Cluster:
		return wrong("the cluster changed")
	case next.Epoch < old.Epoch || next.Epoch > old.Epoch+1 && old.Phase != pgctl.Unknown:
		return wrong("epoch %d follows %d", next.Epoch, old.Epoch)
	case next.RuleInForce().Version < old.RuleInForce().Version:
		return wrong("rule version %d follows %d", next.RuleInForce().Version, old.RuleInForce().Version)
	case old.SystemID != "" && next.SystemID != old.SystemID:
		return wrong("the system identifier changed")
	case !successor(old, next):
		return wrong("%s in epoch %d cannot follow %s in epoch %d", next.Phase, next.Epoch, old.Phase, old.Epoch)
	case next.Epoch > old.Epoch && next.Phase == pgctl.Steady:
		return wrong("a new epoch begins with its leader steady")
	}
	if why := cmp.Or(checkMode(v, next), checkRules(v, next), checkHistory(old, next)); why != "" {
		return wrong("%s", why)
	}
	if next.Phase == pgctl.Promoting && old.Phase == pgctl.Recruiting {
		if why := checkChoice(v, next); why != "" {
			return wrong("%s", why)
		}
	}
	if next.Phase == pgctl.Steady && old.Phase == pgctl.Promoting {
		if why := checkSteady(v, next); why != "" {
			return wrong("%s", why)
		}
	}
	return nil
}

// successor is the table of phases.
func successor(old, next pgctl.Leadership) bool {
	same := next.Epoch == old.Epoch
	if next.Phase == pgctl.Unknown || next.Phase == old.Phase && same {
		return same && next.Leader == old.Leader
	}
	switch old.Phase {
	case pgctl.Bootstrapping:
		return same && next.Phase == pgctl.Steady && next.Leader == old.Leader || !same && next.Phase == pgctl.Bootstrapping
	case pgctl.Steady:
		return !same && next.Phase == pgctl.Recruiting && next.Leader == ""
	case pgctl.Recruiting:
		_, chosen := old.Chosen()
		return same && (next.Phase == pgctl.Promoting || next.Phase == pgctl.Steady && next.Leader == old.Rule.Leader && !chosen)
	case pgctl.Promoting:
		return same && next.Leader == old.Leader && next.Phase == pgctl.Steady || !same && next.Phase == pgctl.Recruiting && next.Leader == ""
	}
	return next.Phase == pgctl.Recruiting && !same && next.Leader == "" || same && next.Phase == pgctl.Steady && next.Leader == old.Leader
}

func checkRules(v View, next pgctl.Leadership) string {
	old := v.Leadership
	for _, rule := range []*pgctl.Rule{&next.Rule, next.NextRule, next.Joint} {
		if rule == nil {
			continue
		}
		if rule.Acks < 0 || rule.Acks > len(rule.Standbys)+len(rule.Lost) || rule.Acks == 0 && len(rule.Standbys) > 0 && rule != next.Joint {
			return "a rule waits for as many as it does not name"
		}
		for _, life := range rule.Standbys {
			if slices.Contains(rule.Lost, life) || life == rule.Leader {
				return "a rule names its leader or a lost life as a standby"
			}
		}
	}
	if (next.NextRule == nil) != (next.Joint == nil) {
		return "a change of rules without its joint rule"
	}
	inForce := old.RuleInForce()
	if v.Declared.Strict && next.NextRule != nil && next.NextRule.Acks < min(old.Rule.Acks, inForce.Acks, v.Declared.Acks) {
		return "a strict cluster waits for fewer than declared"
	}
	switch {
	case old.Phase == pgctl.Promoting && next.Phase == pgctl.Steady, next.Phase == pgctl.Bootstrapping:
		return "" // a new rule: of checkSteady, or of a cluster without data
	case onlyLoses(old.Rule, next.Rule) && (old.Joint == nil || next.Joint != nil):
		return checkJoint(old, next)
	}
	leader := v.member(old.Leader)
	if leader == nil || leader.Report.Confirmed == nil || old.NextRule == nil || next.NextRule != nil {
		return "a rule that its leader has not confirmed"
	}
	c := leader.Report.Confirmed
	if old.Phase != pgctl.Steady || next.Phase != pgctl.Steady || !sameRule(*old.NextRule, next.Rule) ||
		c.Epoch != old.Epoch || c.Version != old.NextRule.Version {
		return "a rule that its leader has not confirmed"
	}
	return ""
}

// onlyLoses says whether a rule is as before, but for lives that were lost and the version.
func onlyLoses(old, next pgctl.Rule) bool {
	gone := slices.DeleteFunc(slices.Clone(old.Standbys), next.Names)
	return next.Leader == old.Leader && next.Acks == old.Acks && firstNotIn(next.Standbys, old.Standbys) == "" &&
		slices.Equal(next.Lost, union(old.Lost, gone))
}

// checkJoint holds that while a change is under way every rule since the confirmed one stays guarded.
func checkJoint(old, next pgctl.Leadership) string {
	if next.Joint == nil || planted.ResumingClearsJoint.On() || planted.NextRuleForgotten.On() {
		return ""
	}
	for _, rule := range []pgctl.Rule{Binding(&old), old.Rule, *next.NextRule} {
		if next.Joint.Acks > rule.Acks {
			return "the joint rule waits for more than a rule that may be in force"
		}
		if firstNotIn(rule.Lost, next.Joint.Lost) != "" {
			return "the joint rule forgets a lost life"
		}
		for _, life := range rule.Standbys {
			if !next.Joint.Names(life) && !slices.Contains(next.Joint.Lost, life) {
				return "the joint rule leaves out a standby that may acknowledge"
			}
		}
	}
	return ""
}

// checkHistory holds that no timeline number is forgotten, given away or taken back.
func checkHistory(old, next pgctl.Leadership) string {
	for _, before := range old.History {
		after, known := next.Record(before.Timeline)
		if planted.TimelineByPostgres.On() {
			break
		}
		if !known || after.Epoch != before.Epoch || after.Leader != before.Leader ||
			before.State == pgctl.TimelineSteady && after.State != pgctl.TimelineSteady {
			return "the history of timelines was rewritten"
		}
	}
	if next.SteadyEpoch != old.SteadyEpoch && (next.SteadyEpoch != next.Epoch || next.Phase != pgctl.Steady || old.Phase == pgctl.Steady) {
		return "a steady epoch without a leader that became steady"
	}
	return ""
}

// checkChoice holds I1: every acknowledged commit is on a member of the recruits, and none of them is
// further than the chosen one.
func checkChoice(v View, next pgctl.Leadership) string {
	old := v.Leadership
	recruits, lives := recruitsOf(v)
	chosen := v.member(next.Leader)
	if chosen == nil || !lives[next.Leader] {
		return "the chosen one has not pledged"
	}
	if len(next.History) == 0 {
		return "no timeline number was given out"
	}
	if number := next.History[len(next.History)-1].Timeline; slices.ContainsFunc(old.History, func(r pgctl.TimelineRecord) bool { return r.Timeline >= number }) {
		return "a timeline number was given twice"
	}
	if p := old.Planned; p != nil && p.Lossy {
		return ""
	}
	if old.Mode == pgctl.Quorum && !recruited(&old, lives) {
		return "too few have pledged: an acknowledged commit could be lost"
	}
	own := Rank(&old, chosen.Report.Pledge.Position, chosen.Report.Parent)
	for _, m := range recruits {
		if Rank(&old, m.Report.Pledge.Position, m.Report.Parent).Compare(own) > 0 && !planted.ChosenBeforeCaughtUp.On() {
			return m.Instance + " is further than the chosen one"
		}
	}
	return ""
}

// checkSteady holds that whoever becomes steady has proven its first record with the members that its
// rule names.
func checkSteady(v View, next pgctl.Leadership) string {
	leader := v.member(next.Leader)
	if leader == nil || leader.Report.Promoted == nil || leader.Report.Promoted.Epoch != next.Epoch {
		return "the leader has not been promoted in this epoch"
	}
	if next.Rule.Leader != next.Leader || next.NextRule != nil {
		return "the new leader's rule is not its own"
	}
	for _, life := range next.Rule.Standbys {
		if planted.SteadyUnproven.On() || planted.JoinerByPosition.On() {
			break
		}
		if s, ok := v.sender(leader, life); !ok || s.Flushed < leader.Report.Promoted.Record {
			return v.nameOf(life) + " has not flushed the promotion"
		}
	}
	if v.Declared.Strict && next.Mode == pgctl.Quorum && next.Rule.Acks < v.Declared.Acks {
		return "a strict cluster waits for fewer than declared"
	}
	return ""
}
