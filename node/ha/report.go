package ha

import (
	"fmt"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// Observed is what a look at an instance shows: what decisions need, and what reports add.
type Observed struct {
	Server
	Mute       bool // it took sessions, and does not answer
	Frozen     bool // its postmaster was stopped by a signal
	DiskFull   bool // of its data
	Local      Local
	End        pgctl.Position // of the log, as far as it is flushed
	Parent     pgctl.Switch
	LeaderEnd  pgctl.LSN
	Senders    []Sender
	Stopped    *Stopped
	Failed     string
	Detail     string
	Progress   uint64
	Version    string
	Pending    []string
	InPlace    bool
	Applied    uint64
	Checkpoint pgctl.Timeline
	Oldest     pgctl.LSN // of a primary: it has its log from here on
}

// Doing is what an agent knows about its instance beyond the last look.
type Doing struct {
	Step      *Step  // under way; nil: none
	Problem   string // what the last step failed with
	Lost      string // why only a fresh copy helps, if a step found that out
	Restarted uint64 // as last reported
}

// Describe is the report about an instance, but for what is sent with the age that it has by then.
func Describe(v InstanceView, seen Observed, d Doing) Report {
	l := v.Leadership
	r := Report{
		Instance: v.Self.Name, Life: v.Self.Life, SystemID: seen.Local.SystemID, State: seen.State, Detail: seen.Detail,
		Failed: seen.Failed, Primary: seen.Primary, Open: seen.Open, Epoch: l.Epoch, End: seen.End, Replayed: seen.Replayed,
		Parent: seen.Parent, LeaderEnd: seen.LeaderEnd, Progress: seen.Progress, Version: seen.Version,
		StoppedAt: seen.Stopped, Senders: seen.Senders, Promoted: seen.Promoted, Confirmed: seen.Confirmed,
		Promised: max(seen.Local.Pledge, ruleEpoch(seen.Local)), Waiting: seen.Waiting, Pending: seen.Pending, InPlace: seen.InPlace, Applied: seen.Applied,
		DiskFull: seen.DiskFull, Frozen: seen.Frozen, Mute: seen.Mute, StoreAge: v.StoreAge,
		Restarted: seen.Local.Restarted, LifeLost: LifeLost(v, seen, d.Lost), Listed: seen.Local.Listed, Unguarded: v.Unguarded(),
		Guarded: seen.Guard != nil, Leased: v.Lease > LeaseLead, Armed: seen.Guard != nil && seen.Guard.Armed && seen.Guard.Trouble == "",
	}
	if g := seen.Guard; r.Unguarded != "" && g.Required && g.Silent > RequiredGuard && r.Failed == "" {
		r.Failed = "it may not lead without a guard: " + g.Trouble
	}
	if c, written := seen.Confirmed, seen.Local.Rule; c != nil && written != nil && (RuleMark{Epoch: c.Epoch, Version: c.Version}).Older(*written) {
		r.Confirmed = nil // other names are in force by now
	}
	if v.Server.Busy != "" {
		r.Restarted = d.Restarted // until what was seen is what came of the restart
	}
	if seen.Receiver != "" {
		r.Upstream = seen.Receiver
	}
	if seen.Local.Pledge > 0 && (seen.Receiver == "" || planted.PledgeWithReceiver.On()) && seen.Upstream == "" && !seen.Primary {
		foreign := seen.Local.Mark != 0 && seen.Position.Timeline > seen.Local.Mark
		r.Pledge = &Pledge{Epoch: seen.Local.Pledge, Position: seen.Position, Foreign: foreign}
	}
	switch step := d.Step; {
	case step != nil && (step.Do == Initialize || step.Do == CopyData || step.Do == Rewind):
		r.State = Making
		if r.Detail == "" {
			r.Detail = string(step.Do) + ": " + step.Why
		}
	case step != nil && step.Do == Start:
		if !step.Standby {
			r.State = Starting // members could not connect before the step's end
		} else {
			r.explain(d.Problem)
		}
	default:
		r.explain(d.Problem)
	}
	if seen.State == Down && seen.Crashed && !restarting(v, d) && r.Failed == "" {
		r.Failed = "its Postgres is gone"
	}
	return r
}

// restarting says whether a step has the server down for a moment, or had it when it was looked at: it is
// noted as started all the while.
func restarting(v InstanceView, d Doing) bool {
	if d.Step == nil {
		return v.Server.Busy != "" // the step ended after the look
	}
	return d.Step.Do == Start || d.Step.Do == Detach || d.Step.Do == Follow
}

// explain says what a step failed with; a server that is down because of it has failed.
func (r *Report) explain(problem string) {
	if problem == "" {
		return
	}
	r.Detail = problem
	if r.State == Down && r.Failed == "" {
		r.Failed = problem
	}
}

// ruleEpoch is the epoch under which the instance last led; 0 for never.
func ruleEpoch(l Local) pgctl.Epoch {
	if l.Rule == nil {
		return 0
	}
	return l.Rule.Epoch
}

// LifeLost says why a life cannot go on, or ""; found is what a step found out.
func LifeLost(v InstanceView, seen Observed, found string) string {
	switch {
	case found != "":
		return found
	case seen.Directory == NoDirectory && seen.Trouble == "" && Trouble(v.Leadership, v.Self.Life) != "":
		return Trouble(v.Leadership, v.Self.Life)
	case seen.Trouble != "":
		return seen.Trouble
	case seen.Local.SystemID != "" && v.Leadership.SystemID != "" && seen.Local.SystemID != v.Leadership.SystemID:
		return "its data has the system identifier " + seen.Local.SystemID + ", the cluster " + v.Leadership.SystemID
	case Unfinished(v.Leadership, seen.Local) != "":
		return Unfinished(v.Leadership, seen.Local)
	}
	if tooOld(seen, v.Source) {
		return fmt.Sprintf("its log ends at %s, and the leader has its own only from %s on", seen.Replayed, v.Source.Oldest)
	}
	if v.Source != nil && seen.AtEnd && seen.Upstream == "" && !seen.Primary && seen.State == Running {
		if fit, why := Fitting(seen.Local, seen.Server, *v.Source); fit == Beyond && !planted.HistoriesOfNobody.On() {
			return why
		}
	}
	return ""
}

// tooOld says whether the leader has let go of log that an instance, which receives nothing, would need
// to follow it.
func tooOld(seen Observed, source *Source) bool {
	return source != nil && seen.State == Running && !seen.Primary && seen.AtEnd && seen.Receiver == "" &&
		seen.Replayed > 0 && seen.Replayed < source.Oldest
}

// Acknowledged says whether so many members stream from a leader, under its epoch's names, that its commits
// can return. Without commits nothing else would show that they could not.
func (o Observed) Acknowledged(l pgctl.Leadership) bool {
	rule, streaming := l.RuleInForce(), 0
	for _, s := range o.Senders {
		if s.Epoch == l.Epoch && s.Streaming && rule.Names(s.Life) {
			streaming++
		}
	}
	return streaming >= rule.Acks
}
