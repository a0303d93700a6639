package facts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// archive is a folder that servers archive to and restore from.
type archive struct {
	*lab
	dir string
}

func (l *lab) archive() *archive {
	l.Helper()
	w := &archive{lab: l, dir: filepath.Join(l.dir, "archive")}
	l.must(os.Mkdir(w.dir, 0o755))
	l.must(own(w.dir))
	return w
}

// of sets a server up to archive.
func (w *archive) of(s *server) {
	s.conf["archive_mode"] = "on"
	s.conf["archive_command"] = "'cp %p " + w.dir + "/%f'"
}

// put writes a file.
func (w *archive) put(name, text string) {
	w.Helper()
	w.must(os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644))
}

// has says whether a file was archived.
func (w *archive) has(name string) bool {
	_, err := os.Stat(filepath.Join(w.dir, name))
	return err == nil
}

// asked is the file that lists what restore commands asked for.
func (w *archive) asked(s *server) string {
	text, _ := os.ReadFile(s.data + ".asked")
	return string(text)
}

// recover launches a server that recovers from the archive to its newest timeline.
func (w *archive) recover(name string) *server {
	w.Helper()
	s := w.server(name)
	s.write("recovery.signal", "")
	s.must(os.WriteFile(s.data+".asked", nil, 0o644))
	s.must(own(s.data + ".asked"))
	s.conf["restore_command"] = fmt.Sprintf("'echo %%f >> %s.asked; cp %s/%%f %%p 2>/dev/null'", s.data, w.dir)
	s.launch()
	return s
}

// archived is an archive of timeline 1 and, behind a gap, 4.
func archived(l *lab) (w *archive, b *server) {
	w = l.archive()
	a := l.server("a")
	w.of(a)
	a.start()
	b = l.server("b")
	w.of(b)
	b.write("standby.signal", "")
	b.conf["primary_conninfo"] = a.conninfo("b")
	b.start()
	a.streams(b)
	b.reaches(a.insert(1, 1))
	a.stop(syscall.SIGINT) // archives the segment that it was in
	b.write(history(2), "")
	b.write(history(3), "")
	b.promote()
	b.insert(2, 2)
	full := b.ask("select pg_walfile_name(pg_switch_wal())")
	l.until("the archive has "+full, func() bool { return w.has(full) && w.has("00000004.history") })
	return w, b
}

// Placeholders are not archived by themselves. Where numbers are missing in an archive, a recovery to
// 'latest' stops before the gap and opens without an error, and without the rows beyond. So placeholders are
// archived, after the real history. Such a recovery asks two or three times for each number.
func TestArchiveWithGapLosesRows(t *testing.T) {
	on(t, "recovery to 'latest' stops before a gap in the archived histories, without an error", func(l *lab) {
		w, b := archived(l)
		equal(l, "the placeholder was archived", w.has("00000002.history"), false)
		r := w.recover("r")
		r.is("select pg_is_in_recovery()", "f")
		equal(l, "timeline", timeline(r), "2")
		equal(l, "the row before the gap", r.row(1), "1")
		equal(l, "the row beyond", r.row(2), "0")
		for _, name := range []string{"00000002.history", "00000003.history"} {
			b.write("pg_wal/archive_status/"+name+".ready", "")
		}
		b.ask("select pg_switch_wal()")
		l.until("placeholders are archived", func() bool { return w.has("00000002.history") && w.has("00000003.history") })
		r = w.recover("q")
		r.is("select pg_is_in_recovery()", "f")
		equal(l, "timeline", timeline(r), "5")
		equal(l, "the row beyond", r.row(2), "1")
		asked := w.asked(r)
		for n := 2; n <= 5; n++ { // 5 is the first that is not there
			if times := strings.Count(asked, filepath.Base(history(n))); times < 2 || times > 3 {
				l.Errorf("timeline %d was asked for %d times", n, times)
			}
		}
	})
}

// Placeholders in an archive that has not the real history above them keep a recovery from starting.
func TestArchiveWithPlaceholdersOnly(t *testing.T) {
	on(t, "placeholders in the archive without the real one above: recovery does not start", func(l *lab) {
		w := l.archive()
		a := l.server("a")
		w.of(a)
		a.start()
		a.insert(1, 1)
		a.stop(syscall.SIGINT)
		w.put("00000002.history", "")
		w.put("00000003.history", "")
		r := w.recover("r")
		r.gone()
		r.logs(`restored log file "00000003.history" from archive`)
		r.logs("could not locate a valid checkpoint record")
	})
}

// Not a hole in the log, but in the archive: a standby marks what it receives as archived although the
// leader's archiving fails. Promoted, it archives only what is new.
func TestStandbyMarksReceivedSegmentsDone(t *testing.T) {
	on(t, "a standby marks received segments done; promoted it archives only what is new", func(l *lab) {
		w := l.archive()
		a := l.server("a")
		a.conf["archive_mode"] = "on"
		a.conf["archive_command"] = "'false'"
		a.start()
		b := l.server("b")
		w.of(b)
		b.write("standby.signal", "")
		b.conf["primary_conninfo"] = a.conninfo("b")
		b.start()
		a.streams(b)
		a.insert(1, 1)
		full := a.ask("select pg_walfile_name(pg_switch_wal())")
		b.reaches(a.insert(2, 2))
		l.until("b takes it for archived", func() bool { return b.has("pg_wal/archive_status/" + full + ".done") })
		equal(l, "a waits to archive it", a.has("pg_wal/archive_status/"+full+".ready"), true)
		a.stop(syscall.SIGQUIT)
		b.promote()
		b.insert(3, 3)
		fresh := b.ask("select pg_walfile_name(pg_switch_wal())")
		l.until("b archives", func() bool { return w.has(fresh) && w.has("00000002.history") })
		l.stays("there is a hole", func() bool { return !w.has(full) })
	})
}
