package ha

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// decideSteady keeps a leader, replaces it when it failed, and keeps its rule to those who can
// acknowledge.
func decideSteady(v View) Decision {
	l := v.Leadership
	leader := v.member(l.Leader)
	if v.Request != nil {
		return decideRequest(v, leader)
	}
	if why, failed := leaderFailed(&v, leader); failed {
		return replaceLeader(v, leader, why)
	} else if why != "" {
		return Decision{Waiting: why, Ask: toAsk(v, leader)}
	}
	d := serve(v, l.NextRule == nil && l.Rule.Acks >= v.Declared.Acks, upkeep(v, leader))
	if changed, due := changeMode(v, leader); due && d.Next == nil {
		d = changed
	}
	if served, due := opened(v, leader); due && d.Next == nil {
		d = served
	}
	d.Replace = append(d.Replace, unusable(v)...)
	d.Ask = append(d.Ask, toAsk(v, leader)...)
	tellWait(&d, v, leader)
	return d
}

// unusable are lives that cannot go on and that no rule names any more: their instances are copied
// anew, under new lives.
func unusable(v View) (lives []pgctl.Life) {
	l := v.Leadership
	for i := range v.Members {
		m := &v.Members[i]
		if !m.fresh() || !m.heard() || m.Report.LifeLost == "" {
			continue
		}
		if m.Life != l.Leader && !Joint(Binding(&l), l.RuleInForce()).Names(m.Life) {
			lives = append(lives, m.Life)
		}
	}
	return lives
}

// serve opens a new cluster for clients once its rule is as declared.
func serve(v View, complete bool, d Decision) Decision {
	if v.Leadership.Serving || d.Next != nil {
		return d
	}
	if !complete {
		if d.Waiting == "" {
			d.Waiting = "a new cluster opens when enough standbys have joined"
		}
		return d
	}
	next := clone(v.Leadership)
	next.Serving = true
	return commit(v, next, pgctl.Info, "cluster.opened", v.Leadership.Leader,
		"%s opens for clients; a commit waits for %d of %d standbys", v.nameOf(next.Leader), next.Rule.Acks, len(next.Rule.Standbys))
}

// replaceLeader starts a recruitment, if those in contact could finish one: otherwise it could only
// harm a leader that still works on the other side of a partition.
func replaceLeader(v View, leader *Member, why string) Decision {
	l := v.Leadership
	if l.Paused {
		return Decision{Waiting: why + "; automatic failover is paused (pgctl resume)"}
	}
	if leader != nil && leader.fresh() && leader.Report.Failed != "" && v.Crashes > 1 && leader.Idle <= PromotionStall {
		return Decision{Waiting: why + "; the second crash within ten minutes is restarted in place"}
	}
	if who, ok := canRecruit(v); !ok {
		return Decision{Waiting: why + "; " + who}
	}
	next := clone(l)
	next.Epoch, next.Phase, next.Leader, next.Planned = l.Epoch+1, pgctl.Recruiting, "", nil
	if leader != nil {
		next.Noticed = leader.Age
		if leader.fresh() && leader.Report.Failed == "" { // it was there, and did nothing
			next.Noticed = max(leader.Age, min(leader.Report.ProofAge, leader.Idle))
		}
	}
	return commit(v, next, pgctl.Alarm, "leader.failed", l.Leader, "%s; its standbys are asked to pledge", why)
}

// canRecruit says whether the instances in fresh contact would be enough, or who is missing.
func canRecruit(v View) (missing string, ok bool) {
	contact := Lives{}
	others := 0
	for i := range v.Members {
		m := &v.Members[i]
		if m.fresh() && m.Report.State != Absent && m.Report.State != Making && m.Report.LifeLost == "" && m.Life != v.Leadership.Leader {
			contact[m.Life] = true
			others++
		}
	}
	if v.Leadership.Mode == pgctl.Lease {
		return "no standby is in contact", others > 0
	}
	if !recruited(&v.Leadership, contact) {
		return missingFor(v, Binding(&v.Leadership), contact), false
	}
	return "", true
}

// missingFor says which instances would end the wait of a recruitment.
func missingFor(v View, rule pgctl.Rule, r Lives) string {
	var names []string
	for _, life := range rule.Standbys {
		if !r[life] {
			names = append(names, v.nameOf(life))
		}
	}
	leader := v.nameOf(rule.Leader)
	if m := v.member(rule.Leader); m != nil && m.fresh() && m.Report.Pledge != nil && m.Report.Pledge.Position.Known() && foreign(v.Leadership, m) {
		return fmt.Sprintf("somebody promoted %s by hand, and nobody else is known to have every acknowledged commit: look at "+
			"its data, then say who leads (pgctl failover NAME --to INSTANCE --allow-data-loss)", leader)
	}
	if rule.Acks == 0 || len(names) == 0 {
		return fmt.Sprintf("only %s has every acknowledged commit: bring it back, or accept loss "+
			"(pgctl failover NAME --to INSTANCE --allow-data-loss)", leader)
	}
	return fmt.Sprintf("needs %s, or enough of %v, for every acknowledged commit to be safe; "+
		"or accept loss (pgctl failover NAME --to INSTANCE --allow-data-loss)", leader, names)
}

// upkeep confirms a rule change under way, or starts the next single step towards the rule that the
// declaration and the health of the standbys ask for.
func upkeep(v View, leader *Member) Decision {
	l := v.Leadership
	if !leader.fresh() || !leader.Report.Primary || leader.Report.Epoch != l.Epoch {
		return Decision{}
	}
	able, waiting := wantedStandbys(v, leader)
	wanted, acks := shape(v, leader, able)
	if l.Mode == pgctl.Lease {
		wanted, acks = nil, 0
	}
	if l.NextRule != nil {
		return pendingChange(v, leader, wanted, acks)
	}
	target, change := Target(l.Rule, wanted, acks, v.Declared.Strict)
	if !change {
		return Decision{Waiting: waiting}
	}
	return requestRule(v, target)
}

// pendingChange commits a change that the leader confirmed, or replaces one that cannot be confirmed
// any more because somebody it needs has failed since.
func pendingChange(v View, leader *Member, wanted []pgctl.Life, acks int) Decision {
	l := v.Leadership
	if c := leader.Report.Confirmed; c != nil && c.Epoch == l.Epoch && c.Version == l.NextRule.Version {
		next := clone(l)
		next.Rule, next.NextRule, next.Joint = *next.NextRule, nil, nil
		next.Rule.Lost = nil // step 4 carried everything acknowledged before over to the new rule
		d := commit(v, next, pgctl.Info, "rule.confirmed", l.Leader, "a commit now waits for %s", v.ruleText(next.Rule))
		countRemovals(&d, v, l.Rule, next.Rule)
		return d
	}
	if planted.NextRuleBlocks.On() {
		return Decision{}
	}
	if gone := firstNotIn(l.NextRule.Standbys, wanted); gone != "" || l.NextRule.Acks > len(l.NextRule.Standbys) {
		if target, change := Target(*l.NextRule, wanted, acks, v.Declared.Strict); change && !sameRule(target, *l.NextRule) {
			return requestRule(v, target)
		}
	}
	return Decision{Waiting: fmt.Sprintf("%s confirms that commits wait for %s", leader.Instance, v.ruleText(*l.NextRule))}
}

func requestRule(v View, target pgctl.Rule) Decision {
	l := v.Leadership
	next := clone(l)
	target.Version = nextVersion(&l)
	joint := Joint(Binding(&l), target)
	if planted.NextRuleForgotten.On() {
		joint = Joint(l.Rule, target)
	}
	next.NextRule, next.Joint = &target, &joint
	severity := pgctl.Info
	if target.Acks < l.RuleInForce().Acks {
		severity = pgctl.Warning
	}
	d := commit(v, next, severity, "rule.requested", l.Leader, "commits are to wait for %s", v.ruleText(target))
	if leader := v.member(l.Leader); leader != nil {
		falls := len(v.far(leader, l.RuleInForce().Standbys)) > 0 && len(v.far(leader, target.Standbys)) == 0
		tellFallback(&d, v, leader, falls)
	}
	return d
}

func countRemovals(d *Decision, v View, before, after pgctl.Rule) {
	for _, life := range before.Standbys {
		if !after.Names(life) {
			d.Events = append(d.Events, event(v, pgctl.Warning, "standby.removed", life,
				"%s is no longer waited for", v.nameOf(life)))
		}
	}
}

// wantedStandbys are those who are, or should be, waited for, and what the cluster still waits for.
func wantedStandbys(v View, leader *Member) (wanted []pgctl.Life, waiting string) {
	if v.Declared.Acks == 0 {
		return nil, ""
	}
	inForce := v.Leadership.RuleInForce()
	for i := range v.Members {
		m := &v.Members[i]
		if m == leader || m.Leaving {
			continue
		}
		if m.idler() != "" {
			continue
		}
		if inForce.Names(m.Life) {
			if !m.dead() && !v.lost(m) && m.Stalled <= StallTimeout {
				wanted = append(wanted, m.Life)
			}
			continue
		}
		switch _, streaming := v.sender(leader, m.Life); {
		case m.fresh() && streaming && !v.lost(m) && m.Streaming >= joinAfter(m.Removals) && m.backlog() == "":
			wanted = append(wanted, m.Life)
		case waiting == "":
			waiting = fmt.Sprintf("%s is not in the rule yet: %s", m.Instance, m.situation())
		}
	}
	slices.Sort(wanted)
	return wanted, waiting
}

// joinAfter is how long a standby must have streamed well; it doubles with every recent removal, so
// that one that comes and goes does not stop commits each time.
func joinAfter(removals int) time.Duration {
	return min(JoinAfter<<min(removals, 6), JoinAfterMost)
}

// situation says for people what a member is doing.
func (m *Member) situation() string {
	switch {
	case !m.heard():
		return "its host was not heard yet"
	case m.Age > Fresh:
		return fmt.Sprintf("its host has been silent for %s", m.Age.Round(Tick))
	case m.Report.LifeLost != "":
		return m.Report.LifeLost
	case m.Report.Detail != "":
		return m.Report.Detail
	}
	return string(m.Report.State)
}

func (v *View) ruleText(rule pgctl.Rule) string {
	if len(rule.Standbys) == 0 {
		return "no standby"
	}
	names := make([]string, len(rule.Standbys))
	for i, life := range rule.Standbys {
		names[i] = v.nameOf(life)
	}
	return fmt.Sprintf("%d of %v", rule.Acks, names)
}
