package ha

import (
	"time"

	"github.com/pgctl/pgctl/internal/planted"
)

// LateTick is by how much a tick of the observer may be late and still count: beyond it the silence
// may have been the observer's own.
const LateTick = 150 * time.Millisecond

// Hearing is what a server remembers of heartbeats. Its clock counts punctual ticks only, so that the
// observer's own pauses are nobody's silence. NewHearing makes one.
type Hearing struct {
	now       time.Duration // punctual time
	last      time.Duration // the host's clock at the last tick; 0 before the first
	restarted time.Duration // punctual time at which all silences began anew
	hosts     map[string]*Heard
}

// Heard is the last word of one host. Times are punctual ones.
type Heard struct {
	At      time.Duration
	Number  uint64 // of its last beat
	Reports map[string]Report
	Ended   Silence                  // the longest that ended and that nobody has asked for yet
	Each    map[string]time.Duration // by instance: a host that speaks may be silent about one
}

// NewHearing has heard nobody.
func NewHearing() Hearing { return Hearing{hosts: map[string]*Heard{}} }

// Tick advances the punctual clock; clock is the host's. A late tick restarts every silence, and says so.
func (h *Hearing) Tick(clock time.Duration) (late bool) {
	elapsed := clock - h.last
	if late = h.last == 0 || elapsed > Tick+LateTick && !planted.OwnPauseIsSilence.On(); late {
		h.Restart()
		elapsed = Tick
	}
	h.last = clock
	h.now += elapsed
	return late
}

// Restart makes every silence begin now: after an election of the own, or a pause.
func (h *Hearing) Restart() {
	h.restarted = h.now
	for _, host := range h.hosts {
		host.At = h.now
		for instance := range host.Each {
			host.Each[instance] = h.now
		}
	}
}

// Hear notes a beat; news are the instances about which it brings something that a controller should
// look at now, strange that the host was never heard before.
func (h *Hearing) Hear(host string, number uint64, reports []Report) (news []string, strange bool) {
	from := h.hosts[host]
	if strange = from == nil; strange {
		from = &Heard{Reports: map[string]Report{}, Each: map[string]time.Duration{}}
		h.hosts[host] = from
	}
	if s, ended := silence(h.now-from.At, from.Number, number); ended && !strange && s.Length > from.Ended.Length {
		from.Ended = s
	}
	from.At, from.Number = h.now, number
	for _, r := range reports {
		old, known := from.Reports[r.Instance]
		if !known || !old.Same(&r) || len(r.Senders) > 0 && r.Promoted != nil || r.Probe != nil {
			news = append(news, r.Instance)
		}
		from.Reports[r.Instance], from.Each[r.Instance] = r, h.now
	}
	return news, strange
}

// Report is the last word about an instance, and for how long its host has been silent about it. What
// was never heard has been silent since the observer's clocks began, or since then.
func (h *Hearing) Report(host, instance string, since time.Duration) (Report, time.Duration) {
	if from := h.hosts[host]; from != nil {
		if at, known := from.Each[instance]; known {
			return from.Reports[instance], h.now - at
		}
	}
	return Report{}, h.now - max(since, h.restarted)
}

// Hosts are the hosts that were heard of.
func (h *Hearing) Hosts() map[string]*Heard { return h.hosts }

// Began is when all silences last began anew.
func (h *Hearing) Began() time.Duration { return h.restarted }

// Punctual is the time that the observer's clock shows.
func (h *Hearing) Punctual() time.Duration { return h.now }

// Clock is the host's clock at the last tick.
func (h *Hearing) Clock() time.Duration { return h.last }
