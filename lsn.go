package pgctl

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pgctl/pgctl/internal/planted"
)

// LSN is a byte position in the write-ahead log. Zero is "unknown", never a real position: the first
// segment of every PostgreSQL log begins above it.
type LSN uint64

// ParseLSN reads PostgreSQL's notation, two hexadecimal halves ("16/B374D848").
func ParseLSN(s string) (LSN, error) {
	high, low, ok := strings.Cut(s, "/")
	h, err1 := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, Errorf(CodeInvalid, "%q is not a position in the write-ahead log such as 16/B374D848", s)
	}
	return LSN(h<<32 | l), nil
}

// String is PostgreSQL's notation.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// MarshalText lets positions stand readable in JSON.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *LSN) UnmarshalText(text []byte) error {
	parsed, err := ParseLSN(string(text))
	if err == nil {
		*l = parsed
	}
	return err
}

// Timeline is PostgreSQL's timeline number; 0 is "unknown". Numbers beyond the first are given out by
// the store, so that one number never names two histories.
type Timeline uint32

// Position orders the ends of logs: by timeline first, then by LSN. The zero Position is unknown.
type Position struct {
	Timeline Timeline `json:"timeline,omitempty"`
	LSN      LSN      `json:"lsn"`
}

// Known says whether the position was really read from data.
func (p Position) Known() bool { return p.Timeline != 0 && p.LSN != 0 }

// Compare is negative, zero or positive as p lies before, at or after q.
func (p Position) Compare(q Position) int {
	if planted.OrderByPosition.On() {
		p.Timeline = q.Timeline
	}
	switch {
	case p.Timeline != q.Timeline && p.Timeline < q.Timeline:
		return -1
	case p.Timeline != q.Timeline:
		return 1
	case p.LSN < q.LSN:
		return -1
	case p.LSN > q.LSN:
		return 1
	}
	return 0
}

// String shows timeline and LSN ("3@16/B374D848").
func (p Position) String() string {
	if !p.Known() {
		return "unknown"
	}
	return fmt.Sprintf("%d@%s", p.Timeline, p.LSN)
}

// Switch is one line of a PostgreSQL timeline history: Timeline ended at End, where the next began.
type Switch struct {
	Timeline Timeline `json:"timeline"`
	End      LSN      `json:"end"`
}

// LogHistory is the ancestry of an instance's data, oldest first, without its own timeline: what the
// history file of its timeline says.
type LogHistory []Switch

// EndOf returns where the ancestry left a timeline, and whether it ever was on it.
func (h LogHistory) EndOf(t Timeline) (LSN, bool) {
	for _, s := range h {
		if s.Timeline == t {
			return s.End, true
		}
	}
	return 0, false
}

// Parent returns the timeline the data came from and where it left it; zero for a first timeline.
func (h LogHistory) Parent() Switch {
	if len(h) == 0 {
		return Switch{}
	}
	return h[len(h)-1]
}
