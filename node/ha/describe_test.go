package ha_test

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// describe is a decision for readers of a script: what changes, and what people are told.
func describe(v ha.View, d ha.Decision) []string {
	var lines []string
	if d.Next != nil {
		lines = append(lines, changes(v.Leadership, *d.Next)...)
	}
	for _, e := range d.Events {
		who := ""
		if e.Instance != "" {
			who = " (" + e.Instance + ")"
		}
		lines = append(lines, fmt.Sprintf("%s %s%s: %s", e.Severity, e.Kind, who, e.Message))
	}
	if len(d.Replace) > 0 {
		lines = append(lines, "replace "+letters(d.Replace...))
	}
	if len(d.Ask) > 0 {
		lines = append(lines, "ask "+letters(d.Ask...))
	}
	if d.Waiting != "" {
		lines = append(lines, "waiting: "+d.Waiting)
	}
	if d.Answer != nil {
		lines = append(lines, fmt.Sprintf("refused, %s: %v", d.Answer.Code, d.Answer))
	}
	if d.Done {
		lines = append(lines, "the request is taken up")
	}
	if len(lines) == 0 {
		return []string{"all is well"}
	}
	return lines
}

// changes are the fields of a leadership that differ.
func changes(old, next pgctl.Leadership) (lines []string) {
	changed := func(field string, before, after any, text string) {
		if !reflect.DeepEqual(before, after) {
			lines = append(lines, "  "+field+" "+text)
		}
	}
	changed("epoch", old.Epoch, next.Epoch, fmt.Sprint(next.Epoch))
	changed("phase", old.Phase, next.Phase, string(next.Phase))
	changed("leader", old.Leader, next.Leader, orNone(letters(next.Leader)))
	changed("rule", old.Rule, next.Rule, ruleText(&next.Rule))
	changed("next rule", old.NextRule, next.NextRule, ruleText(next.NextRule))
	changed("joint", old.Joint, next.Joint, ruleText(next.Joint))
	changed("planned", old.Planned, next.Planned, plannedText(next.Planned))
	changed("serving", old.Serving, next.Serving, fmt.Sprint(next.Serving))
	changed("steady epoch", old.SteadyEpoch, next.SteadyEpoch, fmt.Sprint(next.SteadyEpoch))
	changed("system", old.SystemID, next.SystemID, next.SystemID)
	for i, r := range next.History {
		if i < len(old.History) && reflect.DeepEqual(old.History[i], r) {
			continue
		}
		from := ""
		if r.Parent != 0 {
			from = fmt.Sprintf(" from %d@%s", r.Parent, r.Switch)
		}
		lines = append(lines, fmt.Sprintf("  timeline %d %s, %s of epoch %d%s", r.Timeline, r.State, letters(r.Leader), r.Epoch, from))
	}
	return lines
}

func ruleText(r *pgctl.Rule) string {
	if r == nil {
		return "none"
	}
	lost := ""
	if len(r.Lost) > 0 {
		lost = " lost " + letters(r.Lost...)
	}
	return fmt.Sprintf("%s: %d of {%s}%s, version %d", letters(r.Leader), r.Acks, letters(r.Standbys...), lost, r.Version)
}

func plannedText(p *pgctl.Planned) string {
	if p == nil {
		return "none"
	}
	text := fmt.Sprintf("from %s to %s within %s", orNone(letters(p.From)), orNone(letters(p.To)), p.Within)
	if p.StoppedAt.Known() {
		text += " stopped at " + p.StoppedAt.String()
	}
	if p.Released {
		text += " released"
	}
	if p.Lossy {
		text += " lossy"
	}
	return text
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// describeStep is a step for readers of a script.
func describeStep(s ha.Step) string {
	parts := []string{string(s.Do)}
	if s.Standby {
		parts = append(parts, "as standby")
	}
	if s.Epoch != 0 {
		parts = append(parts, fmt.Sprintf("epoch %d", s.Epoch))
	}
	if s.Timeline != 0 {
		parts = append(parts, fmt.Sprintf("timeline %d", s.Timeline))
	}
	if s.Rule != nil {
		parts = append(parts, "rule "+ruleText(s.Rule), "joint "+ruleText(s.Joint))
	}
	if s.Budget != 0 {
		parts = append(parts, "within "+s.Budget.String())
	}
	if s.Asks {
		parts = append(parts, "after asking the store")
	}
	if s.Slots != nil {
		parts = append(parts, strings.Join(s.Slots, " "))
	}
	return strings.Join(parts, ", ") + ": " + s.Why
}
