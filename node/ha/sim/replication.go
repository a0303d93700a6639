package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// conn is a replication connection: a WAL sender on one host, a WAL receiver on another. Either end may
// be gone without the other knowing.
type conn struct {
	id        uint64
	up, down  int8
	life      pgctl.Life // of the name and of the slot
	epoch     pgctl.Epoch
	sending   bool // the sender is there
	receiving bool // the receiver is there
	streaming bool // it has caught up once
	stuck     bool // the receiver's data left the sender's history: nothing will be appended
	due       bool // an event of the stream is under way

	names    int // the sender's own copy of the settings (P4)
	known    bool
	flushed  int // by the last answer
	answered int
}

// receiverOf is the connection of a host's WAL receiver, or -1.
func (w *World) receiverOf(h int) int {
	return slices.IndexFunc(w.conns, func(c conn) bool { return c.receiving && int(c.down) == h })
}

// feeds says whether a connection is what the settings ask for.
func (w *World) feeds(i int, to target) bool {
	c := &w.conns[i]
	return to.set && to.host == c.up && to.epoch == c.epoch
}

// connect has a standby's receiver connect to its upstream, as PostgreSQL does by itself whenever its
// log ends.
func (w *World) connect(h int) {
	down := &w.hosts[h].pg
	to := down.upstream
	up := &w.hosts[to.host].pg
	if !w.reaches(h, int(to.host)) || !w.reaches(int(to.host), h) || w.hosts[to.host].frozen > w.now ||
		up.state != ha.Running || up.stopping || int(to.host) == h || w.Lasting == Barren && w.broken == int(to.host)+1 {
		return
	}
	if busy := slices.ContainsFunc(w.conns, func(c conn) bool {
		return c.sending && c.up == to.host && c.life == down.life // a slot has one connection (P5)
	}); (busy || !slices.Contains(up.slots, down.life)) && !planted.MemberTwice.On() {
		return
	}
	own, theirs := down.log.at(down.log.end()), up.log.at(up.log.end())
	left, shared := up.log.history(up.log.end()).EndOf(own)
	switch {
	case own > theirs || own != theirs && !shared:
		return // "requested timeline is not in this server's history"
	case own == theirs:
		left = pgctl.LSN(1 << 60)
	}
	w.connections++
	c := conn{
		id: w.connections, up: to.host, down: int8(h), life: down.life, epoch: to.epoch, sending: true, receiving: true,
		names: up.conf.names, stuck: pgctl.LSN(down.log.end()) > left,
	}
	for t := own + 1; t <= theirs; t++ {
		down.histories |= up.histories & (1 << t)
	}
	down.streamed = true
	free := slices.IndexFunc(w.conns, func(c conn) bool { return !c.sending && !c.receiving })
	if free < 0 {
		w.conns = append(w.conns, c)
		free = len(w.conns) - 1
	} else {
		w.conns[free] = c
	}
	// It begins by reporting what it has applied, whether or not the sender has that (P1).
	w.after(w.latency(), evReply, int(to.host), int32(down.replayed), c.id)
	w.stream(free)
	if w.talks {
		w.say(h, "its receiver connects to host %d as %s@%d", to.host, down.life, to.epoch)
	}
}

// stream lets a connection carry what there is.
func (w *World) stream(i int) {
	if c := &w.conns[i]; !c.due && c.sending && c.receiving {
		c.due = true
		w.after(w.latency(), evStream, int(c.down), int32(i), c.id)
	}
}

// streamAll does it for everybody who streams from a host.
func (w *World) streamAll(h int) {
	for i := range w.conns {
		if int(w.conns[i].up) == h {
			w.stream(i)
		}
	}
}

func (w *World) onStream(i int) {
	c := &w.conns[i]
	c.due = false
	up, down := &w.hosts[c.up].pg, &w.hosts[c.down].pg
	if !c.sending || !c.receiving || !w.reaches(int(c.up), int(c.down)) || w.hosts[c.up].frozen > w.now || w.n(100) < w.walLoss {
		return // TCP tries again: see onRetry
	}
	down.leaderEnd = max(down.leaderEnd, up.flushed)
	if n := min(up.flushed, up.log.end()) - down.log.end(); n > 0 && !c.stuck {
		if w.n(4) == 0 {
			n = 1 + w.n(n)
		}
		for _, r := range up.log.records[down.log.end() : down.log.end()+n] {
			down.log.append(r)
		}
		down.histories |= up.histories & (1<<(down.log.at(down.log.end())+1) - 1)
		if planted.WrittenIsFlushed.On() && w.reaches(int(c.down), int(c.up)) {
			w.after(w.latency(), evReply, int(c.up), int32(down.log.end()), c.id)
		}
	}
	if down.log.end() < up.flushed && !c.stuck {
		w.stream(i)
	} else {
		c.streaming = true
	}
	w.after(w.soon(), evReceived, int(c.down), int32(i), c.id)
}

// onReceived: what was received is flushed, then reported; only then it is replayed.
func (w *World) onReceived(i int) {
	c := &w.conns[i]
	h := int(c.down)
	if !c.receiving {
		return
	}
	if w.hosts[h].stalled > w.now {
		w.after(w.hosts[h].stalled-w.now+w.soon(), evReceived, h, int32(i), c.id)
		return
	}
	p := &w.hosts[h].pg
	p.flushed = p.log.end()
	w.startup(h, w.soon())
	w.streamAll(h)
	if w.reaches(h, int(c.up)) {
		w.after(w.latency(), evReply, int(c.up), int32(p.flushed), c.id)
	}
}

// onReply: a WAL sender takes a receiver's word, and releases commits by its own idea of the rule.
func (w *World) onReply(id uint64, flushed int) {
	i := slices.IndexFunc(w.conns, func(c conn) bool { return c.id == id && c.sending })
	if i < 0 {
		return
	}
	c := &w.conns[i]
	c.known, c.flushed, c.answered = true, max(c.flushed, flushed), max(c.answered, flushed)
	if c.stuck {
		c.streaming = true
	}
	if w.talks {
		w.say(int(c.up), "hears that %s@%d has flushed %d (streaming %v)", c.life, c.epoch, flushed, c.streaming)
	}
	p := &w.hosts[c.up].pg
	if !p.primary || !c.streaming || !w.counts(c) {
		return
	}
	var positions []int
	for k := range w.conns {
		if o := &w.conns[k]; o.sending && o.up == c.up && o.streaming && o.known && w.counts(o) {
			positions = append(positions, o.flushed)
		}
	}
	need := w.rules[c.names].acks
	if len(positions) < need {
		return
	}
	slices.Sort(positions)
	p.released = max(p.released, positions[len(positions)-need])
	w.release(int(c.up))
}

// counts says whether the sender believes that its answers count (P4).
func (w *World) counts(c *conn) bool {
	r := &w.rules[c.names]
	return r.acks > 0 && r.epoch == c.epoch && slices.Contains(r.members, c.life)
}

// release acknowledges commits up to what was released.
func (w *World) release(h int) {
	p := &w.hosts[h].pg
	kept := p.waiting[:0]
	for _, c := range p.waiting {
		if c.position <= p.released {
			w.acknowledge(h, c)
		} else {
			kept = append(kept, c)
		}
	}
	p.waiting = kept
}

// endReceiver ends a WAL receiver. It flushes what it received first, so while the disk stalls it stays.
func (w *World) endReceiver(i int) bool {
	c := &w.conns[i]
	h := int(c.down)
	if stalled := w.hosts[h].stalled; stalled > w.now {
		w.after(stalled-w.now+w.soon(), evBroken, h, int32(i), c.id)
		return false
	}
	c.receiving = false
	w.hosts[h].pg.flushed = w.hosts[h].pg.log.end()
	w.startup(h, w.soon())
	w.tellEnd(i, int(c.up), c.sending)
	return true
}

// endSender ends a WAL sender.
func (w *World) endSender(i int) {
	c := &w.conns[i]
	c.sending = false
	w.tellEnd(i, int(c.down), c.receiving)
}

// tellEnd lets the other end notice: soon when it can be told, otherwise when it gives up.
func (w *World) tellEnd(i, other int, there bool) {
	if !there {
		return
	}
	c := &w.conns[i]
	after := time.Duration(2000+w.n(8000)) * time.Millisecond // TCP user timeout, keepalives
	from := int(c.up) + int(c.down) - other
	if w.reaches(from, other) && w.hosts[from].up {
		after = w.latency()
	}
	w.after(after, evBroken, other, int32(i), c.id)
}

// onBroken: one end notices that the other is gone.
func (w *World) onBroken(h, i int) {
	switch c := &w.conns[i]; {
	case c.sending && int(c.up) == h:
		w.endSender(i)
	case c.receiving && int(c.down) == h:
		w.endReceiver(i)
	}
}

// ended ends what a dead server had of a connection. From a host without power nobody is told.
func (w *World) ended(i, h int, silent bool) {
	c := &w.conns[i]
	if c.sending && int(c.up) == h {
		c.sending = false
		if c.receiving {
			w.lastWord(i, int(c.down), silent)
		}
	}
	if c.receiving && int(c.down) == h {
		c.receiving = false
		if c.sending {
			w.lastWord(i, int(c.up), silent)
		}
	}
}

func (w *World) lastWord(i, other int, silent bool) {
	if !silent {
		w.tellEnd(i, other, true)
		return
	}
	w.after(time.Duration(2000+w.n(8000))*time.Millisecond, evBroken, other, int32(i), w.conns[i].id)
}
