package facts

import (
	"testing"
)

// P11. A logical decoder acknowledges commits, too, if it has a member's name. It connects to a database, so
// that pg_hba needs no line for replication: any role with REPLICATION can do it.
func TestP11LogicalDecoderAcknowledges(t *testing.T) {
	on(t, "P11 a logical decoder acknowledges, with no replication line in pg_hba", func(l *lab) {
		a := l.server("a")
		a.conf["wal_level"] = "logical"
		a.write("pg_hba.conf", "local all all trust\n")
		a.start()
		a.ask("create role cdc login replication")
		a.ask("select pg_create_logical_replication_slot('cdc', 'test_decoding')")
		_, err := a.stream("user=cdc replication=true application_name=b", "START_REPLICATION PHYSICAL "+a.end().String())
		equal(l, "physical replication is refused with", code(err), "28000")
		a.names("'ANY 1 (b)'")
		w := a.commit(1)
		w.waits()
		r, err := a.stream("user=cdc replication=database application_name=b", "START_REPLICATION SLOT cdc LOGICAL 0/0")
		l.must(err)
		r.until("the decoder gets the row", func() bool { return r.got.Load() > 0 })
		r.release(w)
	})
}

// P11, with PostgreSQL's own program.
func TestP11PgRecvlogicalAcknowledges(t *testing.T) {
	on(t, "P11 … with pg_recvlogical", func(l *lab) {
		program := l.tool("pg_recvlogical")
		a := l.server("a")
		a.conf["wal_level"] = "logical"
		a.start()
		a.ask("select pg_create_logical_replication_slot('cdc', 'test_decoding')")
		a.names("'ANY 1 (b)'")
		w := a.commit(1)
		w.waits()
		l.beside(program, "-d", "host="+a.socket()+" user=postgres dbname=postgres application_name=b", "-S", "cdc",
			"--start", "-f", "/dev/null", "--status-interval=1", "--fsync-interval=1")
		w.returns()
	})
}

// P11. A base backup under a member's name counts for nothing: its WAL sender has no priority and never
// reports a position. It is left alone when the senders of old names are ended.
func TestP11BaseBackupDoesNotCount(t *testing.T) {
	on(t, "P11 a base backup's WAL sender has priority 0 and no position", func(l *lab) {
		a := l.primary("a")
		a.names("'ANY 1 (b)'")
		w := a.commit(1)
		w.waits()
		backup := a.connect("replication=true application_name=b")
		backup.hang("BASE_BACKUP (CHECKPOINT 'fast')")
		const sender = "select sync_priority || ' ' || sync_state || ' ' || coalesce(flush_lsn::text, 'NULL') " +
			"from pg_stat_replication where application_name = 'b' and state = 'backup'"
		a.is(sender, "0 async NULL")
		w.waits()
	})
}

// A session that is older than a closing by pg_hba goes on: opened on the standby, it writes after the
// promotion, and when its wait is cancelled its client is told of success. So older sessions are ended.
func TestOlderSessionSurvivesClosing(t *testing.T) {
	on(t, "a session older than a closing by pg_hba writes after the promotion", func(l *lab) {
		a := l.primary("a")
		a.ask("create role app login; grant all on t to app")
		b := l.standby("b", a)
		b.reaches(a.end())
		app := b.connect("user=app")
		b.write("pg_hba.conf", "local all postgres trust\nlocal all all reject\n")
		b.names(nobody)
		_, err := b.dial("user=app")
		equal(l, "a new session is refused with", code(err), "28000")
		b.promote()
		w := app.begin("insert into t values (1)")
		w.waits()
		w.end("pg_cancel_backend")
		equal(l, "the older one is told", w.returns(), "INSERT 0 1")
	})
}

// A decoding slot delivers a row whose COMMIT still waits: a reader of changes may see what a failover then
// removes.
func TestDecodingDeliversWaitingCommit(t *testing.T) {
	on(t, "a decoding slot delivers a row whose COMMIT still waits", func(l *lab) {
		a := l.server("a")
		a.conf["wal_level"] = "logical"
		a.start()
		a.ask("select pg_create_logical_replication_slot('cdc', 'test_decoding')")
		a.names(nobody)
		w := a.commit(1)
		w.waits()
		a.is("select count(*) from pg_logical_slot_peek_changes('cdc', null, null) where data like '%INSERT%'", "1")
		equal(l, "visible", a.row(1), "0")
		w.waits()
	})
}

// From 17 on it can be held back until physical slots, those of the rule's members, have the row. That is
// for slots that are marked for failover only.
func TestSynchronizedStandbySlotsHoldDecodingBack(t *testing.T) {
	on(t, "… unless synchronized_standby_slots holds a failover slot back", func(l *lab) {
		if l.major < 17 {
			l.untried("no synchronized_standby_slots before 17")
		}
		a := l.server("a")
		a.conf["wal_level"] = "logical"
		a.conf["synchronized_standby_slots"] = "'b'"
		a.start()
		a.ask("select pg_create_physical_replication_slot('b', true)")
		a.ask("select pg_create_logical_replication_slot('cdc', 'test_decoding', false, false, true)")
		b := a.physical("b", "b", a.end())
		end := a.insert(1, 1)
		read := a.connect("").begin("select pg_logical_slot_peek_changes('cdc', null, null)")
		read.waitsOn("WaitForStandbyConfirmation")
		l.stays("the reader waits", func() bool { return !read.over() })
		b.has(end)
		b.release(read)
	})
}
