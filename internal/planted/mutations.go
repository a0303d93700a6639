//go:build mutations

package planted

var sown Bug

// On says whether this is the bug that Sow chose.
func (b Bug) On() bool { return b == sown }

// Sow switches one bug on, or all off where it is empty. Not while anything runs that asks On.
func Sow(b Bug) { sown = b }

// All are the bugs, in the order of the design.
var All = []Bug{
	HistoriesOfFormerLeaders, HistoriesOfNobody, NameWithoutEpoch, TimelineByPostgres, OrderByPosition,
	OrderByTimeline, OrderByLateHistory, JoinerByPosition, LifeKept, StrayOpen, StrayRecruited, MemberTwice,

	PledgeWithReceiver, PledgeForgotten, PledgeUndone, PledgeFollowsOlder, PositionTooLow, RestoreCommandOn,
	ChosenBeforeCaughtUp, CatchUpUncompared, RecruitHalfRewound,

	OneRecruitTooFew, OpensBeforeSteady, OlderSessionsLeft, SteadyUnproven, AcksLoweredSilently,
	ResumedAfterChoice, ChosenBeforeStop, CrashedOpens, CrashedOpensAlone, WrittenIsFlushed,

	ResumingClearsJoint, ModesInOtherOrder, ShrunkBeforeStore, NextRuleIgnored, RulesEachForItself,
	NextRuleForgotten, ConfirmedUnprobed, ConfirmedByReturned, ConfirmedBeforeLoss, CheckpointerNotWaited,
	OlderVersionApplied, NamesNotDurable,

	GrantedByDeposed, GrantedWhileRecruiting, VouchForgotten, StrangerPromoted, LeaseFromReceipt,
	LeaseWithoutMargin,

	NextRuleBlocks, DeposedStaysDown, FailedPromotionRepeats, ClosedLeaderVetoes, PledgeWaitsForReplay,
	HungLeaderVetoed, RewindingIsDeposed, IdleIsSilent, OwnPauseIsSilence,
}
