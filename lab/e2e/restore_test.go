package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// An older state is put back. A leader with standbys proves itself and never stops; one that nobody can
// vouch for waits for an operator; data that the old state does not know stays.
func TestStateIsRestored(t *testing.T) {
	apply(t, manifest("kept", 2))
	apply(t, manifest("lone", 1))
	well(t, "kept", 1)
	well(t, "lone", 0)
	w, alone := write(t, "kept"), write(t, "lone")
	file := filepath.Join(t.TempDir(), "state")
	do(t, "snapshot", "save", file)

	apply(t, with(t, manifest("kept", 2), "parameters: {work_mem: 9MB}"))
	apply(t, manifest("late", 1, "pgctl: {placement: {dataCenters: [b]}}"))
	late := get[api.ClusterDetail](t, "show", "late").Instances[0]
	do(t, "snapshot", "restore", file, "--yes")
	more(t, w)
	well(t, "kept", 1)
	settings(t, "kept", "work_mem", "4MB")
	if out := refused(t, "", "show", "late"); !strings.Contains(out, "late") {
		t.Errorf("a cluster that the old state does not know: %s", out)
	}
	folder := filepath.Join(world.dir, late.Host, "data/instances/late-0")
	if matches(t, folder+"/"+string(late.Life)+"/pgdata/PG_VERSION") != 1 {
		t.Errorf("the data of a cluster that the restored state does not know is gone from %s", folder)
	}
	apply(t, manifest("late", 1, "pgctl: {placement: {dataCenters: [b]}}"))
	if matches(t, folder+"/"+string(late.Life)+".*/pgdata/PG_VERSION") != 1 {
		t.Errorf("the data of the former cluster of the name is not kept aside in %s", folder)
	}

	ledByHand(t, "lone", "lone-0")
	more(t, alone)
	nothingLost(t, alone)

	do(t, "snapshot", "save", file)
	do(t, "switchover", "kept", "--wait")
	more(t, w)
	now, _ := leader(t, "kept")
	do(t, "snapshot", "restore", file, "--yes")
	ledByHand(t, "kept", now)
	ledByHand(t, "lone", "lone-0")
	ledByHand(t, "late", "late-0")
	well(t, "kept", 1)
	more(t, w)
	nothingLost(t, w)
	for _, name := range []string{"kept", "lone", "late"} {
		do(t, "delete", name, "--yes", name)
	}
}

// ledByHand has an operator say who leads a cluster whose state is unknown.
func ledByHand(t *testing.T, cluster, instance string) {
	t.Helper()
	eventually(t, cluster+" is unknown, since nobody can vouch for its leader", func() (bool, string) {
		phase := get[api.ClusterDetail](t, "show", cluster).Leadership.Phase // of a daemon that may lag for a moment
		return phase == pgctl.Unknown, string(phase)
	})
	do(t, "failover", cluster, "--to", instance, "--wait", "--timeout", patience.String())
	if now, _ := leader(t, cluster); now != instance {
		t.Errorf("%s leads instead of %s", now, instance)
	}
}

// A host that holds no part of the replicated state carries instances as well, and leads on when servers
// die: one without an instance, which may lead the others, and the one with its standby.
func TestAgentHost(t *testing.T) {
	apply(t, manifest("edge", 2, "pgctl: {placement: {dataCenters: [a]}}")) // dev-1 and dev-4
	well(t, "edge", 1)
	w := write(t, "edge")
	for _, i := range get[api.ClusterDetail](t, "show", "edge").Instances {
		if now, _ := leader(t, "edge"); i.Host == "dev-4" && i.Name != now {
			do(t, "switchover", "edge", "--to", i.Name, "--wait")
		}
	}
	eventually(t, "the agent says how things are", func() (bool, string) {
		out, err := try("", "status", "edge", "--context", "", "--address", "127.0.0.4:7432")
		return err == nil, out
	})
	for _, lost := range []string{"dev-2", "dev-1"} {
		more(t, w)
		do(t, "dev", "kill", lost)
		more(t, w)
		if _, host := leader(t, "edge"); host != "dev-4" {
			t.Errorf("the loss of %s moved the leader to %s", lost, host)
		}
		do(t, "dev", "start", lost)
		well(t, "edge", 1)
	}
	nothingLost(t, w)
	do(t, "delete", "edge", "--yes", "edge")
}
