//go:build mutations

package sim

import (
	"time"

	"github.com/pgctl/pgctl/internal/planted"
)

// DrawFor are the options of a seed, steered towards a planted bug: a walk that never meets what the bug is
// about finds nothing.
func DrawFor(bug planted.Bug, seed uint64) Options {
	if about, calm := calmly[bug]; calm {
		o := Draw(seed * 12)
		o.Faults = []Fault{about}
		return o
	}
	o := Draw(seed + (seed-1)/11) // not the calm ones
	s := steering[bug]
	o.Lasting, o.Lease, o.Barred = s.lasting, s.lease, 0
	for _, f := range s.faults {
		for range 1 + len(o.Faults)/(4*len(s.faults)) {
			o.Faults = append(o.Faults, f)
		}
	}
	if seed%4 > 0 {
		s.steer(&o, seed)
	}
	return o
}

// calmly are bugs that move a leader which should stay, and what makes them do it.
var calmly = map[planted.Bug]Fault{
	planted.IdleIsSilent:      DaemonHang,
	planted.OwnPauseIsSilence: StandStill,
}

// course is what walks towards a bug are like, three of four of them; the fourth is as drawn, but for the faults.
type course struct {
	faults    []Fault
	instances int
	acks      int
	strict    bool
	busy      bool // many commits
	lazy      int
	replay    int
	rewind    time.Duration
	lasting   Lasting
	barred    bool
	brief     bool // little time between faults
	lease     bool
	only      bool // no other faults
}

func (s course) steer(o *Options, seed uint64) {
	if s.instances > 0 {
		o.Instances, o.Acks = s.instances, s.instances/2
	}
	if s.acks > 0 {
		o.Acks = s.acks
	}
	if s.busy {
		o.Writes = 15 * time.Millisecond
	}
	if s.lazy > 0 {
		o.Lazy = s.lazy
	}
	if s.replay > 0 {
		o.Replay = s.replay
	}
	if s.rewind > 0 {
		o.Rewind = s.rewind
	}
	if s.brief {
		o.Pace = min(o.Pace, 600*time.Millisecond)
	}
	if s.only {
		o.Faults = s.faults
	}
	if s.lease {
		o.Writes = min(o.Writes, 40*time.Millisecond)
	}
	if s.barred {
		o.Barred = 1 + int(seed)%o.Instances
	}
	o.Strict = o.Strict && s.lasting == Nothing || s.strict
}

var steering = map[planted.Bug]course{
	planted.HistoriesOfFormerLeaders: {faults: []Fault{Isolate, Switchover, PostgresKill}, busy: true},
	planted.NameWithoutEpoch:         {faults: []Fault{Isolate, Freeze, PowerLoss, Switchover}, instances: 4, busy: true},
	planted.OrderByPosition:          {faults: []Fault{Isolate, PowerLoss, Freeze}, instances: 3, busy: true},
	planted.OrderByTimeline:          {faults: []Fault{PostgresKill, Switchover}, instances: 3, strict: true, lasting: Barren},
	planted.JoinerByPosition:         {faults: []Fault{Isolate, PowerLoss, Freeze}, instances: 3, busy: true},
	planted.LifeKept:                 {faults: []Fault{OldData, PowerLoss}},
	planted.StrayOpen:                {faults: []Fault{HandPromotion}},
	planted.StrayRecruited:           {faults: []Fault{HandPromotion, PowerLoss, PostgresKill}},
	planted.MemberTwice:              {faults: []Fault{LostConnection, CutPair, PowerLoss}, instances: 4},

	planted.PledgeWithReceiver:   {faults: []Fault{ReplayBlock, Secession, CutPair, Isolate}, busy: true},
	planted.PledgeForgotten:      {faults: []Fault{Secession, Secession, Isolate, CutPair}, instances: 4, acks: 1, busy: true, brief: true},
	planted.PledgeUndone:         {faults: []Fault{PostgresKill, Secession, CutPair, Isolate}, busy: true, brief: true},
	planted.PledgeFollowsOlder:   {faults: []Fault{Secession, Secession, Isolate, CutPair}, instances: 4, acks: 1, busy: true, brief: true},
	planted.PositionTooLow:       {faults: []Fault{DiskStall, CutPair, PowerLoss, PostgresKill}, instances: 3, busy: true, replay: 1, only: true, brief: true},
	planted.ChosenBeforeCaughtUp: {faults: []Fault{PowerLoss}, barred: true},
	planted.RecruitHalfRewound:   {faults: []Fault{DaemonKill, PowerLoss, PostgresKill, Isolate}, busy: true, rewind: 3 * time.Second},

	planted.OlderSessionsLeft:   {faults: []Fault{Cancel, Cancel, Switchover, PostgresKill}, busy: true},
	planted.AcksLoweredSilently: {faults: []Fault{PowerLoss, PostgresKill, Switchover}},
	planted.ResumedAfterChoice:  {faults: []Fault{Isolate, DaemonHang, Stun, Freeze}, instances: 3, busy: true, only: true, brief: true},
	planted.ChosenBeforeStop:    {faults: []Fault{Switchover, SlowHost}, busy: true, lazy: 4},
	planted.CrashedOpens:        {faults: []Fault{PostgresKill, Isolate, Pause, PowerLoss}, busy: true},
	planted.CrashedOpensAlone:   {faults: []Fault{LossyFailover, LossyFailover, DaemonHang, PostgresKill, Isolate}, instances: 2, only: true, brief: true},

	planted.ResumingClearsJoint:   {faults: []Fault{DiskStall, CutPair, PowerLoss, Stun, Isolate}, instances: 3, busy: true, lazy: 2, only: true, brief: true},
	planted.NextRuleIgnored:       {faults: []Fault{PowerLoss, Freeze}, busy: true},
	planted.RulesEachForItself:    {faults: []Fault{DiskStall, CutPair, PowerLoss, Freeze}, instances: 5, busy: true, lazy: 2, only: true, brief: true},
	planted.NextRuleForgotten:     {faults: []Fault{DiskStall, CutPair, PowerLoss, Freeze}, instances: 3, busy: true, lazy: 2, only: true, brief: true},
	planted.ConfirmedUnprobed:     {faults: []Fault{PowerLoss, Freeze, CutPair, Isolate}, busy: true, lazy: 2, brief: true},
	planted.ConfirmedByReturned:   {faults: []Fault{PowerLoss, Freeze, CutPair, Isolate}, busy: true, lazy: 2, brief: true},
	planted.ConfirmedBeforeLoss:   {faults: []Fault{DataLoss, DiskLoss, PowerLoss, CutPair}, instances: 4, busy: true, lazy: 2, brief: true},
	planted.CheckpointerNotWaited: {faults: []Fault{PowerLoss, Freeze, CutPair}, instances: 2, busy: true, lazy: 2, brief: true},
	planted.OlderVersionApplied:   {faults: []Fault{DaemonKill, PowerLoss, CutPair}, busy: true, brief: true},

	planted.GrantedByDeposed:       {faults: []Fault{Isolate, DaemonHang}, lease: true, only: true, brief: true},
	planted.GrantedWhileRecruiting: {faults: []Fault{CutOneWay, SlowHost, DaemonHang}, lease: true},
	planted.VouchForgotten:         {faults: []Fault{CutPair, Isolate, DaemonKill, ServerMoves}, instances: 2, lease: true, only: true, brief: true},
	planted.StrangerPromoted:       {faults: []Fault{DiskLoss, DataLoss, Split, Isolate}, lease: true},
	planted.LeaseFromReceipt:       {faults: []Fault{SlowHost, CutOneWay, DaemonHang}, lease: true},
	planted.LeaseWithoutMargin:     {faults: []Fault{Isolate, DaemonHang}, instances: 3, lease: true, only: true, brief: true},

	planted.NextRuleBlocks:         {faults: []Fault{PowerLoss, LostConnection}, lasting: GoneHost},
	planted.DeposedStaysDown:       {faults: []Fault{PowerLoss, PostgresKill}, lasting: GoneHost},
	planted.FailedPromotionRepeats: {faults: []Fault{PostgresKill}, instances: 3, lasting: StuckPromotion},
	planted.ClosedLeaderVetoes:     {faults: []Fault{Isolate, PostgresKill}, instances: 3, lasting: GoneDaemon},
	planted.PledgeWaitsForReplay:   {faults: []Fault{ReplayBlock}, lasting: BusyReplay},
	planted.HungLeaderVetoed:       {faults: []Fault{DiskStall}, lasting: StalledDisk},
	planted.RewindingIsDeposed:     {faults: []Fault{Isolate, Freeze}, instances: 2, busy: true, rewind: 15 * time.Second},
}
