// Package raftlog keeps Raft's entries in files that are only appended to: one write and one fdatasync for as many
// entries as Raft hands over at once. A B-tree, as in raft-boltdb, needs two of each, and every commit
// waits for them twice, on the leader and on a follower.
//
// A folder holds segments, files named by the index of their first entry. Each entry is a frame with a
// checksum. What a crash left half-written at the end of the last segment was never acknowledged, and is cut off;
// damage anywhere else is an error, because what was there may have been acknowledged.
package raftlog

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"sync"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"
)

// segmentSize is how large a segment is made at once, in bytes: a write inside a file's size needs no change of the
// file system's own records. A segment with an entry that is larger is larger.
const segmentSize = 8 << 20

// Log is a raft.LogStore. One goroutine may write while others read.
type Log struct {
	dir     *os.File
	size    int64 // of a segment
	writing sync.Mutex
	failed  error // of the first write that failed: what is on disk is not known any more

	mu       sync.RWMutex // of what readers see, below
	segments []*segment   // the first entry of each follows the last one of that before
	first    uint64       // of the entries that were not deleted; those before it go with their segment
}

// Open reads what is in a folder, which it makes if necessary; an error when something is damaged. Only one Log may
// use a folder.
func Open(path string) (*Log, error) { return open(path, segmentSize) }

func open(path string, size int64) (*Log, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	l := &Log{dir: dir, size: size}
	if err := l.load(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Log) load() error {
	names, err := segmentNames(l.dir.Name())
	if err != nil {
		return err
	}
	for i, name := range names {
		s, err := openSegment(l.dir.Name(), name, l.size)
		if err != nil {
			return err
		}
		l.segments = append(l.segments, s)
		if i > 0 && s.first != l.segments[i-1].next() {
			return fmt.Errorf("%s follows an entry %d: a file between them is gone", s.file.Name(), l.segments[i-1].next()-1)
		}
		if err := s.load(i == len(names)-1); err != nil {
			return err
		}
	}
	if len(l.segments) > 0 {
		l.first = l.segments[0].first
	}
	return nil
}

// Close closes the files; nothing can be written from then on.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.failed, os.ErrClosed) {
		return nil
	}
	err := l.dir.Close()
	for _, s := range l.segments {
		err = errors.Join(err, s.file.Close())
	}
	l.segments, l.failed = nil, os.ErrClosed
	return err
}

// IsMonotonic says that entries follow each other without gaps.
func (l *Log) IsMonotonic() bool { return true }

// FirstIndex is that of the oldest entry, 0 when there is none.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.empty() {
		return 0, nil
	}
	return l.first, nil
}

// LastIndex is that of the newest entry, 0 when there is none.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.empty() {
		return 0, nil
	}
	return l.next() - 1, nil
}

func (l *Log) empty() bool { return len(l.segments) == 0 || l.first == l.next() }

// next is the index that the next entry has; there must be a segment.
func (l *Log) next() uint64 { return l.segments[len(l.segments)-1].next() }

// GetLog reads an entry; raft.ErrLogNotFound when there is none of that index.
func (l *Log) GetLog(index uint64, entry *raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.empty() || index < l.first || index >= l.next() {
		return raft.ErrLogNotFound
	}
	at := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].first > index })
	return l.segments[at-1].read(index, entry)
}

// StoreLog appends one entry, durably.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs appends entries, durably: when it fails, some of them may be on disk, and nothing more can be written.
// Entries that leave a gap behind the last one are covered by a snapshot; all older ones go.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	return l.write(func() error {
		if len(l.segments) > 0 && entries[0].Index > l.next() {
			if err := l.remove(len(l.segments), 0); err != nil {
				return err
			}
		}
		if len(l.segments) > 0 && entries[0].Index != l.next() {
			return fmt.Errorf("entry %d cannot follow entry %d", entries[0].Index, l.next()-1)
		}
		if len(l.segments) == 0 || l.segments[len(l.segments)-1].end >= l.size {
			if err := l.begin(entries[0].Index); err != nil {
				return err
			}
		}
		tail := l.segments[len(l.segments)-1]
		starts, end, err := tail.append(entries)
		if err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		tail.starts, tail.end = append(tail.starts, starts...), end
		return nil
	})
}

// write does one change at a time, and none after one that failed.
func (l *Log) write(change func() error) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.failed == nil {
		l.failed = change()
	}
	return l.failed
}

// begin makes the segment whose first entry comes next.
func (l *Log) begin(index uint64) error {
	s, err := createSegment(l.dir.Name(), index, l.size)
	if err != nil {
		return err
	}
	if err := l.dir.Sync(); err != nil {
		return errors.Join(err, s.file.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.segments = append(l.segments, s); len(l.segments) == 1 {
		l.first = index
	}
	return nil
}

// DeleteRange removes the oldest entries, or the newest, durably. Files that still have others keep the oldest: they
// may come back with a restart, where Raft has them in a snapshot.
func (l *Log) DeleteRange(from, to uint64) error {
	return l.write(func() error {
		if l.empty() || to < l.first || from >= l.next() || from > to {
			return nil
		}
		switch {
		case from <= l.first && to >= l.next()-1:
			return l.remove(len(l.segments), 0)
		case from <= l.first:
			gone := 0
			for gone+1 < len(l.segments) && l.segments[gone+1].first <= to+1 {
				gone++
			}
			return l.remove(gone, to+1)
		case to >= l.next()-1:
			return l.cut(from)
		}
		return fmt.Errorf("entries %d to %d lie in the middle", from, to)
	})
}

// remove removes the first segments, oldest first, so that a crash leaves no gap.
func (l *Log) remove(count int, first uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = first
	for _, s := range l.segments[:count] {
		if err := s.remove(); err != nil {
			return err
		}
	}
	l.segments = slices.Delete(l.segments, 0, count)
	return l.dir.Sync()
}

// cut removes an entry and all after it, newest first.
func (l *Log) cut(from uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for tail := l.segments[len(l.segments)-1]; tail.first >= from; tail = l.segments[len(l.segments)-1] {
		if err := errors.Join(tail.remove(), l.dir.Sync()); err != nil {
			return err
		}
		l.segments = l.segments[:len(l.segments)-1]
	}
	tail := l.segments[len(l.segments)-1]
	if from == tail.next() {
		return nil
	}
	end := tail.starts[from-tail.first]
	tail.starts, tail.end = tail.starts[:from-tail.first], end
	return tail.clear()
}

// allocate gives a file a size, with nothing but zeros in what is new. Where the file system cannot reserve the room,
// a disk may turn out to be full only later.
func allocate(file *os.File, size int64) error {
	err := unix.Fallocate(int(file.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = file.Truncate(size)
	}
	if err != nil {
		return &os.PathError{Op: "fallocate", Path: file.Name(), Err: err}
	}
	return nil
}
