package facts

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// stuck is a primary whose commits wait for nobody who exists.
func stuck(l *lab) *server {
	a := l.server("a")
	a.conf["synchronous_standby_names"] = nobody
	a.start()
	return a
}

// end runs pg_cancel_backend or pg_terminate_backend against the session of a statement.
func (w *call) end(function string) {
	w.Helper()
	w.server.ask(fmt.Sprintf("select %s(%d)", function, w.conn.PID()))
}

// P9. A commit that nobody acknowledged is invisible as long as its session waits, and visible once the
// server has crashed and recovered: recovery asks nobody. So a crashed leader opens by the rule only.
func TestP9CrashRecoveryShowsUnacknowledged(t *testing.T) {
	on(t, "P9 crash recovery makes a commit visible that nobody acknowledged", func(l *lab) {
		a := stuck(l)
		a.commit(1).waits()
		equal(l, "visible while it waits", a.row(1), "0")
		a.stop(syscall.SIGQUIT)
		a.start()
		equal(l, "visible after crash recovery", a.row(1), "1")
		equal(l, "names", a.fresh("show synchronous_standby_names"), `ANY 1 ("pgctl-nobody")`)
	})
}

// P9. The same within a running server, when one of its processes is killed.
func TestP9KilledBackendShowsUnacknowledged(t *testing.T) {
	on(t, "P9 … also the crash of another session", func(l *lab) {
		a := stuck(l)
		w := a.commit(1)
		w.waits()
		other := a.connect("")
		l.must(syscall.Kill(int(other.conn.PID()), syscall.SIGKILL))
		if _, err := w.result(); err == nil {
			l.Error("the client was told of success")
		}
		a.is("select count(*) from t where x = 1", "1")
	})
}

// P9. Terminating the session that waits makes its commit visible, though its client gets an error.
func TestP9TerminatedSessionShowsUnacknowledged(t *testing.T) {
	on(t, "P9 terminating the waiting session makes its commit visible", func(l *lab) {
		a := stuck(l)
		w := a.commit(1)
		w.waits()
		w.end("pg_terminate_backend")
		if _, err := w.result(); err == nil {
			l.Error("the client was told of success")
		}
		a.is("select count(*) from t where x = 1", "1")
	})
}

// P9. Cancelling it makes it succeed with a warning that hardly any client looks at, in the extended
// protocol as in the simple one. So sessions that wait are terminated, never cancelled.
func TestP9CancelledCommitSucceeds(t *testing.T) {
	on(t, "P9 a cancelled commit succeeds with a warning", func(l *lab) {
		a := stuck(l)
		for x, w := range []*call{
			a.connect("").begin("insert into t values (0)"),
			a.connect("").beginExtended("insert into t values (1)"),
		} {
			w.waits()
			w.end("pg_cancel_backend")
			equal(l, "command tag", w.returns(), "INSERT 0 1")
			if !strings.Contains(w.said(), "canceling wait for synchronous replication due to user request") {
				l.Errorf("warned of %q", w.said())
			}
			equal(l, "visible", a.row(x), "1")
		}
	})
}

// P9. statement_timeout is no bound for a commit that waits.
func TestP9StatementTimeoutDoesNotEndCommit(t *testing.T) {
	on(t, "P9 statement_timeout does not end the wait of a plain COMMIT", func(l *lab) {
		a := stuck(l)
		c := a.connect("")
		c.sql("begin")
		c.sql("insert into t values (1)")
		c.sql("set statement_timeout = 100") // not before: on a busy machine the insert itself may take longer
		c.begin("commit").waits()
		a.connect("options='-c statement_timeout=100'").beginExtended("insert into t values (2)").waits()
	})
}

// P9. Within DO it ends the wait, and the block succeeds.
func TestP9StatementTimeoutEndsCommitInDo(t *testing.T) {
	on(t, "P9 … it does inside DO, which reports success", func(l *lab) {
		a := stuck(l)
		w := a.connect("options='-c statement_timeout=2000'").begin("do $$ begin insert into t values (1); commit; end $$")
		equal(l, "command tag", w.returns(), "DO")
		if !strings.Contains(w.said(), "canceling wait for synchronous replication") {
			l.Errorf("warned of %q", w.said())
		}
		equal(l, "visible", a.row(1), "1")
	})
}

// P9. In a procedure it ends the waits of the commits within, not that of the last, which CALL does itself.
func TestP9StatementTimeoutInCall(t *testing.T) {
	on(t, "P9 … in CALL the last commit waits for ever", func(l *lab) {
		a := stuck(l)
		a.ask("create procedure p() language plpgsql as " +
			"'begin insert into t values (1); commit; insert into t values (2); end'")
		w := a.connect("options='-c statement_timeout=2000'").begin("call p()")
		a.is("select count(*) from t where x = 1", "1")
		w.waits()
		equal(l, "the last commit is visible", a.row(2), "0")
	})
}

// P9. Nor is transaction_timeout a bound.
func TestP9TransactionTimeoutDoesNotEndCommit(t *testing.T) {
	on(t, "P9 transaction_timeout does not end the wait of a COMMIT", func(l *lab) {
		if l.major < 17 {
			l.untried("no transaction_timeout before 17")
		}
		a := stuck(l)
		c := a.connect("options='-c transaction_timeout=100'")
		c.begin("begin; insert into t values (1); commit").waits()
	})
}
