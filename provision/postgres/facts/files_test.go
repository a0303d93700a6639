package facts

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// ALTER SYSTEM writes a file that is read after ours. It does nothing until somebody reloads, for whatever
// reason: then commits wait for nobody.
func TestAlterSystemBeatsOurFile(t *testing.T) {
	on(t, "ALTER SYSTEM beats our file at the next reload, anybody's", func(l *lab) {
		a := stuck(l)
		a.commit(1).waits()
		a.ask("alter system set synchronous_standby_names = ''")
		a.commit(2).waits()
		a.set("work_mem", "'5MB'")
		equal(l, "SHOW", a.fresh("show synchronous_standby_names"), "")
		a.is("select count(*) from pg_stat_activity where wait_event = 'SyncRep'", "0")
		a.commit(3).returns()
	})
}

// From 17 on ALTER SYSTEM can be refused. A file that is there, or written by hand, counts all the same.
func TestAllowAlterSystem(t *testing.T) {
	on(t, "allow_alter_system=off refuses ALTER SYSTEM, but postgresql.auto.conf still counts", func(l *lab) {
		if l.major < 17 {
			l.untried("no allow_alter_system before 17")
		}
		a := l.server("a")
		a.conf["allow_alter_system"] = "off"
		a.conf["work_mem"] = "'5MB'"
		a.start()
		_, err := a.try("alter system set work_mem = '6MB'")
		equal(l, "SQLSTATE", code(err), "0A000")
		a.write("postgresql.auto.conf", "work_mem = '7MB'\n")
		a.reload()
		equal(l, "SHOW", a.fresh("show work_mem"), "7MB")
	})
}

// What pg_basebackup -R leaves in postgresql.auto.conf beats the upstream that our file names.
func TestLeftoverConninfoBeatsOurFile(t *testing.T) {
	on(t, "a leftover primary_conninfo in postgresql.auto.conf beats our file", func(l *lab) {
		a, other := l.primary("a"), l.primary("other")
		b := l.server("b")
		b.write("standby.signal", "")
		b.write("postgresql.auto.conf", "primary_conninfo = "+a.conninfo("b")+"\n")
		b.conf["primary_conninfo"] = other.conninfo("b")
		b.start()
		a.streams(b)
		equal(l, "at the one that our file names", other.ask("select count(*) from pg_stat_replication"), "0")
	})
}

// One bad line anywhere makes a reload apply nothing of any file.
func TestSyntaxErrorAppliesNothing(t *testing.T) {
	on(t, "a syntax error in an included file makes a reload apply nothing", func(l *lab) {
		a := l.server("a")
		a.write("users.conf", "")
		a.conf["include"] = "'users.conf'"
		a.conf["work_mem"] = "'5MB'"
		a.start()
		a.write("users.conf", "what is this\n")
		a.conf["work_mem"] = "'6MB'"
		a.conf["synchronous_standby_names"] = nobody
		a.configure()
		a.signal(syscall.SIGHUP)
		a.logs("contains errors; no changes were applied")
		equal(l, "work_mem", a.fresh("show work_mem"), "5MB")
		a.commit(1).returns()
		a.write("users.conf", "")
		a.reload()
		equal(l, "work_mem, repaired", a.fresh("show work_mem"), "6MB")
	})
}

// A standby whose slot was given up because it was away too long asks in vain, for ever.
func TestLostSlot(t *testing.T) {
	on(t, "with a lost slot: 'requested WAL segment … has already been removed', for ever", func(l *lab) {
		a := l.server("a")
		a.conf["wal_keep_size"] = "0"
		a.conf["max_slot_wal_keep_size"] = "'1MB'"
		a.conf["min_wal_size"], a.conf["max_wal_size"] = "'2MB'", "'2MB'"
		a.start()
		a.ask("select pg_create_physical_replication_slot('b', true)")
		b := l.server("b")
		b.write("standby.signal", "")
		b.conf["primary_conninfo"] = a.conninfo("b")
		b.conf["primary_slot_name"] = "'b'"
		b.start()
		a.streams(b)
		b.stop(syscall.SIGINT)
		for x := 0; a.ask("select wal_status from pg_replication_slots") != "lost"; x++ {
			if x > 20 {
				l.Fatal("the slot is not given up")
			}
			a.insert(x, x)
			a.ask("select pg_switch_wal()")
			a.ask("checkpoint")
		}
		b.start()
		if l.major >= 18 {
			l.differs(`says 'can no longer access replication slot', and as detail 'invalidated due to "wal_removed"'`)
			b.logs(`can no longer access replication slot "b"`)
			b.logs(`This replication slot has been invalidated due to "wal_removed".`)
		} else {
			b.logs("has already been removed")
		}
		l.stays("b streams nothing", func() bool {
			return a.ask("select count(*) from pg_stat_replication where state = 'streaming'") == "0"
		})
	})
}

// A standby that has fewer connections than its primary pauses when it learns so. The obvious remedy is
// wrong: resuming shuts it down.
func TestResumeWithTooFewConnections(t *testing.T) {
	on(t, "pg_wal_replay_resume() on a standby with too small max_connections shuts it down", func(l *lab) {
		a := l.primary("a")
		b := l.standby("b", a)
		a.stop(syscall.SIGINT)
		a.conf["max_connections"] = "30"
		a.start()
		b.logs("hot standby is not possible because of insufficient parameter settings")
		b.is("select pg_get_wal_replay_pause_state()", "paused")
		equal(l, "reads", b.row(1), "0")
		_, _ = b.try("select pg_wal_replay_resume()") // it may be gone before it answers
		b.gone()
	})
}

// P7. pg_rewind makes the data directory the source's, also what is ours in it: settings are replaced, what
// the source lacks is deleted, and nothing says that it is a standby now. So marker, signal file and settings
// are written again.
func TestP7RewindReplacesOurFiles(t *testing.T) {
	on(t, "P7 pg_rewind replaces our files, deletes what the source lacks, leaves no standby.signal", func(l *lab) {
		rewind := l.tool("pg_rewind")
		a := l.primary("a")
		b := l.standby("b", a)
		b.reaches(a.insert(1, 1))
		b.detach()
		a.insert(2, 2) // diverges
		a.stop(syscall.SIGINT)
		b.write("ours.conf", "# b's\n")
		b.promote()
		b.insert(3, 3)
		b.ask("checkpoint")
		a.write("ours.conf", "# a's\n")
		a.write("pgctl.marker", "a's life")
		a.write("ours.d/one.conf", "")
		out := l.run(rewind, "-D", a.data, "--source-server",
			fmt.Sprintf("host=%s user=postgres dbname=postgres", b.socket()))
		if !strings.Contains(out, "Done!") {
			l.Error(out)
		}
		equal(l, "the marker is there", a.has("pgctl.marker"), false)
		equal(l, "our folder is there", a.has("ours.d"), false)
		equal(l, "standby.signal is there", a.has("standby.signal"), false)
		equal(l, "a's file", a.read("ours.conf"), "# b's\n")
		if !strings.Contains(a.read("postgresql.conf"), b.socket()) {
			l.Error("postgresql.conf is still a's own")
		}
		a.write("standby.signal", "")
		a.conf["primary_conninfo"] = b.conninfo("a")
		a.start() // writes a's settings again
		a.reaches(b.end())
		equal(l, "a's diverged row", a.row(2), "0")
	})
}

// P3 and after: the tools go on across a gap of numbers. They differ in what they bring of the placeholders.
func TestToolsAcrossAGap(t *testing.T) {
	on(t, "pg_rewind, pg_basebackup and pg_receivewal work across a gap of timelines", func(l *lab) {
		rewind, backup, receive := l.tool("pg_rewind"), l.tool("pg_basebackup"), l.tool("pg_receivewal")
		b := gap(l)
		b.ask("checkpoint")
		source := "host=" + b.socket() + " user=postgres"
		for method, placeholders := range map[string]bool{"stream": false, "fetch": true} {
			s := l.server(method)
			l.run("/bin/rm", "-rf", s.data)
			l.run(backup, "-D", s.data, "-d", source, "-X", method, "-c", "fast")
			equal(l, "-X "+method+" brings the real history", s.has(history(5)), true)
			equal(l, "-X "+method+" brings placeholders", s.has(history(3)), placeholders)
		}
		into := folder(t)
		l.beside(receive, "-D", into, "-d", source, "--no-loop", "--synchronous")
		b.insert(3, 3) // something to receive
		l.until("pg_receivewal streams", func() bool { return len(glob(l, into, "00000005*.partial")) > 0 })
		equal(l, "placeholders of pg_receivewal", len(glob(l, into, "0000000[234].history")), 0)
		a := l.servers[0]
		a.start()
		a.insert(9, 9)
		a.stop(syscall.SIGINT)
		l.run(rewind, "-D", a.data, "--source-server", source+" dbname=postgres")
		equal(l, "pg_rewind brings placeholders", a.has(history(3)), true)
		a.write("standby.signal", "")
		a.conf["primary_conninfo"] = b.conninfo("a")
		a.start()
		a.reaches(b.end())
	})
}
