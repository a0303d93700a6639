package node

import (
	"reflect"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// CopyNeeded wraps the error of a step after which only a fresh copy of the data helps.
type CopyNeeded struct{ Err error }

// Error is what went wrong.
func (e CopyNeeded) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e CopyNeeded) Unwrap() error { return e.Err }

// publish makes what was seen this host's word about the instance, and sends it at once when it is
// news.
func (a *agent) publish(v ha.InstanceView, seen Observed) {
	report := a.describe(v, seen)
	a.mu.Lock()
	news := v.Leadership.Phase != pgctl.Steady && !reflect.DeepEqual(report, a.report) ||
		!reflect.DeepEqual(essence(report), essence(a.report))
	a.report, a.observed = report, seen
	a.mu.Unlock()
	if news {
		poke(a.node.wake)
	}
}

func (a *agent) describe(v ha.InstanceView, seen Observed) ha.Report {
	l := v.Leadership
	r := ha.Report{
		Instance: a.self.Name, Life: a.self.Life, SystemID: seen.Local.SystemID, State: seen.State, Detail: seen.Detail,
		Failed: seen.Failed, Primary: seen.Primary, Open: seen.Open, Epoch: l.Epoch, End: seen.End, Replayed: seen.Replayed,
		Parent: seen.Parent, LeaderEnd: seen.LeaderEnd, Progress: seen.Progress, Version: seen.Version,
		StoppedAt: seen.Stopped, Senders: seen.Senders, Promoted: seen.Promoted, Confirmed: seen.Confirmed,
		Promised: max(seen.Local.Pledge, ruleEpoch(seen.Local)), Waiting: seen.Waiting, Pending: seen.Pending, InPlace: seen.InPlace, Applied: seen.Applied,
		Restarted: seen.Local.Restarted, LifeLost: a.lifeLost(v, seen),
	}
	if c, written := seen.Confirmed, seen.Local.Rule; c != nil && written != nil && (ha.RuleMark{Epoch: c.Epoch, Version: c.Version}).Older(*written) {
		r.Confirmed = nil // other names are in force by now
	}
	if v.Server.Busy != "" {
		r.Restarted = a.report.Restarted // until what was seen is what came of the restart
	}
	if seen.Receiver != "" {
		r.Upstream = seen.Receiver
	}
	if seen.Local.Pledge > 0 && seen.Receiver == "" && seen.Upstream == "" && !seen.Primary {
		foreign := seen.Local.Mark != 0 && seen.Position.Timeline > seen.Local.Mark
		r.Pledge = &ha.Pledge{Epoch: seen.Local.Pledge, Position: seen.Position, Foreign: foreign}
	}
	switch {
	case a.doing != nil && (a.doing.task.Do == ha.Initialize || a.doing.task.Do == ha.CopyData || a.doing.task.Do == ha.Rewind):
		r.State = ha.Making
		if r.Detail == "" {
			r.Detail = string(a.doing.task.Do) + ": " + a.doing.task.Why
		}
	case a.doing != nil && a.doing.task.Do == ha.Start && !a.doing.task.Standby:
		r.State = ha.Starting // members could not connect before the step's end
	case a.problem != "":
		r.Detail = a.problem
		if r.State == ha.Down && r.Failed == "" {
			r.Failed = a.problem
		}
	}
	starting := a.doing != nil && a.doing.task.Do == ha.Start // noted as started before it is
	if seen.State == ha.Down && seen.Crashed && !starting && r.Failed == "" {
		r.Failed = "its Postgres is gone"
	}
	return r
}

// ruleEpoch is the epoch under which the instance last led; 0 for never.
func ruleEpoch(l ha.Local) pgctl.Epoch {
	if l.Rule == nil {
		return 0
	}
	return l.Rule.Epoch
}

// lifeLost says why this life cannot go on, or "".
func (a *agent) lifeLost(v ha.InstanceView, seen Observed) string {
	switch {
	case a.lost != nil:
		return a.lost.Error()
	case seen.Directory == ha.NoDirectory && seen.Trouble == "" && ha.Trouble(v.Leadership, a.self.Life) != "":
		return ha.Trouble(v.Leadership, a.self.Life)
	case seen.Trouble != "":
		return seen.Trouble
	case seen.Local.SystemID != "" && v.Leadership.SystemID != "" && seen.Local.SystemID != v.Leadership.SystemID:
		return "its data has the system identifier " + seen.Local.SystemID + ", the cluster " + v.Leadership.SystemID
	case ha.Unfinished(v.Leadership, seen.Local) != "":
		return ha.Unfinished(v.Leadership, seen.Local)
	}
	if v.Source != nil && seen.AtEnd && seen.Upstream == "" && !seen.Primary && seen.State == ha.Running {
		if fit, why := ha.Compare(seen.Server, *v.Source); fit == ha.Beyond {
			return why
		}
	}
	return ""
}

// essence is a report without what changes all the time.
func essence(r ha.Report) ha.Report {
	r.End.LSN, r.Replayed, r.LeaderEnd, r.Progress, r.ProofAge, r.Waiting, r.Probe = 0, 0, 0, 0, 0, 0, nil
	senders := make([]ha.Sender, len(r.Senders))
	for i, s := range r.Senders {
		s.Flushed = 0
		senders[i] = s
	}
	r.Senders = senders
	return r
}

// current is the report as it is to be sent now: ages are counted to this moment.
func (a *agent) current(now time.Duration) ha.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.report
	r.ProofAge = now - a.proven
	if a.probe != nil && now-a.probed < ha.DetectLeast {
		p := *a.probe
		p.Age = now - a.probed
		r.Probe = &p
	}
	return r
}
