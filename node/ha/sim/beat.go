package sim

import (
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// message is a datagram or a call under way.
type message struct {
	from, to   int8
	generation uint64 // of the daemon that waits for an answer
	number     uint64
	report     *ha.Report // shared, never changed
	source     *ha.Source
	epoch      uint64
	ask        *ha.VouchRequest
	life       pgctl.Life
}

// post keeps a message until it arrives.
func (w *World) post(m message) int32 {
	if n := len(w.free); n > 0 {
		at := w.free[n-1]
		w.free = w.free[:n-1]
		w.messages[at] = m
		return at
	}
	w.messages = append(w.messages, m)
	return int32(len(w.messages) - 1)
}

func (w *World) take(at int32) message {
	m := w.messages[at]
	w.messages[at] = message{}
	w.free = append(w.free, at)
	return m
}

// datagram sends what may be lost, late or doubled.
func (w *World) datagram(k kind, m message) {
	if w.n(100) < w.Loss || !w.reaches(int(m.from), int(m.to)) {
		return
	}
	w.after(w.latency()+w.slow[m.to], k, int(m.to), w.post(m), 0)
	if w.n(200) == 0 {
		w.after(w.latency()+time.Duration(w.n(1500))*time.Millisecond, k, int(m.to), w.post(m), 0)
	}
}

// onBeat sends a heartbeat to every server; also at once when there is news.
func (w *World) onBeat(h int, again bool) {
	x := &w.hosts[h]
	if again {
		w.after(ha.Heartbeat+time.Duration(w.n(5))*time.Millisecond, evBeat, h, 0, x.generation)
	}
	x.beats++
	x.sent[x.beats%uint64(len(x.sent))] = w.clock(h)
	m := message{from: int8(h), number: x.beats, generation: x.generation}
	if x.agent.employed {
		report := x.agent.report
		m.report = &report
		m.report.ProofAge, m.report.Vouched = w.now-x.agent.proven, w.clock(h)-x.agent.vouching.at
		if p := x.agent.probe; p != nil && w.now-x.agent.probed < ha.DetectLeast {
			aged := *p
			aged.Age = w.now - x.agent.probed
			m.report.Probe = &aged
		}
	}
	for s := range servers {
		m.to = int8(s)
		w.datagram(evBeatArrives, m)
	}
}

func (w *World) onBeatArrives(h int, at int32) {
	m := w.take(at)
	x := &w.hosts[h]
	if !x.daemon || m.generation<<32|m.number <= x.heardBeat[m.from] {
		return
	}
	x.heardBeat[m.from] = m.generation<<32 | m.number
	var reports []ha.Report
	if m.report != nil && m.report.Instance != "" {
		w.heard[0] = *m.report
		reports = w.heard[:]
	}
	if news, _ := x.hearing.Hear(w.hosts[m.from].name, m.number, reports); len(news) > 0 && x.leads {
		w.after(time.Millisecond, evTick, h, 2, x.controller.term)
	}
	if x.controller.ask[m.from] {
		x.controller.ask[m.from] = false
		w.datagram(evAnswer, message{from: int8(h), to: m.from, generation: m.generation})
	}
}

// onAnswer: a server asks for a proof of the leader.
func (w *World) onAnswer(h int, at int32) {
	m := w.take(at)
	if x := &w.hosts[h]; x.daemon && x.generation == m.generation && x.agent.employed {
		w.after(w.soon(), evProbe, h, 0, x.generation)
	}
}
