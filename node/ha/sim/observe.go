package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// observe is one look at an instance, as cmd's localServer does it.
func (w *World) observe(h int) ha.Observed {
	x := &w.hosts[h]
	a, p, d := &x.agent, &x.pg, &x.disk
	o := ha.Observed{Server: ha.Server{Directory: ha.NoDirectory, State: ha.Absent}, Local: d.local}
	if w.Lease {
		o.Guard = &ha.GuardState{Armed: x.guard.armed, Required: true}
	}
	if !p.exists {
		return o
	}
	o.Directory, o.State = ha.ReadyDirectory, p.state
	o.Open, o.Promoted, o.Stopped = d.posture.open, d.posture.promoted, a.stopped
	if a.stopped != nil {
		o.Handed = a.stopped.Epoch
	}
	if up := d.posture.upstream; up.set {
		o.Upstream, o.Address = w.nameOf(h, up), w.hosts[up.host].name
	}
	o.Signal = p.signal
	if p.state == ha.Down {
		if a.downSince == 0 {
			a.downSince = w.now
		}
		o.Crashed, o.DownFor = d.posture.started, w.now-a.downSince
	} else {
		a.downSince = 0
	}
	if p.stopping || p.state != ha.Running {
		a.atEnd = 0
		if p.stopping {
			o.State = ha.Starting
		}
		o.Timeline = p.checkpoint
		if p.clean {
			o.Timeline = p.timeline()
		}
		o.Progress = uint64(p.replayed)
		if a.op.active && (a.op.step.Do == ha.Rewind || a.op.step.Do == ha.CopyData) {
			o.Progress += uint64(w.now / time.Second) // bytes that are read and written
		}
		if p.state == ha.Down && p.log.end() < d.noted && !planted.LifeKept.On() {
			o.Trouble = "an older state of it was put back"
		}
		o.Open = o.Open && o.State != ha.Down
		return o
	}
	for _, life := range p.slots {
		o.Slots = append(o.Slots, life.Slot())
	}
	slices.Sort(o.Slots)
	o.Timeline = p.timeline()
	o.History = p.log.history(p.replayed)
	o.Parent = o.History.Parent()
	o.Replayed = pgctl.LSN(p.replayed)
	if p.primary {
		w.observePrimary(h, &o)
	} else {
		w.observeStandby(h, &o)
	}
	return o
}

func (w *World) nameOf(h int, up target) string {
	return w.hosts[h].agent.self.Life.MemberName(up.epoch)
}

func (w *World) observeStandby(h int, o *ha.Observed) {
	x := &w.hosts[h]
	a, p := &x.agent, &x.pg
	o.End, o.LeaderEnd = p.log.position(p.flushed), pgctl.LSN(p.leaderEnd)
	receiver := w.receiverOf(h)
	if receiver >= 0 {
		c := &w.conns[receiver]
		o.Receiver = c.life.MemberName(c.epoch)
	}
	switch {
	case !x.disk.posture.upstream.set:
		o.Upstream = "" // what is in force counts: what was written last may not have reached the server
		if p.conf.upstream.set {
			o.Upstream = w.nameOf(h, p.conf.upstream)
		}
	case p.alone:
		o.Upstream = "none before a restart"
	}
	if p.atEnd() && receiver < 0 {
		a.atEnd++
	} else {
		a.atEnd = 0
	}
	o.AtEnd = a.atEnd > 1
	switch {
	case p.streamed:
		o.Position = o.End
	case o.AtEnd, planted.PositionTooLow.On():
		o.Position = p.log.position(p.replayed)
	}
	o.Progress = uint64(p.replayed) + uint64(p.flushed)
}

func (w *World) observePrimary(h int, o *ha.Observed) {
	x := &w.hosts[h]
	a, p := &x.agent, &x.pg
	o.Primary = true
	o.End = p.log.position(p.flushed)
	o.Position = o.End
	o.Progress = uint64(p.flushed)
	o.Checkpoint = p.checkpoint
	if len(p.waiting) > 0 {
		o.Waiting = time.Millisecond + w.now - w.oracle.waitingSince(p.waiting[0].id)
	}
	if a.confirmed != nil && a.pid == p.pid {
		o.Confirmed = a.confirmed
	}
	for i := range w.conns {
		if c := &w.conns[i]; c.sending && int(c.up) == h {
			o.Senders = append(o.Senders, ha.Sender{Life: c.life, Epoch: w.epochOf(h, c), Streaming: c.streaming, Flushed: pgctl.LSN(c.flushed)})
		}
	}
	slices.SortFunc(o.Senders, func(a, b ha.Sender) int {
		if a.Life < b.Life {
			return -1
		}
		return 1
	})
}
