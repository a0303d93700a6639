package ha

import (
	"time"

	"github.com/pgctl/pgctl"
)

// Memory is what a controller remembers about a cluster between two looks: durations that no single
// report shows. All times are punctual ones of the observer.
type Memory struct {
	epoch   pgctl.Epoch
	phase   pgctl.Phase
	since   time.Duration // of this epoch and phase
	now     time.Duration // of the last look
	members map[pgctl.Life]*past
	crashes []time.Duration
	crashed pgctl.Epoch // the epoch whose leader's crash was counted
	told    bool        // that commits wait
}

// past is what is remembered about a member.
type past struct {
	streaming time.Duration // since; 0 when it does not
	epoch     pgctl.Epoch   // in which it was looked at last
	flushed   pgctl.LSN
	moved     time.Duration // its flush position, or it was owed nothing
	progress  uint64
	state     State
	lively    time.Duration // its progress last moved
	removals  []time.Duration
}

// NewMemory remembers nothing; now is punctual time.
func NewMemory(now time.Duration) *Memory {
	return &Memory{since: now, members: map[pgctl.Life]*past{}}
}

// Complete adds to a view what is remembered, after noting what it shows.
// Reports from before the observer's clocks began anew look young, so no phase may look older than that.
func (m *Memory) Complete(v *View, now, began time.Duration) {
	l := v.Leadership
	m.now = now
	if m.epoch != l.Epoch || m.phase != l.Phase {
		m.epoch, m.phase, m.since = l.Epoch, l.Phase, now
	}
	v.PhaseAge = now - max(m.since, began)
	leader := v.member(l.Leader)
	if leader != nil && leader.Report.Failed != "" && leader.Age <= Fresh && m.crashed != l.Epoch {
		m.crashed = l.Epoch
		m.crashes = append(m.crashes, now)
	}
	m.told = m.told && leader != nil && leader.Report.Waiting >= WaitTold
	v.WaitTold = m.told
	m.crashes = recent(m.crashes, now, CrashMemory)
	v.Crashes = len(m.crashes)
	for i := range v.Members {
		member := &v.Members[i]
		p := m.members[member.Life]
		if p == nil {
			p = &past{moved: now, lively: now}
			m.members[member.Life] = p
		}
		p.note(member, leader, l.Epoch, now)
		p.removals = recent(p.removals, now, RemovalMemory)
		member.Removals = len(p.removals)
		member.Stalled, member.Idle = now-p.moved, now-p.lively
		if p.streaming > 0 {
			member.Streaming = now - p.streaming
		}
	}
}

func (p *past) note(member, leader *Member, epoch pgctl.Epoch, now time.Duration) {
	if r := member.Report; r.Progress != p.progress || r.State != p.state {
		p.progress, p.state, p.lively = r.Progress, r.State, now
	}
	if leader == nil || leader == member || p.epoch != epoch {
		p.epoch, p.streaming, p.moved = epoch, 0, now
	}
	if leader == nil || leader == member {
		return
	}
	streams := false
	for _, s := range leader.Report.Senders {
		if s.Life != member.Life || s.Epoch != epoch || !s.Streaming {
			continue
		}
		streams = true
		if s.Flushed != p.flushed || s.Flushed >= leader.Report.End.LSN {
			p.flushed, p.moved = s.Flushed, now
		}
	}
	switch {
	case !streams: // whoever is not even connected is owed what the leader writes
		p.streaming = 0
		if p.flushed >= leader.Report.End.LSN {
			p.moved = now
		}
	case p.streaming == 0:
		p.streaming = now
	}
}

// Remember notes what a decision does that later ones depend on.
func (m *Memory) Remember(v View, d Decision) {
	for _, e := range d.Events {
		m.told = m.told || e.Kind == WaitKind
	}
	if d.Next == nil || d.Next.Phase != pgctl.Steady || v.Leadership.Phase != pgctl.Steady {
		return
	}
	for _, life := range v.Leadership.RuleInForce().Standbys {
		if p := m.members[life]; p != nil && !d.Next.RuleInForce().Names(life) {
			p.removals = append(p.removals, m.now)
		}
	}
}

// recent keeps the times within the last window.
func recent(times []time.Duration, now, window time.Duration) []time.Duration {
	for len(times) > 0 && now-times[0] > window {
		times = times[1:]
	}
	return times
}
