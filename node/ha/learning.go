package ha

import "time"

// Silence is one of a host that ended by itself: the same daemon was heard again.
type Silence struct {
	Length time.Duration // punctual time
	Alive  bool          // its daemon spoke all the time, and nothing arrived
}

// DetectMemory is how long what was learned about a host's silences stands before it is halved.
const DetectMemory = 24 * time.Hour

// silence judges a beat that comes after another of the same daemon; false when there was none to speak of,
// or the daemon was started anew: then it counts its beats from one.
func silence(gap time.Duration, before, number uint64) (Silence, bool) {
	if number <= before || gap <= Fresh {
		return Silence{}, false
	}
	return Silence{Length: gap, Alive: time.Duration(number-before)*Heartbeat > gap/2}, true
}

// Learn is what silence means failure of a host after this one. The leader that it carries was left alone,
// since nobody noticed or nobody else could have led; or another was elected although it served on all the
// time (false). Both would have been spared by more patience; a host that was really still would not.
func Learn(detect time.Duration, s Silence, moved bool) (_ time.Duration, falsely bool) {
	detect = max(detect, DetectLeast)
	if moved && !s.Alive {
		return detect, false
	}
	return min(max(detect, s.Length*3/2), DetectMost), moved
}

// Forget is what is left of that a day later.
func Forget(detect time.Duration) time.Duration { return max(detect/2, DetectLeast) }

// Silences are those that ended since the last call, the longest of each host.
func (h *Hearing) Silences() map[string]Silence {
	ended := map[string]Silence{}
	for name, host := range h.hosts {
		if host.Ended.Length > 0 {
			ended[name], host.Ended = host.Ended, Silence{}
		}
	}
	return ended
}
