package ha_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// TestDecisions: every decision is deterministic, leaves its View alone, passes Check and keeps what
// must never be given up, whatever the members say.
func TestDecisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		before, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		d := ha.Decide(v)
		if after, _ := json.Marshal(v); string(after) != string(before) {
			t.Fatalf("Decide changed its View:\n%s\n%s", before, after)
		}
		var again ha.View
		if err := json.Unmarshal(before, &again); err != nil {
			t.Fatal(err)
		}
		if e := ha.Decide(again); !reflect.DeepEqual(d, e) {
			t.Fatalf("two decisions on one View: %v and %v", describe(v, d), describe(v, e))
		}
		if err := ha.Check(v, d); err != nil {
			t.Fatalf("%v: %v", err, describe(v, d))
		}
		if d.Next != nil {
			holdDecision(t, v, d)
		}
	})
}

func holdDecision(t *rapid.T, v ha.View, d ha.Decision) {
	old, next := v.Leadership, *d.Next
	if len(d.Events) == 0 {
		t.Fatalf("a step without a reason: %v", describe(v, d))
	}
	if next.Epoch < old.Epoch || next.RuleInForce().Version < old.RuleInForce().Version {
		t.Fatalf("backwards: %v", describe(v, d))
	}
	if reflect.DeepEqual(old, next) {
		t.Fatalf("a commit that changes nothing: %v", describe(v, d))
	}
	if v.Declared.Strict && old.Mode == pgctl.Quorum && next.RuleInForce().Acks < min(old.Rule.Acks, old.RuleInForce().Acks, v.Declared.Acks) {
		t.Fatalf("a strict cluster lowers Acks: %v", describe(v, d))
	}
	lossy := old.Planned != nil && old.Planned.Lossy
	if old.Phase == pgctl.Recruiting && next.Phase == pgctl.Promoting && old.Mode == pgctl.Quorum && !lossy {
		pledged := ha.Lives{}
		for _, m := range v.Members {
			if p := m.Report.Pledge; m.Age <= ha.Fresh && p != nil && p.Epoch == old.Epoch && !p.Foreign {
				pledged[m.Life] = true
			}
		}
		if binding := ha.Binding(&old); !safe(binding, pledged) {
			t.Fatalf("%s may have acknowledged without those who pledged: %v", ruleText(&binding), describe(v, d))
		}
	}
	if old.Paused && old.Phase == pgctl.Steady && next.Phase == pgctl.Recruiting && v.Request == nil {
		t.Fatalf("a paused cluster changes its leader: %v", describe(v, d))
	}
}

// TestDecisionsSettle: with the same reports, decisions come to rest; nothing swings to and fro.
func TestDecisionsSettle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		var past []string
		for range 24 {
			d := ha.Decide(v)
			if d.Answer != nil || d.Done {
				v.Request = nil
			} else if d.Next == nil {
				return
			}
			if d.Next != nil {
				past = append(past, describe(v, d)...)
				if d.Next.Epoch != v.Leadership.Epoch || d.Next.Phase != v.Leadership.Phase {
					v.PhaseAge = 0
				}
				v.Leadership = *d.Next
			}
		}
		t.Fatalf("no rest: %v", past)
	})
}

// TestGarbage: nothing that a broken agent or a torn store could say makes Decide, Check or Act panic.
func TestGarbage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		garble(t, &v)
		d := ha.Decide(v)
		_ = ha.Check(v, d)
		next := drawView(t).Leadership
		garbled := ha.View{Leadership: next}
		garble(t, &garbled)
		_ = ha.Check(v, ha.Decision{Next: &garbled.Leadership})
		_ = ha.Act(drawInstanceView(t, v))
	})
}

func garble(t *rapid.T, v *ha.View) {
	l := &v.Leadership
	spoil := func(what string) bool { return rapid.IntRange(0, 2).Draw(t, "spoil "+what) == 0 }
	if spoil("phase") {
		l.Phase = rapid.SampledFrom([]pgctl.Phase{"", "x", pgctl.Bootstrapping, pgctl.Promoting, pgctl.Recruiting}).Draw(t, "phase")
	}
	if spoil("leader") {
		l.Leader = rapid.SampledFrom([]pgctl.Life{"", "x", life("z")}).Draw(t, "leader")
	}
	if spoil("history") {
		l.History = nil
	}
	if spoil("rule") {
		l.Rule = pgctl.Rule{Acks: rapid.IntRange(-2, 9).Draw(t, "acks"), Standbys: lives("aab"), Lost: lives("bq")}
	}
	if spoil("next") {
		l.NextRule = &pgctl.Rule{Acks: -1}
	}
	if spoil("joint") {
		l.Joint = nil
	}
	if spoil("members") && len(v.Members) > 0 {
		v.Members = append(v.Members, v.Members[0])
		v.Members[0].Life = ""
		v.Members[0].Age = -time.Second
		v.Members[0].Removals = 1000
	}
	if spoil("planned") {
		l.Planned = &pgctl.Planned{}
	}
}

func drawInstanceView(t *rapid.T, v ha.View) ha.InstanceView {
	states := []ha.State{ha.Running, ha.Absent, ha.Down, ha.Starting, ""}
	view := ha.InstanceView{
		Self: pgctl.Instance{Life: rapid.SampledFrom(everybody).Draw(t, "self"), Wanted: pgctl.WantRunning}, Leadership: v.Leadership,
		Server: ha.Server{
			Directory: ha.ReadyDirectory, State: rapid.SampledFrom(states).Draw(t, "own state"), Primary: rapid.Bool().Draw(t, "own primary"),
			Open: rapid.Bool().Draw(t, "own open"), Position: drawPosition(t, "own"), AtEnd: rapid.Bool().Draw(t, "at end"),
		},
		Local: ha.Local{Pledge: pgctl.Epoch(rapid.IntRange(0, 6).Draw(t, "own pledge"))},
	}
	if rapid.Bool().Draw(t, "has source") {
		view.Source = &ha.Source{Life: v.Leadership.Leader, Epoch: v.Leadership.Epoch, Timeline: 3, End: 0x600}
	}
	return view
}
