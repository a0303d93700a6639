//go:build mutations

package main

import "github.com/pgctl/pgctl/internal/planted"

// shallow are bugs that the first few hundred walks find.
var shallow = []planted.Bug{
	planted.HistoriesOfFormerLeaders, planted.HistoriesOfNobody, planted.TimelineByPostgres, planted.OrderByPosition,
	planted.JoinerByPosition, planted.LifeKept, planted.StrayOpen, planted.StrayRecruited, planted.PledgeWithReceiver,
	planted.ChosenBeforeCaughtUp, planted.RecruitHalfRewound, planted.OneRecruitTooFew, planted.OpensBeforeSteady,
	planted.OlderSessionsLeft, planted.SteadyUnproven, planted.AcksLoweredSilently, planted.ChosenBeforeStop,
	planted.CrashedOpens, planted.ShrunkBeforeStore, planted.NextRuleIgnored, planted.ConfirmedUnprobed,
	planted.ConfirmedByReturned, planted.NamesNotDurable, planted.DeposedStaysDown, planted.FailedPromotionRepeats,
	planted.ClosedLeaderVetoes, planted.PledgeWaitsForReplay, planted.HungLeaderVetoed, planted.RewindingIsDeposed,
	planted.IdleIsSilent, planted.OwnPauseIsSilence,
}
