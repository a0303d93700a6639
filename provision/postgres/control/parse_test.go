package control_test

import (
	"fmt"
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/control"
)

// readsControlData compares with what the server itself says, as a standby that follows nobody, since
// only then all of it is set.
func readsControlData(t *testing.T, n *node) {
	t.Helper()
	c, err := n.ControlData(n.c.ctx)
	if err != nil || c.State != "shut down" || !c.Clean() || c.MinRecovery.Known() {
		t.Errorf("control data %+v, %v", c, err)
	}
	n.must(n.StartRecruit(n.c.ctx))
	n.until("be at the end", func(o control.Observation) bool { return o.AtEnd })
	conn, err := n.Connect(n.c.ctx, "postgres")
	n.must(err)
	defer conn.Close(n.c.ctx)
	var want string
	n.must(conn.QueryRow(n.c.ctx, `select format('%s %s %s %s %s@%s', system_identifier, checkpoint_lsn, redo_lsn, timeline_id,
		min_recovery_end_timeline, min_recovery_end_lsn)
		from pg_control_system(), pg_control_checkpoint(), pg_control_recovery()`).Scan(&want))
	c, err = n.ControlData(n.c.ctx)
	got := fmt.Sprintf("%s %s %s %d %s", c.SystemID, c.Checkpoint, c.Redo, c.Timeline, c.MinRecovery)
	if err != nil || got != want || c.State != "in archive recovery" || !c.MinRecovery.Known() {
		t.Errorf("control data %s (%s), %v; the server says %s", got, c.State, err, want)
	}
}

func TestHistoryFiles(t *testing.T) {
	for text, want := range map[string]int{
		"":            0,
		"# nothing\n": 0,
		"1\t0/3000000\tno recovery target specified\n\n2\t1/F\treason\n": 2,
		"1\t0/3000000\n1\t0/4000000\n":                                   -1,
		"1\n":                                                            -1,
		"x\t0/1\n":                                                       -1,
		"1\tx\n":                                                         -1,
	} {
		h, err := control.ParseHistory(text)
		if err != nil {
			h = make(pgctl.LogHistory, 0)
		}
		if (err != nil) != (want < 0) || err == nil && len(h) != want {
			t.Errorf("%q: %v, %v", text, h, err)
		}
	}
}

func FuzzHistory(f *testing.F) {
	f.Add("1\t0/3000000\tno recovery target specified\n\n2\t1/F\treason\n")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := control.ParseHistory(text)
		for n := range h {
			if err == nil && n > 0 && h[n].Timeline <= h[n-1].Timeline {
				t.Errorf("%q: %v", text, h)
			}
		}
	})
}

func FuzzControlData(f *testing.F) {
	f.Add(make([]byte, 8192))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = control.ParseControlData(data) })
}
