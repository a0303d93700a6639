// Package planted names the bugs that the simulator must find when they are put into the protocol. The
// list is that of the design: each lost or forked data, or made a cluster stand still, in a model of it.
//
// Where the protocol keeps a rule, the code asks whether the rule is to be broken:
//
//	if !l.Rule.Elects(recruits) && !planted.OneRecruitTooFew.On() { … }
//
// In the product, On is false at compile time and nothing of this is left in the binary. Only with the
// build tag mutations, which `make mutations` sets, can one of them be switched on.
package planted

// Bug is one of them; its text says what is broken.
type Bug string

// Names and histories.
const (
	HistoriesOfFormerLeaders Bug = "only former leaders compare histories"
	HistoriesOfNobody        Bug = "nobody compares histories"
	NameWithoutEpoch         Bug = "the name of a member carries no epoch"
	TimelineByPostgres       Bug = "PostgreSQL picks the number of the timeline"
	OrderByPosition          Bug = "positions are ordered by LSN only"
	OrderByTimeline          Bug = "positions are ordered by PostgreSQL's timeline"
	OrderByLateHistory       Bug = "a position is ordered through a history recorded late"
	JoinerByPosition         Bug = "a joiner is proven by its LSN alone"
	LifeKept                 Bug = "a member that was made anew keeps its life"
	StrayOpen                Bug = "a promotion by hand finds empty names"
	StrayRecruited           Bug = "a promotion by hand counts as a recruit"
	MemberTwice              Bug = "without slots one member is counted twice"
)

// Pledges.
const (
	PledgeWithReceiver   Bug = "a pledge is given before the receiver is gone"
	PledgeForgotten      Bug = "a pledge is not durable"
	PledgeUndone         Bug = "a restart restores primary_conninfo after a pledge"
	PledgeFollowsOlder   Bug = "an older epoch's leader is followed after a pledge"
	PositionTooLow       Bug = "a position is reported too low after a restart"
	RestoreCommandOn     Bug = "restore_command is left on under a pledge"
	ChosenBeforeCaughtUp Bug = "a candidate is chosen before it caught up"
	CatchUpUncompared    Bug = "a candidate catches up without comparing histories"
	RecruitHalfRewound   Bug = "a half-rewound instance is recruited"
)

// Elections.
const (
	OneRecruitTooFew    Bug = "one recruit too few is enough"
	OpensBeforeSteady   Bug = "the new leader opens before the store says steady"
	OlderSessionsLeft   Bug = "a session older than the closing is left alive"
	SteadyUnproven      Bug = "steady without proof"
	AcksLoweredSilently Bug = "steady with fewer acknowledgements than the rule asks"
	ResumedAfterChoice  Bug = "the old leader resumes although somebody was chosen"
	ChosenBeforeStop    Bug = "the target of a switchover is chosen before the leader has stopped"
	CrashedOpens        Bug = "a crashed leader opens at once"
	CrashedOpensAlone   Bug = "a crashed leader whose rule asks nobody opens without asking the store"
	WrittenIsFlushed    Bug = "what is written counts as flushed"
)

// Rules.
const (
	ResumingClearsJoint   Bug = "resuming forgets the joint rule"
	ModesInOtherOrder     Bug = "between asynchronous and quorum, the store and the names change in the other order"
	ShrunkBeforeStore     Bug = "the names shrink before the store knows"
	NextRuleIgnored       Bug = "elections ignore the next rule"
	RulesEachForItself    Bug = "an election asks each rule for itself instead of the joint one"
	NextRuleForgotten     Bug = "a next rule that was replaced is forgotten"
	ConfirmedUnprobed     Bug = "a rule is confirmed without the probe"
	ConfirmedByReturned   Bug = "a rule is confirmed by a probe that only returned"
	ConfirmedBeforeLoss   Bug = "a rule is confirmed by a probe made before a member was lost"
	CheckpointerNotWaited Bug = "the checkpointer is not waited for"
	OlderVersionApplied   Bug = "an older version of the rule is applied again"
	NamesNotDurable       Bug = "the names are not fsynced"
)

// Leases.
const (
	GrantedByDeposed       Bug = "a lease is granted by a deposed leader of the servers"
	GrantedWhileRecruiting Bug = "a lease is granted after recruiting began"
	VouchForgotten         Bug = "a restarted member forgets that it confirmed"
	StrangerPromoted       Bug = "a new member is promoted that the leader did not know"
	LeaseFromReceipt       Bug = "a lease counts from its receipt"
	LeaseWithoutMargin     Bug = "a lease has no margin for drifting clocks"
)

// Liveness and calm.
const (
	NextRuleBlocks         Bug = "a next rule that cannot be confirmed blocks for ever"
	DeposedStaysDown       Bug = "a deposed leader that nobody replaces stays down"
	FailedPromotionRepeats Bug = "the leader of a failed promotion is chosen for ever"
	ClosedLeaderVetoes     Bug = "a closed leader's progress vetoes"
	PledgeWaitsForReplay   Bug = "a pledge waits for a blocked replay"
	HungLeaderVetoed       Bug = "a hung leader is vetoed for ever"
	RewindingIsDeposed     Bug = "a new epoch deposes a leader whose members are still being rewound"
	IdleIsSilent           Bug = "an idle leader without daemon is failed over"
	OwnPauseIsSilence      Bug = "the observer's own pause counts as silence"
)
