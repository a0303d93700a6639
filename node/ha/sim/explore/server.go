package explore

import "github.com/pgctl/pgctl/internal/planted"

// byItself are the steps that nobody decides: what PostgreSQL does, by the facts of failover.md, and how a
// confirmation goes on. In a coarse world they happen at once.
func (e *engine) byItself(s *state) {
	for i := range e.Nodes {
		n := &s.nodes[i]
		if n.run == down {
			continue
		}
		if n.waits != (n.names != namesEmpty) { // the checkpointer follows a reload (P4)
			t := *s
			t.nodes[i].waits = !n.waits
			if n.waits {
				t.acknowledge(i, n.end)
			}
			e.add(&t, step{do: checkpointerFollows, a: uint8(i)})
		}
		if up := s.receiver(i); up >= 0 && n.upNode != uint8(up+1) { // by its number: it does not go by itself (P10)
			t := *s
			t.conn(up, i).receives = false
			e.add(&t, step{do: endsReceiver, a: uint8(i)})
		}
		e.connect(s, i)
		if n.run == primary {
			e.confirmSteps(s, i)
		}
	}
	for up := range e.Nodes {
		for at := range e.Nodes {
			if s.conn(up, at).life != 0 {
				e.senderSteps(s, up, at)
			}
		}
	}
}

// senderSteps are those of a WAL sender.
func (e *engine) senderSteps(s *state, up, at int) {
	k, source := s.conn(up, at), &s.nodes[up]
	if k.names != source.names { // it follows a reload (P4)
		t := *s
		t.conn(up, at).names = source.names
		e.add(&t, step{do: senderFollows, a: uint8(up), b: uint8(at)})
	}
	if k.receives || k.taken != k.reported {
		e.hear(s, up, at)
	}
	if !k.receives { // the upstream notices at last that the connection is half-open
		t := *s
		*t.conn(up, at) = conn{}
		e.add(&t, step{do: senderEnds, a: uint8(up), b: uint8(at)})
	}
}

// rush takes all steps that nobody decides, in a fixed order.
func (e *engine) rush(s *state) {
	for first := len(e.out); ; {
		e.rushing = true
		e.byItself(s)
		e.rushing = false
		if len(e.out) == first {
			return
		}
		*s = e.out[first].state
		e.out = e.out[:first]
	}
}

// dataSteps are those of clients, and what standbys receive.
func (e *engine) dataSteps(s *state) {
	for i := range e.Nodes {
		n := &s.nodes[i]
		e.write(s, i)
		if n.end > n.flushed && n.run == standby {
			t := *s
			t.nodes[i].flushed = n.end
			e.add(&t, step{do: flushes, a: uint8(i)})
		}
		if n.unsure && n.run != down {
			t := *s
			t.nodes[i].unsure = false
			e.add(&t, step{do: readsToEnd, a: uint8(i)})
		}
		for up := range e.Nodes {
			e.receive(s, up, i)
		}
	}
}

// write: a client commits where it is let in.
func (e *engine) write(s *state, i int) {
	n := &s.nodes[i]
	if n.run != primary || !n.open || s.used[writes] >= e.Writes || n.end == maxLog {
		return
	}
	t := *s
	t.used[writes]++
	w := &t.nodes[i]
	w.append(newRecord(w.timeline(w.end), w.life, true))
	if !w.waits || w.end <= w.release {
		t.acknowledge(i, w.end)
	}
	e.add(&t, step{do: commits, a: uint8(i), b: w.end})
}

// connect: a standby's receiver connects to what is configured, when its own log has ended.
func (e *engine) connect(s *state, i int) {
	n := &s.nodes[i]
	if n.run != standby || n.upNode == 0 || s.receiver(i) >= 0 {
		return
	}
	up := int(n.upNode - 1)
	k, source := s.conn(up, i), &s.nodes[up]
	if source.run == down || k.life != 0 && !planted.MemberTwice.On() { // a slot has one connection (P5)
		return
	}
	own, theirs := n.timeline(n.end), source.timeline(source.end)
	left, on := source.branch(own, source.end)
	if !on || own > theirs {
		return // "requested timeline is not in this server's history"
	}
	t := *s
	ghost := uint8(0)
	if k.life == n.life && k.epoch == n.upEpoch {
		ghost = max(k.taken, k.ghost)
	}
	// It begins by reporting what it has, whether or not the sender has that (P1).
	*t.conn(up, i) = conn{
		names: source.names, life: n.life, epoch: n.upEpoch, reported: n.flushed, receives: true, stuck: n.end > left, ghost: ghost,
	}
	e.add(&t, step{do: connects, a: uint8(i), b: uint8(up)})
}

// receive: one more record arrives and is flushed, or the connection breaks and the upstream does not notice.
func (e *engine) receive(s *state, up, at int) {
	k, source, n := s.conn(up, at), &s.nodes[up], &s.nodes[at]
	archive := planted.RestoreCommandOn.On() && source.run == primary && n.run == standby && !k.receives &&
		n.end < source.flushed && n.common(source) == n.end
	left, on := source.branch(n.timeline(n.end), source.end)
	streams := k.receives && !k.stuck && on && n.end <= left // else the sender ends where it left that timeline
	if streams && n.end < source.flushed || archive {
		t := *s
		m := &t.nodes[at]
		m.log[m.end] = source.log[m.end]
		m.end++
		if !planted.WrittenIsFlushed.On() {
			m.flushed = m.end
		}
		if k.receives {
			t.conn(up, at).reported = m.end
		}
		e.add(&t, step{do: receives, a: uint8(at), b: m.end})
	}
	if k.receives && s.used[cuts] < e.Cuts {
		t := *s
		t.used[cuts]++
		t.conn(up, at).receives = false
		e.add(&t, step{do: breaks, a: uint8(at), b: uint8(up)})
	}
}

// hear: a WAL sender takes the receiver's word, and releases commits by its own idea of the rule (P4).
func (e *engine) hear(s *state, up, at int) {
	t := *s
	k := t.conn(up, at)
	k.known, k.taken = true, max(k.taken, k.reported)
	if n := &t.nodes[up]; n.op == probed && k.receives && k.reported >= n.opProbe {
		k.fresh, k.names = true, n.names // a sender reloads before it reads replies to what it sent since
	}
	if source := &t.nodes[up]; source.run == primary && k.names.counts(k.life, k.epoch) {
		if upTo := t.released(e, up, k.names); upTo > source.release {
			source.release = upTo
			t.acknowledge(up, upTo)
		}
	}
	if *k != *s.conn(up, at) || t.nodes[up].release != s.nodes[up].release {
		e.add(&t, step{do: hears, a: uint8(up), b: uint8(at), c: k.taken})
	}
}

// released is the position that so many have answered as names ask for; who counts is each sender's own
// belief.
func (s *state) released(e *engine, up int, by names) uint8 {
	var answered [2 * maxNodes]uint8
	n := 0
	for i := range e.Nodes {
		k := s.conn(up, i)
		if k.life == 0 || !k.known || !k.names.counts(k.life, k.epoch) {
			continue
		}
		answered[n] = k.taken
		n++
		if k.ghost != 0 {
			answered[n] = k.ghost
			n++
		}
	}
	need := int(by.acks())
	if need > n {
		return 0
	}
	for range need - 1 { // drop the highest ones
		highest := 0
		for i := range n {
			if answered[i] > answered[highest] {
				highest = i
			}
		}
		answered[highest] = 0
	}
	last := uint8(0)
	for _, position := range answered[:n] {
		last = max(last, position)
	}
	return last
}

// stop ends all processes of a server. Its own receiver's connection stays half-open at the upstream;
// who streamed from it notices. Sessions are gone: nobody waits any more.
func (s *state) stop(e *engine, i int) {
	n := &s.nodes[i]
	s.halted = s.halted || s.store.plan.on && s.store.plan.from == n.life
	n.run, n.open, n.waits, n.closed, n.release = down, false, false, n.end, 0
	n.forgetOp()
	n.confirmEpoch, n.confirmVersion = 0, 0
	for k := range e.Nodes {
		*s.conn(i, k) = conn{}
		if c := s.conn(k, i); c.receives {
			c.receives = false
		}
	}
}

// crash is a loss of power: what was not flushed is gone.
func (s *state) crash(e *engine, i int) {
	s.stop(e, i)
	n := &s.nodes[i]
	n.cut(n.flushed)
	n.closed = min(n.closed, n.end)
	if planted.NamesNotDurable.On() {
		n.names, n.older = n.older, 0
	}
	if planted.PledgeForgotten.On() {
		n.pledge, n.seen = 0, 0
	}
}

// forgetOp ends the confirmation under way.
func (n *node) forgetOp() {
	n.op, n.opNames, n.opEpoch, n.opVersion, n.opJoint, n.opProbe = idle, 0, 0, 0, 0, 0
}
