package sync

import (
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/control"
)

const probe = 100

func streams(name string, change func(*control.Sender)) control.Sender {
	life, _, _ := pgctl.ParseMemberName(name)
	s := control.Sender{
		PID: 7, Started: "1.5", Role: "pgctl_replication", Name: name, State: "streaming", Priority: 1,
		Write: probe, Flush: probe, Slot: life.Slot(),
	}
	if change != nil {
		change(&s)
	}
	return s
}

// What one WAL sender that was there before the names changed proves, or holds up.
func TestJudge(t *testing.T) {
	const b, d = "pgctl.bbbbbbbb@3", "pgctl.dddddddd@3"
	change := Change{Acks: 1, Members: []string{b}, Joint: []pgctl.Life{"bbbbbbbb", "dddddddd"}}
	for what, c := range map[string]struct {
		sender          control.Sender
		follow, missing int
	}{
		"a member that has it":      {streams(b, nil), 0, 0},
		"written, not flushed":      {streams(b, func(s *control.Sender) { s.Flush-- }), 0, 1},
		"not answered":              {streams(b, func(s *control.Sender) { s.Write--; s.Flush-- }), 1, 1},
		"old priority":              {streams(b, func(s *control.Sender) { s.Priority = 0 }), 1, 0},
		"new process, not answered": {streams(b, func(s *control.Sender) { s.PID++; s.Write, s.Flush = 0, 0 }), 0, 1},
		"same pid, new process":     {streams(b, func(s *control.Sender) { s.Started = "2"; s.Write, s.Flush = 0, 0 }), 0, 1},
		"catches up":                {streams(b, func(s *control.Sender) { s.State = "catchup"; s.Write, s.Flush = 1, 1 }), 0, 1},
		"another role":              {streams(b, func(s *control.Sender) { s.Role = "app" }), 1, 1},
		"another slot":              {streams(b, func(s *control.Sender) { s.Slot = "x" }), 1, 1},
		"removed, still counted":    {streams(d, nil), 1, 1},
		"removed and following":     {streams(d, func(s *control.Sender) { s.Priority = 0 }), 0, 1},
		"another epoch's name":      {streams("pgctl.bbbbbbbb@2", nil), 1, 1},
		"a base backup":             {streams(b, func(s *control.Sender) { s.State = "backup"; s.Priority = 0 }), 0, 1},
		"a life of no rule":         {streams("pgctl.eeeeeeee@3", func(s *control.Sender) { s.Priority = 0 }), 0, 1},
		"somebody else":             {streams("walreceiver", nil), 0, 1},
	} {
		follow, missing := change.judge([]control.Sender{c.sender}, map[sender]bool{{7, "1.5"}: true}, probe)
		if len(follow) != c.follow || missing != c.missing {
			t.Errorf("%s: %d do not follow, %d are missing", what, len(follow), missing)
		}
	}
	twice := []control.Sender{streams(b, nil), streams(b, func(s *control.Sender) { s.PID++ })}
	change.Acks = 2
	if _, missing := change.judge(twice, nil, probe); missing != 1 {
		t.Errorf("one life counted twice: %d missing", missing)
	}
}
