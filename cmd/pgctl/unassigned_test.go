package main

import (
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// TestARunningLifeOutranksAnOlderStore: a restored store names a former life of the instance. The one that
// runs may be what applications work with, and is not stopped for that.
func TestARunningLifeOutranksAnOlderStore(t *testing.T) {
	b := newBench(t)
	s := b.started(true)
	b.do(s, ha.Step{Do: ha.PledgeTo, Epoch: 5})
	l := pgctl.Leadership{Cluster: "shop", SystemID: s.local.SystemID, Epoch: 5, Phase: pgctl.Unknown}
	b.around.leadership = func(string) (pgctl.Leadership, bool) { return l, true }
	b.self.Life = "bbbbbbbb"
	for _, older := range []pgctl.Leadership{l, {Cluster: "shop", SystemID: l.SystemID, Epoch: 4, Phase: pgctl.Steady}} {
		l = older
		if _, err := newLocalServer(b.around, b.self, b.task.Cluster); pgctl.CodeOf(err) != pgctl.CodeRefused || !runsIn(s.pg.Folder()) {
			t.Fatalf("epoch %d, %s: %v; runs: %v", l.Epoch, l.Phase, err, runsIn(s.pg.Folder()))
		}
	}
	l.Epoch = 6 // an operator said who leads: what this life knows is part of the past
	b.employ()
	if runsIn(s.pg.Folder()) {
		t.Error("the former life runs on")
	}
}
