package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
)

// silence is how old a heartbeat may be before an instance counts as silent: several are missing then,
// and whoever should have reacted has had the time to.
const silence = 2 * time.Second

// HealthView is what a cluster's health is judged by.
type HealthView struct {
	Cluster    *pgctl.Cluster
	Leadership *pgctl.Leadership // nil before anything was placed
	Instances  []*pgctl.Instance
	Live       []Live
	Blind      bool // the daemon gets no heartbeats: only the replicated state is judged
}

// Health says how well a cluster is, why, who would end what is not well, and what to do. It is a pure
// function, so the same view gives the same answer on every daemon and in every test.
func Health(v HealthView) ClusterStatus {
	j := &judge{HealthView: v, live: map[pgctl.Life]Live{}}
	for _, l := range v.Live {
		j.live[l.Life] = l
	}
	status := ClusterStatus{Name: v.Cluster.Name, Blind: v.Blind}
	if l := v.Leadership; l != nil {
		status.Epoch, status.Phase = l.Epoch, l.Phase
		status.Leader = j.name(l.Leader)
	}
	switch {
	case v.Cluster.Deleted != nil:
		until := v.Cluster.Deleted.At.Add(v.Cluster.Deleted.Keep).UTC().Format("2006-01-02 15:04 UTC")
		status.Health, status.Summary = LevelStopped, "deleted; the data is kept until "+until+
			"; pgctl undelete "+v.Cluster.Name+" brings it back"
		j.stopping()
	case v.Cluster.Spec.Instances == 0:
		status.Health, status.Summary = LevelStopped, "stopped: numberOfInstances is 0; the data is kept"
		j.stopping()
	default:
		j.all()
		status.Health, status.Summary = LevelWell, j.wellSummary()
	}
	slices.SortStableFunc(j.problems, func(a, b Problem) int {
		return cmp.Compare(b.Level.severity(), a.Level.severity())
	})
	status.Problems = append([]Problem{}, j.problems...)
	if len(j.problems) > 0 {
		status.Health, status.Summary = j.problems[0].Level, j.problems[0].What
	}
	return status
}

// judge collects the problems of one cluster.
type judge struct {
	HealthView
	live     map[pgctl.Life]Live
	problems []Problem
}

func (j *judge) add(p Problem) { j.problems = append(j.problems, p) }

// all looks at everything there is: first whether it can be written to, then redundancy.
func (j *judge) all() {
	name, l := j.Cluster.Name, j.Leadership
	if l == nil || len(j.Instances) == 0 {
		j.add(Problem{
			Level: LevelDown, What: "no instance has a host yet",
			Do: "wait, or see in pgctl events " + name + " which hosts were considered and why not taken",
		})
		return
	}
	switch l.Phase {
	case pgctl.Bootstrapping:
		j.bootstrapping()
	case pgctl.Steady:
		j.steady()
	case pgctl.Recruiting:
		j.recruiting()
	case pgctl.Promoting:
		j.promoting()
	default:
		j.unknown()
	}
	for _, i := range j.Instances {
		if i.Life != l.Leader && i.Wanted == pgctl.WantRunning {
			j.member(i)
		}
	}
	if running := j.running(); running < j.Cluster.Spec.Instances {
		j.add(Problem{
			Level: LevelDegraded,
			What:  fmt.Sprintf("%d of %d instances have a host", running, j.Cluster.Spec.Instances),
			Do:    "see in pgctl events " + name + " why the others could not be placed",
		})
	}
	j.asDeclared()
	if l.Paused {
		j.add(Problem{
			Level: LevelDegraded, What: "automatic failover is paused",
			Why: "somebody paused it; a lost leader is not replaced until it is resumed",
		})
	}
}

// running counts the instances that should run.
func (j *judge) running() int {
	n := 0
	for _, i := range j.Instances {
		if i.Wanted == pgctl.WantRunning {
			n++
		}
	}
	return n
}

// bootstrapping: the first instance is being made.
func (j *judge) bootstrapping() {
	p := Problem{Level: LevelDown, What: "it is being created", EndedBy: j.places(j.Leadership.Leader)}
	if i, ok := j.instance(j.Leadership.Leader); ok {
		p.Instance, p.Host, p.Why = i.Name, i.Host, "the first instance is not ready"
		if live := j.live[i.Life]; live.Doing != "" {
			p.Why = live.Doing
		}
		if text, bad := j.trouble(i); bad {
			p.Why, p.Do = text, "see "+i.Host+"; if it is gone for good another host is taken"
		}
	}
	j.add(p)
}

// steady: there is a leader; does it serve, and can it commit?
func (j *judge) steady() {
	l := j.Leadership
	leader, ok := j.instance(l.Leader)
	if !ok {
		j.add(Problem{
			Level: LevelDown, What: "the leader has no instance", Why: "life " + string(l.Leader) + " is assigned to no host",
			Do: "pgctl failover " + j.Cluster.Name + " --to INSTANCE",
		})
		return
	}
	if !j.Blind {
		j.leaderServes(leader)
	}
	j.redundancy(leader)
}

// leaderServes looks at what is heard of a steady leader.
func (j *judge) leaderServes(leader *pgctl.Instance) {
	live := j.live[leader.Life]
	text, bad := j.trouble(leader)
	p := Problem{Level: LevelDown, Instance: leader.Name, Host: leader.Host, EndedBy: j.places(leader.Life)}
	rule := j.Leadership.RuleInForce()
	streaming := j.streaming(rule)
	switch {
	case bad && j.silent(leader.Life) && len(streaming) > 0 && len(streaming) >= rule.Acks:
		// Its standbys still receive: Postgres lives, the daemon does not.
		p.Level, p.What = LevelDegraded, "the daemon of the leader's host is silent, Postgres serves on"
		p.Why, p.Do = text, "start pgctl on host "+leader.Host
	case bad:
		p.What, p.Why = "the leader "+leader.Name+" does not serve", text
		p.EndedBy, p.Do = j.successors(leader)
	case !live.Open && !j.Leadership.Serving:
		p.What = "it is new and waits for its members"
		p.Why = fmt.Sprintf("it opens when %s", acknowledgers(j.Cluster.Spec.Acks()))
		p.EndedBy = j.others(leader.Life)
	case !live.Open:
		p.What, p.Why = "the leader "+leader.Name+" lets no clients in", "it opens when its rule's members have proven "+
			"that they follow it"
		p.EndedBy = j.placesOf(rule.Standbys)
	case rule.Acks > len(streaming):
		p.What = "commits wait"
		p.Why = fmt.Sprintf("%s must acknowledge, and %d of %s stream", instances(rule.Acks), len(streaming),
			j.names(rule.Standbys))
		p.EndedBy = j.placesOf(without(rule.Standbys, streaming))
		p.Do = "they are taken out of the rule within seconds, unless the cluster is strict"
	case live.Unguarded != "":
		p.Level, p.What = LevelDegraded, "no guard watches the leader "+leader.Name
		p.Why = live.Unguarded + "; if its daemon hangs, nobody stops it when its lease is over"
		p.Do = "start pgctl-guard on host " + leader.Host
	default:
		return
	}
	j.add(p)
}

// redundancy compares the rule with the one that was asked for.
func (j *judge) redundancy(leader *pgctl.Instance) {
	l, wanted := j.Leadership, j.Cluster.Spec.Acks()
	if j.Cluster.Spec.Durability.AcrossDataCenters {
		wanted = max(l.Rule.Acks, min(wanted, 1)) // how many follows from where the leader is
	}
	if l.Mode != pgctl.Quorum || l.Rule.Acks == wanted || !l.Serving {
		return
	}
	p := Problem{
		Level: LevelDegraded, Instance: leader.Name, Host: leader.Host, EndedBy: j.others(leader.Life, l.Rule.Standbys...),
		What: fmt.Sprintf("a commit waits for %s instead of %d", instances(l.Rule.Acks), wanted),
		Why:  "the other standbys are down, behind, or not ready yet",
	}
	switch {
	case l.Rule.Acks > wanted:
		p.Why = "the rule is being changed, a step at a time"
	case l.Rule.Acks == 0:
		p.What = "commits are on the leader alone"
		p.Why = "no standby is in the rule, so only " + leader.Name + " can lead; losing its disk loses data"
	}
	j.add(p)
}

// wellSummary is the sentence for a cluster without problems.
func (j *judge) wellSummary() string {
	if j.Leadership == nil {
		return ""
	}
	rule := j.Leadership.RuleInForce()
	text := j.name(j.Leadership.Leader) + " leads"
	switch n := len(rule.Standbys); {
	case rule.Acks > 0:
		text += fmt.Sprintf("; a commit waits for %d of %d standby%s", rule.Acks, n, plural(n))
	case j.Leadership.Mode == pgctl.Lease && j.running() > 1:
		text += "; commits wait for nobody (asynchronous)"
	}
	if j.Blind {
		text += "; not checked: this daemon hears no heartbeats"
	}
	return text
}

// acknowledgers says how many must be there.
func acknowledgers(n int) string {
	if n == 1 {
		return "1 standby has caught up"
	}
	return fmt.Sprintf("%d standbys have caught up", n)
}

func instances(n int) string { return fmt.Sprintf("%d standby%s", n, plural(n)) }

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// names lists lives by their instances' names.
func (j *judge) names(lives []pgctl.Life) string {
	var names []string
	for _, life := range lives {
		if name := j.name(life); name != "" {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
