package ha_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// TestProgressVetoes: whatever else is known of a leader that is not known to be down, an election does not
// begin while a member sees it working.
func TestProgressVetoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		age := func(what string) time.Duration {
			return time.Duration(rapid.IntRange(0, 60_000).Draw(t, what)) * time.Millisecond
		}
		state := rapid.SampledFrom([]ha.State{ha.Running, ha.Starting}).Draw(t, "state")
		v := ha.View{
			Declared:   ha.Declared{Acks: 1, Instances: 3},
			Leadership: pgctl.Leadership{Cluster: "shop", Mode: pgctl.Quorum, Epoch: 4, SteadyEpoch: 4, Phase: pgctl.Steady, Leader: "aaaaaaaa", Serving: true},
			PhaseAge:   time.Minute,
		}
		v.Leadership.Rule = pgctl.Rule{Leader: "aaaaaaaa", Standbys: []pgctl.Life{"bbbbbbbb", "cccccccc"}, Acks: 1, Version: 9}
		for _, life := range []pgctl.Life{"aaaaaaaa", "bbbbbbbb", "cccccccc"} {
			v.Members = append(v.Members, ha.Member{Instance: string(life), Life: life, Report: ha.Report{Life: life, State: ha.Running, Epoch: 4}})
		}
		leader := &v.Members[0]
		leader.Age, leader.Idle = age("silence"), age("idle")
		leader.Report.State, leader.Report.ProofAge, leader.Report.Waiting = state, age("proof"), age("waiting")
		leader.Report.Mute, leader.Report.Frozen = rapid.Bool().Draw(t, "mute"), rapid.Bool().Draw(t, "frozen")
		v.Members[1].Report.Probe = &ha.Probe{
			Leader: "aaaaaaaa", Epoch: 4, Refused: rapid.Bool().Draw(t, "refused"), Answered: rapid.Bool().Draw(t, "answered"), Closed: rapid.Bool().Draw(t, "closed"),
		}
		v.Members[2].Report.Probe = &ha.Probe{Leader: "aaaaaaaa", Epoch: 4, Progress: true, Answered: true}
		if d := ha.Decide(v); d.Next != nil && d.Next.Epoch > 4 {
			t.Fatalf("deposed a leader that works: %+v", d.Events)
		}
	})
}

// TestCommitsWaitIsSaidOnce: while it lasts, and again when it comes back.
func TestCommitsWaitIsSaidOnce(t *testing.T) {
	m := ha.NewMemory(0)
	said := 0
	for second, waiting := range []int{0, 6, 7, 8, 0, 6, 7} {
		v := ha.View{
			Declared: ha.Declared{Acks: 1, Instances: 2},
			Leadership: pgctl.Leadership{
				Cluster: "shop", Mode: pgctl.Quorum, Epoch: 1, SteadyEpoch: 1, Phase: pgctl.Steady, Leader: "aaaaaaaa", Serving: true,
				Rule: pgctl.Rule{Leader: "aaaaaaaa", Standbys: []pgctl.Life{"bbbbbbbb"}, Acks: 1, Version: 1},
			},
			Members: []ha.Member{
				{Life: "aaaaaaaa", Report: ha.Report{Life: "aaaaaaaa", State: ha.Running, Primary: true, Open: true, Epoch: 1, Waiting: time.Duration(waiting) * time.Second}},
				{Life: "bbbbbbbb", Report: ha.Report{Life: "bbbbbbbb", State: ha.Running, Epoch: 1}},
			},
		}
		m.Complete(&v, time.Duration(second)*time.Second, 0)
		d := ha.Decide(v)
		for _, e := range d.Events {
			if e.Kind == ha.WaitKind {
				said++
			}
		}
		m.Remember(v, d)
	}
	if said != 2 {
		t.Errorf("said %d times", said)
	}
}
