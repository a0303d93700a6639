package ha

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// takeOrder carries out what an operator asked for besides a change of leadership. It holds in every phase;
// an election that is under way is finished first.
func takeOrder(v View) Decision {
	l, r := v.Leadership, v.Request
	next := clone(l)
	var d Decision
	switch {
	case r.Pause != nil && *r.Pause == l.Paused:
		return Decision{Answer: pgctl.Errorf(pgctl.CodeConflict, "automatic failover is %s already", map[bool]string{true: "paused", false: "on"}[l.Paused])}
	case r.Pause != nil:
		next.Paused = *r.Pause
		if d = commit(v, next, pgctl.Info, "failover.resumed", "", "automatic failover is on again"); next.Paused {
			d = commit(v, next, pgctl.Warning, "failover.paused", "", "automatic failover is paused: a leader that is lost is not replaced")
		}
	case r.Schedule.Do == "" && l.Scheduled == nil:
		return Decision{Answer: pgctl.Errorf(pgctl.CodeConflict, "nothing is scheduled")}
	case r.Schedule.Do == "":
		next.Scheduled = nil
		d = commit(v, next, pgctl.Info, "schedule.cancelled", "", "the %s of %s is cancelled", l.Scheduled.Do, l.Scheduled.At.UTC().Format(time.RFC3339))
	case l.Scheduled != nil:
		return Decision{Answer: pgctl.Errorf(pgctl.CodeConflict, "a %s is scheduled for %s already", l.Scheduled.Do, l.Scheduled.At.UTC().Format(time.RFC3339)).
			WithHint("cancel it first: --cancel")}
	default:
		scheduled := *r.Schedule
		next.Scheduled = &scheduled
		d = commit(v, next, pgctl.Info, "schedule.set", "", "a %s is scheduled for %s", scheduled.Do, scheduled.At.UTC().Format(time.RFC3339))
	}
	d.Done = true
	return d
}

// opened completes the history of a change of leadership when its leader serves: where the time went.
func opened(v View, leader *Member) (Decision, bool) {
	l := v.Leadership
	at := len(l.History) - 1
	if at < 1 || l.History[at].Epoch != l.Epoch || l.History[at].Took.Opened > 0 || !leader.fresh() || !leader.Report.Open || leader.Report.Epoch != l.Epoch {
		return Decision{}, false
	}
	next := clone(l)
	took := &next.History[at].Took
	if planted.OrderByLateHistory.On() {
		next.History[at].State = pgctl.TimelineSteady
	}
	took.Opened = max(v.PhaseAge, time.Millisecond)
	var parts []string
	for _, part := range []struct {
		what string
		d    time.Duration
	}{{"noticed", took.Noticed}, {"recruited", took.Recruited}, {"promoted", took.Promoted}, {"opened", took.Opened}} {
		if part.d > 0 {
			parts = append(parts, fmt.Sprintf("%s in %s", part.what, part.d.Round(10*time.Millisecond)))
		}
	}
	return commit(v, next, pgctl.Info, "leader.serves", leader.Life, "%s serves after %s: %s", leader.Instance,
		took.Total().Round(10*time.Millisecond), strings.Join(parts, ", ")), true
}
