package ha

import (
	"fmt"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// leaderFailed says whether the leader is to be replaced, and why; a reason without failure is a
// doubt that is being looked into.
func leaderFailed(v *View, leader *Member) (why string, failed bool) {
	switch {
	case leader == nil:
		return "the leader's instance exists no more", true
	case leader.fresh() && (leader.Report.LifeLost != "" || leader.Report.State == Absent):
		return leader.Instance + " lost its data: " + leader.Report.LifeLost, true
	case leader.fresh() && leader.Report.Failed != "":
		return leader.Instance + ": " + leader.Report.Failed, true
	case leader.fresh() && leader.Report.DiskFull && heir(v, leader):
		return "the disk of " + leader.Instance + " is full", true
	case leader.fresh() && deaf(leader) && heir(v, leader):
		return fmt.Sprintf("%s has closed, since its host is heard but has heard no server for %s", leader.Instance,
			leader.Report.StoreAge.Round(time.Second)), true
	case leader.fresh() && hung(v, leader) && !leader.Report.was():
		return fmt.Sprintf("%s has not come up, without progress for %s", leader.Instance, leader.Idle.Round(time.Second)), true
	case leader.fresh() && hung(v, leader):
		return fmt.Sprintf("%s has not answered for %s", leader.Instance, leader.Report.ProofAge.Round(time.Second)), true
	case leader.heard() && leader.Age <= AskAfter:
		return "", false
	}
	silence := fmt.Sprintf("the host of %s (%s) has been silent for %s", leader.Instance, leader.Host, leader.Age.Round(Tick))
	probes, _ := probesOf(v, leader)
	switch {
	case probes.Progress:
		return silence + ", but its members see it working", false
	case probes.Answered && !probes.Closed && leader.Age <= HangTimeout: // a refusal may be a firewall's
		return silence + ", but its Postgres answers", false
	case probes.Refused && !probes.Answered:
		return silence + " and its Postgres is gone", true
	case probes.Closed && planted.ClosedLeaderVetoes.On():
		return silence + ", but its members see it", false
	case probes.Closed && leader.Age > leader.detect():
		return silence + ", and its Postgres is closed, which nobody there will open", true
	}
	return silence, leader.Age > leader.detect()
}

// deaf says whether a leader has closed because nothing reaches its host any more: it will not learn of any
// decision, and members cannot acknowledge to it, however long it is heard.
func deaf(leader *Member) bool {
	r := leader.Report
	return r.Primary && r.State == Running && !r.Open && r.StoreAge > FenceAfter
}

// hung says whether a server that is there does nothing: it has answered no probe of its own host for long,
// its log stands still, and somebody waits for it. A server in recovery has no log of its own that could
// move; its Progress is what it reads. The members' eyes shorten the time, and their seeing it work ends it.
func hung(v *View, leader *Member) bool {
	r, limit := leader.Report, HangTimeout
	probes, asked := probesOf(v, leader)
	if r.was() && (r.Frozen || asked && !probes.Progress) {
		limit = HangSeen
	}
	waited := r.Waiting > 0 || asked || r.State != Running
	return !planted.HungLeaderVetoed.On() && !probes.Progress && waited && r.ProofAge > limit && leader.Idle > limit
}

// was says whether a server took sessions: one that recovers has its own pace.
func (r *Report) was() bool { return r.State == Running || r.Mute }

// heir says whether somebody in contact could lead instead, so that giving up a leader that still
// reads is no loss.
func heir(v *View, leader *Member) bool {
	for i := range v.Members {
		if m := &v.Members[i]; m != leader && m.fresh() && m.Report.State == Running && m.barred() == "" {
			return true
		}
	}
	return false
}

// toAsk are those who are to prove the leader themselves: while its host is silent, or its server has not
// proven its health for a while.
func toAsk(v View, leader *Member) []pgctl.Life {
	if leader.Age <= AskAfter && (leader.Report.ProofAge <= AskUnproven || !leader.Report.was()) {
		return nil
	}
	return askable(v, leader)
}

// probesOf gathers what members found out about the leader in this epoch; asked is false when none of them
// has lately looked.
func probesOf(v *View, leader *Member) (all Probe, asked bool) {
	for i := range v.Members {
		m := &v.Members[i]
		p := m.Report.Probe
		if m == leader || p == nil || !m.fresh() || p.Leader != leader.Life || p.Epoch != v.Leadership.Epoch || p.Age+m.Age > DetectLeast {
			continue
		}
		asked = true
		all.Progress = all.Progress || p.Progress
		all.Answered = all.Answered || p.Answered
		all.Refused = all.Refused || p.Refused
		all.Closed = all.Closed || p.Closed
	}
	return all, asked
}

func askable(v View, leader *Member) (ask []pgctl.Life) {
	for i := range v.Members {
		if m := &v.Members[i]; m != leader && m.fresh() {
			ask = append(ask, m.Life)
		}
	}
	return ask
}

// WaitKind is the kind of the event that says that commits wait.
const WaitKind = "commits.wait"

// tellWait says, once while it lasts, that a commit has waited for long, and for whom.
func tellWait(d *Decision, v View, leader *Member) {
	waited := leader.Report.Waiting
	if waited < WaitTold {
		return
	}
	text := fmt.Sprintf("a commit has waited for %s for %s", waited.Round(time.Second), v.awaited(leader))
	if d.Waiting == "" {
		d.Waiting = text
	}
	if !v.WaitTold {
		d.Events = append(d.Events, event(v, pgctl.Warning, WaitKind, leader.Life, "%s", text))
	}
}

// awaited says whose acknowledgement is missing.
func (v *View) awaited(leader *Member) string {
	rule := v.Leadership.RuleInForce()
	missing := rule
	missing.Standbys = nil
	for _, life := range rule.Standbys {
		if s, ok := v.sender(leader, life); ok && s.Flushed >= leader.Report.End.LSN {
			missing.Acks--
		} else {
			missing.Standbys = append(missing.Standbys, life)
		}
	}
	if missing.Acks <= 0 {
		return "its rule to come into force"
	}
	return v.ruleText(missing)
}
