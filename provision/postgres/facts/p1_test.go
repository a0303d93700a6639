package facts

import (
	"fmt"
	"syscall"
	"testing"
)

// diverged makes b the leader of a new timeline that left the old one before c's end, in the same segment
// of WAL or an earlier one, and points c at b, whose commits wait for c.
func diverged(l *lab, nextSegment bool) (b, c *server) {
	a := l.primary("a")
	b, c = l.standby("b", a), l.standby("c", a)
	b.reaches(a.insert(1, 1))
	b.detach()
	if nextSegment {
		a.ask("select pg_switch_wal()")
	}
	c.reaches(a.insert(1000, 1199))
	a.stop(syscall.SIGQUIT)
	b.names("'ANY 1 (c)'")
	b.promote()
	c.follow(b)
	return b, c
}

// P1. A standby that has replayed the old timeline further than where the new one begins acknowledges
// commits of the new leader that it does not have: what it reports is its own old position. The leader
// remembers that even without the standby, until its WAL passes the position. So histories are compared
// before anybody follows.
func TestP1DivergedStandbyAcknowledges(t *testing.T) {
	on(t, "P1 a diverged standby acknowledges what it lacks", func(l *lab) {
		b, c := diverged(l, false)
		old := c.replayed()
		b.commit(100).returns()
		equal(l, "rows at c", c.row(100), "0")
		equal(l, "timeline of c", fmt.Sprint(c.control().Timeline), "1")
		c.stop(syscall.SIGINT)
		client, x := b.connect(""), 101
		for ; b.end() < old-1000; x++ { // more than a row and its commit take
			client.begin(fmt.Sprintf("insert into t values (%d)", x)).returns()
		}
		if x < 105 {
			l.Errorf("only %d commits were let through", x)
		}
		for ; b.end() <= old; x++ {
			b.insert(x, x)
		}
		b.commit(x).waits()
	})
}

// P1. It is refused only where its WAL runs into the next segment, since it asks for WAL from the start
// of one.
func TestP1DivergedStandbyIsRefusedBySegment(t *testing.T) {
	on(t, "P1 … but not when its WAL runs into the next segment", func(l *lab) {
		b, c := diverged(l, true)
		c.logs("is not in this server's history")
		b.commit(100).waits()
	})
}
