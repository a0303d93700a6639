// Package rollout decides which server of a cluster restarts next, when settings wait for a restart:
// the standbys one by one, then the leader hands over and restarts as a standby, so that a change costs
// users one switchover. It is pure.
package rollout

// Member is one instance of a cluster.
type Member struct {
	Instance   string
	Leader     bool
	Well       bool // runs, and, as a standby, is waited for or caught up
	Pending    bool // settings wait for its restart
	InPlace    bool // of a leader: handing over would not bring them about, its standbys keep what it has
	Restarting bool // a restart was ordered and is not done
}

// Kind is what to do next.
type Kind int

// The kinds of a Next.
const (
	Nothing    Kind = iota
	Restart         // of Instance, in place
	Switchover      // away from the leader, which restarts on the way
)

// Next is one thing to do; the following one is decided on what came of it.
type Next struct {
	Kind     Kind
	Instance string
}

// Decide says what to do next for settings that wait for a restart. While anything is not well nothing
// is restarted: the cluster might need it.
func Decide(members []Member) Next {
	var standby, leader *Member
	standbys := 0
	for i := range members {
		m := &members[i]
		switch {
		case m.Restarting || !m.Well:
			return Next{}
		case m.Leader:
			leader = m
			continue
		}
		standbys++
		if m.Pending && standby == nil {
			standby = m
		}
	}
	switch {
	case leader == nil:
		return Next{}
	case standby != nil:
		return Next{Restart, standby.Instance}
	case leader.Pending && standbys > 0 && !leader.InPlace:
		return Next{Switchover, leader.Instance}
	case leader.Pending:
		return Next{Restart, leader.Instance}
	}
	return Next{}
}
