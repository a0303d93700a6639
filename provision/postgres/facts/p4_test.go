package facts

import (
	"syscall"
	"testing"
)

const nobody = `'ANY 1 ("pgctl-nobody")'`

// P4. While names change, commits pass through a rule that is neither the old nor the new one: names are
// read by each WAL sender for itself. Here b's sender still has the old names, c's has the new ones, and a
// commit that b alone has flushed returns.
func TestP4ChangeOfNamesIsNeitherRule(t *testing.T) {
	on(t, "P4 a change of names passes through rules that are neither", func(l *lab) {
		a := l.primary("a")
		l.standby("b", a)
		c := a.physical("c", "", a.end())
		c.acknowledge(a.end())
		a.names("'ANY 2 (b,c,x)'")
		a.is("select count(*) from pg_stat_replication where sync_state = 'quorum'", "2")
		before := a.end()
		c.acknowledge(before)
		w := a.commit(1)
		w.waits()
		a.is("select flush_lsn >= pg_current_wal_flush_lsn() from pg_stat_replication where application_name = 'b'", "t")
		// Everybody learns of the new names but b's WAL sender.
		a.freeze(a.sender("b"))
		a.set("synchronous_standby_names", "'ANY 1 (c)'")
		w.waits()
		l.until("the commit returns", func() bool {
			c.acknowledge(before)
			return w.over()
		})
		w.returns()
	})
}

// P4. Whether anybody waits at all is told to sessions by the checkpointer. While it hangs, commits go by
// the rule that was there before, whatever SHOW says.
func TestP4CheckpointerDecidesWhetherToWait(t *testing.T) {
	on(t, "P4 the checkpointer decides whether anybody waits", func(l *lab) {
		a := l.primary("a")
		checkpointer := a.child("checkpointer")
		a.freeze(checkpointer)
		a.set("synchronous_standby_names", nobody)
		equal(l, "SHOW", a.fresh("show synchronous_standby_names"), `ANY 1 ("pgctl-nobody")`)
		a.commit(1).returns()
		a.thaw(checkpointer)
		client := a.connect("")
		a.until("commits wait", func() bool {
			w := client.begin("insert into t values (2)")
			l.until("an outcome", func() bool {
				return w.over() || a.ask("select count(*) from pg_stat_activity where wait_event = 'SyncRep'") != "0"
			})
			return !w.over()
		})

		a.freeze(checkpointer)
		a.set("synchronous_standby_names", "''")
		equal(l, "SHOW", a.fresh("show synchronous_standby_names"), "")
		w := a.commit(3)
		w.waits()
		a.thaw(checkpointer)
		w.returns()
	})
}

// P4. Names that are in the file when a server starts are obeyed from the first commit on, although the
// checkpointer hangs, in a primary and in a standby that is promoted. (Before the minor versions of May
// 2025, 15.13 and so on, they were not.)
func TestP4NamesAtStartAreObeyed(t *testing.T) {
	on(t, "P4 names that are there at the start are obeyed from the first commit", func(l *lab) {
		a := l.server("a")
		a.conf["synchronous_standby_names"] = nobody
		a.launch()
		a.freeze(a.child("checkpointer"))
		a.ready()
		a.commit(1).waits()
		b := l.server("b")
		b.write("standby.signal", "")
		b.conf["synchronous_standby_names"] = nobody
		b.launch()
		b.freeze(b.child("checkpointer"))
		b.ready()
		b.promote()
		b.commit(1).waits()
	})
}

// P4. Names that change while the checkpointer hangs are not obeyed by the first commits after a promotion
// either.
func TestP4NamesChangedBeforePromotionSlip(t *testing.T) {
	on(t, "P4 … but names changed while the checkpointer hangs, then a promotion, are not", func(l *lab) {
		b := l.server("b")
		b.write("standby.signal", "")
		b.start()
		b.freeze(b.child("checkpointer"))
		b.set("synchronous_standby_names", nobody)
		b.promote()
		equal(l, "SHOW", b.fresh("show synchronous_standby_names"), `ANY 1 ("pgctl-nobody")`)
		b.commit(1).returns()
	})
}

// P4. In pg_stat_replication, sync_priority is what the WAL sender last read, sync_state what the session
// that looks makes of it: together they may show a rule that nobody has.
func TestP4PriorityIsTheSendersStateTheReaders(t *testing.T) {
	on(t, "P4 sync_priority is the WAL sender's, sync_state whoever looks computes", func(l *lab) {
		a := l.primary("a")
		l.standby("b", a)
		l.standby("c", a)
		const b = "select sync_priority || ':' || sync_state from pg_stat_replication where application_name = 'b'"
		a.set("synchronous_standby_names", "'ANY 1 (b,c)'")
		a.is(b, "1:quorum")
		senders := []int{a.sender("b"), a.sender("c")}
		for _, pid := range senders {
			a.freeze(pid)
		}
		a.set("synchronous_standby_names", "'FIRST 1 (c,b)'")
		equal(l, "b, senders frozen", a.fresh(b), "1:sync")
		for _, pid := range senders {
			a.thaw(pid)
		}
		a.is(b, "2:potential")
	})
}

// P4, as the protocol uses it: a WAL sender reads its new names before it reads a standby's answer. So an
// answer about WAL that was written after the reload was counted by the new rule, and ends the change.
func TestP4SenderReloadsBeforeItReadsReplies(t *testing.T) {
	on(t, "P4 a WAL sender reloads before it reads replies", func(l *lab) {
		a := l.primary("a").quiet()
		b := a.physical("b", "", a.end())
		b.acknowledge(a.end())
		a.names("'ANY 1 (b)'")
		a.is("select sync_state from pg_stat_replication", "quorum")
		w := a.commit(1)
		w.waits()
		pid := a.sender("b")
		a.freeze(pid)
		b.acknowledge(a.end()) // lies in the sender's socket, before the reload
		a.set("synchronous_standby_names", "'ANY 2 (b,c)'")
		a.thaw(pid)
		a.is("select sync_priority from pg_stat_replication where flush_lsn = pg_current_wal_flush_lsn()", "1")
		w.waits()
		a.must(syscall.Kill(pid, syscall.SIGTERM))
	})
}
