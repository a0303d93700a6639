package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgctl/pgctl/node/api"
)

// A cluster is stopped and started, deleted and brought back: its rows are there each time. Purged, its
// data goes from every host, also from one that was away; a new cluster of the name is not touched.
func TestClusterComesAndGoes(t *testing.T) {
	apply(t, manifest("life", 2))
	well(t, "life", 1)
	w := write(t, "life")
	more(t, w)
	w.Stop()
	apply(t, manifest("life", 0))
	stopped(t, "life")
	apply(t, manifest("life", 2))
	well(t, "life", 1)
	nothingLost(t, w)

	do(t, "delete", "life", "--yes", "life", "--keep", "1h")
	stopped(t, "life")
	if out := refused(t, manifest("life", 2), "apply", "-f", "-", "--yes"); !strings.Contains(out, "undelete") {
		t.Errorf("apply of a deleted cluster does not say how to get it back: %s", out)
	}
	do(t, "undelete", "life", "--wait")
	well(t, "life", 1)
	nothingLost(t, w)

	old := get[api.ClusterDetail](t, "show", "life")
	_, leads := leader(t, "life")
	away := ""
	for _, i := range old.Instances {
		if i.Host != leads {
			away = i.Host
		}
	}
	do(t, "dev", "kill", away)
	do(t, "delete", "life", "--yes", "life", "--keep", "1s")
	eventually(t, "the cluster is purged", func() (bool, string) {
		out, _ := try("", "list", "-o", "json")
		return !strings.Contains(out, `"life"`), out
	})
	apply(t, manifest("life", 1))
	well(t, "life", 0)
	if fresh := get[api.ClusterDetail](t, "show", "life"); fresh.Leadership.SystemID == old.Leadership.SystemID {
		t.Error("the new cluster has the old one's data")
	}
	do(t, "dev", "start", away)
	for _, i := range old.Instances {
		pattern := filepath.Join(world.dir, i.Host, "data/instances", i.Name, string(i.Life)+"*")
		eventually(t, "the data of "+i.Name+" is removed", func() (bool, string) {
			return matches(t, pattern) == 0, pattern + " is there"
		})
	}
	answers(t, dsn(t, "life"), "SELECT count(*) FROM pg_tables WHERE tablename = 'pgctl_writer'", "0")
	do(t, "delete", "life", "--yes", "life")
}

// stopped waits until no server of a cluster runs; its data is there.
func stopped(t *testing.T, cluster string) {
	t.Helper()
	eventually(t, cluster+" is stopped", func() (bool, string) {
		running := matches(t, world.dir+"/*/data/instances/"+cluster+"-*/????????/pgdata/postmaster.pid")
		status := get[api.Status](t, "status", cluster)
		return running == 0 && status.Health == api.LevelStopped, fmt.Sprint(running, " run: ", status.Summary)
	})
	if matches(t, world.dir+"/*/data/instances/"+cluster+"-*/????????/pgdata/PG_VERSION") == 0 {
		t.Errorf("the data of %s is gone", cluster)
	}
}
