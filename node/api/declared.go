package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgctl/pgctl"
)

// asDeclared looks for what works but is not yet as the declaration says. What was found before about an
// instance is not said again in other words.
func (j *judge) asDeclared() {
	l := j.Leadership
	if l.Phase != pgctl.Steady || !l.Serving {
		return
	}
	for _, i := range j.Instances {
		if i.Wanted == pgctl.WantRemoved {
			j.add(Problem{
				Level: LevelDegraded, What: i.Name + " is being removed", Instance: i.Name, Host: i.Host,
				Why: "commits let go of it first", EndedBy: j.places(i.Life),
			})
			continue
		}
		known := slices.ContainsFunc(j.problems, func(p Problem) bool { return p.Instance == i.Name })
		if p, ok := j.behind(i); ok && !known {
			p.Level, p.Instance, p.Host, p.EndedBy = LevelDegraded, i.Name, i.Host, j.places(i.Life)
			j.add(p)
		}
	}
	wanted := j.Cluster.Spec.Durability
	switch running := j.running(); {
	case l.Mode != wanted.Mode && wanted.Mode != "":
		j.add(Problem{Level: LevelDegraded, What: fmt.Sprintf("it is in %s mode instead of %s mode", l.Mode, wanted.Mode)})
	case running > j.Cluster.Spec.Instances:
		j.add(Problem{
			Level: LevelDegraded, What: fmt.Sprintf("it has %d instances instead of %d", running, j.Cluster.Spec.Instances),
			Why: "one is removed after the other",
		})
	case l.NextRule != nil && len(j.problems) == 0:
		j.add(Problem{
			Level: LevelDegraded, What: "what a commit waits for is being changed", EndedBy: j.places(l.Leader),
			Why: "the leader has not confirmed it yet",
		})
	}
}

// behind says what keeps a running instance from being as declared.
func (j *judge) behind(i *pgctl.Instance) (Problem, bool) {
	live := j.live[i.Life]
	heard := !j.Blind && !j.silent(i.Life) && live.State == StateRunning
	switch l := j.Leadership; {
	case heard && i.Restart != live.Restarted:
		return Problem{What: i.Name + " restarts", Why: "a restart was ordered"}, true
	case i.Reinit:
		return Problem{What: i.Name + " is to be copied anew", Why: "an operator ordered it; commits stop waiting for it first"}, true
	case i.Due != "":
		return Problem{What: i.Name + " is to restart", Why: "an operator ordered it", Do: "it does while the cluster is well, standbys first"}, true
	case heard && len(live.Pending) > 0:
		p := Problem{What: i.Name + " waits for a restart", Why: "it takes over " + strings.Join(live.Pending, ", ")}
		if p.Do = "it is restarted while the cluster is well, standbys first"; l.Paused {
			p.Do = "it is restarted when automatic failover is resumed"
		}
		return p, true
	case heard && live.Applied < j.Cluster.Revision:
		return Problem{
			What: i.Name + " has not taken over the declaration yet", Do: "if it lasts, see pgctl events " + j.Cluster.Name,
		}, true
	case l.Mode == pgctl.Quorum && i.Life != l.Leader && i.Wanted == pgctl.WantRunning && !l.Rule.Names(i.Life) &&
		j.Cluster.Spec.Acks() > 0 && !j.Cluster.Spec.Tags[i.Name].Follows() && !j.Cluster.Spec.Durability.AcrossDataCenters:
		return Problem{What: "commits cannot wait for " + i.Name + " yet", Why: "it has not streamed well for long enough"}, true
	}
	return Problem{}, false
}

// stopping are the instances that run although the cluster is to be stopped.
func (j *judge) stopping() {
	for _, i := range j.Instances {
		if live, ok := j.live[i.Life]; ok && !j.silent(i.Life) && live.State != StateStopped && live.State != StateFailed {
			j.add(Problem{
				Level: LevelDegraded, What: i.Name + " is being stopped", Instance: i.Name, Host: i.Host, EndedBy: j.places(i.Life),
			})
		}
	}
}
