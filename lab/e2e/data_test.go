package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgctl/pgctl/node/api"
)

// A standby was away for so long that its slot was lost and its leader let go of the log that it needs: it is
// copied anew by itself, its old data is kept, and people are told why.
func TestStandbyIsTooOld(t *testing.T) {
	apply(t, manifest("belated", 2))
	well(t, "belated", 1)
	w := write(t, "belated")
	more(t, w)
	leads, _ := leader(t, "belated")
	var away api.InstanceDetail
	for _, i := range get[api.ClusterDetail](t, "show", "belated").Instances {
		if i.Name != leads {
			away = i
		}
	}
	do(t, "dev", "kill", away.Host)
	more(t, w)
	letGo(t, "belated", leads, away)
	do(t, "dev", "start", away.Host)
	said(t, "belated", away.Name, "cannot go on with the data of its life "+string(away.Life), "the leader has its own only from")
	well(t, "belated", 1)
	for _, i := range get[api.ClusterDetail](t, "show", "belated").Instances {
		if i.Name == away.Name && i.Life == away.Life {
			t.Errorf("%s has its former life", i.Name)
		}
	}
	kept := filepath.Join(world.dir, away.Host, "data/instances", away.Name, string(away.Life)+".*/pgdata/PG_VERSION")
	if matches(t, kept) != 1 {
		t.Errorf("the old data is not kept: %s", kept)
	}
	nothingLost(t, w)
	do(t, "delete", "belated", "--yes", "belated")
}

// letGo makes a leader remove the log that a member's slot kept, as a disk that becomes full does.
func letGo(t *testing.T, cluster, leads string, away api.InstanceDetail) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	detail := get[api.ClusterDetail](t, "show", cluster)
	sockets := filepath.Join(world.dir, hostOf(t, cluster, leads), "run")
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=pgctl dbname=postgres", sockets, detail.Cluster.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	oldest := func() (name string) {
		if err := conn.QueryRow(ctx, "select min(name) from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'").Scan(&name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	// It is made anew each time, keeping what is there then; 128 MB are kept in any case.
	drop := fmt.Sprintf(`select case when active_pid is null then pg_drop_replication_slot(slot_name)::text else pg_terminate_backend(active_pid)::text end
		from pg_replication_slots where slot_name = '%s'`, away.Life.Slot()) // its sender may not know yet that nobody listens
	var needs string
	if err := conn.QueryRow(ctx, "select pg_walfile_name(pg_current_wal_lsn())").Scan(&needs); err != nil {
		t.Fatal(err)
	}
	for n := 0; oldest() <= needs; n++ {
		if n > 60 {
			t.Fatalf("the log in %s is still there", needs)
		}
		for _, sql := range []string{"select pg_current_xact_id()", "select pg_switch_wal()", drop, "checkpoint"} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
}
