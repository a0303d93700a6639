package ha

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// GuardState is what the agent knows about the dead-man switch of its host.
type GuardState struct {
	Armed    bool          `json:"armed,omitempty"`    // it has a deadline for this instance
	Stale    bool          `json:"stale,omitempty"`    // that deadline names another postmaster
	Trouble  string        `json:"trouble,omitempty"`  // why nobody would act on it; "" while a guard answers
	Silent   time.Duration `json:"silent,omitempty"`   // for how long there has been trouble
	Required bool          `json:"required,omitempty"` // without a guard the instance may not serve as a lease leader
}

// guardSteps take a deadline back once nothing can be acknowledged without it, and give a serving leader
// its deadline when it has none.
func guardSteps(v InstanceView) []Step {
	l, s := v.Leadership, v.Server
	if s.Guard == nil {
		return nil
	}
	leads := l.Leader == v.Self.Life && l.Phase == pgctl.Steady && v.Self.Wanted != pgctl.WantStopped
	stopped := s.State == Down || s.State == Running && !s.Primary
	quorum := leads && !l.ByLease() // from then on its rule protects: one of nobody lets nobody else lead
	switch {
	case s.Guard.Armed && (stopped || quorum):
		return []Step{{Do: Disarm, Why: "it needs no lease"}}
	case (!s.Guard.Armed || s.Guard.Stale) && leads && l.ByLease() && v.Lease > LeaseLead && s.Primary && s.State == Running &&
		(s.Open || s.Guard.Required && l.Serving) && s.Guard.Trouble == "":
		return []Step{{Do: Arm, Epoch: l.Epoch, Why: "it leads by a lease"}}
	}
	return nil
}

// leaseOver says whether a lease ends now that protects what the leader does. Before a cluster changes to
// lease mode that is so from its first lease on: the change may be committed and not be known here.
func leaseOver(v InstanceView) bool {
	l := v.Leadership
	return (l.Mode == pgctl.Lease || l.NextMode == pgctl.Lease && v.Held) && v.Lease <= LeaseLead
}

// mayServe says whether a leader may let clients in: in a lease cluster with enough left of its lease, and
// guarded where that is required.
func mayServe(v InstanceView) bool {
	if v.Leadership.Mode != pgctl.Lease {
		return true
	}
	g := v.Server.Guard
	return v.Lease > LeaseLead && (g == nil || !g.Required || g.Armed && g.Trouble == "")
}

// Unguarded says why nobody would stop an instance that leads by a lease, or "": also for instances that
// need no guard, and where none is wanted.
func (v InstanceView) Unguarded() string {
	l, g := v.Leadership, v.Server.Guard
	if g == nil || l.Mode != pgctl.Lease || l.Leader != v.Self.Life || l.Phase != pgctl.Steady {
		return ""
	}
	return g.Trouble
}

// VouchRequest is what the leader of a lease cluster asks a member: to note that it is one of those who
// are asked, and, when the leader hears no server of the store, whether it may go on.
type VouchRequest struct {
	Instance string       `json:"instance"` // the member
	Leader   pgctl.Life   `json:"leader"`
	Epoch    pgctl.Epoch  `json:"epoch"`
	Members  []pgctl.Life `json:"members"` // all who are asked; a leader goes on only if all of them agree
	GoOn     bool         `json:"goOn"`    // not only a note
}

// VouchAnswer is a member's, when it agrees.
type VouchAnswer struct {
	Listed bool `json:"listed"` // it noted that it will be asked; one without data has nothing to note it beside
}

// RefuseVouch says why a member does not agree, or nil. pledged is the highest epoch that it pledged to,
// or is about to; known is the leadership as its host knows it.
func RefuseVouch(ask VouchRequest, self pgctl.Life, pledged pgctl.Epoch, known pgctl.Leadership) error {
	switch {
	case !slices.Contains(ask.Members, self):
		return pgctl.Errorf(pgctl.CodeConflict, "life %s is not among those who are asked", self)
	case pledged > ask.Epoch:
		return pgctl.Errorf(pgctl.CodeRefused, "it pledged to epoch %d", pledged)
	case known.Epoch > ask.Epoch:
		return pgctl.Errorf(pgctl.CodeRefused, "epoch %d has begun", known.Epoch)
	case known.Epoch == ask.Epoch && known.Leader != ask.Leader:
		return pgctl.Errorf(pgctl.CodeRefused, "life %s does not lead epoch %d", ask.Leader, ask.Epoch)
	}
	return nil
}

// eligible says whether a member of a lease cluster may lead: only if the old leader asks it before it goes
// on without the servers, or needs nobody's leave any more.
func eligible(v View, m *Member) bool {
	l := v.Leadership
	return planted.StrangerPromoted.On() || l.Mode != pgctl.Lease || m.Life == l.Rule.Leader || m.Report.Listed == l.Rule.Leader || stopped(v) ||
		l.Planned != nil && l.Planned.Lossy && l.Planned.To == m.Life
}

// stopped says whether the old leader is known to have stopped since this epoch began.
func stopped(v View) bool {
	l := v.Leadership
	old := v.member(l.Rule.Leader)
	if p := l.Planned; p != nil && p.StoppedAt.Known() {
		return true
	}
	if old == nil || !old.fresh() {
		return false
	}
	p := old.Report.Pledge
	return p != nil && p.Epoch == l.Epoch || old.Report.State == Down && old.Report.Epoch == l.Epoch
}

// leaseHolds says why a lease cluster cannot choose yet, or "".
func leaseHolds(v View, recruits []*Member) string {
	l := v.Leadership
	if !stopped(v) {
		margin := LeaseMargin
		if planted.LeaseWithoutMargin.On() {
			margin = 0
		}
		if left := LeaseTime + margin - v.LeaseAge; left > 0 {
			return fmt.Sprintf("the old leader's lease may hold for %s more", left.Round(Tick))
		}
		if left := vouched(recruits); left > 0 {
			return fmt.Sprintf("the old leader may go on for %s more: its members vouched for it", left.Round(Tick))
		}
	}
	for i := range v.Members {
		m := &v.Members[i]
		pledged := m.Report.Pledge != nil && m.Report.Pledge.Epoch == l.Epoch && m.fresh()
		able := m.Report.State != Absent && m.Report.State != Making && m.Report.LifeLost == "" && m.Idle <= PromotionStall
		if m.Life != l.Rule.Leader && m.heard() && m.Age <= m.detect() && able && !pledged {
			return m.Instance + " is not silent but has not pledged yet"
		}
	}
	return ""
}

// vouched is how long the old leader may go on because members agreed to it. It needs all of them, and who
// pledged agrees no more: the one that agreed least lately counts.
func vouched(recruits []*Member) (left time.Duration) {
	for i, m := range recruits {
		own := LeaseTime + LeaseMargin - m.Report.Vouched - m.Age
		if i == 0 || own < left {
			left = own
		}
	}
	return left
}

// unlisted names a member that pledged but may not lead, because the old leader would go on without it.
func unlisted(v View) string {
	for i := range v.Members {
		if m := &v.Members[i]; m.Report.Pledge != nil && m.Report.Pledge.Epoch == v.Leadership.Epoch && !eligible(v, m) {
			return fmt.Sprintf("%s pledged, but the old leader never told it that it would be asked: it may not lead as long as %s is not known to have stopped",
				m.Instance, v.nameOf(v.Leadership.Rule.Leader))
		}
	}
	return ""
}
