package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/pgctl/pgctl"
)

// noted is the file position.json beside the data directory: the data held its log up to the end of a
// record once. What was there before that end on the same page of WAL proves that it still does.
type noted struct {
	Version  int            `json:"version"`
	Position pgctl.Position `json:"position"`
	Sum      string         `json:"sum"`
}

const (
	notedVersion = 1
	walPage      = 8192
	walHeader    = 40 // of a page of WAL, at most; no record ends in it
)

func (i *Instance) positionFile() string { return filepath.Join(i.Folder(), "position.json") }

// NotePosition notes durably that the data holds the log up to a position, which must be the end of a
// record that is flushed. Nothing when the WAL of it is not there any more.
func (i *Instance) NotePosition(p pgctl.Position) error {
	p.LSN = recordEnd(p.LSN)
	sums, err := i.pageSums(p)
	if err != nil {
		return err
	}
	sum, there := sums[p.Timeline]
	if !there {
		return nil
	}
	text, err := json.Marshal(noted{Version: notedVersion, Position: p, Sum: sum})
	if err != nil {
		return err
	}
	_, err = i.write(i.positionFile(), append(text, '\n'))
	return err
}

// ForgetPosition drops what was noted, before the data is made to lose some of its log in order.
func (i *Instance) ForgetPosition() error { return remove(i.positionFile()) }

// Behind is CodeRefused when the stopped server's data lacks what it held once: a disk or a snapshot of an
// older state was put in its place.
func (i *Instance) Behind() error {
	text, err := os.ReadFile(i.positionFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var n noted
	if err := json.Unmarshal(text, &n); err != nil || n.Version != notedVersion {
		return pgctl.Errorf(pgctl.CodeRefused, "%s cannot be read", i.positionFile()).
			WithHint("remove it only if %s was not put in the place of other data", i.PGData())
	}
	control, err := i.ControlData(context.Background())
	if err != nil || control.Redo > n.Position.LSN {
		return err // further than the note: the WAL of it may be gone
	}
	sums, err := i.pageSums(n.Position)
	if err != nil {
		return err
	}
	for timeline, sum := range sums {
		if timeline >= n.Position.Timeline && sum == n.Sum {
			return nil
		}
	}
	return pgctl.Errorf(pgctl.CodeRefused, "%s held its log up to %s once and does not any more: an older state of it was put back",
		i.PGData(), n.Position).
		WithHint("bring the newer data back; or, if what is missing may be lost, remove %s", i.positionFile())
}

// recordEnd leaves out the page header that the server counts when it says where the next record begins.
func recordEnd(lsn pgctl.LSN) pgctl.LSN {
	if lsn%walPage <= walHeader {
		return lsn - lsn%walPage
	}
	return lsn
}

// pageSums are checksums of the page of WAL before a position, without the page's header, in the segments
// of all timelines that have it.
func (i *Instance) pageSums(p pgctl.Position) (map[pgctl.Timeline]string, error) {
	if p.LSN == 0 {
		return nil, nil
	}
	dir := filepath.Join(i.PGData(), "pg_wal")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	last := uint64(p.LSN) - 1
	sums := map[pgctl.Timeline]string{}
	for _, e := range entries {
		m := segmentPattern.FindStringSubmatch(e.Name())
		if m == nil || parseHex(m[2]) != last>>32 {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // recycled meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		size := uint64(info.Size())
		if size < walPage || parseHex(m[3]) != last&0xFFFFFFFF/size {
			continue
		}
		sum, err := pageSum(filepath.Join(dir, e.Name()), last%size)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			sums[pgctl.Timeline(parseHex(m[1]))] = sum
		}
	}
	return sums, nil
}

// pageSum is the checksum of a page from behind its header up to and with the last byte.
func pageSum(path string, last uint64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	begin := last - last%walPage + walHeader
	if last < begin {
		return "", fs.ErrNotExist
	}
	page := make([]byte, last-begin+1)
	if _, err := f.ReadAt(page, int64(begin)); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	sum := sha256.Sum256(page)
	return hex.EncodeToString(sum[:16]), nil
}

// LogEnds says where the primary's next record begins, and up to where its log is flushed.
func (i *Instance) LogEnds(ctx context.Context) (next, flushed pgctl.LSN, err error) {
	err = i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		var a, b string
		if err := c.QueryRow(ctx, `select pg_current_wal_insert_lsn()::text, pg_current_wal_flush_lsn()::text`).Scan(&a, &b); err != nil {
			return err
		}
		if next, err = pgctl.ParseLSN(a); err != nil {
			return err
		}
		flushed, err = pgctl.ParseLSN(b)
		return err
	})
	return next, flushed, err
}
