package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// lease is what a host may count on: until then, on its own clock. It outlives the daemon, not the host.
type lease struct {
	epoch pgctl.Epoch
	until time.Duration
}

// guard is the dead-man switch of a host: it runs beside the daemon.
type guard struct {
	armed bool
	until time.Duration // on the host's clock
}

// vouching is what an agent knows about who lets its leader go on; volatile.
type vouching struct {
	at        time.Duration // on the host's clock, when it last let a leader go on
	renounced pgctl.Epoch
	round     uint64
	sent      time.Duration // of the round under way
	missing   []pgctl.Life  // who has not agreed yet
}

// clock is a host's clock: it runs fast or slow by a little.
func (w *World) clock(h int) time.Duration {
	return w.now + w.now/1000*time.Duration(w.hosts[h].drift)
}

// drift draws by how much, in thousandths: two hosts differ by less over a lease than its margin.
func (w *World) drift(h int) {
	if w.Lease {
		w.hosts[h].drift = min(max(w.n(121)-60, -40), 40)
	}
}

// leaseLeft is what is left of the lease of a host's instance.
func (w *World) leaseLeft(h int, epoch pgctl.Epoch) time.Duration {
	if l := w.hosts[h].lease; l.epoch != 0 && l.epoch <= epoch {
		return l.until - w.clock(h)
	}
	return 0
}

// renew moves the end of a lease, and the guard's deadline with it.
func (w *World) renew(h int, epoch pgctl.Epoch, until time.Duration) {
	x := &w.hosts[h]
	if x.lease.epoch > epoch || x.lease.epoch == epoch && x.lease.until >= until {
		return
	}
	x.lease = lease{epoch, until}
	if x.guard.armed {
		x.guard.until = until
	}
}

// guards lets the guard of a host act: it is as quick as the server that it ends.
func (w *World) guards(h int) {
	x := &w.hosts[h]
	if x.guard.armed && x.up && x.frozen <= w.now && x.pg.pid != 0 && w.clock(h) >= x.guard.until {
		w.say(h, "the guard kills its server")
		w.count("killed by its guard")
		w.down(h, false, false)
	}
}

// onGrant: a server that believes to lead looks who asked for a lease, then asks a majority whether it leads.
func (w *World) onGrant(s int) {
	x := &w.hosts[s]
	w.after(ha.Heartbeat, evGrant, s, 0, x.generation)
	l := w.current(s).leadership
	leader, steady := l.Leader, l.Phase == pgctl.Steady
	if planted.GrantedWhileRecruiting.On() && !steady {
		leader, steady = l.Rule.Leader, true
	}
	h := w.current(s).hostOf(leader)
	if !x.leads || !w.Lease || !steady || h < 0 {
		return
	}
	r, age := x.hearing.Report(w.hosts[h].name, w.hosts[h].instance, x.controller.started)
	if age > ha.Fresh || r.Life != leader || r.Epoch != l.Epoch && !planted.GrantedWhileRecruiting.On() {
		return
	}
	number := x.heardBeat[h]
	w.after(w.latency()+w.latency(), evGranted, s, w.post(message{from: int8(s), to: int8(h), generation: number >> 32, number: number & (1<<32 - 1), epoch: uint64(r.Epoch)}), x.controller.term)
}

// onGranted: the majority has answered, or has not.
func (w *World) onGranted(s int, at int32, term uint64) {
	m := w.take(at)
	x := &w.hosts[s]
	l := w.current(s).leadership
	confirmed := w.raft.leader == s && w.majority(s) || planted.GrantedByDeposed.On()
	same := l.Phase == pgctl.Steady && uint64(l.Epoch) == m.epoch
	if !x.daemon || x.controller.term != term || !x.leads || !confirmed || !same && !planted.GrantedWhileRecruiting.On() {
		return
	}
	if same {
		x.controller.granted = x.hearing.Punctual()
	}
	w.count("lease granted")
	w.datagram(evLease, m)
}

// onLease: a renewal arrives. It holds from when it was asked for.
func (w *World) onLease(h int, at int32) {
	m := w.take(at)
	x := &w.hosts[h]
	if !x.daemon || x.generation != m.generation || x.beats-m.number >= uint64(len(x.sent)) {
		return
	}
	from := x.sent[m.number%uint64(len(x.sent))]
	if planted.LeaseFromReceipt.On() {
		from = w.clock(h)
	}
	w.renew(h, pgctl.Epoch(m.epoch), from+ha.LeaseTime)
}

// onVouch: a leader by lease tells its members that they will be asked, and asks them when no renewal came.
func (w *World) onVouch(h int) {
	x := &w.hosts[h]
	w.after(ha.Heartbeat, evVouch, h, 0, x.generation)
	now := w.current(h)
	l := now.leadership
	if !x.agent.employed || !l.ByLease() || l.Leader != x.agent.self.Life || l.Phase != pgctl.Steady {
		return
	}
	v := &x.agent.vouching
	w.turns++
	v.round, v.sent, v.missing = w.turns, w.clock(h), nil
	goOn := w.leaseLeft(h, l.Epoch) < ha.LeaseTime-ha.VouchAfter
	ask := ha.VouchRequest{Leader: l.Leader, Epoch: l.Epoch, GoOn: goOn}
	for _, i := range now.instances {
		if i.Life != l.Leader {
			ask.Members = append(ask.Members, i.Life)
		}
	}
	if goOn {
		v.missing = slices.Clone(ask.Members)
	}
	for _, life := range ask.Members {
		if to := now.hostOf(life); w.reaches(h, to) {
			w.after(w.latency(), evVouchAsk, to, w.post(message{from: int8(h), number: v.round, ask: &ask}), 0)
		}
	}
}

// onVouchAsk: a member notes that it will be asked, and agrees or does not.
func (w *World) onVouchAsk(h int, at int32) {
	m := w.take(at)
	x := &w.hosts[h]
	a := &x.agent
	if !x.daemon || !a.employed || a.report.Life == "" ||
		ha.RefuseVouch(*m.ask, a.self.Life, max(x.disk.local.Pledge, a.vouching.renounced), w.current(h).leadership) != nil {
		return
	}
	if x.pg.exists && x.disk.local.Listed != m.ask.Leader {
		w.note(h, func(l *ha.Local) { l.Listed = m.ask.Leader })
	}
	if !m.ask.GoOn {
		return
	}
	a.vouching.at = w.clock(h)
	if w.reaches(h, int(m.from)) {
		w.after(w.latency(), evVouched, int(m.from), w.post(message{from: int8(h), number: m.number, life: a.self.Life, epoch: uint64(m.ask.Epoch)}), 0)
	}
}

// onVouched: when all have agreed, the lease holds from before they were asked.
func (w *World) onVouched(h int, at int32) {
	m := w.take(at)
	x := &w.hosts[h]
	v := &x.agent.vouching
	if !x.daemon || !x.agent.employed || v.round != m.number || w.clock(h)-v.sent > ha.VouchTimeout || len(v.missing) == 0 {
		return
	}
	v.missing = slices.DeleteFunc(v.missing, func(l pgctl.Life) bool { return l == m.life })
	if len(v.missing) == 0 {
		w.count("members let a leader go on")
		w.renew(h, pgctl.Epoch(m.epoch), v.sent+ha.LeaseTime)
	}
}

// lastVouch is when an agent that just started may have let a leader go on: it does not know.
func (w *World) lastVouch(h int) time.Duration {
	if planted.VouchForgotten.On() {
		return -time.Hour
	}
	return w.clock(h)
}

// onArm carries out what concerns the guard.
func (w *World) onArm(h int, step ha.Step) progress {
	x := &w.hosts[h]
	x.guard = guard{armed: step.Do == ha.Arm, until: x.lease.until}
	return over
}
