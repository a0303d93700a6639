package sim_test

import (
	"flag"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/node/ha/sim"
)

var seeds = flag.Uint64("seeds", 2000, "how many random walks TestWalks takes")

// TestWalks takes random walks. A failing one is shown again by go run ./node/ha/sim/cmd -trace -from SEED.
func TestWalks(t *testing.T) {
	total := sim.NewTally()
	var mu sync.Mutex
	t.Run("seeds", func(t *testing.T) {
		for part := range uint64(runtime.GOMAXPROCS(0)) {
			t.Run(fmt.Sprint(part), func(t *testing.T) {
				t.Parallel()
				mine := sim.NewTally()
				for seed := 1 + part; seed <= *seeds; seed += uint64(runtime.GOMAXPROCS(0)) {
					w := sim.Walk(sim.Draw(seed))
					mine.Add(&w.Tally)
					if why := w.Violation(); why != "" {
						t.Errorf("seed %d: %s", seed, why)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				total.Add(&mine)
			})
		}
	})
	t.Log("\n" + total.String())
	if *seeds >= 1000 {
		covered(t, &total)
	}
}

// covered holds that the walks met what they are for: a fault that never met an election was not tested.
func covered(t *testing.T, tally *sim.Tally) {
	for _, f := range sim.Faults() {
		if tally.Faults[f] == 0 || tally.InElection[f] == 0 {
			t.Errorf("%s: %d times, %d of them in elections", f, tally.Faults[f], tally.InElection[f])
		}
	}
	for _, step := range []ha.Action{
		ha.Initialize, ha.CopyData, ha.Start, ha.Stop, ha.Detach, ha.PledgeTo, ha.Follow, ha.Rewind, ha.Promote,
		ha.MakeSlots, ha.Confirm, ha.Open, ha.Close, ha.Restart,
	} {
		if tally.Steps[step] == 0 {
			t.Errorf("no agent took the step %q", step)
		}
	}
	for _, phase := range []string{"recruiting", "promoting", "steady", "resumed"} {
		if tally.Phases[phase] == 0 {
			t.Errorf("no cluster became %q", phase)
		}
	}
}

// TestWalksRepeat: a seed is a history, or a failing one could not be looked at.
func TestWalksRepeat(t *testing.T) {
	o := sim.Draw(5)
	o.Trace = true
	first, second := sim.Walk(o), sim.Walk(o)
	if !reflect.DeepEqual(first.History(), second.History()) {
		t.Error("the same seed gave two histories")
	}
	o.Trace = false
	if silent := sim.Walk(o); silent.Tally.Events != first.Tally.Events || silent.Tally.Acked != first.Tally.Acked {
		t.Errorf("without a history it went differently: %d and %d events", silent.Tally.Events, first.Tally.Events)
	}
	if len(first.History()) < 10 || !strings.Contains(strings.Join(first.History(), "\n"), "acknowledges commit") {
		t.Error("the history says nothing")
	}
}
