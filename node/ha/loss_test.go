package ha_test

import (
	"strings"
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// TestWhoNeedsMoreThanTheLeaderHasIsLost: its slot was lost, and the leader let go of log that it would
// need. It asks again as long as nothing comes, and says then why only a copy helps.
func TestWhoNeedsMoreThanTheLeaderHasIsLost(t *testing.T) {
	seen := ha.Observed{Server: ha.Server{
		Directory: ha.ReadyDirectory, State: ha.Running, Timeline: 1, Replayed: 0x300, AtEnd: true, Upstream: "pgctl.bbbbbbbb@2",
	}}
	view := ha.InstanceView{
		Self: pgctl.Instance{Life: "bbbbbbbb"}, Server: seen.Server,
		Leadership: pgctl.Leadership{Epoch: 2, Phase: pgctl.Steady, Leader: "aaaaaaaa"},
	}
	source := ha.Source{Life: "aaaaaaaa", Epoch: 2, Timeline: 1, Checkpoint: 1, End: 0x900}
	var s ha.Sourcing
	s.Take(&view, &source)
	if ask, _ := s.Look(&view); !ask || view.Source == nil {
		t.Fatalf("nothing comes, but it does not ask again (%v)", view.Source)
	}
	for _, c := range []struct {
		oldest, replayed pgctl.LSN
		receiver         string
		lost             bool
	}{{0, 0x300, "", false}, {0x300, 0x300, "", false}, {0x400, 0x300, "", true}, {0x400, 0x300, "b@2", false}, {0x400, 0, "", false}} {
		source.Oldest, seen.Replayed, seen.Receiver = c.oldest, c.replayed, c.receiver
		if why := ha.LifeLost(view, seen, ""); (why != "") != c.lost || c.lost && !strings.Contains(why, "0/400") {
			t.Errorf("%+v: %q", c, why)
		}
	}
	view.Server.Receiver = "pgctl.bbbbbbbb@2"
	if ask, _ := s.Look(&view); ask {
		t.Error("it streams, and asks all the same")
	}
}

// TestAServerThatIsRestartedHasNotFailed: a step has it down for a moment. One that ended after the last look
// leaves a look that is too old to say anything.
func TestAServerThatIsRestartedHasNotFailed(t *testing.T) {
	seen := ha.Observed{Server: ha.Server{Directory: ha.ReadyDirectory, State: ha.Down, Crashed: true}}
	for _, c := range []struct {
		step   *ha.Step
		busy   string
		failed bool
	}{
		{nil, "", true},
		{nil, "looking again", false},
		{&ha.Step{Do: ha.Promote}, "promote", true},
		{&ha.Step{Do: ha.Confirm}, "", true},
		{&ha.Step{Do: ha.Start, Standby: true}, "start", false},
		{&ha.Step{Do: ha.Detach}, "detach", false},
		{&ha.Step{Do: ha.Follow}, "follow", false},
	} {
		view := ha.InstanceView{Server: ha.Server{Busy: c.busy}}
		if r := ha.Describe(view, seen, ha.Doing{Step: c.step}); (r.Failed != "") != c.failed {
			t.Errorf("%+v: reported %q", c, r.Failed)
		}
	}
}

// TestAnUnfinishedRewindIsLost: once its source is deposed, and also while another is elected. An operator who
// wanted it to lead would wait for ever. One that is done may still become consistent.
func TestAnUnfinishedRewindIsLost(t *testing.T) {
	for _, c := range []struct {
		phase   pgctl.Phase
		epoch   pgctl.Epoch
		rewound bool
		lost    bool
	}{
		{pgctl.Steady, 2, false, false},
		{pgctl.Steady, 3, false, true},
		{pgctl.Promoting, 3, true, true},
		{pgctl.Recruiting, 3, false, true},
		{pgctl.Recruiting, 3, true, false},
	} {
		l := pgctl.Leadership{Epoch: c.epoch, Phase: c.phase}
		if why := ha.Unfinished(l, ha.Local{Rewinding: 2, Rewound: c.rewound}); (why != "") != c.lost {
			t.Errorf("%+v: %q", c, why)
		}
	}
}
