package ha

import (
	"cmp"
	"fmt"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// decideRecruiting waits until enough instances have pledged, then chooses the furthest of them; or
// gives the leadership back to the old leader, if that turns out to be well and nobody was chosen.
func decideRecruiting(v View) Decision {
	l := v.Leadership
	old := v.member(l.Rule.Leader)
	if v.Request != nil {
		return failoverByHand(v)
	}
	if p := l.Planned; p != nil && !p.Released {
		return awaitStop(v, old)
	}
	if p := l.Planned; p != nil && p.Lossy && !v.usable(p.To) {
		next := clone(l)
		next.Planned = nil
		return commit(v, next, pgctl.Alarm, "failover.forgotten", p.To, "%s, which an operator wanted to lead, has lost its data", v.nameOf(p.To))
	}
	if resumable(v, old) {
		return resume(v, old)
	}
	recruits, lives := recruitsOf(v)
	if l.Mode == pgctl.Lease {
		if waiting := leaseHolds(v, recruits); waiting != "" {
			return Decision{Waiting: waiting}
		}
	} else if !recruited(&l, lives) && (l.Planned == nil || !l.Planned.Lossy) {
		return Decision{Waiting: missingFor(v, Binding(&l), lives)}
	}
	if p := l.Planned; p != nil && !lives[p.To] && v.PhaseAge < SwitchoverWithin {
		if to := v.member(p.To); to != nil && to.fresh() {
			return Decision{Waiting: "waits for the pledge of " + to.Instance}
		}
	}
	best, waiting := choose(v, recruits)
	if best == nil {
		return Decision{Waiting: waiting}
	}
	return promote(v, best, fmt.Sprintf("%s is the furthest of %d that pledged, at %s",
		best.Instance, len(recruits), best.Report.Pledge.Position))
}

// awaitStop holds the pledges of a switchover back until the leader has stopped: an earlier pledge
// would cut the end of its log off.
func awaitStop(v View, from *Member) Decision {
	l := v.Leadership
	next := clone(l)
	switch s := (*Stopped)(nil); {
	case from == nil || from.Age > from.detect():
		next.Planned = nil
		return commit(v, next, pgctl.Alarm, "leader.failed", l.Planned.From,
			"the leader fell silent during the switchover; its standbys are asked to pledge")
	case from.Report.StoppedAt != nil && from.Report.StoppedAt.Epoch == l.Epoch:
		s = from.Report.StoppedAt
		next.Planned.StoppedAt, next.Planned.Released = s.At, true
		return commit(v, next, pgctl.Info, "leader.stopped", l.Planned.From, "%s stopped at %s", from.Instance, s.At)
	case v.PhaseAge >= l.Planned.Within:
		next.Planned.Released = true
		return commit(v, next, pgctl.Warning, "leader.slow", l.Planned.From,
			"%s did not stop within %s; its standbys are asked to pledge", from.Instance, l.Planned.Within)
	}
	return Decision{Waiting: fmt.Sprintf("%s stops for the switchover", from.Instance)}
}

// resumable says whether the old leader is heard healthy by a proof younger than this phase, and
// nobody was chosen since its epoch.
func resumable(v View, old *Member) bool {
	if old == nil || !old.fresh() || deaf(old) {
		return false
	}
	if _, chosen := v.Leadership.Chosen(); chosen {
		return false
	}
	p := v.Leadership.Planned
	if p != nil && (p.StoppedAt.Known() || p.Lossy && p.From == "" && p.To != old.Life) {
		return false // it stopped; or a restored store names it, but an operator another
	}
	r := old.Report
	return !madeByHand(&v.Leadership, old.Life, r.End.Timeline) && r.Primary && r.State == Running && r.Failed == "" && r.LifeLost == "" &&
		r.ProofAge+old.Age < min(v.PhaseAge, StillWell)
}

// madeByHand says whether a life that led is a primary on a timeline that was not given to it: somebody
// promoted it after it had stopped, and it does not go on leading. What an operator chose is not doubted,
// since a restored store knows less than the data.
func madeByHand(l *pgctl.Leadership, life pgctl.Life, t pgctl.Timeline) bool {
	record, known := l.Record(t)
	chosen := l.Planned != nil && l.Planned.Lossy && l.Planned.To == life
	return t != 0 && len(l.History) > 0 && !chosen && (!known || record.Leader != life)
}

// resume makes the old leader steady again in the new epoch, on the same timeline. What commits wait
// for stays; the names carry the new epoch, so the rule has to be confirmed again.
func resume(v View, old *Member) Decision {
	l := v.Leadership
	next := clone(l)
	again, joint := clone(l).Rule, Joint(Binding(&l), l.Rule)
	if planted.ResumingClearsJoint.On() {
		joint = l.Rule
	}
	again.Version = nextVersion(&l)
	next.Phase, next.Leader, next.SteadyEpoch, next.Planned = pgctl.Steady, old.Life, l.Epoch, nil
	next.NextRule, next.Joint = &again, &joint
	if l.Mode == pgctl.Lease {
		next.NextRule, next.Joint = nil, nil
		next.Rule = again
	}
	return commit(v, next, pgctl.Warning, "leader.resumed", old.Life,
		"%s was well all along and goes on leading", old.Instance)
}

// recruitsOf are the members whose pledge of this epoch was heard lately and can be trusted.
func recruitsOf(v View) ([]*Member, Lives) {
	var recruits []*Member
	lives := Lives{}
	for i := range v.Members {
		m := &v.Members[i]
		p := m.Report.Pledge
		planned := v.Leadership.Planned
		named := planned != nil && planned.Lossy && planned.To == m.Life // an operator knows what it is
		if m.fresh() && p != nil && p.Epoch == v.Leadership.Epoch && p.Position.Known() && (named || !foreign(v.Leadership, m)) &&
			m.Report.LifeLost == "" && m.Report.State != Making && m.Report.State != Absent &&
			(v.Leadership.SystemID == "" || m.Report.SystemID == v.Leadership.SystemID) && eligible(v, m) {
			recruits = append(recruits, m)
			lives[m.Life] = true
		}
	}
	return recruits, lives
}

// foreign says whether the member's log is of a timeline that was never given out, or left its parent
// elsewhere than the life that was given the number: somebody promoted by hand.
func foreign(l pgctl.Leadership, m *Member) bool {
	if m.Report.Pledge.Foreign || planted.StrayRecruited.On() {
		return !planted.StrayRecruited.On()
	}
	record, known := l.Record(m.Report.Pledge.Position.Timeline)
	if !known || record.State == pgctl.TimelineForeign {
		return true
	}
	if record.Parent != 0 && record.Parent != m.Report.Parent.Timeline {
		return true
	}
	return record.Switch != 0 && record.Switch != m.Report.Parent.End
}

// decideRequest takes up what an operator asked of a steady cluster.
func decideRequest(v View, leader *Member) Decision {
	l, r := v.Leadership, v.Request
	if r.Failover {
		if why, failed := leaderFailed(&v, leader); !failed {
			return Decision{Answer: pgctl.Errorf(pgctl.CodeRefused, "the leader %s is not known to have failed %s", v.nameOf(l.Leader), why).
				WithHint("use pgctl switchover")}
		}
		switch missing, enough := canRecruit(v); {
		case r.To != "" && v.member(r.To) == nil:
			return Decision{Answer: pgctl.Errorf(pgctl.CodeNotFound, "there is no such instance").At("to")}
		case r.Lossy && r.To != "" && !v.usable(r.To):
			return Decision{Answer: pgctl.Errorf(pgctl.CodeRefused, "%s has lost its data", v.nameOf(r.To)).At("to")}
		case r.Lossy && r.To == "":
			return Decision{Answer: pgctl.Errorf(pgctl.CodeInvalid, "a failover that accepts loss needs the instance that is to lead").At("to")}
		case !r.Lossy && !enough:
			return Decision{Answer: pgctl.Errorf(pgctl.CodeRefused, "acknowledged commits could be lost: %s", missing)}
		case endangered(v) != nil:
			return Decision{Answer: endangered(v)}
		}
		return startRecruiting(v, &pgctl.Planned{From: l.Leader, To: r.To, Released: true, Lossy: r.Lossy}, "an operator ordered a failover")
	}
	switch to := v.member(r.To); {
	case leader == nil || !leader.fresh() || leader.Report.Failed != "":
		return Decision{Answer: pgctl.Errorf(pgctl.CodeConflict, "the leader is not well; a switchover needs it to stop in an orderly way").
			WithHint("if it is dead, pgctl failover NAME --to INSTANCE")}
	case r.To == l.Leader && r.To != "":
		return Decision{Answer: pgctl.Errorf(pgctl.CodeConflict, "%s is the leader already", to.Instance)}
	case l.NextRule != nil:
		d := upkeep(v, leader)
		d.Waiting = "a switchover begins when the rule change under way is confirmed"
		return d
	case r.To == "":
		for i := range v.Members {
			if m := &v.Members[i]; m != leader && ready(v, leader, m) == "" && (l.Rule.Names(m.Life) || l.Rule.Acks == 0) {
				return startRecruiting(v, plan(leader, m), ordered(r, m))
			}
		}
		return Decision{Answer: pgctl.Errorf(pgctl.CodeConflict, "no standby can take over now").WithHint("see pgctl status %s", l.Cluster)}
	case to == nil:
		return Decision{Answer: pgctl.Errorf(pgctl.CodeNotFound, "there is no such instance").At("to")}
	default:
		if why := ready(v, leader, to); why != "" {
			return Decision{Answer: pgctl.Errorf(pgctl.CodeConflict, "%s cannot take over now: %s", to.Instance, why)}
		}
		return startRecruiting(v, plan(leader, to), ordered(r, to))
	}
}

// ordered says for people who wants a switchover.
func ordered(r *Request, to *Member) string {
	return cmp.Or(r.Why, "an operator ordered a switchover") + " to " + to.Instance
}

func plan(from, to *Member) *pgctl.Planned {
	return &pgctl.Planned{From: from.Life, To: to.Life, Within: SwitchoverWithin, Released: planted.ChosenBeforeStop.On()}
}

// ready says why a member cannot take over in a switchover, or "".
func ready(v View, leader, m *Member) string {
	if !m.fresh() {
		return "it is not in contact"
	}
	if _, ok := v.sender(leader, m.Life); !ok {
		return "it does not stream from the leader: " + m.situation()
	}
	if m.Leaving {
		return "it is being removed"
	}
	return cmp.Or(m.barred(), m.backlog())
}

func startRecruiting(v View, p *pgctl.Planned, why string) Decision {
	next := clone(v.Leadership)
	next.Epoch, next.Phase, next.Leader, next.Planned, next.Noticed = next.Epoch+1, pgctl.Recruiting, "", p, 0
	d := commit(v, next, pgctl.Info, "switchover.started", p.From, "%s", why)
	d.Done = true
	return d
}

// failoverByHand is the way out of a state that nothing automatic may end.
func failoverByHand(v View) Decision {
	l, r := v.Leadership, v.Request
	to := v.member(r.To)
	switch {
	case !r.Failover:
		return Decision{Answer: pgctl.Errorf(pgctl.CodeConflict, "a change of leadership is under way already")}
	case to == nil:
		return Decision{Answer: pgctl.Errorf(pgctl.CodeInvalid, "a failover by hand needs the instance that is to lead").At("to")}
	case l.Phase == pgctl.Unknown:
		next := clone(l)
		next.Epoch = max(l.Epoch, highestEpoch(v)) + 1
		next.Phase, next.Leader = pgctl.Recruiting, ""
		next.Planned = &pgctl.Planned{To: r.To, Released: true, Lossy: true} // who led is not known
		d := commit(v, next, pgctl.Alarm, "failover.byhand", r.To, "an operator decided that %s leads", to.Instance)
		d.Done = true
		return d
	case l.Planned != nil && l.Planned.To == r.To && l.Planned.Lossy == r.Lossy:
		return Decision{Done: true}
	}
	if _, lives := recruitsOf(v); !r.Lossy && l.Mode == pgctl.Quorum && !recruited(&l, lives) {
		return Decision{Answer: pgctl.Errorf(pgctl.CodeRefused, "acknowledged commits could be lost: %s", missingFor(v, Binding(&l), lives)).
			WithHint("--allow-data-loss accepts that")}
	}
	if refused := endangered(v); refused != nil {
		return Decision{Answer: refused}
	}
	next := clone(l)
	next.Planned = &pgctl.Planned{From: l.Rule.Leader, To: r.To, Released: true, Lossy: r.Lossy}
	d := commit(v, next, pgctl.Alarm, "failover.byhand", r.To, "an operator decided that %s leads", to.Instance)
	d.Done = true
	return d
}
