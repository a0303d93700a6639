package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// What operators order besides switchovers, under a writer: nothing acknowledged is lost by any of it.
func TestOrders(t *testing.T) {
	apply(t, manifest("ops", 3))
	well(t, "ops", 2)
	w := write(t, "ops")
	more(t, w)
	restartsOne(t)
	more(t, w)
	restartsAll(t)
	more(t, w)
	reinits(t)
	more(t, w)
	pauses(t)
	more(t, w)
	schedules(t)
	more(t, w)
	do(t, "reload", "ops")
	tellsHistory(t)
	well(t, "ops", 2)
	nothingLost(t, w)
	do(t, "delete", "ops", "--yes", "ops")
}

func started(t *testing.T, instance string) uint64 {
	t.Helper()
	for _, i := range get[api.ClusterDetail](t, "show", "ops").Instances {
		if i.Name == instance && i.Live != nil {
			return i.Live.Restarted
		}
	}
	return 0
}

func standby(t *testing.T) string {
	t.Helper()
	if lead, _ := leader(t, "ops"); lead == "ops-0" {
		return "ops-1"
	}
	return "ops-0"
}

func restartsOne(t *testing.T) {
	t.Helper()
	one := standby(t)
	before := started(t, one)
	do(t, "restart", "ops", one)
	eventually(t, one+" was restarted", func() (bool, string) { return started(t, one) > before, "" })
	well(t, "ops", 2)
}

func restartsAll(t *testing.T) {
	t.Helper()
	old, _ := leader(t, "ops")
	do(t, "restart", "ops", "--rolling")
	eventually(t, "another one leads, and nobody is due any more", func() (bool, string) {
		now, _ := leader(t, "ops")
		for _, i := range get[api.ClusterDetail](t, "show", "ops").Instances {
			if i.Due != "" || i.Live == nil || i.Live.Restarted != i.Restart {
				return false, i.Name + " is due"
			}
		}
		return now != old, now + " leads"
	})
	well(t, "ops", 2)
	if out := refused(t, "", "restart", "ops", "--pending"); !strings.Contains(out, "nothing") {
		t.Errorf("a restart of what is pending: %s", out)
	}
}

func reinits(t *testing.T) {
	t.Helper()
	lead, _ := leader(t, "ops")
	if out := refused(t, "", "reinit", "ops", lead); !strings.Contains(out, "leads") {
		t.Errorf("a new copy of the leader: %s", out)
	}
	one := standby(t)
	life := lifeOf(t, one)
	do(t, "reinit", "ops", one)
	eventually(t, one+" has a new life", func() (bool, string) { return lifeOf(t, one) != life, string(life) })
	well(t, "ops", 2)
}

func lifeOf(t *testing.T, instance string) pgctl.Life {
	t.Helper()
	for _, i := range get[api.ClusterDetail](t, "show", "ops").Instances {
		if i.Name == instance {
			return i.Life
		}
	}
	return ""
}

// While failover is paused a crash of the leader's Postgres is restarted in place.
func pauses(t *testing.T) {
	t.Helper()
	lead, _ := leader(t, "ops")
	do(t, "pause", "ops")
	if out := refused(t, "", "pause", "ops"); !strings.Contains(out, "already") {
		t.Errorf("paused twice: %s", out)
	}
	status := get[api.Status](t, "status", "ops")
	if !strings.Contains(status.Summary, "paused") {
		t.Errorf("status says %q", status.Summary)
	}
	killPostmaster(t, "ops", lead)
	eventually(t, lead+" serves again", func() (bool, string) {
		for _, i := range get[api.ClusterDetail](t, "show", "ops").Instances {
			if i.Name == lead && i.Live != nil {
				return i.Live.Open && i.Live.Role == api.RolePrimary, string(i.Live.State)
			}
		}
		return false, "it is gone"
	})
	if now, _ := leader(t, "ops"); now != lead {
		t.Errorf("%s leads although failover is paused", now)
	}
	do(t, "resume", "ops")
	well(t, "ops", 2)
}

func schedules(t *testing.T) {
	t.Helper()
	to := standby(t)
	do(t, "switchover", "ops", "--to", to, "--at", "2999-01-01T00:00:00Z")
	do(t, "switchover", "ops", "--cancel")
	do(t, "switchover", "ops", "--to", to, "--at", time.Now().Add(3*time.Second).UTC().Format(time.RFC3339))
	eventually(t, to+" leads when its time has come", func() (bool, string) {
		now, _ := leader(t, "ops")
		return now == to, now
	})
	well(t, "ops", 2)
}

func tellsHistory(t *testing.T) {
	t.Helper()
	eventually(t, "the history says where the time went", func() (bool, string) {
		history := get[[]pgctl.TimelineRecord](t, "history", "ops")
		if len(history) < 2 {
			return false, "too short"
		}
		last := history[len(history)-1]
		return last.State == pgctl.TimelineSteady && last.Took.Opened > 0 && last.Took.Promoted > 0 && !last.At.IsZero(), last.Took.Total().String()
	})
}

// A running cluster becomes asynchronous and back, without a restart and without a row lost.
func TestModeChanges(t *testing.T) {
	apply(t, manifest("modal", 2))
	well(t, "modal", 1)
	w := write(t, "modal")
	more(t, w)
	mode := func(want pgctl.Mode, standbys int) {
		t.Helper()
		eventually(t, "it is in "+string(want)+" mode", func() (bool, string) {
			l := get[api.ClusterDetail](t, "show", "modal").Leadership
			return l.Mode == want && l.NextMode == "", string(l.Mode) + " " + string(l.NextMode)
		})
		well(t, "modal", standbys)
		more(t, w)
	}
	apply(t, manifest("modal", 2, "pgctl: {durability: {mode: lease}}"))
	mode(pgctl.Lease, 0)
	apply(t, manifest("modal", 2))
	mode(pgctl.Quorum, 1)
	nothingLost(t, w)
	do(t, "delete", "modal", "--yes", "modal")
}
