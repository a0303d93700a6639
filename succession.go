package pgctl

import (
	"slices"

	"github.com/pgctl/pgctl/internal/planted"
)

// never refuses a leadership that no decision may lead to.
func never(l *Leadership, field, format string, args ...any) *Error {
	e := Errorf(CodeRefused, format, args...).At(field)
	e.Message = "leadership of " + l.Cluster + ": " + e.Message
	return e
}

// Check refuses, with CodeRefused, a leadership that is wrong in itself.
func (l *Leadership) Check() error {
	phases := []Phase{Bootstrapping, Steady, Recruiting, Promoting, Unknown}
	switch {
	case l.Mode != Quorum && l.Mode != Lease:
		return never(l, "mode", "%.20q is no mode", l.Mode)
	case !slices.Contains(phases, l.Phase):
		return never(l, "phase", "%.20q is no phase", l.Phase)
	case l.Epoch == 0:
		return never(l, "epoch", "epochs begin at 1")
	case l.SteadyEpoch > l.Epoch:
		return never(l, "steadyEpoch", "%d is beyond epoch %d", l.SteadyEpoch, l.Epoch)
	case l.Leader == "" && (l.Phase == Steady || l.Phase == Promoting):
		return never(l, "leader", "phase %s needs one", l.Phase)
	case l.Leader != "" && l.Phase == Recruiting:
		return never(l, "leader", "nobody leads while recruiting")
	}
	for i, r := range []*Rule{&l.Rule, l.NextRule, l.Joint} {
		if r == nil {
			continue
		}
		if err := l.checkRule([]string{"rule", "nextRule", "joint"}[i], r); err != nil {
			return err
		}
	}
	for i, r := range l.History {
		twice := slices.ContainsFunc(l.History[:i], func(o TimelineRecord) bool { return o.Timeline == r.Timeline })
		if r.Timeline == 0 || twice && !planted.TimelineByPostgres.On() {
			return never(l, "history", "timeline %d stands there twice, or is none", r.Timeline)
		}
	}
	return nil
}

// checkRule refuses numbers of acknowledgements that nobody could give, and lives that count twice.
// A joint rule asks for the smaller number of two, so it may ask for none of many.
func (l *Leadership) checkRule(field string, r *Rule) error {
	lives := slices.Concat([]Life{r.Leader}, r.Standbys)
	slices.Sort(lives)
	switch {
	case r.Acks < 0 || r.Acks > len(r.Standbys)+len(r.Lost):
		return never(l, field, "%d acknowledgements of %d standbys and %d lost ones", r.Acks, len(r.Standbys), len(r.Lost))
	case r.Acks == 0 && len(r.Standbys) > 0 && field != "joint":
		return never(l, field, "no acknowledgement of %d standbys", len(r.Standbys))
	case len(slices.Compact(lives)) != len(r.Standbys)+1 && field != "joint":
		return never(l, field, "a life is there twice")
	case slices.ContainsFunc(r.Standbys, func(s Life) bool { return slices.Contains(r.Lost, s) }):
		return never(l, field, "a standby is lost")
	}
	return nil
}

// CheckSuccessor refuses, with CodeRefused, a next leadership that cannot follow l.
func (l *Leadership) CheckSuccessor(next *Leadership) error {
	unknown := l.Phase == Unknown || next.Phase == Unknown
	switch {
	case next.Epoch < l.Epoch || next.Epoch > l.Epoch+1 && !unknown:
		return never(next, "epoch", "%d cannot follow %d", next.Epoch, l.Epoch)
	case next.RuleInForce().Version < l.RuleInForce().Version:
		return never(next, "rule.version", "%d cannot follow %d", next.RuleInForce().Version, l.RuleInForce().Version)
	}
	var lost []Life
	for _, l := range []*Leadership{l, next} {
		for _, r := range []*Rule{&l.Rule, l.NextRule, l.Joint} {
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
	highest := Timeline(0)
	for _, r := range next.History {
		highest = max(highest, r.Timeline)
		before, given := l.Record(r.Timeline)
		if given && !planted.TimelineByPostgres.On() && (before.Epoch != r.Epoch || before.Leader != r.Leader) {
			return never(next, "history", "timeline %d belongs to %s of epoch %d", r.Timeline, before.Leader, before.Epoch)
		}
	}
	for _, r := range l.History {
		if r.Timeline > highest {
			return never(next, "history", "timeline %d is missing and could be given twice", r.Timeline)
		}
	}
	return nil
}
