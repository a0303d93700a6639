package ha

import (
	"fmt"
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// promote orders a recruit to lead, on a timeline number that was never given out or seen.
func promote(v View, best *Member, why string) Decision {
	next := clone(v.Leadership)
	number := pgctl.Timeline(0)
	for _, record := range next.History {
		number = max(number, record.Timeline)
	}
	for i := range v.Members {
		r := &v.Members[i].Report
		number = max(number, r.End.Timeline)
		if r.Pledge != nil {
			number = max(number, r.Pledge.Position.Timeline)
		}
	}
	next.Phase, next.Leader = pgctl.Promoting, best.Life
	next.History = append(next.History, pgctl.TimelineRecord{
		Timeline: number + 1, Epoch: next.Epoch, Leader: best.Life,
		Parent: best.Report.Pledge.Position.Timeline, State: pgctl.TimelineGiven, Why: why,
		Took: pgctl.Took{Noticed: next.Noticed, Recruited: v.PhaseAge},
	})
	for i := range next.History { // for Rank: where a promotion that failed had begun
		if r := &next.History[i]; r.Timeline == best.Report.Pledge.Position.Timeline && r.State != pgctl.TimelineSteady {
			r.Parent, r.Switch = best.Report.Parent.Timeline, best.Report.Parent.End
		}
	}
	return commit(v, next, pgctl.Info, "leader.chosen", best.Life, "%s; it is promoted to timeline %d", why, number+1)
}

// decidePromoting makes the chosen one steady when enough members have flushed its first record, or
// starts over when it failed.
func decidePromoting(v View) Decision {
	l := v.Leadership
	leader := v.member(l.Leader)
	if len(l.History) == 0 {
		return Decision{Waiting: "the history of its timelines is empty: nothing was ordered"}
	}
	if v.Request != nil {
		return Decision{Answer: pgctl.Errorf(pgctl.CodeConflict, "a promotion is under way").WithHint("try again when it has ended")}
	}
	if why := promotionFailed(v, leader); why != "" {
		return startOver(v, leader, why)
	}
	p := leader.Report.Promoted
	if p == nil || p.Epoch != l.Epoch {
		return Decision{Waiting: leader.Instance + " is being promoted: " + leader.situation()}
	}
	if record := l.History[len(l.History)-1]; p.Timeline != record.Timeline && !planted.TimelineByPostgres.On() {
		return startOver(v, leader, fmt.Sprintf("it took timeline %d instead of %d", p.Timeline, record.Timeline))
	}
	d := settle(v, leader, p)
	d.Replace = unusable(v) // a strict cluster may need them, copied anew, before anybody can lead
	return d
}

// promotionFailed says why the chosen one cannot become steady, or "".
func promotionFailed(v View, leader *Member) string {
	switch {
	case leader == nil:
		return "the chosen instance exists no more"
	case leader.Age > leader.detect():
		return fmt.Sprintf("the host of %s has been silent for %s", leader.Instance, leader.Age.Round(Tick))
	case !leader.fresh():
		return ""
	case leader.Report.Failed != "" || leader.Report.LifeLost != "":
		return leader.Instance + ": " + leader.Report.Failed + leader.Report.LifeLost
	}
	if p := leader.Report.Promoted; v.PhaseAge < PromotionStall || p != nil && p.Epoch == v.Leadership.Epoch && !v.Declared.Strict && !planted.RewindingIsDeposed.On() {
		return "" // once it is promoted, it goes on without those who stand still: another leader would not move them
	}
	for i := range v.Members {
		if m := &v.Members[i]; m.fresh() && m.Idle < PromotionStall && !planted.RewindingIsDeposed.On() {
			return ""
		}
	}
	return fmt.Sprintf("nobody has made progress for %s", PromotionStall)
}

// still says whether a member has made no progress towards following for so long that it is not waited
// for: alive, but cut off from the new leader, say.
func still(v View, m *Member) bool { return v.PhaseAge >= PromotionStall && m.Idle >= PromotionStall }

// startOver begins the next epoch after a promotion that did not become steady. Nothing on its
// timeline was acknowledged.
func startOver(v View, leader *Member, why string) Decision {
	next := clone(v.Leadership)
	next.History[len(next.History)-1].State = pgctl.TimelineFailed
	next.Epoch, next.Phase, next.Leader = next.Epoch+1, pgctl.Recruiting, ""
	if next.Planned != nil && !next.Planned.Lossy {
		next.Planned = nil
	}
	var about pgctl.Life
	if leader != nil {
		about = leader.Life
	}
	return commit(v, next, pgctl.Alarm, "promotion.failed", about, "the promotion failed: %s", why)
}

// settle makes the promoted leader steady. Acks stays as declared: it is not lowered because others
// are slower, only because they are unheard, stand still or must be copied, and never when the cluster
// is strict.
func settle(v View, leader *Member, p *Promotion) Decision {
	l := v.Leadership
	var proven []pgctl.Life
	waiting := ""
	for i := range v.Members {
		m := &v.Members[i]
		if m == leader || m.Leaving || m.idler() != "" {
			continue
		}
		unproven := planted.SteadyUnproven.On() && m.fresh() || planted.JoinerByPosition.On() && m.Report.End.LSN >= p.Record
		if s, ok := v.sender(leader, m.Life); (ok && s.Flushed >= p.Record || unproven) && !v.lost(m) {
			proven = append(proven, m.Life)
		} else if copying := m.Report.State == Making && m.Report.SystemID == ""; !m.dead() && !copying && !still(v, m) {
			waiting = fmt.Sprintf("%s has yet to follow %s: %s", m.Instance, leader.Instance, m.situation())
		}
	}
	slices.Sort(proven)
	acks := v.Declared.Acks
	if far := v.far(leader, proven); v.Declared.Across && (len(far) > 0 || waiting != "" || v.Declared.Strict) {
		proven = far // with nobody left elsewhere and nobody to wait for, anybody will do
	}
	if l.Mode == pgctl.Lease {
		acks, proven = 0, nil
	}
	if len(proven) < acks {
		if waiting != "" && !planted.AcksLoweredSilently.On() {
			return Decision{Waiting: waiting}
		}
		if v.Declared.Strict {
			return Decision{Waiting: fmt.Sprintf("%s has only %d of %d standbys, and the cluster is strict", leader.Instance, len(proven), acks)}
		}
		acks = len(proven)
	}
	if acks == 0 {
		proven = nil
	}
	next := clone(l)
	next.Phase, next.SteadyEpoch, next.Serving, next.Planned = pgctl.Steady, l.Epoch, true, nil
	next.Rule = pgctl.Rule{Leader: leader.Life, Standbys: proven, Acks: acks, Version: nextVersion(&l)}
	next.NextRule, next.Joint = nil, nil
	record := &next.History[len(next.History)-1]
	record.State, record.Parent, record.Switch = pgctl.TimelineSteady, leader.Report.Parent.Timeline, leader.Report.Parent.End
	record.Took.Promoted = v.PhaseAge
	if planted.OrderByLateHistory.On() {
		record.State = pgctl.TimelineGiven
	}
	if planted.TimelineByPostgres.On() {
		record.Timeline = p.Timeline
	}
	severity := pgctl.Info
	if acks < v.Declared.Acks {
		severity = pgctl.Warning
	}
	d := commit(v, next, severity, "leader.steady", leader.Life,
		"%s leads on timeline %d; a commit waits for %s", leader.Instance, record.Timeline, v.ruleText(next.Rule))
	tellFallback(&d, v, leader, len(v.far(leader, proven)) == 0)
	return d
}
