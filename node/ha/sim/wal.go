package sim

import (
	"slices"

	"github.com/pgctl/pgctl"
)

// record is one record of a write-ahead log. Its number is drawn when it is written, and a copy keeps
// it, so that histories can be compared for what they are and not for their lengths.
type record struct {
	id       uint32
	timeline pgctl.Timeline
}

// wal is the log that a data directory stands for: what is applied to its pages, then what follows. The
// position of a record is its number in the log, from 1.
type wal struct {
	records  []record
	switches []pgctl.Switch // never changed in place: views share it
}

func (l *wal) end() int { return len(l.records) }

// at is the timeline of a position.
func (l *wal) at(position int) pgctl.Timeline {
	if position == 0 {
		return 1
	}
	return l.records[position-1].timeline
}

func (l *wal) position(at int) pgctl.Position {
	return pgctl.Position{Timeline: l.at(at), LSN: pgctl.LSN(at)}
}

func (l *wal) append(r record) {
	if n := l.end(); n > 0 && l.at(n) != r.timeline {
		l.switches = append(slices.Clip(l.switches), pgctl.Switch{Timeline: l.at(n), End: pgctl.LSN(n)})
	}
	l.records = append(l.records, r)
}

// cut forgets what follows a position.
func (l *wal) cut(at int) {
	l.records = l.records[:at]
	l.switches = slices.Clone(l.history(at))
}

// history is the ancestry of the timeline at a position.
func (l *wal) history(at int) pgctl.LogHistory {
	n := len(l.switches)
	for n > 0 && int(l.switches[n-1].End) >= at {
		n--
	}
	return l.switches[:n:n]
}

// has says whether a record is in the log; a record keeps its position in every log.
func (l *wal) has(id uint32, position int) bool {
	return position <= l.end() && l.records[position-1].id == id
}

// common is the end of what two logs share.
func (l *wal) common(other *wal) int {
	n := min(l.end(), other.end())
	for i := range n {
		if l.records[i] != other.records[i] {
			return i
		}
	}
	return n
}

// ruin is what an interrupted rewind leaves: segments of the source, and pages that are not its pages.
func (l *wal) ruin(common int, source *wal) {
	l.copyOf(source, source.end())
	for i := common; i < l.end(); i++ {
		l.records[i].id = 0
	}
}

// copyOf takes over another log up to a position.
func (l *wal) copyOf(other *wal, upTo int) {
	l.records = append(l.records[:0:0], other.records[:upTo]...)
	l.switches = slices.Clone(other.history(upTo))
}
