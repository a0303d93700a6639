package ha

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// Act says what the agent has to do about its instance now, in order. It is level-triggered: an agent
// that restarts, or missed ten changes, does the same as one that saw them all.
func Act(v InstanceView) []Step {
	l, s := v.Leadership, v.Server
	leads := l.Leader == v.Self.Life
	if s.Busy != "" {
		return nil
	}
	if steps := guardSteps(v); steps != nil {
		return steps
	}
	switch {
	case v.Self.Wanted == pgctl.WantStopped, v.Self.Wanted == pgctl.WantRemoved && !named(l, v.Self.Life):
		return stopIfRunning(v, StopPlanned, "it is not wanted to run")
	case s.Trouble != "":
		return nil
	case s.Directory == NoDirectory:
		return makeDirectory(v)
	case v.Local.Pledge > l.Epoch && !planted.PledgeFollowsOlder.On() || v.Local.Rule != nil && v.Local.Rule.Epoch > l.Epoch:
		return nil // the store's copy here is older than what was pledged, or led
	}
	if v.Self.Restart > v.Local.Restarted && l.Phase == pgctl.Steady && s.State == Running && v.Local.Rewinding == 0 {
		return []Step{{Do: Restart, Budget: StopPlanned, Why: "a restart was ordered"}}
	}
	if overdue(v) {
		return []Step{{Do: Stop, Budget: StopFailover, Why: "its lease is over"}}
	}
	switch l.Phase {
	case pgctl.Bootstrapping:
		if leads && s.State == Down {
			return []Step{{Do: Start, Why: "the cluster's first start"}}
		}
		return nil
	case pgctl.Recruiting:
		return actRecruiting(v)
	case pgctl.Promoting:
		if leads {
			return actPromoting(v)
		}
		return actFollowing(v)
	case pgctl.Steady:
		if leads {
			return actLeading(v)
		}
		return actFollowing(v)
	}
	return actUnknown(v)
}

// overdue says whether the old leader of a lease cluster has to stop during an election: nothing but its
// lease keeps it from acknowledging, so the next one may begin without it from then on.
func overdue(v InstanceView) bool {
	l, s := v.Leadership, v.Server
	election := l.Phase == pgctl.Recruiting || l.Phase == pgctl.Promoting
	return election && leaseOver(v) && l.Rule.Leader == v.Self.Life && l.Leader != v.Self.Life &&
		s.Open && (s.Primary || s.State == Starting)
}

// Trouble says why a life whose directory is not there may not be made anew, or "": whoever may have
// acknowledged commits under it is missed, not replaced in silence.
func Trouble(l pgctl.Leadership, life pgctl.Life) string {
	if l.Phase != pgctl.Bootstrapping && named(l, life) && !planted.LifeKept.On() {
		return "its data directory is gone"
	}
	return ""
}

// named says whether a life leads, or is in a rule that may be in force: also as a lost one, until its
// instance has a new life.
func named(l pgctl.Leadership, life pgctl.Life) bool {
	joint := Joint(Binding(&l), l.RuleInForce())
	return l.Leader == life || l.Rule.Leader == life || joint.Names(life) || slices.Contains(joint.Lost, life)
}

func makeDirectory(v InstanceView) []Step {
	l := v.Leadership
	switch {
	case Trouble(l, v.Self.Life) != "":
		return nil
	case l.Phase == pgctl.Bootstrapping && l.Leader == v.Self.Life:
		return []Step{{Do: Initialize, Why: "it is to hold the cluster's first data directory"}}
	case (l.Phase == pgctl.Steady || l.Phase == pgctl.Promoting) && v.Source != nil && v.Source.Life == l.Leader && v.Source.Epoch == l.Epoch:
		return []Step{{Do: CopyData, Epoch: l.Epoch, Why: "it has no data yet"}}
	}
	return nil
}

func stopIfRunning(v InstanceView, budget time.Duration, why string) []Step {
	if v.Server.State == Down || v.Server.Directory == NoDirectory {
		return nil
	}
	return []Step{{Do: Stop, Budget: budget, Why: why}}
}

// actRecruiting pledges: it makes sure that nothing can be acknowledged to an older leader, and only
// then says where its log ends.
func actRecruiting(v InstanceView) []Step {
	l, s := v.Leadership, v.Server
	running := s.State == Running || s.State == Starting
	_, chosen := l.Chosen()
	if p := l.Planned; p != nil && p.From == v.Self.Life && running && s.Primary {
		return []Step{{Do: Stop, Budget: StopPlanned, Epoch: l.Epoch, Why: "a switchover was ordered"}}
	}
	switch p := l.Planned; {
	case l.Rule.Leader == v.Self.Life && s.Primary && s.State == Running && madeByHand(&l, v.Self.Life, s.Timeline):
		return []Step{{Do: Stop, Budget: StopFailover, Why: "somebody promoted it by hand"}}
	case l.Rule.Leader == v.Self.Life && s.Primary && running && !chosen:
		return nil // a healthy old leader resumes; it cannot acknowledge without its standbys
	case p != nil && !p.Released:
		return nil
	case s.Primary && running:
		return []Step{{Do: Stop, Budget: StopFailover, Why: "another leader was chosen since"}}
	}
	return withoutUpstream(v, Step{Do: PledgeTo, Epoch: l.Epoch, Why: "a recruitment began"})
}

// withoutUpstream brings a standby to the state in which it streams from nobody, then pledges.
func withoutUpstream(v InstanceView, pledge Step) []Step {
	s := v.Server
	switch {
	case v.Local.Rewinding != 0 && (!v.Local.Rewound || s.State != Running) && !planted.RecruitHalfRewound.On():
		return nil // half-rewound: no recruit until it is consistent, and only then it takes sessions
	case s.State == Down && planted.DeposedStaysDown.On() && v.Leadership.Rule.Leader == v.Self.Life:
		return nil
	case s.State == Down && rests(v):
		return nil
	case s.State == Down:
		return []Step{{Do: Start, Standby: true, Why: "it is to be recruited"}}
	case s.State != Running:
		return nil
	case s.Receiver != "" && !planted.PledgeWithReceiver.On() || s.Upstream != "":
		return []Step{{Do: Detach, Epoch: pledge.Epoch, Why: pledge.Why}}
	case v.Local.Pledge < pledge.Epoch && s.Position.Known() && (s.AtEnd || !planted.PledgeWaitsForReplay.On()):
		return []Step{pledge}
	}
	return nil
}

// actPromoting promotes, closed, once nothing else can reach the own log any more.
func actPromoting(v InstanceView) []Step {
	l, s := v.Leadership, v.Server
	if len(l.History) == 0 {
		return nil // no number was given out
	}
	order := l.History[len(l.History)-1]
	given := order.Timeline
	switch {
	case s.State == Down:
		promoted := s.Promoted != nil && s.Promoted.Epoch == l.Epoch // the control file shows that only after a checkpoint
		return []Step{{Do: Start, Standby: s.Signal || s.Timeline != given && !promoted, Why: "it is to be promoted"}}
	case s.State != Running:
		return nil
	case s.Primary && s.Promoted != nil && s.Promoted.Epoch == l.Epoch && planted.OpensBeforeSteady.On():
		return actLeading(v)
	case s.Primary && s.Timeline == given && s.Promoted != nil && s.Promoted.Epoch == l.Epoch:
		return makeSlots(v)
	case s.Primary && s.Timeline == given: // promoted, but a crash came before it was noted
		return []Step{{Do: Promote, Epoch: l.Epoch, Timeline: given, Why: "its promotion is noted"}}
	case s.Primary:
		return []Step{{Do: Stop, Budget: StopFailover, Why: fmt.Sprintf("it is a primary on timeline %d, not %d", s.Timeline, given)}}
	}
	if steps := withoutUpstream(v, Step{Do: PledgeTo, Epoch: l.Epoch, Why: "it was chosen"}); steps != nil || v.Local.Pledge < l.Epoch {
		return steps
	}
	if order.Parent != 0 && s.Timeline > order.Parent {
		return nil // somebody promoted it by hand since it was chosen: nobody could tell that timeline from one that was given
	}
	return []Step{{Do: Promote, Epoch: l.Epoch, Timeline: given, Why: "it was chosen to lead epoch " + fmt.Sprint(l.Epoch)}}
}

// actLeading keeps a steady leader running, its names those of the rule, and opens it only when the
// rule has been proven by this very postmaster.
func actLeading(v InstanceView) []Step {
	l, s := v.Leadership, v.Server
	rule := l.RuleInForce()
	if planted.ShrunkBeforeStore.On() && s.Waiting > StandbyTimeout {
		rule = pgctl.Rule{Leader: rule.Leader, Version: rule.Version + 1}
	}
	switch {
	case s.State == Down:
		if s.Crashed && s.DownFor < CrashWait && l.Rule.Acks > 0 {
			return nil // a standby takes over sooner than this recovers
		}
		return []Step{{Do: Start, Why: "it leads; it opens when its members have its last record"}}
	case leaseOver(v) && s.Open: // also when it does not answer
		return []Step{{Do: Stop, Budget: StopFailover, Why: "its lease is over"}}
	case s.State == Running && !s.Primary: // what made it lead was heard before it became a standby
		return []Step{{Do: Stop, Budget: StopFailover, Why: "it leads, and runs as a standby"}}
	case s.State != Running:
		return nil
	case s.Open && max(s.Waiting, v.Unacked) > FenceAfter && v.StoreAge > FenceAfter:
		return []Step{{Do: Close, Why: "nobody acknowledges its commits and no server of the store is heard"}}
	}
	steps := makeSlots(v)
	proven := s.Confirmed != nil && s.Confirmed.Epoch == l.Epoch && s.Confirmed.Version == rule.Version
	switch {
	case !proven:
		joint := Joint(Binding(&l), rule)
		steps = append(steps, Step{Do: Confirm, Epoch: l.Epoch, Rule: &rule, Joint: &joint, Why: fmt.Sprintf("rule %d of epoch %d", rule.Version, l.Epoch)})
	case l.Serving && !s.Open && mayServe(v):
		steps = append(steps, Step{Do: Open, Epoch: l.Epoch, Asks: rule.Acks == 0 && !planted.CrashedOpensAlone.On(), Why: "it leads and its rule is proven"})
	}
	return steps
}

// actFollowing follows the leader of this epoch, after comparing histories with it.
func actFollowing(v InstanceView) []Step {
	l, s := v.Leadership, v.Server
	name := v.Self.Life.MemberName(l.Epoch)
	switch {
	case s.State == Starting:
		return nil
	case s.Primary && s.State == Running:
		return []Step{{Do: Stop, Budget: StopFailover, Why: "another instance leads"}}
	case v.Local.Rewinding != 0:
		return afterRewind(v)
	case s.State == Down && s.Delayed && followed(v):
		return []Step{{Do: Start, Standby: true, Upstream: true, Epoch: l.Epoch, Why: "it followed this leader, and its end is not known before its delay is over"}}
	case s.State == Down && rests(v):
		return nil
	case s.State == Down:
		return []Step{{Do: Start, Standby: true, Why: "it is to follow"}}
	case s.Upstream != name && (s.Receiver != "" || s.Upstream != ""): // also one that was away while others pledged
		return []Step{{Do: Detach, Epoch: l.Epoch, Why: "another leader is to be followed"}}
	case v.Source == nil || v.Source.Epoch != l.Epoch || v.Source.Life != l.Leader:
		return nil
	case s.Upstream == name && s.Address == v.Source.From():
		return makeSlots(v)
	case s.Upstream == name:
		return []Step{{Do: Detach, Epoch: l.Epoch, Why: "its leader is to be followed elsewhere"}}
	case !s.AtEnd:
		return nil
	case planted.HistoriesOfNobody.On(), planted.HistoriesOfFormerLeaders.On() && v.Local.Rule == nil:
		return []Step{{Do: Follow, Epoch: l.Epoch, Timeline: v.Source.Timeline}}
	}
	switch fit, why := Fitting(v.Local, s, *v.Source); fit {
	case Fits:
		return []Step{{Do: Follow, Epoch: l.Epoch, Timeline: v.Source.Timeline, Why: why}}
	case Diverged:
		if v.Source.Checkpoint != v.Source.Timeline {
			return nil
		}
		return []Step{{Do: Rewind, Epoch: l.Epoch, Timeline: v.Source.Timeline, Why: why}}
	}
	return nil
}

// rests says whether a leader that stopped for a switchover, or crashed, leaves a moment to the others, if they are
// enough: its start would make them slower where they share a machine or a disk.
func rests(v InstanceView) bool {
	l, s, rule := v.Leadership, v.Server, v.Leadership.Rule
	election := l.Phase == pgctl.Recruiting || l.Phase == pgctl.Promoting
	enough := !election || rule.Acks > 0 && len(rule.Standbys) > rule.Acks && len(rule.Lost) == 0
	crashed := s.Crashed && (election && rule.Leader == v.Self.Life || !election && !l.RuleInForce().Names(v.Self.Life))
	return (crashed || s.Handed == l.Epoch) && s.DownFor < ElectionRest && enough
}

// followed says whether an instance has compared histories with this leader before, and followed it: whatever
// it received since is the leader's.
func followed(v InstanceView) bool {
	return v.Source != nil && v.Source.Epoch == v.Leadership.Epoch && v.Source.Life == v.Leadership.Leader && v.Leadership.Phase == pgctl.Steady &&
		v.Local.Mark == v.Source.Timeline && v.Server.Timeline <= v.Local.Mark && v.Local.Pledge >= v.Leadership.Epoch
}

// afterRewind finishes a rewind in the epoch in which it was begun. A rewound server becomes consistent
// only with its source's log, so it streams before it can be asked anything, and is no recruit until
// then. When the source was deposed meanwhile the directory is lost (see Unfinished).
func afterRewind(v InstanceView) []Step {
	l, s := v.Leadership, v.Server
	if v.Source == nil || v.Source.Epoch != l.Epoch || v.Source.Life != l.Leader || v.Local.Rewinding != l.Epoch {
		return nil
	}
	switch {
	case !v.Local.Rewound:
		return []Step{{Do: Rewind, Epoch: l.Epoch, Timeline: v.Source.Timeline, Why: "a rewind was interrupted"}}
	case s.State == Down:
		return []Step{{Do: Start, Standby: true, Upstream: true, Epoch: l.Epoch, Why: "it was rewound"}}
	case s.State == Running:
		if fit, why := Compare(s, *v.Source); fit == Diverged { // somebody promoted it by hand since
			return []Step{{Do: Rewind, Epoch: l.Epoch, Timeline: v.Source.Timeline, Why: why}}
		}
		return []Step{{Do: Follow, Epoch: l.Epoch, Timeline: v.Source.Timeline, Why: "it was rewound and is consistent"}}
	}
	return nil
}

// Unfinished says why a life is lost whose rewind did not end before its source was deposed, or "".
func Unfinished(l pgctl.Leadership, local Local) string {
	over := l.Phase == pgctl.Steady || l.Phase == pgctl.Promoting || l.Phase == pgctl.Recruiting && !local.Rewound
	if local.Rewinding != 0 && local.Rewinding < l.Epoch && over && !planted.RecruitHalfRewound.On() {
		return "its rewind was not finished before the leader was replaced"
	}
	return ""
}

// actUnknown leaves a running server as it is: leaders serve on, and confirm their own rule.
func actUnknown(v InstanceView) []Step {
	l, s := v.Leadership, v.Server
	if s.State == Running && s.Primary && s.Open && l.Leader == v.Self.Life && s.Confirmed == nil &&
		v.Local.Rule != nil && v.Local.Rule.Epoch == l.Epoch && v.Local.Rule.Version <= l.RuleInForce().Version {
		rule, joint := l.RuleInForce(), Joint(Binding(&l), l.RuleInForce())
		return []Step{{Do: Confirm, Epoch: l.Epoch, Rule: &rule, Joint: &joint, Why: "the store was restored"}}
	}
	return nil
}

// makeSlots gives every other member its slot before it is needed, and drops those of lives that
// exist no more.
func makeSlots(v InstanceView) []Step {
	var slots []string
	for _, m := range v.Members {
		if m.Life != v.Self.Life && m.Life != "" && m.Wanted != pgctl.WantRemoved {
			slots = append(slots, m.Life.Slot())
		}
	}
	slices.Sort(slots)
	if slices.Equal(slots, v.Server.Slots) {
		return nil
	}
	return []Step{{Do: MakeSlots, Slots: slots, Why: "every member has a slot on every other"}}
}

// Fit is how a log relates to a leader's.
type Fit int

// The fits.
const (
	Fits     Fit = iota // a point of the leader's history: it may follow
	Diverged            // it left that history: it must be rewound
	Beyond              // it has what the leader lost, on the same timeline
)

// before is the ancestry of a timeline in that of a later one.
func before(h pgctl.LogHistory, t pgctl.Timeline) pgctl.LogHistory {
	at := slices.IndexFunc(h, func(s pgctl.Switch) bool { return s.Timeline >= t })
	if at < 0 {
		return h
	}
	return h[:at]
}

// Compare holds an instance's log, replayed to its end and with no receiver, against a leader's.
func Compare(s Server, source Source) (Fit, string) {
	own := pgctl.Position{Timeline: s.Timeline, LSN: s.Replayed}
	if s.Delayed && s.Position.Compare(own) > 0 { // received, and not replayed for a long time yet
		own = s.Position
	}
	end, shared := source.History.EndOf(own.Timeline)
	former := before(source.History, own.Timeline)
	if (shared || own.Timeline == source.Timeline) && len(s.History) > 0 && len(former) > 0 && !slices.Equal(s.History, former) {
		return Beyond, fmt.Sprintf("its timeline %d is not the leader's: somebody promoted by hand", own.Timeline)
	}
	if own.Timeline == source.Timeline {
		if own.LSN <= source.End {
			return Fits, fmt.Sprintf("%s is a point of the leader's log", own)
		}
		return Beyond, fmt.Sprintf("%s is beyond the leader's end %s on the same timeline", own, source.End)
	}
	switch {
	case !shared:
		return Diverged, fmt.Sprintf("timeline %d is not in the leader's history", own.Timeline)
	case own.LSN > end:
		return Diverged, fmt.Sprintf("%s is beyond %s, where the leader left that timeline", own, end)
	}
	return Fits, fmt.Sprintf("%s is a point of the leader's history", own)
}
