package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// trouble is a step that fails again and again. It becomes an event when it has failed a few times, since
// many steps wait for somebody else for a moment; not once for each attempt, and again only when the
// reason is another one.
type trouble struct {
	do    ha.Action
	times int
	told  []string // reasons, without their numbers: process ids and times of day differ each time
}

const (
	troubleAfter = 3 // failures in a row; they are a second apart
	troubleKinds = 8 // reasons told of one trouble
)

// verbs say for people what an instance cannot do.
var verbs = map[ha.Action]string{
	ha.Initialize: "make its data directory", ha.CopyData: "copy the leader's data", ha.Start: "start", ha.Stop: "stop",
	ha.Detach: "leave its former leader", ha.PledgeTo: "pledge", ha.Follow: "follow the leader", ha.Rewind: "be rewound",
	ha.Promote: "be promoted", ha.MakeSlots: "make its members' slots", ha.Confirm: "prove its rule", ha.Open: "open for clients",
	ha.Close: "close for clients", ha.Restart: "restart", ha.Checkpoint: "make a checkpoint",
}

// failedAgain notes another failure of a step, and says whether it is to be told.
func (t *trouble) failedAgain(do ha.Action, err error) bool {
	if t.do != do {
		*t = trouble{do: do}
	}
	t.times++
	reason := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
	if t.times < troubleAfter || len(t.told) == troubleKinds || slices.Contains(t.told, reason) {
		return false
	}
	t.told = append(t.told, reason)
	return true
}

// troubled notes that a step failed.
func (a *agent) troubled(do ha.Action, err error) {
	if errors.Is(err, context.Canceled) || !a.trouble.failedAgain(do, err) {
		return
	}
	severity := pgctl.Warning
	if do == ha.Start || do == ha.Initialize {
		severity = pgctl.Alarm
	}
	a.note(severity, "step.failed", "%s cannot %s, which is tried again and again: %v", a.self.Name, verbs[do], err)
}

// managed notes that a step was carried out. A start is only when its server was seen to run.
func (a *agent) managed(do ha.Action) {
	if a.trouble.do != do {
		return
	}
	if len(a.trouble.told) > 0 {
		a.note(pgctl.Info, "step.succeeded", "%s could %s after %d failures", a.self.Name, verbs[do], a.trouble.times)
	}
	a.trouble = trouble{}
}

// tellLoss makes an event of it when the life's data cannot be gone on with, once.
func (a *agent) tellLoss(why string) {
	if why != "" && !a.lossTold {
		a.note(pgctl.Alarm, "data.refused", "%s cannot go on with the data of its life %s: %s", a.self.Name, a.self.Life, why)
	}
	a.lossTold = why != ""
}

// note records an event about the instance beside the loop: the store may take its time.
func (a *agent) note(severity pgctl.Severity, kind, format string, args ...any) {
	e := pgctl.Event{
		Severity: severity, Cluster: a.self.Cluster, Instance: a.self.Name, Host: a.self.Host, Kind: kind, Message: fmt.Sprintf(format, args...),
	}
	a.calls.Go(func() { a.node.Note(e) })
}
