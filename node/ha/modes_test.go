package ha_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// TestNobodyIsWaitedForOnlyWhenNobodyIsWanted: on its way from one rule to another a cluster that waits for
// somebody, and is to wait for somebody, never waits for nobody; and the way has an end.
func TestNobodyIsWaitedForOnlyWhenNobodyIsWanted(t *testing.T) {
	all := []pgctl.Life{"bbbbbbbb", "cccccccc", "dddddddd", "eeeeeeee", "ffffffff"}
	rapid.Check(t, func(t *rapid.T) {
		some := func(what string) (lives []pgctl.Life) {
			for _, life := range all {
				if rapid.Bool().Draw(t, what+string(life)) {
					lives = append(lives, life)
				}
			}
			if len(lives) == 0 {
				lives = all[:1]
			}
			return lives
		}
		from := pgctl.Rule{Leader: "aaaaaaaa", Standbys: some("from ")}
		from.Acks = rapid.IntRange(1, len(from.Standbys)).Draw(t, "acks before")
		wanted := some("wanted ")
		acks := rapid.IntRange(1, len(wanted)).Draw(t, "acks wanted")
		for step := 0; ; step++ {
			next, change := ha.Target(from, wanted, acks, false)
			if !change {
				break
			}
			if next.Acks == 0 {
				t.Fatalf("from %v towards %d of %v it waits for nobody", from, acks, wanted)
			}
			if from = next; step > 30 {
				t.Fatalf("no end: %v towards %d of %v", from, acks, wanted)
			}
		}
		if !slices.Equal(from.Standbys, wanted) || from.Acks != acks {
			t.Fatalf("it ends at %v, not at %d of %v", from, acks, wanted)
		}
	})
}

// TestTheModeChangesOnlyWithoutARule: whatever a leader reports, no decision changes the mode while commits
// may wait for somebody, nor to lease without a lease.
func TestTheModeChangesOnlyWithoutARule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]pgctl.Mode{pgctl.Quorum, pgctl.Lease})
		l := pgctl.Leadership{
			Cluster: "shop", Mode: mode.Draw(t, "mode"), Epoch: 3, SteadyEpoch: 3, Phase: pgctl.Steady, Leader: "aaaaaaaa", Serving: true,
			Rule: pgctl.Rule{Leader: "aaaaaaaa", Version: 5},
		}
		if l.Mode == pgctl.Quorum && rapid.Bool().Draw(t, "rule") {
			l.Rule.Standbys, l.Rule.Acks = []pgctl.Life{"bbbbbbbb"}, 1
		}
		if l.Mode == pgctl.Quorum && rapid.Bool().Draw(t, "requested") {
			l.NextMode = pgctl.Lease
		}
		if l.Rule.Acks > 0 && rapid.Bool().Draw(t, "being taken back") {
			next := pgctl.Rule{Leader: "aaaaaaaa", Version: 6}
			joint := ha.Joint(l.Rule, next)
			l.NextRule, l.Joint = &next, &joint
		}
		v := ha.View{Leadership: l, Declared: ha.Declared{Instances: 2, Mode: mode.Draw(t, "declared")}}
		if v.Declared.Mode == pgctl.Quorum {
			v.Declared.Acks = 1
		}
		leader := ha.Report{
			Life: "aaaaaaaa", State: ha.Running, Primary: true, Open: true, Epoch: 3, Leased: rapid.Bool().Draw(t, "leased"),
			Guarded: rapid.Bool().Draw(t, "guarded"), Armed: rapid.Bool().Draw(t, "armed"),
			Senders: []ha.Sender{{Life: "bbbbbbbb", Epoch: 3, Streaming: true}},
		}
		v.Members = []ha.Member{
			{Life: "aaaaaaaa", Report: leader}, {Life: "bbbbbbbb", Report: ha.Report{Life: "bbbbbbbb", State: ha.Running, Epoch: 3}},
		}
		d := ha.Decide(v)
		if err := ha.Check(v, d); err != nil {
			t.Fatal(err)
		}
		if d.Next == nil || d.Next.Mode == l.Mode {
			return
		}
		if l.Rule.Acks > 0 || d.Next.NextRule != nil || d.Next.Mode == pgctl.Lease && (!leader.Leased || leader.Guarded && !leader.Armed) {
			t.Fatalf("%s mode although %+v", d.Next.Mode, leader)
		}
	})
}
