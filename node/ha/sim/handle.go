package sim

import (
	"slices"
	"time"
)

// handle lets one event happen, unless whom it concerns is gone; to whoever stands still it happens later.
func (w *World) handle(e event) {
	h := int(e.where)
	x := &w.hosts[h]
	switch e.kind {
	case evRaft:
		w.onRaft()
		return
	case evWrite:
		w.onWrite()
		return
	case evNemesis:
		w.onNemesis(e.what == 0)
		return
	case evRelent:
		w.onRelent(e)
		return
	}
	if !x.up {
		w.drop(e)
		return
	}
	if later := max(x.frozen, w.ownPause(x, e.kind)); later > w.now {
		e.at, e.order = later+w.soon(), w.order+1
		w.order++
		w.queue.push(e)
		return
	}
	w.guards(h)
	if e.kind >= evStartup {
		w.handleServer(h, e)
	} else {
		w.handleDaemon(h, e)
	}
}

func (w *World) ownPause(x *host, k kind) (until time.Duration) {
	if k < evStartup {
		return x.hung
	}
	return 0
}

// drop forgets an event, with the message that it brings.
func (w *World) drop(e event) {
	switch e.kind {
	case evBeatArrives, evAnswer, evAsk, evSource, evGranted, evLease, evVouchAsk, evVouched:
		w.take(e.what)
	}
}

// brought says whether an event brings a message, and has a daemon take it.
func (w *World) brought(h int, e event) bool {
	switch e.kind {
	case evBeatArrives:
		w.onBeatArrives(h, e.what)
	case evAnswer:
		w.onAnswer(h, e.what)
	case evAsk:
		w.onAsk(h, e.what)
	case evSource:
		w.onSource(h, e.what)
	case evGranted:
		w.onGranted(h, e.what, e.mark)
	case evLease:
		w.onLease(h, e.what)
	case evVouchAsk:
		w.onVouchAsk(h, e.what)
	case evVouched:
		w.onVouched(h, e.what)
	default:
		return false
	}
	return true
}

func (w *World) handleDaemon(h int, e event) {
	x := &w.hosts[h]
	if w.brought(h, e) {
		return
	}
	if !x.daemon {
		return
	}
	switch e.kind {
	case evTick:
		w.onTick(h, e.what, e.mark)
		return
	case evCommit:
		if e.mark == x.controller.term && x.controller.busy {
			w.onCommit(h)
		}
		return
	case evTurn:
		w.onTurn(h, e.mark)
		return
	case evLook:
		w.onLook(h, e.mark)
		return
	case evOp:
		w.onOp(h, e.mark)
		return
	}
	if e.mark != x.generation {
		return
	}
	switch e.kind {
	case evBeat:
		w.onBeat(h, true)
	case evSync:
		if e.what == 1 {
			w.follow(h)
		} else {
			w.onSync(h)
		}
	case evDaemon:
		w.onDaemon(h)
	case evGrant:
		w.onGrant(h)
	case evVouch:
		w.onVouch(h)
	case evProve:
		w.onProve(h)
	case evProbe:
		w.onProbe(h)
	case evProbed:
		w.onProbed(h, int(e.what))
	}
}

func (w *World) handleServer(h int, e event) {
	switch e.kind {
	case evStream, evReceived, evSender, evBroken:
		if i := int(e.what); w.conns[i].id == e.mark {
			switch e.kind {
			case evStream:
				w.onStream(i)
			case evReceived:
				w.onReceived(i)
			case evSender:
				w.conns[i].names = w.hosts[w.conns[i].up].pg.conf.names
			case evBroken:
				w.onBroken(h, i)
			}
		}
		return
	case evReply:
		w.onReply(e.mark, int(e.what))
		return
	}
	p := &w.hosts[h].pg
	if p.pid != e.mark {
		return
	}
	switch e.kind {
	case evStartup:
		w.onStartup(h)
	case evReload:
		w.onReload(h)
	case evCheckpointer:
		w.onCheckpointer(h)
	case evFlushed:
		w.onFlushed(h, int(e.what))
	case evTend:
		w.onTend(h)
	}
}

// onWrite: a client commits somewhere where it is let in.
func (w *World) onWrite() {
	w.after(w.wait(w.Writes), evWrite, 0, 0, 0)
	first := w.n(len(w.hosts))
	for k := range w.hosts {
		h := (first + k) % len(w.hosts)
		x := &w.hosts[h]
		p := &x.pg
		w.guards(h)
		if !x.up || x.frozen > w.now || p.stopping || !p.primary || !p.conf.open && !p.sessions || p.pid == 0 {
			continue
		}
		p.sessions = true
		w.see(h)
		at := w.write(h)
		w.oracle.begin(p.log.records[at-1].id, w.now)
		if w.n(8) == 0 || x.stalled > w.now {
			w.after(w.soon(), evFlushed, h, int32(at), p.pid)
		} else {
			w.onFlushed(h, at)
		}
		return
	}
}

// onFlushed: a commit record is on disk; the session waits, if commits do.
func (w *World) onFlushed(h, at int) {
	x := &w.hosts[h]
	p := &x.pg
	if p.flushed < at && !w.flush(h) {
		w.after(x.stalled-w.now+w.soon(), evFlushed, h, int32(at), p.pid)
		return
	}
	if !p.sessions || p.stopping || at <= p.terminated {
		return // the session was ended meanwhile
	}
	c := waiter{id: p.log.records[at-1].id, position: at}
	switch {
	case !p.commits || at <= p.released:
		w.acknowledge(h, c)
	case !slices.ContainsFunc(p.waiting, func(o waiter) bool { return o.id == c.id }):
		p.waiting = append(p.waiting, c)
	}
}
