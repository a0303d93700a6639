package ha_test

import (
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

const (
	second = time.Second
	began  = 100 * time.Second // the observer's clock when a test begins
)

// remembered is a cluster of a leader and one standby that a memory looks at.
type remembered struct {
	m    *ha.Memory
	view ha.View
	now  time.Duration
}

func remember() *remembered {
	r := &remembered{m: ha.NewMemory(began), now: began}
	r.view.Leadership = pgctl.Leadership{Epoch: 1, Phase: pgctl.Steady, Leader: "aaaaaaaa"}
	r.view.Leadership.Rule = pgctl.Rule{Leader: "aaaaaaaa", Standbys: []pgctl.Life{"bbbbbbbb"}, Acks: 1}
	for _, l := range []pgctl.Life{"aaaaaaaa", "bbbbbbbb"} {
		r.view.Members = append(r.view.Members, ha.Member{Life: l, Report: ha.Report{Life: l, State: ha.Running}})
	}
	return r
}

// look lets time pass, then looks once.
func (r *remembered) look(after time.Duration) *ha.Member {
	r.now += after
	r.view.Members[1].Streaming = 0
	r.m.Complete(&r.view, r.now, 0)
	return &r.view.Members[1]
}

func (r *remembered) leader() *ha.Report { return &r.view.Members[0].Report }

// streams lets the standby stream with its flush position, while the leader's log ends at end.
func (r *remembered) streams(flushed, end pgctl.LSN) {
	r.leader().End.LSN = end
	r.leader().Senders = []ha.Sender{{Life: "bbbbbbbb", Epoch: r.view.Leadership.Epoch, Streaming: true, Flushed: flushed}}
}

func TestStreamingIsCountedPerEpoch(t *testing.T) {
	r := remember()
	r.streams(500, 500)
	r.look(0)
	if m := r.look(3 * second); m.Streaming != 3*second {
		t.Errorf("it has streamed for 3 s, not %s", m.Streaming)
	}
	r.leader().Senders = nil
	r.look(second)
	r.streams(500, 500)
	if m := r.look(second); m.Streaming != 0 {
		t.Errorf("streaming did not begin anew: %s", m.Streaming)
	}
	r.look(5 * second)
	r.view.Leadership.Epoch = 2
	if m := r.look(0); m.Streaming != 0 {
		t.Errorf("a sender of the last epoch's name streams: %s", m.Streaming)
	}
}

func TestStalledIsWhoDoesNotMoveAndIsOwed(t *testing.T) {
	r := remember()
	r.streams(500, 500)
	r.look(0)
	if m := r.look(time.Minute); m.Stalled != 0 {
		t.Errorf("nothing is owed to it, but it stalls for %s", m.Stalled)
	}
	r.streams(500, 600)
	if m := r.look(4 * second); m.Stalled != 4*second {
		t.Errorf("it stalls for 4 s, not %s", m.Stalled)
	}
	r.streams(501, 600)
	if m := r.look(second); m.Stalled != 0 {
		t.Errorf("slow but moving: %s", m.Stalled)
	}
	// Its link to the leader alone is cut: its host is heard, and commits wait for it.
	r.leader().Senders = nil
	r.look(5 * second)
	if m := r.look(6 * second); m.Stalled != 11*second {
		t.Errorf("alive but not connected, it stalls for %s, not 11 s", m.Stalled)
	}
}

func TestARecruitmentIsNoStall(t *testing.T) {
	r := remember()
	r.streams(500, 600)
	r.look(0)
	r.view.Leadership.Phase, r.view.Leadership.Leader, r.view.Leadership.Epoch = pgctl.Recruiting, "", 2
	r.leader().Senders = nil
	r.look(30 * second)
	r.view.Leadership.Phase, r.view.Leadership.Leader = pgctl.Steady, "aaaaaaaa"
	if m := r.look(second); m.Stalled > second {
		t.Errorf("whoever pledged and has yet to reconnect stalls for %s", m.Stalled)
	}
}

func TestIdleIsWithoutProgress(t *testing.T) {
	r := remember()
	r.look(0)
	if m := r.look(5 * second); m.Idle != 5*second {
		t.Errorf("idle for 5 s, not %s", m.Idle)
	}
	r.view.Members[1].Report.Progress = 7
	if m := r.look(second); m.Idle != 0 {
		t.Errorf("it made progress, but is idle for %s", m.Idle)
	}
	r.view.Members[1].Report.State = ha.Down
	r.look(second)
	if m := r.look(second); m.Idle != second {
		t.Errorf("down for a second, idle for %s", m.Idle)
	}
}

func TestRemovalsAreRememberedForTenMinutes(t *testing.T) {
	r := remember()
	r.look(0)
	next := r.view.Leadership
	next.NextRule = &pgctl.Rule{Leader: "aaaaaaaa"}
	r.m.Remember(r.view, ha.Decision{Next: &next})
	if m := r.look(second); m.Removals != 1 {
		t.Errorf("it was removed once, not %d times", m.Removals)
	}
	if m := r.look(ha.RemovalMemory); m.Removals != 0 {
		t.Errorf("forgotten after ten minutes, but %d", m.Removals)
	}
}

func TestCrashesAreCountedOncePerEpochForTenMinutes(t *testing.T) {
	r := remember()
	r.leader().Failed = "its Postgres is gone"
	r.look(0)
	r.look(second)
	if r.view.Crashes != 1 {
		t.Errorf("one crash, counted %d times", r.view.Crashes)
	}
	r.view.Leadership.Epoch = 2
	if r.look(second); r.view.Crashes != 2 {
		t.Errorf("the next leader crashed too: %d", r.view.Crashes)
	}
	r.leader().Failed = ""
	if r.look(ha.CrashMemory); r.view.Crashes != 1 {
		t.Errorf("the first was more than ten minutes ago: %d", r.view.Crashes)
	}
}

// TestNoPhaseIsOlderThanTheClocks: after a pause of the observer an old report looks young; a proof of
// health in it must not look younger than the phase.
func TestNoPhaseIsOlderThanTheClocks(t *testing.T) {
	r := remember()
	r.look(0)
	r.look(20 * second)
	if r.view.PhaseAge != 20*second {
		t.Fatalf("the phase is 20 s old, not %s", r.view.PhaseAge)
	}
	r.m.Complete(&r.view, r.now+second, r.now)
	if r.view.PhaseAge != second {
		t.Errorf("the clocks began anew a second ago, the phase is %s old", r.view.PhaseAge)
	}
}
