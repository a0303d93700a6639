package explore

import (
	"fmt"
	"strings"
)

// step is what happened between two states: what, and to whom.
type step struct {
	do      deed
	a, b, c uint8
}

// deed is a kind of step.
type deed uint8

// The steps.
const (
	begin deed = iota
	commits
	checkpointerFollows
	senderFollows
	connects
	receives
	flushes
	hears
	senderEnds
	readsToEnd
	starts
	startsAsLeader
	stops
	detaches
	endsReceiver
	pledges
	follows
	rewinds
	rewound
	copies
	givenUp
	promotes
	begins
	writesNobody
	writesNames
	probes
	terminates
	proves
	opens
	cancels
	recruits
	resumes
	chooses
	settles
	startsOver
	switches
	orders
	accepts
	stopHeard
	stopAwaited
	planForgotten
	asks
	confirms
	loses
	renews
	records
	crashed
	diskLost
	breaks
	strayPromotes
	deeds
)

// deedTexts say it; the arguments are names of nodes, or numbers where the text has %d.
var deedTexts = [deeds]string{
	begin:               "the cluster runs",
	commits:             "%[1]s: a client commits at %[2]d",
	checkpointerFollows: "%[1]s: the checkpointer follows the new names",
	senderFollows:       "%[1]s: the WAL sender to %[3]s follows the new names",
	connects:            "%[1]s: its receiver connects to %[3]s",
	receives:            "%[1]s: receives %[2]d",
	flushes:             "%[1]s: flushes",
	hears:               "%[1]s: hears that %[3]s has flushed %[4]d",
	senderEnds:          "%[1]s: notices that the connection of %[3]s is gone",
	readsToEnd:          "%[1]s: has read its log to the end",
	starts:              "%[1]s: starts as a standby, closed, without upstream",
	startsAsLeader:      "%[1]s: starts as a primary, closed",
	stops:               "%[1]s: is stopped",
	detaches:            "%[1]s: has no upstream configured any more",
	endsReceiver:        "%[1]s: its receiver is ended",
	pledges:             "%[1]s: pledges",
	follows:             "%[1]s: compared, is to follow %[3]s in epoch %[4]d",
	rewinds:             "%[1]s: diverged, begins a rewind from %[3]s",
	rewound:             "%[1]s: is rewound",
	copies:              "%[1]s: is copied from %[3]s",
	givenUp:             "%[1]s: its directory cannot go on",
	promotes:            "%[1]s: is promoted, closed, to timeline %[2]d",
	begins:              "%[1]s: is to confirm rule %[2]d",
	writesNobody:        "%[1]s: sets names that nobody fulfils",
	writesNames:         "%[1]s: sets the names of the rule",
	probes:              "%[1]s: flushes a probe",
	terminates:          "%[1]s: ends the WAL sender to %[3]s, which does not follow",
	proves:              "%[1]s: has proven rule %[2]d",
	opens:               "%[1]s: opens",
	cancels:             "%[1]s: an old session's wait is cancelled, its client told of success",
	recruits:            "store: the leader is believed to have failed: recruiting",
	resumes:             "store: %[1]s is well and resumes",
	chooses:             "store: %[1]s is chosen",
	settles:             "store: %[1]s is steady",
	startsOver:          "store: the promotion failed: recruiting again",
	switches:            "store: a switchover to %[1]s",
	orders:              "store: an operator orders a failover to %[1]s",
	accepts:             "store: an operator accepts loss: %[1]s is to lead",
	stopHeard:           "store: the old leader has stopped",
	stopAwaited:         "store: the old leader did not stop in time",
	planForgotten:       "store: the old leader fell silent, or the next one is gone: the order is forgotten",
	asks:                "store: the rule is to be %[2]d of %[5]v",
	confirms:            "store: the rule of %[1]s is confirmed",
	loses:               "store: the life of %[1]s is lost",
	renews:              "store: %[1]s gets a new life",
	records:             "store: the history is completed",
	crashed:             "%[1]s: power loss",
	diskLost:            "%[1]s: its disk is lost",
	breaks:              "%[1]s: its connection to %[3]s breaks, unnoticed there",
	strayPromotes:       "%[1]s: somebody promotes it by hand",
}

// text is the step for people.
func (t step) text() string {
	name := func(i uint8) string { return string(rune('a' + i)) }
	if !strings.Contains(deedTexts[t.do], "%") {
		return deedTexts[t.do]
	}
	return fmt.Sprintf(deedTexts[t.do], name(t.a), t.b, name(t.b), t.c, lives(t.a).list())
}
