package control_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pgctl/pgctl/provision/postgres/control"
)

// A receiver is ended though the startup process does not look at its configuration, here because replay is
// paused.
func TestTerminateReceiverOfBusyStandby(t *testing.T) {
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
			b.must(b.sql(c.ctx, "select pg_wal_replay_pause()"))
			b.until("have paused", func(o control.Observation) bool { return o.Paused })
			b.conf.PrimaryConninfo = ""
			b.apply()
			gone := false
			b.until("have no receiver", func(o control.Observation) bool {
				var err error
				gone, err = b.TerminateReceiver(c.ctx)
				b.must(err)
				return gone && o.Receiver == nil
			})
		})
	}
}
