package facts

import (
	"syscall"
	"testing"
	"time"
)

// busy makes a standby whose startup process waits for a query's snapshot, and the session that holds it.
func busy(l *lab) (a, b *server, query *session) {
	a = l.primary("a")
	a.insert(1, 1000)
	b = l.server("b")
	b.write("standby.signal", "")
	b.conf["primary_conninfo"] = a.conninfo("b")
	b.conf["max_standby_streaming_delay"] = "-1"
	b.start()
	a.streams(b)
	b.reaches(a.end())
	query = b.connect("")
	query.sql("begin isolation level repeatable read")
	query.sql("select count(*) from t")
	a.ask("delete from t")
	a.ask("vacuum t")
	end := a.insert(1, 1)
	b.until("b has the WAL", func() bool { return b.received() >= end })
	b.is("select wait_event from pg_stat_activity where backend_type = 'startup'", "RecoveryConflictSnapshot")
	if b.replayed() >= end {
		l.Fatal("replay is not blocked")
	}
	return a, b, query
}

// cut is a pledge as a naive agent would do it, while the startup process does not look: the receiver goes
// on, and acknowledges. Ended by pid it does not come back before replay has reached the end of local WAL.
func cut(l *lab, a, b *server, release func()) {
	b.set("primary_conninfo", "''")
	a.names("'ANY 1 (b)'")
	for x := range 3 {
		a.commit(100 + x).returns()
		time.Sleep(calm / 3)
	}
	receiver := b.child("walreceiver")
	l.must(syscall.Kill(receiver, syscall.SIGTERM)) // pg_terminate_backend refuses: it is no backend
	b.until("the receiver is gone", func() bool { return b.find("walreceiver") == 0 })
	b.set("primary_conninfo", a.conninfo("b"))
	w := a.commit(110)
	w.waits()
	if pid := b.find("walreceiver"); pid != 0 {
		l.Errorf("the receiver %d is back as %d", receiver, pid)
	}
	release()
	w.returns()
}

// P10. A standby whose startup process waits for a query does not look at its configuration.
func TestP10BusyStandbyStreamsOn(t *testing.T) {
	on(t, "P10 a standby busy with a conflict streams and acknowledges without primary_conninfo", func(l *lab) {
		a, b, query := busy(l)
		cut(l, a, b, func() { query.sql("commit") })
	})
}

// P10. Nor does one whose replay was paused.
func TestP10PausedStandbyStreamsOn(t *testing.T) {
	on(t, "P10 … and one that is paused", func(l *lab) {
		a := l.primary("a")
		b := l.standby("b", a)
		b.ask("select pg_wal_replay_pause()")
		a.insert(1, 1)
		b.is("select pg_get_wal_replay_pause_state()", "paused")
		cut(l, a, b, func() { b.ask("select pg_wal_replay_resume()") })
	})
}

// P10. A promotion waits for the same query. A lower bound for such waits that is set by a reload is not
// looked at; what helps is to terminate the session.
func TestP10PromotionWaitsForConflict(t *testing.T) {
	on(t, "P10 promotion waits on the conflict until its session is terminated", func(l *lab) {
		a, b, _ := busy(l)
		a.stop(syscall.SIGQUIT)
		b.write("promote", "")
		b.signal(syscall.SIGUSR1)
		b.set("max_standby_streaming_delay", "0")
		l.stays("b is in recovery", func() bool { return b.ask("select pg_is_in_recovery()") == "t" })
		begin := time.Now()
		b.ask("select pg_terminate_backend(pid) from pg_stat_activity where backend_xmin is not null and pid <> pg_backend_pid()")
		b.is("select pg_is_in_recovery()", "f")
		l.measured("promoted %s after the session was terminated", time.Since(begin).Round(time.Millisecond))
	})
}

// An idle startup process follows its configuration at once, whatever wal_retrieve_retry_interval says.
// Only for a connection that the upstream broke it waits that long.
func TestUpstreamChangesAtOnce(t *testing.T) {
	on(t, "an idle standby drops and takes up its upstream at once; a broken connection waits", func(l *lab) {
		a := l.primary("a")
		b := l.standby("b", a)
		b.set("wal_retrieve_retry_interval", "'1h'")
		b.reaches(a.insert(1, 1))
		begin := time.Now()
		b.detach()
		gone := time.Now()
		b.follow(a)
		a.streams(b)
		l.measured("receiver gone after %s, streaming again after %s (with two reloads seen)",
			gone.Sub(begin).Round(time.Millisecond), time.Since(gone).Round(time.Millisecond))
		a.ask("select pg_terminate_backend(pid) from pg_stat_replication")
		b.until("the receiver is gone", func() bool { return b.find("walreceiver") == 0 })
		l.stays("it does not come back", func() bool { return b.find("walreceiver") == 0 })
		b.set("wal_retrieve_retry_interval", "'100ms'")
		b.reaches(a.insert(2, 2))
	})
}
