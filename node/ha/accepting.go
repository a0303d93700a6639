package ha

import (
	"cmp"

	"github.com/pgctl/pgctl"
)

// endangered says why a failover that accepts loss may not begin, or nil. Without the pledges of enough
// members nothing keeps the old leader from acknowledging, so it must be known to have stopped: what it
// acknowledges after another one leads is lost as well, and nobody accepted that.
func endangered(v View) *pgctl.Error {
	l, r := v.Leadership, v.Request
	life := cmp.Or(l.Leader, l.Rule.Leader)
	if !r.Lossy || r.OldDead || r.To == life || stopped(v) {
		return nil
	}
	old := v.member(life)
	if old != nil && old.fresh() && (old.Report.State == Down || old.Report.State == Absent) {
		return nil
	}
	if recruits, _ := recruitsOf(v); l.Mode == pgctl.Lease && v.LeaseAge > LeaseTime+LeaseMargin && vouched(recruits) <= 0 {
		return nil
	}
	return pgctl.Errorf(pgctl.CodeRefused, "%s is not known to have stopped: it may go on acknowledging commits that nobody will see",
		v.nameOf(life)).
		WithHint("stop it; or, if it is dead for certain, its power off, say: --old-leader-is-dead")
}
