package guard

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
)

func instance(t *testing.T, life pgctl.Life) Instance {
	return Instance{Name: "shop-0", Cluster: "shop", Life: life, Directory: t.TempDir(), Postmaster: 1 << 21, Started: 7}
}

func deadlines(t *testing.T, path string) *Deadlines {
	t.Helper()
	d := NewDeadlines(path, boot, uptime)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestDeadlinesMoveForward(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guard")
	d := deadlines(t, path)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(d.Extend("aaaaaaaa", 3, in(time.Hour)))
	ok(d.Disarm("aaaaaaaa"))
	if exists(path) {
		t.Error("a file was made for nothing")
	}
	first := in(time.Hour)
	ok(d.Arm(instance(t, "aaaaaaaa"), 3, first))
	ok(d.Extend("aaaaaaaa", 3, in(time.Minute)))
	if got := d.Look("aaaaaaaa"); !got.Armed || got.Deadline != first || got.Started != 7 {
		t.Errorf("an earlier deadline shortened it: %+v", got)
	}
	second := in(2 * time.Hour)
	ok(d.Extend("aaaaaaaa", 3, second))
	ok(d.Extend("aaaaaaaa", 3, pgctl.Instant{Boot: "another", Up: second.Up + time.Hour}))
	if got := d.Look("aaaaaaaa"); got.Deadline != second {
		t.Errorf("%+v is not moved to %+v", got, second)
	}
	ok(d.Arm(instance(t, "bbbbbbbb"), 3, in(-time.Hour)))
	over := d.Look("bbbbbbbb")
	if ok(d.Extend("bbbbbbbb", 3, in(-time.Minute))); d.Look("bbbbbbbb") != over {
		t.Error("a renewal that came too late moved a deadline")
	}
	ok(d.Disarm("aaaaaaaa"))
	ok(d.Extend("aaaaaaaa", 3, in(3*time.Hour)))
	if d.Look("aaaaaaaa").Armed {
		t.Error("a renewal armed it again")
	}
	if d.Arm(instance(t, "aaaaaaaa"), 3, pgctl.Instant{Boot: "another", Up: 1}) == nil || d.Arm(Instance{Life: "aaaaaaaa"}, 3, first) == nil ||
		d.Arm(Instance{Life: "no life", Directory: "/"}, 3, first) == nil {
		t.Error("armed what cannot be")
	}
}

// A daemon that is started again goes on where the last one was; two at once there are not.
func TestDaemonStartsAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guard")
	first := NewDeadlines(path, boot, uptime)
	if err := first.Arm(instance(t, "aaaaaaaa"), 3, in(time.Hour)); err != nil {
		t.Fatal(err)
	}
	second := deadlines(t, path)
	if err := second.Disarm("aaaaaaaa"); pgctl.CodeOf(err) != pgctl.CodeConflict {
		t.Errorf("two daemons at once: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	until := in(2 * time.Hour)
	if err := second.Extend("aaaaaaaa", 3, until); err != nil || second.Look("aaaaaaaa").Deadline != until {
		t.Errorf("%v, %+v", err, second.Look("aaaaaaaa"))
	}
}

func TestRoomForAll(t *testing.T) {
	d := deadlines(t, filepath.Join(t.TempDir(), "guard"))
	life := func(n int) pgctl.Life {
		return pgctl.Life("aaaaaa" + string(rune('a'+n/26)) + string(rune('a'+n%26)))
	}
	i := instance(t, "")
	for n := range slotCount {
		if i.Life = life(n); d.Arm(i, 3, in(time.Hour)) != nil {
			t.Fatal("no room for", n)
		}
	}
	if i.Life = life(slotCount); pgctl.CodeOf(d.Arm(i, 3, in(time.Hour))) != pgctl.CodeUnavailable {
		t.Error("one too many")
	}
	if err := d.Disarm(life(7)); err != nil {
		t.Fatal(err)
	}
	if err := d.Arm(i, 3, in(time.Hour)); err != nil || !d.Look(i.Life).Armed || d.Look(life(7)).Armed || !d.Look(life(8)).Armed {
		t.Errorf("the slot that is free: %v", err)
	}
}

// The daemon may be killed after any byte of a write: the record before or the new one is read, whole.
func TestTornWrite(t *testing.T) {
	d := deadlines(t, filepath.Join(t.TempDir(), "guard"))
	i := instance(t, "aaaaaaaa")
	if err := d.Arm(i, 3, in(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for round := range 3 { // into an empty record, and over old ones
		before := bytes.Clone(d.file.mapped)
		was := d.Look(i.Life)
		if err := d.Extend(i.Life, 3, in(time.Duration(round+2)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		after := bytes.Clone(d.file.mapped)
		is := d.Look(i.Life)
		for cut := 4; cut < recordSize; cut++ {
			which := 0
			if bytes.Equal(before[headerSize:headerSize+recordSize], after[headerSize:headerSize+recordSize]) {
				which = 1
			}
			at := headerSize + which*recordSize
			copy(d.file.mapped, before)
			clear(d.file.mapped[at : at+4]) // the checksum, first zero and then last
			copy(d.file.mapped[at+4:at+cut], after[at+4:at+cut])
			if got := d.Look(i.Life); got != was {
				t.Fatalf("cut after %d bytes: %+v", cut, got)
			}
		}
		copy(d.file.mapped, after)
		if d.Look(i.Life) != is || is == was {
			t.Fatal("the new one is not read")
		}
	}
}

// Who can write the file decides who is killed: one of others is refused.
func TestForeignFile(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"readable by others": func(path string) error { return os.Chmod(path, 0o644) },
		"a link": func(path string) error {
			if err := os.Rename(path, path+".real"); err != nil {
				return err
			}
			return os.Symlink(path+".real", path)
		},
		"a folder": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		},
		"of another user": func(path string) error {
			if os.Getuid() != 0 {
				return os.Chmod(path, 0o666) // cannot be given away
			}
			return os.Chown(path, 12345, 12345)
		},
	} {
		path := filepath.Join(t.TempDir(), "guard")
		if err := create(path, boot, os.Link); err != nil {
			t.Fatal(err)
		}
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		if err := deadlines(t, path).Answers(); err == nil || strings.Contains(err.Error(), "no guard has run") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A control group of the instance's own is killed at once; that of others is not touched.
func TestControlGroup(t *testing.T) {
	root := unifiedHierarchy()
	group := "/pgctl-guard-test-" + filepath.Base(t.TempDir()) + "/pgctl-postgres@shop-0.service"
	if err := os.MkdirAll(root+group, 0o755); root == "" || err != nil {
		t.Skipf("needs a unified hierarchy of control groups that can be written: %v", err)
	}
	t.Cleanup(func() {
		until(t, "the group is removed", func() bool { return os.Remove(root+group) == nil })
		_ = os.Remove(filepath.Dir(root + group))
	})
	if _, err := os.Stat(root + group + "/cgroup.kill"); err != nil {
		t.Skip("needs cgroup.kill, Linux 5.14")
	}
	s := startServer(t, "shop-0", "aaaaaaaa")
	if groupOf(s.Postmaster, "shop-0") != "" {
		t.Error("a group that is shared with others")
	}
	if err := os.WriteFile(root+group+"/cgroup.procs", []byte(itoa(s.Postmaster)), 0o644); err != nil {
		t.Skipf("cannot move a process into the group: %v", err)
	}
	if got := groupOf(s.Postmaster, "shop-0"); got != group || groupOf(s.Postmaster, "shop-1") != "" {
		t.Errorf("group %q", got)
	}
	var r record
	copy(r.Group[:], group)
	w := newWorld(t)
	w.guard.hunter.killGroup(&r)
	until(t, "the postmaster is killed", func() bool { return s.living() == 3 })
}

func itoa(n int) string { return string(appendNumber(nil, uint64(n))) }

func FuzzRecord(f *testing.F) {
	var good [recordSize]byte
	(&record{Sequence: 1, State: stateArmed, PID: 5}).encode(good[:])
	f.Add(good[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var place, again, buffer [recordSize]byte
		copy(place[:], b)
		var r record
		if r.decode(place[:], &buffer); !r.whole {
			return
		}
		r.encode(again[:])
		if r.decode(again[:], &buffer); !r.whole {
			t.Error("what was read cannot be read again")
		}
	})
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("42 (a) b)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1"))
	f.Fuzz(func(_ *testing.T, line []byte) { _, _ = parseStat(line) }) // it must not panic
}
