package ha

import (
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// Lives is a set of lives.
type Lives map[pgctl.Life]bool

// Enough says whether the pledged set r suffices for a rule: it holds the rule's leader, or so many
// of its standbys that fewer than Acks are left outside. Then nobody can acknowledge anything under
// the rule any more, and every acknowledged commit is on a member of r. A lost life counts as
// outside: it may have been among those that acknowledged.
func Enough(rule pgctl.Rule, r Lives) bool {
	if r[rule.Leader] {
		return true
	}
	pledged := 0
	for _, life := range rule.Standbys {
		if r[life] {
			pledged++
		}
	}
	needed := len(rule.Standbys) + len(rule.Lost) - rule.Acks + 1
	if planted.OneRecruitTooFew.On() {
		needed--
	}
	return rule.Acks > 0 && pledged >= needed
}

// Joint is what holds while a rule gives way to another: the fewer acknowledgements of either, by
// the standbys of both.
func Joint(a, b pgctl.Rule) pgctl.Rule {
	return pgctl.Rule{
		Leader:   a.Leader,
		Standbys: union(a.Standbys, b.Standbys),
		Acks:     min(a.Acks, b.Acks),
		Lost:     union(a.Lost, b.Lost),
		Version:  max(a.Version, b.Version),
	}
}

// Binding is the rule that a recruitment has to satisfy.
func Binding(l *pgctl.Leadership) pgctl.Rule {
	if l.Joint != nil && !planted.NextRuleIgnored.On() {
		return *l.Joint
	}
	return l.Rule
}

// recruited says whether the pledged set r suffices for every rule that may be in force.
func recruited(l *pgctl.Leadership, r Lives) bool {
	switch {
	case planted.ChosenBeforeStop.On() && l.Planned != nil && r[l.Planned.To]:
		return true
	case planted.RulesEachForItself.On():
		return Enough(l.Rule, r) && Enough(l.RuleInForce(), r)
	}
	return Enough(Binding(l), r)
}

// Target is the next single step from a rule towards the wanted standbys and acknowledgements: remove,
// then lower; raise, then add; both at once where the rule between would be invalid. Where strict
// forbids to remove, and where others are there to take over, it adds first: commits never wait for
// nobody in between. It returns false when nothing is left to do, or nothing is allowed.
func Target(from pgctl.Rule, wanted []pgctl.Life, acks int, strict bool) (pgctl.Rule, bool) {
	to := pgctl.Rule{Leader: from.Leader, Standbys: slices.Clone(from.Standbys), Acks: from.Acks}
	gone, added := firstNotIn(from.Standbys, wanted), firstNotIn(wanted, from.Standbys)
	least := 0
	if strict || len(wanted) > 0 {
		least = min(from.Acks, acks)
	}
	switch {
	case gone != "" && len(to.Standbys) > least:
		to.Standbys = slices.DeleteFunc(to.Standbys, func(l pgctl.Life) bool { return l == gone })
		to.Acks = min(to.Acks, len(to.Standbys))
	case to.Acks > len(to.Standbys): // after a loss
		if least > len(to.Standbys) {
			to.Standbys = union(to.Standbys, wanted)
		}
		to.Acks = min(to.Acks, len(to.Standbys))
	case gone == "" && to.Acks > acks && to.Acks > 1:
		to.Acks--
	case gone == "" && to.Acks < acks && to.Acks < len(to.Standbys):
		to.Acks++
	case added != "":
		to.Standbys = union(to.Standbys, []pgctl.Life{added})
		if to.Acks < max(acks, 1) && to.Acks < len(to.Standbys) {
			to.Acks++
		}
	case len(from.Lost) == 0 || gone != "":
		return from, false
	}
	return to, to.Acks >= least
}

// withLost moves lives that exist no more from the standbys to the lost ones; changed says whether
// any was there.
func withLost(rule pgctl.Rule, gone Lives) (_ pgctl.Rule, changed bool) {
	var kept, lost []pgctl.Life
	for _, life := range rule.Standbys {
		if gone[life] {
			lost = append(lost, life)
		} else {
			kept = append(kept, life)
		}
	}
	rule.Standbys, rule.Lost = kept, union(rule.Lost, lost)
	return rule, len(lost) > 0
}

func sameRule(a, b pgctl.Rule) bool {
	return a.Leader == b.Leader && a.Acks == b.Acks && slices.Equal(a.Standbys, b.Standbys)
}

func union(a, b []pgctl.Life) []pgctl.Life {
	both := append(slices.Clone(a), b...)
	slices.Sort(both)
	return slices.Compact(both)
}

func firstNotIn(list, other []pgctl.Life) pgctl.Life {
	for _, life := range list {
		if !slices.Contains(other, life) {
			return life
		}
	}
	return ""
}
