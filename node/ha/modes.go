package ha

import (
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// changeMode takes a cluster from quorum to lease or back, one commit after the other. To lease: the empty
// rule is confirmed first, then the leader has to hold a lease, and be guarded, before time protects what
// the rule did. To quorum: the mode at once, since a rule of nobody lets only this leader lead; it grows then.
func changeMode(v View, leader *Member) (Decision, bool) {
	l, wanted := v.Leadership, v.Declared.Mode
	next := clone(l)
	switch r := leader.Report; {
	case wanted == "" || wanted == l.Mode && l.NextMode == "":
		return Decision{}, false
	case wanted == l.Mode:
		next.NextMode = ""
		return commit(v, next, pgctl.Info, "mode.kept", l.Leader, "the cluster stays in %s mode", l.Mode), true
	case !leader.fresh() || !r.Primary || r.Epoch != l.Epoch || (l.NextRule != nil || l.Rule.Acks > 0) && !planted.ModesInOtherOrder.On():
		return Decision{}, false // the rule is taken back first
	case wanted == pgctl.Quorum:
		next.Mode, next.NextMode = pgctl.Quorum, ""
		return commit(v, next, pgctl.Info, "mode.changed", l.Leader, "commits are protected by standbys from now on, as soon as they have joined"), true
	case l.NextMode == "":
		next.NextMode = pgctl.Lease
		return commit(v, next, pgctl.Info, "mode.requested", l.Leader, "%s is to lead by a lease", leader.Instance), true
	case !r.Leased:
		return Decision{Waiting: leader.Instance + " has no lease yet; without one it keeps its mode"}, true
	case r.Guarded && !r.Armed:
		return Decision{Waiting: leader.Instance + " has a lease, and no guard that would stop it at its end"}, true
	}
	next.Mode, next.NextMode = pgctl.Lease, ""
	return commit(v, next, pgctl.Warning, "mode.changed", l.Leader, "commits wait for nobody; %s leads by a lease", leader.Instance), true
}

// checkMode holds that the mode changes only while nobody's acknowledgement is waited for, and to lease only
// with a leader that holds one.
func checkMode(v View, next pgctl.Leadership) string {
	old := v.Leadership
	if next.Mode == old.Mode {
		return ""
	}
	leader := v.member(old.Leader)
	switch {
	case old.Phase != pgctl.Steady || next.Phase != pgctl.Steady || next.Epoch != old.Epoch:
		return "the mode changes during an election"
	case planted.ModesInOtherOrder.On():
		return ""
	case old.NextRule != nil || next.NextRule != nil || old.Rule.Acks != 0 || !sameRule(old.Rule, next.Rule):
		return "the mode changes while commits wait for somebody"
	case next.Mode == pgctl.Lease && (leader == nil || !leader.fresh() || !leader.Report.Leased || old.NextMode != pgctl.Lease):
		return "a leader without a lease would lead by one"
	}
	return ""
}

// shape makes of those who could be waited for the ones that should be, and how many of them. Across data
// centers that is half of those elsewhere, rounded up; when they are all gone anybody, or with strict nobody:
// then commits wait.
func shape(v View, leader *Member, able []pgctl.Life) (wanted []pgctl.Life, acks int) {
	wanted, acks = able, v.Declared.Acks
	if far := v.far(leader, able); v.Declared.Across && (len(far) > 0 || v.Declared.Strict) {
		wanted, acks = far, (len(far)+1)/2
	}
	if v.Declared.Strict {
		return wanted, v.Declared.Acks
	}
	return wanted, min(acks, len(wanted))
}

// far are those of the lives that are in another data center than the leader.
func (v *View) far(leader *Member, lives []pgctl.Life) []pgctl.Life {
	return slices.DeleteFunc(slices.Clone(lives), func(l pgctl.Life) bool {
		m := v.member(l)
		return m == nil || m.DataCenter == leader.DataCenter
	})
}

// tellFallback says that no other data center is reached any more, although that was asked for.
func tellFallback(d *Decision, v View, leader *Member, falls bool) {
	if v.Declared.Across && falls && v.Leadership.Mode == pgctl.Quorum {
		d.Events = append(d.Events, event(v, pgctl.Alarm, "durability.fallback", leader.Life,
			"no standby in another data center is left to wait for: a disaster in that of %s would lose commits", leader.Instance))
	}
}
