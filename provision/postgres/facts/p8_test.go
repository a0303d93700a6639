package facts

import (
	"testing"
	"time"
)

// P8. A WAL sender that serves a cascading standby acknowledges nothing. When its server is promoted, the
// same process over the same connection does: c answers for b as soon as b leads, without having been
// asked whether it may. So members of a rule follow the leader directly.
func TestP8CascadingSenderAcknowledgesAfterPromotion(t *testing.T) {
	on(t, "P8 a cascading WAL sender acknowledges when its server is promoted", func(l *lab) {
		a := l.primary("a")
		b := l.server("b")
		b.write("standby.signal", "")
		b.conf["primary_conninfo"] = a.conninfo("b")
		b.conf["synchronous_standby_names"] = "'ANY 1 (c)'"
		b.start()
		c := l.standby("c", b)
		c.reaches(a.insert(1, 1))
		const who = "select pid || ':' || sync_priority from pg_stat_replication where application_name = 'c'"
		pid := b.ask("select pid from pg_stat_replication where application_name = 'c'")
		receiver := c.child("walreceiver")
		equal(l, "pid and priority before", b.ask(who), pid+":0")
		b.promote()
		w, begin := b.commit(2), time.Now()
		w.returns()
		l.measured("the COMMIT returned after %s", time.Since(begin).Round(time.Millisecond))
		equal(l, "pid and priority after", b.ask(who), pid+":1")
		equal(l, "pid of the receiver", c.find("walreceiver"), receiver)
	})
}
