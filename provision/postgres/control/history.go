package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/pgctl/pgctl"
)

var (
	historyPattern = regexp.MustCompile(`^([0-9A-F]{8})\.history$`)
	segmentPattern = regexp.MustCompile(`^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?$`)
)

// History is the ancestry of a timeline as its history file in pg_wal says; empty for the first
// timeline and for a placeholder. CodeNotFound when the file is not there.
func (i *Instance) History(t pgctl.Timeline) (pgctl.LogHistory, error) {
	if t <= 1 {
		return nil, nil
	}
	text, err := os.ReadFile(i.historyFile(t))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, pgctl.Errorf(pgctl.CodeNotFound, "%s has no history of timeline %d", i.Name, t)
	}
	if err != nil {
		return nil, err
	}
	return ParseHistory(string(text))
}

func (i *Instance) historyFile(t pgctl.Timeline) string {
	return filepath.Join(i.PGData(), "pg_wal", fmt.Sprintf("%08X.history", uint32(t)))
}

// ParseHistory reads a timeline history file of PostgreSQL.
func ParseHistory(text string) (pgctl.LogHistory, error) {
	var h pgctl.LogHistory
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) < 2 {
			return nil, fmt.Errorf("history line %q has no position", line)
		}
		t, err := strconv.ParseUint(f[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("history line %q: %w", line, err)
		}
		end, err := pgctl.ParseLSN(f[1])
		if err != nil {
			return nil, fmt.Errorf("history line %q: %w", line, err)
		}
		if p := h.Parent(); pgctl.Timeline(t) <= p.Timeline {
			return nil, fmt.Errorf("history line %q does not grow", line)
		}
		h = append(h, pgctl.Switch{Timeline: pgctl.Timeline(t), End: end})
	}
	return h, nil
}

// pad fills the numbers between two timelines with empty history files, so that a promotion takes the
// last one.
func (i *Instance) pad(from, to pgctl.Timeline) error {
	if exists(i.historyFile(to)) {
		return pgctl.Errorf(pgctl.CodeConflict, "%s knows timeline %d already", i.Name, to).
			WithHint("order a higher timeline")
	}
	for t := from + 1; t < to; t++ {
		if exists(i.historyFile(t)) {
			continue
		}
		if _, err := i.write(i.historyFile(t), nil); err != nil {
			return fmt.Errorf("placeholder for timeline %d: %w", t, err)
		}
	}
	return nil
}

// removeHistoriesAbove removes the history files of timelines above t: a standby that is started with
// them hangs without a word.
func (i *Instance) removeHistoriesAbove(t pgctl.Timeline) error {
	entries, err := os.ReadDir(filepath.Join(i.PGData(), "pg_wal"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		m := historyPattern.FindStringSubmatch(e.Name())
		if m != nil && parseHex(m[1]) > uint64(t) {
			if err := remove(filepath.Join(i.PGData(), "pg_wal", e.Name())); err != nil {
				return err
			}
			i.Log.Info("history file above the data's timeline removed", "instance", i.Name, "file", e.Name())
		}
	}
	return nil
}

// highestSegment is the highest timeline of which a segment lies in pg_wal; with a segment number, of
// which that segment does. 0 when there is none.
func (i *Instance) highestSegment(covers func(high, low uint64) bool) (pgctl.Timeline, error) {
	entries, err := os.ReadDir(filepath.Join(i.PGData(), "pg_wal"))
	if err != nil {
		return 0, err
	}
	var highest pgctl.Timeline
	for _, e := range entries {
		if m := segmentPattern.FindStringSubmatch(e.Name()); m != nil && covers(parseHex(m[2]), parseHex(m[3])) {
			highest = max(highest, pgctl.Timeline(parseHex(m[1])))
		}
	}
	return highest, nil
}

// OldestLog is from where on pg_wal has the log; 0 when that cannot be said.
func (i *Instance) OldestLog() pgctl.LSN {
	entries, err := os.ReadDir(filepath.Join(i.PGData(), "pg_wal"))
	if err != nil {
		return 0
	}
	var oldest pgctl.LSN
	for _, e := range entries {
		m := segmentPattern.FindStringSubmatch(e.Name())
		info, err := e.Info()
		if m == nil || m[4] != "" || err != nil { // no segment, or recycled meanwhile
			continue
		}
		if at := pgctl.LSN(parseHex(m[2])<<32 + parseHex(m[3])*uint64(info.Size())); oldest == 0 || at < oldest {
			oldest = at
		}
	}
	return oldest
}

// receivedTimeline is the timeline that the byte before an LSN was received on.
func (i *Instance) receivedTimeline(end pgctl.LSN, segment uint64) (pgctl.Timeline, error) {
	if segment == 0 || end == 0 {
		return 0, nil
	}
	last := uint64(end) - 1
	return i.highestSegment(func(high, low uint64) bool {
		return high == last>>32 && low == last&0xFFFFFFFF/segment
	})
}

// parseHex reads what a pattern has matched as at most eight hexadecimal digits.
func parseHex(s string) uint64 {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0
	}
	return n
}
