package peer

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"time"
)

// receiver is what the reading goroutine remembers.
//
// That a datagram is fresh, and not one that somebody recorded, follows from two things: it repeats a
// challenge that was drawn for its session when the session was first heard after another one (or
// after our own start), and its sequence is higher than any before. No clock is involved.
type receiver struct {
	bySession map[token]*session
	byHost    map[string]*peerState
	answered  map[string]answered // by host

	complained time.Time // when a datagram of another key was last logged
	frame      frame
}

// answered is the last of our datagrams that somebody answered.
type answered struct {
	beat uint64
	part uint16
}

// session is one open socket of another host.
type session struct {
	id        token
	aead      cipher.AEAD
	challenge token
	sequence  uint64 // the highest that counted
	boot      string
}

// peerState is one host with the session that counts and one that has not proved yet to be alive.
type peerState struct {
	name              string
	active, candidate *session
}

func (h *Heartbeats) read() {
	buf := make([]byte, bufferSize)
	for {
		n, from, err := h.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			h.config.Log.Warn("heartbeats: receiving failed", "error", err)
			select { // a network that is down would let this loop spin
			case <-h.done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if err := h.handle(buf[:n], from); errors.Is(err, errForeign) && time.Since(h.receiver.complained) > complainOnce {
			h.receiver.complained = time.Now()
			h.config.Log.Warn("heartbeats from " + from.String() + " are encrypted with another key: " +
				"compare the gossip keys of the two hosts")
		}
	}
}

// handle takes one datagram. It decrypts in place.
func (h *Heartbeats) handle(datagram []byte, from netip.AddrPort) error {
	id, sequence, err := header(datagram)
	if err != nil {
		return err
	}
	r := &h.receiver
	s, known := r.bySession[id]
	if !known {
		aead, err := h.keys.session(id)
		if err != nil {
			return err
		}
		s = &session{id: id, aead: aead}
	}
	f := &r.frame
	if err := open(datagram, s.aead, sequence, f); err != nil {
		return err
	}
	switch {
	case f.kind == kindBeat && h.config.OnBeat != nil:
		h.handleBeat(s, f, sequence, from)
	case f.token != h.session:
		// For a former process on this address.
	case f.kind == kindChallenge:
		h.challenged(f)
	case f.kind == kindAnswer && h.config.OnAnswer != nil && len(f.payloads) == 1:
		last := r.answered[string(f.host)]
		if f.beat < last.beat || f.beat == last.beat && f.part <= last.part {
			return nil
		}
		host := string(f.host)
		r.answered[host] = answered{f.beat, f.part}
		h.config.OnAnswer(Answer{Host: host, Beat: f.beat, Part: int(f.part) - 1, Payload: f.payloads[0], From: from})
	}
	return nil
}

func (h *Heartbeats) handleBeat(s *session, f *frame, sequence uint64, from netip.AddrPort) {
	p, ok := h.receiver.byHost[string(f.host)]
	if !ok {
		p = &peerState{name: string(f.host)}
		h.receiver.byHost[p.name] = p
	}
	switch {
	case s != p.active && s != p.candidate:
		// One place for a newcomer is enough: two processes of one name are a mistake anyway.
		h.receiver.forget(p.candidate)
		_, _ = rand.Read(s.challenge[:])
		s.boot, s.sequence = string(f.boot), 0
		p.candidate = s
		h.receiver.bySession[s.id] = s
		fallthrough
	case f.token != s.challenge:
		if sequence > s.sequence {
			h.reply(from, s.id, kindChallenge, f, s.challenge[:])
		}
		return
	case sequence <= s.sequence:
		return
	case s == p.candidate:
		h.receiver.forget(p.active)
		p.active, p.candidate = s, nil
	}
	s.sequence = sequence
	answer := h.config.OnBeat(Beat{
		Host: p.name, Boot: s.boot, Number: f.beat, Part: int(f.part) - 1, Parts: int(f.parts),
		Sequence: sequence, Payloads: f.payloads, From: from,
	})
	if answer == nil {
		return
	}
	if len(answer) > PayloadLimit {
		h.config.Log.Error("heartbeats: an answer is too long", "host", p.name, "bytes", len(answer))
		return
	}
	h.reply(from, s.id, kindAnswer, f, answer)
}

func (r *receiver) forget(s *session) {
	if s != nil {
		delete(r.bySession, s.id)
	}
}
