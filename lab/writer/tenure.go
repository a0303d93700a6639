package writer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// ack is one acknowledged row.
type ack struct {
	id        int64
	server    string
	timeline  string
	sent, got time.Duration // CLOCK_MONOTONIC
}

// tenure is what was acknowledged on one timeline: that names an ordered history, since a leader that
// takes over, or comes back, begins a new one.
type tenure struct {
	servers   []string
	firstGot  time.Duration
	lastSent  time.Duration
	lastOnRow int64
}

// monotonic reads the clock that all processes of a machine share, unlike time.Time's.
func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // never fails on Linux
	return time.Duration(now.Nano())
}

// remember enters an acknowledgement into its tenure and the journal. The caller holds the lock.
func (w *Writer) remember(a ack) {
	t := w.tenures[a.timeline]
	if t == nil {
		t = &tenure{firstGot: a.got}
		w.tenures[a.timeline] = t
	}
	if !slices.Contains(t.servers, a.server) {
		t.servers = append(t.servers, a.server)
	}
	t.firstGot = min(t.firstGot, a.got)
	if a.sent > t.lastSent {
		t.lastSent, t.lastOnRow = a.sent, a.id
	}
	if w.config.Journal != nil && w.journal == nil {
		_, w.journal = fmt.Fprintf(w.config.Journal, "%d %d %d %s %s\n", a.got, a.sent, a.id, a.server, a.timeline)
	}
}

// overlaps names the servers that wrote side by side: two on one timeline, or one that acknowledged a
// row which was sent to it when a newer timeline had acknowledged one already. The caller holds the lock.
func (w *Writer) overlaps() []string {
	var found []string
	order := slices.Sorted(maps.Keys(w.tenures))
	for i, older := range order {
		old := w.tenures[older]
		if len(old.servers) > 1 {
			found = append(found, fmt.Sprintf("%v all wrote on timeline %s", old.servers, older))
		}
		for _, newer := range order[i+1:] {
			if by := old.lastSent - w.tenures[newer].firstGot; by > 0 {
				found = append(found, fmt.Sprintf("%v acknowledged row %d on timeline %s, sent %s after the first acknowledgement of %v on %s",
					old.servers, old.lastOnRow, older, by, w.tenures[newer].servers, newer))
			}
		}
	}
	return found
}
