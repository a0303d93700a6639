package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

const small = 4096 // bytes of a segment, so that tests have several

func reopen(t fataler, l *Log, dir string) *Log {
	if l != nil {
		if err := l.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	l, err := open(dir, small)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l
}

type fataler interface{ Fatalf(string, ...any) }

// entries are so many from an index on; what is in them says which, and of which term.
func entries(from uint64, count, size int, term uint64) (list []*raft.Log) {
	for i := range uint64(count) {
		e := &raft.Log{Index: from + i, Term: term, Type: raft.LogType(i % 3), Data: bytes.Repeat(fmt.Appendf(nil, "%d@%d ", from+i, term), 1+size/8)}
		if i%2 == 0 {
			e.AppendedAt, e.Extensions = time.Unix(1700000000, int64(i)), []byte("more")
		}
		list = append(list, e)
	}
	return list
}

// holds compares a log with what it should have.
func holds(t fataler, l *Log, want []*raft.Log) {
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	if len(want) == 0 {
		if first != 0 || last != 0 {
			t.Fatalf("an empty log says %d to %d", first, last)
		}
		return
	}
	if first != want[0].Index || last != want[len(want)-1].Index {
		t.Fatalf("the log says %d to %d, not %d to %d", first, last, want[0].Index, want[len(want)-1].Index)
	}
	for _, w := range want {
		var e raft.Log
		if err := l.GetLog(w.Index, &e); err != nil {
			t.Fatalf("entry %d: %v", w.Index, err)
		}
		if e.Index != w.Index || e.Term != w.Term || e.Type != w.Type || !bytes.Equal(e.Data, w.Data) ||
			!bytes.Equal(e.Extensions, w.Extensions) || !e.AppendedAt.Equal(w.AppendedAt) {
			t.Fatalf("entry %d is %+v, not %+v", w.Index, e, *w)
		}
	}
	for _, none := range []uint64{0, first - 1, last + 1} {
		if err := l.GetLog(none, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("entry %d of %d to %d: %v", none, first, last, err)
		}
	}
}

// What Raft may do to a log, in any order, with restarts and crashes between: the log is always what a list would be.
// After a restart the oldest may be back that were deleted.
func TestAsAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "raftlog-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		l := reopen(t, nil, dir)
		defer func() { _ = l.Close() }()
		var want []*raft.Log
		next := func() uint64 {
			if len(want) == 0 {
				return rapid.Uint64Range(1, 9).Draw(t, "begin")
			}
			return want[len(want)-1].Index + 1
		}
		restarted := func() {
			l = reopen(t, l, dir)
			if first, _ := l.FirstIndex(); len(want) > 0 && first > want[0].Index {
				t.Fatalf("after a restart the log begins with %d, not %d", first, want[0].Index)
			}
			if len(want) > 0 {
				if err := l.DeleteRange(0, want[0].Index-1); err != nil {
					t.Fatal(err)
				}
			}
		}
		store := func(list []*raft.Log) {
			if err := l.StoreLogs(list); err != nil {
				t.Fatal(err)
			}
			want = append(want, list...)
		}
		draw := func() []*raft.Log {
			return entries(next(), rapid.IntRange(1, 9).Draw(t, "count"), rapid.IntRange(0, 900).Draw(t, "size"), rapid.Uint64Range(1, 5).Draw(t, "term"))
		}
		t.Repeat(map[string]func(*rapid.T){
			"":        func(t *rapid.T) { holds(t, l, want) },
			"store":   func(*rapid.T) { store(draw()) },
			"restart": func(*rapid.T) { restarted() },
			"forget the oldest": func(t *rapid.T) {
				if n := rapid.IntRange(0, len(want)).Draw(t, "n"); n > 0 {
					if err := l.DeleteRange(want[0].Index, want[n-1].Index); err != nil {
						t.Fatal(err)
					}
					want = slices.Clone(want[n:])
				}
			},
			"take back the newest": func(t *rapid.T) {
				if n := rapid.IntRange(0, len(want)).Draw(t, "n"); n < len(want) {
					if err := l.DeleteRange(want[n].Index, want[len(want)-1].Index); err != nil {
						t.Fatal(err)
					}
					want = slices.Clone(want[:n])
				}
			},
			"install a snapshot": func(t *rapid.T) {
				list := entries(next()+rapid.Uint64Range(1, 50).Draw(t, "gap"), 2, 10, 9)
				if len(want) > 0 {
					want = nil
					store(list)
				}
			},
			"crash while storing": func(t *rapid.T) {
				if len(want) == 0 {
					return
				}
				var frames []byte
				list := draw()
				for _, e := range list {
					frames = appendFrame(frames, e, list[0].Index)
				}
				tail := l.segments[len(l.segments)-1]
				cut := rapid.IntRange(0, len(frames)-1).Draw(t, "cut")
				if _, err := tail.file.WriteAt(frames[:cut], tail.end); err != nil {
					t.Fatal(err)
				}
				l = reopen(t, l, dir)
				last, _ := l.LastIndex() // what was whole may stay
				want = append(want, list[:last-want[len(want)-1].Index]...)
				restarted()
			},
		})
	})
}

// A crash leaves the parts of what was written at once in any order: without the middle, what follows goes as well.
// What was acknowledged before stays.
func TestHolesOfACrash(t *testing.T) {
	dir := t.TempDir()
	l := reopen(t, nil, dir)
	known := entries(1, 5, 100, 1)
	if err := errors.Join(l.StoreLogs(known), l.StoreLogs(entries(6, 3, 200, 1))); err != nil {
		t.Fatal(err)
	}
	s := l.segments[0]
	if _, err := s.file.WriteAt(make([]byte, 40), s.starts[5]+60); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l, dir)
	holds(t, l, known)
	if err := l.StoreLogs(entries(6, 1, 7, 2)); err != nil { // shorter: nothing of before may come back behind it
		t.Fatal(err)
	}
	l = reopen(t, l, dir)
	holds(t, l, append(known, entries(6, 1, 7, 2)...))
	_ = l.Close()
}

// What may have been acknowledged is never left out in silence.
func TestDamageIsAnError(t *testing.T) {
	for name, spoil := range map[string]func(l *Log){
		"an entry before the last ones": func(l *Log) { damage(t, l.segments[len(l.segments)-1], 0) },
		"an entry of an older segment":  func(l *Log) { damage(t, l.segments[0], len(l.segments[0].starts)-1) },
		"a segment is gone":             func(l *Log) { _ = os.Remove(l.segments[1].file.Name()) },
		"a file of another kind": func(l *Log) {
			_ = os.WriteFile(filepath.Join(l.dir.Name(), "notes.log"), []byte("hello"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := reopen(t, nil, dir)
			for i := range uint64(60) {
				if err := l.StoreLogs(entries(1+i*2, 2, 100, 1)); err != nil {
					t.Fatal(err)
				}
			}
			if len(l.segments) < 3 || len(l.segments[len(l.segments)-1].starts) < 4 {
				t.Fatalf("%d segments are too few to be damaged", len(l.segments))
			}
			spoil(l)
			_ = l.Close()
			if l, err := open(dir, small); err == nil {
				t.Errorf("opened with %d segments", len(l.segments))
			} else if !strings.Contains(err.Error(), dir) {
				t.Errorf("the error does not say where: %v", err)
			}
		})
	}
}

func damage(t *testing.T, s *segment, entry int) {
	t.Helper()
	var b [1]byte
	at := s.starts[entry] + frameHead + bodyHead + 3
	if _, err := s.file.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	if _, err := s.file.WriteAt([]byte{b[0] ^ 0x40}, at); err != nil {
		t.Fatal(err)
	}
}

// A log that could not be written is not written again: nobody knows what is on disk.
func TestNothingFollowsAFailure(t *testing.T) {
	l := reopen(t, nil, t.TempDir())
	if err := l.StoreLogs(entries(1, 2, 9, 1)); err != nil {
		t.Fatal(err)
	}
	if err := l.StoreLogs(entries(2, 1, 9, 1)); err == nil {
		t.Error("an entry was stored twice")
	}
	if err := l.StoreLogs(entries(3, 1, 9, 1)); err == nil {
		t.Error("stored after a failure")
	}
	_ = l.Close()
}

// FuzzOpen opens a segment of any content: it is read, cut, or refused, and what was read stays.
func FuzzOpen(f *testing.F) {
	var good []byte
	for _, e := range entries(1, 4, 30, 1) {
		good = appendFrame(good, e, 1)
	}
	f.Add(good)
	f.Add(good[:len(good)-5])
	f.Add(append(slices.Clone(good), make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "00000000000000000001.log"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := open(dir, small)
		if err != nil {
			return
		}
		var before []*raft.Log
		last, _ := l.LastIndex()
		for i := uint64(1); i <= last; i++ {
			var e raft.Log
			if err := l.GetLog(i, &e); err != nil {
				t.Fatal(err)
			}
			before = append(before, &e)
		}
		l = reopen(t, l, dir)
		holds(t, l, before)
		more := entries(last+1, 2, 9, 7)
		if err := l.StoreLogs(more); err != nil {
			t.Fatal(err)
		}
		l = reopen(t, l, dir)
		holds(t, l, append(before, more...))
		_ = l.Close()
	})
}
