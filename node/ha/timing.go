package ha

import "time"

// The numbers of docs/failover.md. They are constants, not settings: each was chosen together with
// the others, and a cluster whose safety depended on them would be wrong (only lease mode's does).
const (
	Heartbeat        = 300 * time.Millisecond  // a daemon speaks
	Fresh            = 2 * Heartbeat           // heard within this: in contact
	Tick             = 100 * time.Millisecond  // the controllers decide
	AskAfter         = 600 * time.Millisecond  // of silence, the members are asked to prove the leader
	DetectLeast      = 1400 * time.Millisecond // a host that stood still for 1 s may have spoken 0.3 s before
	DetectMost       = 10 * time.Second
	HangTimeout      = 10 * time.Second // answers without progress are life for that long
	HangSeen         = 3 * time.Second  // the same when the postmaster is stopped, or members see no progress
	AskUnproven      = 2 * time.Second  // without a proof of health, the members are asked to prove the leader
	WaitTold         = 5 * time.Second  // a commit that waits so long is an event
	StillWell        = 3 * time.Second  // a proof of health no older than that: made every second
	StandbyTimeout   = 2 * time.Second  // an unheard standby is taken out of the rule
	StallTimeout     = 10 * time.Second // a standby whose flush position stands still while it is owed WAL
	JoinAfter        = 1 * time.Second  // of good streaming, doubling with each removal in RemovalMemory
	JoinAfterMost    = 60 * time.Second
	RemovalMemory    = 10 * time.Minute
	FenceAfter       = 5 * time.Second // without servers and without acknowledgements a leader closes
	LeaseTime        = 5 * time.Second
	LeaseMargin      = 500 * time.Millisecond // more than clocks drift apart over one lease
	LeaseLead        = 500 * time.Millisecond // before its lease ends a leader begins to stop; then its guard kills it
	VouchAfter       = time.Second            // without a renewal a leader asks its members whether it may go on
	VouchTimeout     = time.Second            // for one member's answer
	RequiredGuard    = 10 * time.Second       // a required guard that is silent for that long makes its leader fail
	SwitchoverWithin = 10 * time.Second
	ElectionRest     = time.Second            // that a leader which stopped, or crashed, leaves to the others
	PromotionStall   = 10 * time.Second       // no progress of anybody needed: the promotion failed
	CrashMemory      = 10 * time.Minute       // a second crash within it is restarted in place
	CrashWait        = 700 * time.Millisecond // that a crashed leader waits for a handover before it starts in place
	StopFailover     = 5 * time.Second        // stop budgets
	StopPlanned      = 30 * time.Second
	DetachWithin     = 300 * time.Millisecond // then a standby with a stuck receiver is restarted without upstream
)
