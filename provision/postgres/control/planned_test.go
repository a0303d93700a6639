package control_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgctl/pgctl/provision/postgres/control"
)

// Before a leader is stopped for a switchover it begins a new segment of WAL. Its stop says that its log has ended
// when that is so: the standby has all of it, the shutdown checkpoint too.
func TestPlannedStop(t *testing.T) {
	for _, v := range versions(t) {
		if _, err := os.Stat(filepath.Join(v.Bin, "pg_basebackup")); err != nil {
			continue // an installation of the server alone
		}
		t.Run(v.Version, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, v)
			a := c.node(1)
			c.lead(a)
			b := c.standby(2, a, 1)
			const segment = 16 << 20
			before := a.until("rest", running).End.LSN
			if err := a.PrepareStop(c.ctx); err != nil {
				t.Fatal(err)
			}
			if after := a.until("rest", running).End.LSN; after/segment == before/segment {
				t.Errorf("the log goes on at %s, in the segment of %s", after, before)
			}
			told := 0
			var data control.ControlData
			clean, err := a.StopTelling(c.ctx, time.Minute, func() {
				told++
				var err error
				if data, err = a.ControlData(c.ctx); err != nil || !data.Clean() {
					t.Errorf("told that the log ended: %+v, %v", data, err)
				}
			})
			if err != nil || !clean || told > 1 {
				t.Fatalf("stopped in order: %v, %v; told %d times", clean, err, told)
			}
			if o := b.until("rest", running); told == 1 && o.End.LSN <= data.Checkpoint {
				t.Errorf("the standby ends at %s, before the shutdown checkpoint at %s has ended", o.End, data.Checkpoint)
			}
		})
	}
}
