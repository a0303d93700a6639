package node

import (
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

const (
	soonLook  = 5 * time.Millisecond  // while nothing but its members' first answers keeps a leader from being steady
	quickLook = 10 * time.Millisecond // while Postgres is about to get somewhere by itself; a look costs less than 1 ms
	slowLook  = 50 * time.Millisecond // while others, or a step that wakes the loop at its end, are waited for
)

// pace is how long to wait before looking again. In an election every host would otherwise spend its
// processors on looking, when Postgres needs them.
func pace(v ha.InstanceView, doing bool) time.Duration {
	l, s := v.Leadership, v.Server
	switch {
	case l.Phase == pgctl.Steady && !doing:
		return ha.Heartbeat
	case doing && s.State == ha.Running:
		return slowLook
	case l.Phase == pgctl.Promoting && l.Leader == v.Self.Life && s.Primary:
		return soonLook
	case s.State == ha.Starting, // it recovers, or shuts down
		l.Phase == pgctl.Promoting && l.Leader == v.Self.Life,                                         // its members connect and flush
		!s.Primary && s.State == ha.Running && s.Receiver == "" && v.Local.Pledge < l.Epoch && !doing: // its end of log has to settle
		return quickLook
	}
	return slowLook
}
