package sim

import (
	"fmt"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// acked is a commit that a client saw succeed.
type acked struct {
	id       uint32
	position int
	host     int
	epoch    pgctl.Epoch // under which its server acknowledged
}

// oracle knows everything that was promised to clients. It sees the world as nobody in it does.
type oracle struct {
	acked     []acked
	since     map[uint32]time.Duration // commits that wait
	by        map[pgctl.Epoch]pgctl.Life
	violation string
	accepted  bool // an operator accepted loss: what was acknowledged before may be missing
	last      time.Duration
	lost      int // disks
}

func (o *oracle) begin(id uint32, now time.Duration) {
	if o.since == nil {
		o.since = map[uint32]time.Duration{}
	}
	o.since[id] = now
}

func (o *oracle) waitingSince(id uint32) time.Duration { return o.since[id] }

// violate notes the first thing that is wrong.
func (w *World) violate(format string, args ...any) {
	if w.oracle.violation == "" {
		w.oracle.violation = fmt.Sprintf(format, args...)
		w.Tally.Violations++
		w.say(-1, "VIOLATION: %s", w.oracle.violation)
	}
}

// acknowledge tells a client that its commit succeeded.
func (w *World) acknowledge(h int, c waiter) {
	delete(w.oracle.since, c.id)
	if c.own {
		return
	}
	p := &w.hosts[h].pg
	epoch := pgctl.Epoch(0)
	if mark := w.hosts[h].disk.local.Rule; mark != nil {
		epoch = mark.Epoch
	}
	a := acked{id: c.id, position: c.position, host: h, epoch: epoch}
	w.oracle.acked = append(w.oracle.acked, a)
	w.oracle.last = w.now
	w.Tally.Acked++
	if w.talks {
		w.say(h, "acknowledges commit %d at %d of epoch %d", c.id, c.position, epoch)
	}
	if w.oracle.by == nil {
		w.oracle.by = map[pgctl.Epoch]pgctl.Life{}
	}
	switch other, known := w.oracle.by[epoch]; {
	case !known:
		w.oracle.by[epoch] = p.life
	case other != p.life:
		w.violate("I2: %s acknowledges commits in epoch %d, in which %s did", p.life, epoch, other)
	}
	l := w.raft.now().leadership
	if l.Phase != pgctl.Steady && !(w.Lease && l.Phase == pgctl.Promoting) || l.Leader == p.life {
		return
	}
	if to := w.raft.now().hostOf(l.Leader); to >= 0 && !w.gone(to) && !w.hosts[to].pg.log.has(c.id, c.position) {
		w.violate("I2: %s of epoch %d acknowledges commit %d at %d, which is not in the history of %s, the leader of epoch %d",
			p.life, epoch, c.id, c.position, l.Leader, l.Epoch)
	}
}

// see: the first client after a recovery sees every commit that is in the log, acknowledged or not (P9).
func (w *World) see(h int) {
	p := &w.hosts[h].pg
	if p.recovered == 0 || w.oracle.accepted {
		return
	}
	l := &w.raft.now().leadership
	if record, known := l.Record(p.timeline()); known && record.Leader == p.life && l.Leader == p.life {
		w.oracle.acked = append(w.oracle.acked, acked{id: p.log.records[p.recovered-1].id, position: p.recovered, host: h, epoch: l.Epoch})
	}
	p.recovered = 0
}

// judgePromotion holds a decision about a promotion against what was known: nobody loses redundancy because others are
// slower, and a leader that is heard is not replaced while somebody is being rewound to follow it.
func (w *World) judgePromotion(v *ha.View, next *pgctl.Leadership) {
	if v.Leadership.Phase != pgctl.Promoting || w.Lease {
		return
	}
	well, rewound := 0, false
	var leader *ha.Report
	for i := range v.Members {
		m := &v.Members[i]
		known := m.Age <= ha.Fresh && m.Report.Life == m.Life && m.Report.LifeLost == ""
		switch {
		case m.Life == v.Leadership.Leader && known:
			leader = &m.Report
		case known && m.Report.State == ha.Running:
			well++
		case known && m.Report.State == ha.Making && w.hosts[i].agent.op.step.Do == ha.Rewind:
			rewound = true
		}
	}
	switch {
	case next.Phase == pgctl.Steady && next.Rule.Acks < min(well, w.Acks) && v.PhaseAge < ha.PromotionStall:
		w.violate("I1: %s leads with %d acknowledgements, although %d others are well", next.Leader, next.Rule.Acks, well)
	case next.Phase == pgctl.Recruiting && rewound && leader != nil && leader.Failed == "" && leader.Promoted != nil &&
		leader.Promoted.Epoch == v.Leadership.Epoch && leader.Promoted.Timeline == v.Leadership.History[len(v.Leadership.History)-1].Timeline:
		w.violate("I3: epoch %d deposes %s while somebody is being rewound to follow it", next.Epoch, v.Leadership.Leader)
	}
}

// observeLeadership looks at every change of the leadership when it is committed.
func (w *World) observeLeadership(old, next pgctl.Leadership) {
	phase := phaseOf(old, next)
	if phase != "" {
		w.Tally.Phases[phase]++
		if !w.Calm {
			w.provoke()
		}
	}
	if w.Calm && w.Faults != nil && old.Phase == pgctl.Steady && next.Epoch > old.Epoch {
		w.violate("I4: %s made the leader of epoch %d move", w.Faults[0], old.Epoch)
	}
	if !w.Calm && phase == "" && (old.NextRule == nil) != (next.NextRule == nil) {
		w.provoke()
	}
	if old.NextRule != nil && next.NextRule == nil {
		w.count("rule confirmed")
	}
	if old.NextRule != nil && next.NextRule != nil && old.NextRule.Version != next.NextRule.Version {
		w.count("rule replaced while pending")
	}
	if phase == string(pgctl.Recruiting) {
		w.Tally.Elections++
		if old.NextRule != nil {
			w.count("election while a rule was pending")
		}
	}
	if next.Planned != nil && next.Planned.Lossy {
		w.oracle.accepted = true
	}
	if w.talks && phase != "" {
		w.say(-1, "epoch %d, %s, leader %q, rule %s", next.Epoch, next.Phase, next.Leader, ruleText(next))
	}
	if next.Phase != pgctl.Steady || old.Phase == pgctl.Steady {
		return
	}
	h := w.raft.now().hostOf(next.Leader)
	if h < 0 {
		return
	}
	if w.oracle.accepted { // whatever the chosen one lacks is forgotten; it counts again from here
		w.oracle.accepted = false
		w.oracle.forget(func(a acked) bool { return !w.hosts[h].pg.log.has(a.id, a.position) })
	}
	w.lacking(h, next)
}

// gone says whether an instance's data was lost, or replaced by older data: it says nothing about its history.
func (w *World) gone(h int) bool {
	x := &w.hosts[h]
	return !x.pg.exists || x.pg.log.end() < x.disk.noted
}

// lacking holds I1 against a new leader's history.
func (w *World) lacking(h int, l pgctl.Leadership) {
	if w.gone(h) || w.Lease {
		return // the next leader is held against what was acknowledged
	}
	log := &w.hosts[h].pg.log
	for i := len(w.oracle.acked) - 1; i >= 0; i-- {
		if a := w.oracle.acked[i]; !log.has(a.id, a.position) {
			w.violate("I1: commit %d at %d, acknowledged by host %d in epoch %d, is not in the history of %s, the leader of epoch %d, which ends at %d",
				a.id, a.position, a.host, a.epoch, l.Leader, l.Epoch, log.end())
			return
		}
	}
}

func (o *oracle) forget(which func(acked) bool) {
	kept := o.acked[:0]
	for _, a := range o.acked {
		if !which(a) {
			kept = append(kept, a)
		}
	}
	o.acked = kept
}

func ruleText(l pgctl.Leadership) string {
	text := fmt.Sprintf("%d of %v", l.Rule.Acks, l.Rule.Standbys)
	if len(l.Rule.Lost) > 0 {
		text += fmt.Sprintf(" (lost %v)", l.Rule.Lost)
	}
	if l.NextRule != nil {
		text += fmt.Sprintf(" -> %d of %v", l.NextRule.Acks, l.NextRule.Standbys)
	}
	return text
}
