package ha

import (
	"cmp"
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// Rank is where a position counts in an election: a timeline that never became steady counts as the
// point where it left its parent, since nothing on it was acknowledged, and the record of a failed
// promotion must not win again for ever.
func Rank(l *pgctl.Leadership, p pgctl.Position, parent pgctl.Switch) pgctl.Position {
	for range l.History { // a failed promotion may have begun on the timeline of another
		record, known := l.Record(p.Timeline)
		if !known || record.State == pgctl.TimelineSteady || parent.Timeline == 0 || planted.OrderByTimeline.On() {
			return p
		}
		p = pgctl.Position{Timeline: parent.Timeline, LSN: min(parent.End, p.LSN)}
		record, _ = l.Record(p.Timeline)
		parent = pgctl.Switch{Timeline: record.Parent, End: record.Switch}
	}
	return p
}

// choose picks the furthest recruit. Positions are ordered by timeline and LSN from the data alone;
// what breaks ties is only preference.
func choose(v View, recruits []*Member) (best *Member, waiting string) {
	l := v.Leadership
	rank := func(m *Member) pgctl.Position { return Rank(&l, m.Report.Pledge.Position, m.Report.Parent) }
	if p := l.Planned; p != nil && p.Lossy {
		for _, m := range recruits {
			if m.Life == p.To {
				return m, ""
			}
		}
		return nil, "waits for the pledge of " + v.nameOf(p.To)
	}
	if len(recruits) == 0 {
		return nil, cmp.Or(unlisted(v), "nobody has pledged yet")
	}
	furthest := slices.MaxFunc(recruits, func(a, b *Member) int { return rank(a).Compare(rank(b)) })
	var wanted, failed pgctl.Life
	if p := l.Planned; p != nil {
		wanted = p.To
	}
	if chosen, ok := l.Chosen(); ok {
		failed = chosen
	} else {
		failed = l.Rule.Leader
	}
	if planted.FailedPromotionRepeats.On() {
		failed = ""
	}
	oldCenter := ""
	if old := v.member(l.Rule.Leader); old != nil {
		oldCenter = old.DataCenter
	}
	why := ""
	for _, m := range recruits {
		if rank(m).Compare(rank(furthest)) != 0 && !planted.ChosenBeforeCaughtUp.On() {
			continue
		}
		if bar := m.barred(); bar != "" && m.Life != wanted {
			why = cmp.Or(why, m.Instance+" is the furthest and must not lead: "+bar)
			continue
		}
		if best == nil || prefer(m, best, wanted, failed, oldCenter) < 0 {
			best = m
		}
	}
	if best == nil {
		return nil, why + "; another that has as much, or pgctl failover NAME --to INSTANCE, would end that"
	}
	if l.Mode == pgctl.Lease && tooFarBehind(v, best) {
		return nil, best.Instance + " lags behind the old leader by more than maximum_lag_on_failover, or by an unknown amount"
	}
	return best, ""
}

// prefer orders members of equal rank: the one a switchover asked for, not one that is being removed
// (it leads only when nobody else has its log), not the one that just failed, the least left to replay, the
// declared priority, the old leader's data center, the name.
func prefer(a, b *Member, wanted, failed pgctl.Life, center string) int {
	left := func(m *Member) uint64 {
		return uint64(max(m.Report.Pledge.Position.LSN, m.Report.Replayed) - m.Report.Replayed)
	}
	return cmp.Or(
		boolFirst(a.Life == wanted, b.Life == wanted),
		boolFirst(!a.Leaving, !b.Leaving),
		boolFirst(a.Life != failed, b.Life != failed),
		cmp.Compare(left(a), left(b)),
		cmp.Compare(b.Tags.Priority, a.Tags.Priority),
		boolFirst(a.DataCenter == center, b.DataCenter == center),
		cmp.Compare(a.Instance, b.Instance),
	)
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// tooFarBehind holds a candidate of a lease cluster against maximum_lag_on_failover; an unknown lag
// is too much. Whoever led, or stopped in an orderly way and was followed to its end, lags by nothing.
func tooFarBehind(v View, m *Member) bool {
	l := v.Leadership
	if m.Life == l.Rule.Leader {
		return false
	}
	end := m.Report.LeaderEnd
	if p := l.Planned; p != nil && p.StoppedAt.Known() {
		end = p.StoppedAt.LSN
	}
	for i := range v.Members {
		end = max(end, v.Members[i].Report.LeaderEnd)
	}
	if old := v.member(l.Rule.Leader); old != nil && old.Report.Pledge != nil && old.Report.Pledge.Epoch == l.Epoch {
		end = max(end, old.Report.Pledge.Position.LSN) // it says itself how far it was
	}
	own := m.Report.Pledge.Position.LSN
	return end == 0 || v.Declared.MaximumLag > 0 && end > own && int64(end-own) > v.Declared.MaximumLag
}
