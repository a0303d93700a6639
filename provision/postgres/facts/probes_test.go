package facts

import (
	"testing"
)

// unaided is a primary without a WAL writer: what is flushed, a session flushed.
func unaided(l *lab) *server {
	a := l.primary("a").quiet()
	a.freeze(a.child("walwriter"))
	return a
}

// flushed says whether everything that was inserted is flushed.
func (s *server) flushed() string {
	s.Helper()
	return s.ask("select pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn()")
}

// A transaction that only took an xid writes a commit record, but neither flushes it nor waits for standbys:
// there is nothing in it that could be lost. So it is no probe.
func TestXidAloneIsNotFlushed(t *testing.T) {
	on(t, "a transaction with only an xid is neither flushed nor waited for", func(l *lab) {
		a := unaided(l)
		a.names(nobody)
		w := a.commit(1)
		w.waits()
		a.connect("").begin("select pg_current_xact_id()").returns()
		equal(l, "flushed", a.flushed(), "f")
	})
}

// A transactional message is flushed by its commit, and waited for.
func TestTransactionalMessageIsFlushed(t *testing.T) {
	on(t, "a transactional pg_logical_emit_message is flushed and waited for", func(l *lab) {
		a := unaided(l)
		a.ask("select pg_logical_emit_message(true, 'pgctl', '')") // synchronous_commit is local here
		equal(l, "flushed", a.flushed(), "t")
		a.names(nobody)
		a.connect("").begin("select pg_logical_emit_message(true, 'pgctl', '')").waits()
	})
}

// One outside a transaction is flushed by the WAL writer, whenever it comes to it.
func TestMessageOutsideTransactionIsNotFlushed(t *testing.T) {
	on(t, "a non-transactional pg_logical_emit_message is left to the WAL writer", func(l *lab) {
		a := unaided(l)
		a.insert(1, 1)
		equal(l, "flushed before", a.flushed(), "t")
		a.ask("select pg_logical_emit_message(false, 'pgctl', '')")
		equal(l, "flushed", a.flushed(), "f")
		a.thaw(a.child("walwriter"))
		l.until("the WAL writer has flushed it", func() bool { return a.flushed() == "t" })
	})
}
