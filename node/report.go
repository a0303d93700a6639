package node

import (
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

// publish makes what was seen this host's word about the instance, and sends it at once when it is news. During
// an election it is said again at every tick of the controllers: a beat that got lost must not delay them.
func (a *agent) publish(v ha.InstanceView, seen Observed) {
	a.mu.Lock()
	seen.DiskFull, seen.Frozen = a.full, a.frozen
	a.mu.Unlock()
	report := a.describe(v, seen)
	a.tellLoss(report.LifeLost)
	a.mu.Lock()
	now := a.node.Clock()
	news := !report.Same(&a.report) || v.Leadership.Phase != pgctl.Steady && (!report.SameAll(&a.report) || now-a.told >= ha.Tick)
	if news {
		a.told = now
	}
	a.report, a.observed = report, seen
	a.mu.Unlock()
	if news {
		poke(a.node.wake)
	}
}

func (a *agent) describe(v ha.InstanceView, seen Observed) ha.Report {
	doing := ha.Doing{Problem: a.problem, Restarted: a.report.Restarted}
	if a.doing != nil {
		doing.Step = &a.doing.task.Step
	}
	if a.lost != nil {
		doing.Lost = a.lost.Error()
	}
	return ha.Describe(v, seen, doing)
}

// current is the report as it is to be sent now: ages are counted to this moment.
func (a *agent) current(now time.Duration) ha.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.report
	r.ProofAge, r.Vouched = now-a.proven, now-a.vouching.at
	if a.probe != nil && now-a.probed < ha.DetectLeast {
		p := *a.probe
		p.Age = now - a.probed
		r.Probe = &p
	}
	return r
}
