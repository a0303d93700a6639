package ha

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// Decision is what the Raft leader does about one cluster: at most one new leadership, committed by
// compare-and-set against the one that the View showed.
type Decision struct {
	Next    *pgctl.Leadership `json:"next,omitempty"`    // to commit; nil: nothing
	Replace []pgctl.Life      `json:"replace,omitempty"` // lives whose instances get a new one: their data is lost
	Ask     []pgctl.Life      `json:"ask,omitempty"`     // members that are to prove the leader themselves
	Events  []pgctl.Event     `json:"events,omitempty"`
	Waiting string            `json:"waiting,omitempty"` // why the cluster is not as it should be, and what would end that
	Answer  *pgctl.Error      `json:"answer,omitempty"`  // to the Request: why it is refused
	Done    bool              `json:"done,omitempty"`    // the Request was taken up
}

// Found is the leadership of a new cluster: leader makes the first directory.
func Found(cluster string, mode pgctl.Mode, leader pgctl.Life) pgctl.Leadership {
	return pgctl.Leadership{
		Cluster: cluster, Mode: mode, Epoch: 1, Phase: pgctl.Bootstrapping, Leader: leader,
		Rule: pgctl.Rule{Leader: leader, Version: 1},
	}
}

// Decide is the table of phases and events in docs/failover.md.
func Decide(v View) Decision {
	if v.Declared.Instances == 0 {
		return Decision{Waiting: "stopped by its declaration (numberOfInstances 0)", Answer: refuse(v.Request, "the cluster is stopped")}
	}
	if v.Request != nil && v.Request.order() {
		return takeOrder(v)
	}
	if l := v.Leadership; l.Phase != pgctl.Unknown && highestEpoch(v) > l.Epoch {
		next := clone(l)
		next.Phase = pgctl.Unknown
		return commit(v, next, pgctl.Alarm, "store.behind", "",
			"an instance knows of epoch %d, the store only of %d: it lost something", highestEpoch(v), l.Epoch)
	}
	if d, lost := loseLives(v); lost {
		return d
	}
	switch v.Leadership.Phase {
	case pgctl.Bootstrapping:
		return decideBootstrapping(v)
	case pgctl.Steady:
		return decideSteady(v)
	case pgctl.Recruiting:
		return decideRecruiting(v)
	case pgctl.Promoting:
		return decidePromoting(v)
	}
	return decideUnknown(v)
}

// loseLives moves lives that exist no more to the lost ones of every rule that names them. It is a
// new version: a confirmation made before is void, since the lost one may have acknowledged alone
// what came after it.
func loseLives(v View) (Decision, bool) {
	gone, changed := Lives{}, false
	for _, rule := range []pgctl.Rule{Binding(&v.Leadership), v.Leadership.RuleInForce()} {
		for _, life := range rule.Standbys {
			m := v.member(life)
			if m == nil || m.heard() && (m.Report.LifeLost != "" || m.Report.State == Absent && !planted.LifeKept.On()) {
				gone[life] = true
			}
		}
	}
	if len(gone) == 0 {
		return Decision{}, false
	}
	next := clone(v.Leadership)
	version := nextVersion(&next)
	if planted.ConfirmedBeforeLoss.On() {
		version = next.RuleInForce().Version
	}
	for _, rule := range []*pgctl.Rule{&next.Rule, next.NextRule, next.Joint} {
		if rule == nil {
			continue
		}
		lost := false
		*rule, lost = withLost(*rule, gone)
		changed = changed || lost
	}
	if !changed {
		return Decision{}, false
	}
	if next.NextRule != nil {
		next.NextRule.Version = version
	} else {
		next.Rule.Version = version
	}
	d := Decision{Next: &next}
	for _, life := range slices.Sorted(maps.Keys(gone)) {
		d.Replace = append(d.Replace, life)
		d.Events = append(d.Events, event(v, pgctl.Warning, "life.lost", life,
			"the data of %s is lost; it no longer counts as a witness of commits", v.nameOf(life)))
	}
	return d, true
}

func decideBootstrapping(v View) Decision {
	l := v.Leadership
	leader := v.member(l.Leader)
	switch {
	case leader == nil || leader.Age > DetectMost && v.PhaseAge > DetectMost:
		for _, m := range v.Members {
			if m.Life != l.Leader && m.Age <= Fresh && m.Life != "" && !m.Leaving {
				next := Found(l.Cluster, l.Mode, m.Life)
				next.Epoch, next.Rule.Version, next.Paused = l.Epoch+1, nextVersion(&l), l.Paused
				d := commit(v, next, pgctl.Warning, "bootstrap.moved", m.Life,
					"the host of the first instance is silent; %s starts the cluster instead", m.Instance)
				d.Replace = []pgctl.Life{l.Leader}
				return d
			}
		}
		return Decision{Waiting: "the host that was to start the cluster is silent, and no other one is in contact"}
	case leader.Report.LifeLost != "" && leader.fresh():
		return Decision{Waiting: leader.Instance + " cannot make the first data directory: " + leader.Report.LifeLost}
	case leader.fresh() && leader.Report.Primary && leader.Report.State == Running && leader.Report.SystemID != "" &&
		leader.Report.Epoch == l.Epoch:
		next := clone(l)
		next.Phase, next.SteadyEpoch, next.SystemID = pgctl.Steady, l.Epoch, leader.Report.SystemID
		next.History = []pgctl.TimelineRecord{{
			Timeline: leader.Report.End.Timeline, Epoch: l.Epoch, Leader: l.Leader,
			State: pgctl.TimelineSteady, Why: "the cluster was created",
		}}
		return commit(v, next, pgctl.Info, "cluster.created", l.Leader, "%s holds the first data directory", leader.Instance)
	}
	return Decision{Waiting: fmt.Sprintf("%s makes the first data directory: %s", leader.Instance, leader.Report.Detail)}
}

// decideUnknown decides nothing on its own but the one case that proves itself: an open leader whose
// members acknowledge under its own durable rule. Everything else is an operator's decision.
func decideUnknown(v View) Decision {
	if r := v.Request; r != nil && r.Failover {
		return failoverByHand(v)
	}
	l := v.Leadership
	if m := v.member(l.Leader); m != nil && m.fresh() && m.Report.Primary && m.Report.Open && l.Rule.Leader == l.Leader &&
		confirmedByMembers(v, m) && highestEpoch(v) <= l.Epoch {
		next := clone(l)
		next.Phase, next.SteadyEpoch = pgctl.Steady, l.Epoch
		return commit(v, next, pgctl.Info, "leader.proven", l.Leader,
			"%s proved with its members that it still leads; the restored state is current again", m.Instance)
	}
	return Decision{
		Waiting: "the store was restored or recovered and may be behind: compare the positions below and say who leads " +
			"(pgctl failover NAME --to INSTANCE)",
		Answer: refuse(v.Request, "the store may be behind: only failover --to INSTANCE can decide who leads"),
	}
}

// confirmedByMembers says whether a leader's last rule is the store's, and so many of its members stream
// from it now that nobody newer can have been recruited without them.
func confirmedByMembers(v View, leader *Member) bool {
	rule, c := v.Leadership.RuleInForce(), leader.Report.Confirmed
	with := 0
	for _, life := range rule.Standbys {
		if _, ok := v.sender(leader, life); ok {
			with++
		}
	}
	return c != nil && c.Epoch == v.Leadership.Epoch && c.Version == rule.Version && rule.Acks > 0 && with >= rule.Acks
}

// highestEpoch is the highest that any instance acted on or durably promised something to.
func highestEpoch(v View) pgctl.Epoch {
	highest := pgctl.Epoch(0)
	for _, m := range v.Members {
		if !m.heard() {
			continue // of another life, perhaps of a cluster that was deleted
		}
		highest = max(highest, m.Report.Epoch, m.Report.Promised)
		if m.Report.Pledge != nil {
			highest = max(highest, m.Report.Pledge.Epoch)
		}
	}
	return highest
}

// commit is the decision for a new leadership and the one event that explains it.
func commit(v View, next pgctl.Leadership, s pgctl.Severity, kind string, about pgctl.Life, format string, args ...any) Decision {
	e := event(v, s, kind, about, format, args...)
	e.Epoch = next.Epoch
	return Decision{Next: &next, Events: []pgctl.Event{e}}
}

func event(v View, s pgctl.Severity, kind string, about pgctl.Life, format string, args ...any) pgctl.Event {
	e := pgctl.Event{
		Severity: s, Cluster: v.Leadership.Cluster, Epoch: v.Leadership.Epoch, Kind: kind,
		Message: fmt.Sprintf(format, args...),
	}
	if m := v.member(about); m != nil {
		e.Instance, e.Host = m.Instance, m.Host
	}
	return e
}

func refuse(r *Request, format string, args ...any) *pgctl.Error {
	if r == nil {
		return nil
	}
	return pgctl.Errorf(pgctl.CodeConflict, format, args...)
}

func nextVersion(l *pgctl.Leadership) uint64 {
	version := l.Rule.Version
	for _, rule := range []*pgctl.Rule{l.NextRule, l.Joint} {
		if rule != nil {
			version = max(version, rule.Version)
		}
	}
	return version + 1
}

// clone copies a leadership so deeply that changing the copy leaves the original alone.
func clone(l pgctl.Leadership) pgctl.Leadership {
	copyRule := func(r *pgctl.Rule) *pgctl.Rule {
		if r == nil {
			return nil
		}
		c := *r
		c.Standbys, c.Lost = slices.Clone(r.Standbys), slices.Clone(r.Lost)
		return &c
	}
	l.Rule = *copyRule(&l.Rule)
	l.NextRule, l.Joint = copyRule(l.NextRule), copyRule(l.Joint)
	if l.Planned != nil {
		planned := *l.Planned
		l.Planned = &planned
	}
	l.History = slices.Clone(l.History)
	return l
}
