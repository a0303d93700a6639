package explore

import (
	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// record is one record of a log: who wrote it on which timeline, and whether it is a client's. With its
// position it is what was written: a primary writes nothing twice.
type record uint8

func newRecord(timeline uint8, by life, client bool) record {
	r := record(timeline<<5 | uint8(by)<<1)
	if client {
		r |= 1
	}
	return r
}

func (r record) timeline() uint8 { return uint8(r >> 5) }
func (r record) client() bool    { return r&1 != 0 }

// timeline is that of the last record up to a position.
func (n *node) timeline(at uint8) uint8 {
	if at == 0 {
		return 1
	}
	return n.log[at-1].timeline()
}

// append writes and flushes a record of a primary.
func (n *node) append(r record) {
	n.log[n.end] = r
	n.end++
	n.flushed = n.end
}

// cut forgets what follows a position.
func (n *node) cut(at uint8) {
	for i := at; i < maxLog; i++ {
		n.log[i] = 0
	}
	n.end, n.flushed = at, min(n.flushed, at)
}

// copyOf takes over what another has flushed.
func (n *node) copyOf(other *node) {
	n.cut(0)
	copy(n.log[:], other.log[:other.flushed])
	n.end, n.flushed = other.flushed, other.flushed
}

func (n *node) has(a acked) bool { return a.at <= n.end && n.log[a.at-1] == a.record }

// common is the end of what two logs share.
func (n *node) common(o *node) uint8 {
	at := uint8(0)
	for at < n.end && at < o.end && n.log[at] == o.log[at] {
		at++
	}
	return at
}

// history is the ancestry of the timeline at a position.
func history(log *[maxLog]record, at uint8) pgctl.LogHistory {
	var h pgctl.LogHistory
	for i := uint8(1); i < at; i++ {
		if log[i].timeline() != log[i-1].timeline() {
			h = append(h, pgctl.Switch{Timeline: pgctl.Timeline(log[i-1].timeline()), End: pgctl.LSN(i)})
		}
	}
	return h
}

// parent is the timeline that the one at the end left, and where.
func (n *node) parent() (timeline, left uint8) {
	for i := n.end; i > 1; i-- {
		if n.log[i-1].timeline() != n.log[i-2].timeline() {
			return n.log[i-2].timeline(), i - 1
		}
	}
	return 0, 0
}

// branch says where a timeline is left in a log; on is false where the log was never on it, and left is
// beyond every end where the log is still on it.
func (n *node) branch(timeline, end uint8) (left uint8, on bool) {
	for i := range end {
		if n.log[i].timeline() == timeline {
			on = true
		} else if on {
			return i, true
		}
	}
	return maxLog + 1, on
}

// pair is a log to be compared with a leader's.
type pair struct {
	own, source  [maxLog]record
	end, flushed uint8
	mark         uint8
}

// compare is ha.Fitting of what a node has with what another one, which leads, has flushed.
func (e *engine) compare(n, source *node) ha.Fit {
	key := pair{own: n.log, source: source.log, end: n.end, flushed: source.flushed, mark: n.mark}
	if fit, known := e.compared[key]; known {
		return fit
	}
	server := ha.Server{
		Timeline: pgctl.Timeline(n.timeline(n.end)), Replayed: pgctl.LSN(n.end), History: history(&n.log, n.end),
	}
	fit, _ := ha.Fitting(ha.Local{Mark: pgctl.Timeline(n.mark)}, server, ha.Source{
		Timeline: pgctl.Timeline(source.timeline(source.flushed)), End: pgctl.LSN(source.flushed),
		History: history(&source.log, source.flushed),
	})
	e.compared[key] = fit
	return fit
}
