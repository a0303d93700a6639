package facts

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// P2. Two promotions of one history take the same number. A standby of the one streams from the other, and
// acknowledges what it does not have, until it must read the other's WAL: then it is stuck for ever. So the
// store gives the numbers out.
func TestP2TwoPromotionsTakeTheSameNumber(t *testing.T) {
	on(t, "P2 two promotions take the same number, and a standby of one acknowledges the other", func(l *lab) {
		a := l.primary("a").quiet()
		b, c, d := l.standby("b", a), l.standby("c", a), l.standby("d", a)
		end := a.insert(1, 1)
		for _, s := range []*server{b, c, d} {
			s.reaches(end)
			s.detach()
		}
		a.stop(syscall.SIGQUIT)
		b.promote()
		c.promote()
		equal(l, "b's timeline", timeline(b), "2")
		equal(l, "c's timeline", timeline(c), "2")
		d.follow(b)
		d.reaches(b.insert(1001, 3000))
		d.detach()
		theirs := d.received()
		d.reaches(theirs)
		d.follow(c)
		c.streams(d)
		c.names("'ANY 1 (d)'")
		c.commit(4000).returns()
		equal(l, "d has b's rows", d.row(1001), "1")
		equal(l, "d has the row that it acknowledged", d.row(4000), "0")
		for c.end() <= theirs+8192 { // records that are unlike b's
			c.ask("select pg_logical_emit_message(true, 'x', repeat('x', 3000))")
		}
		// What it finds at its own end is the middle of some record of c's, mostly an x.
		garbage := regexp.MustCompile(`incorrect prev-link|invalid resource manager ID|invalid record length .* got [1-9]`)
		l.until("d cannot read on", func() bool { return garbage.MatchString(d.log()) })
		l.stays("d is stuck", func() bool { return d.replayed() == theirs })
		equal(l, "d has c's row", d.row(4000), "0")
	})
}

// P2, worse than that: where the other history's records happen to begin at the same places, nothing is
// noticed at all. The standby goes on with rows of both, and lacks some of each.
func TestP2HistoriesOfOneNumberMix(t *testing.T) {
	on(t, "P2 … and mixes both histories silently where records are of the same lengths", func(l *lab) {
		a := l.primary("a").quiet()
		b, c, d := l.standby("b", a), l.standby("c", a), l.standby("d", a)
		end := a.insert(1, 1)
		for _, s := range []*server{b, c, d} {
			s.reaches(end)
			s.detach()
		}
		a.stop(syscall.SIGQUIT)
		for _, s := range []*server{b, c} {
			s.quiet().promote()
			s.ask("checkpoint")
		}
		l.until("both logs have the same length", func() bool {
			if b.end() < c.end() {
				b.ask("checkpoint")
			} else if c.end() < b.end() {
				c.ask("checkpoint")
			}
			return b.end() == c.end()
		})
		for n := range 10 {
			b.insert(100+n, 100+n)
			c.insert(200+n, 200+n)
		}
		equal(l, "ends", b.end(), c.end())
		d.follow(b)
		d.reaches(b.end())
		d.follow(c)
		c.insert(300, 300)
		d.reaches(c.end())
		equal(l, "b's row", d.row(100), "1")
		equal(l, "c's row before", d.row(200), "0")
		equal(l, "c's row after", d.row(300), "1")
	})
}

// timeline is the number of the timeline that a primary writes.
func timeline(s *server) string {
	return s.ask("select ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int")
}

// P3. A promotion takes the first number for which there is no history file, whatever is in those that are
// there. So empty ones fill a gap up to the number that the store gave out.
func TestP3PlaceholdersChooseTheNumber(t *testing.T) {
	on(t, "P3 promotion takes the first number without a history file", func(l *lab) {
		a := l.primary("a")
		b := l.standby("b", a)
		b.reaches(a.insert(1, 1))
		b.write(history(2), "")
		b.write(history(3), "# nobody's\n")
		b.write(history(4), "")
		b.promote()
		equal(l, "b's timeline", timeline(b), "5")
		c := l.standby("c", b)
		c.reaches(b.insert(2, 2))
		for n := 6; n <= 8; n++ {
			c.write(history(n), "")
		}
		c.promote()
		equal(l, "c's timeline", timeline(c), "9")
		equal(l, "c's row", c.row(2), "1")
	})
}

// P3. Empty or with a comment only is right. A placeholder with a parent makes a standby jump to a timeline
// that nobody has.
func TestP3ParentLineMakesStandbysJump(t *testing.T) {
	on(t, "P3 a placeholder with a parent line makes a standby jump to it", func(l *lab) {
		a := l.primary("a").quiet()
		b := l.standby("b", a)
		b.write(history(2), "# nobody's\n")
		broken := func() { a.ask("select pg_terminate_backend(pid) from pg_stat_replication") }
		broken()
		b.reaches(a.insert(1, 1)) // a comment does not
		b.write(history(2), fmt.Sprintf("1\t%s\tno reason\n", a.end()))
		broken()
		b.logs("new target timeline is 2")
		b.logs("highest timeline 1 of the primary is behind recovery timeline 2")
		end := a.insert(2, 2)
		l.stays("b does not follow", func() bool { return b.replayed() < end })
	})
}

// gap makes a primary on timeline 5 that came from 1, with placeholders between.
func gap(l *lab) (b *server) {
	a := l.primary("a")
	b = l.standby("b", a)
	b.reaches(a.insert(1, 1))
	for n := 2; n <= 4; n++ {
		b.write(history(n), "")
	}
	a.stop(syscall.SIGQUIT)
	b.promote()
	b.insert(2, 2)
	return b
}

// A receiver asks for every history from its own timeline to the primary's, placeholders too. It gets them:
// nobody else needs any beforehand, and those behind it get them from it.
func TestReceiversFetchEveryHistory(t *testing.T) {
	on(t, "a receiver fetches every history up to the primary's, also in a cascade", func(l *lab) {
		b := gap(l)
		c := l.standby("c", b)
		d := l.standby("d", c)
		d.reaches(b.end())
		equal(l, "d's row", d.row(2), "1")
		for _, s := range []*server{c, d} {
			for _, n := range []int{2, 3, 4, 5} {
				equal(l, s.name+" has "+history(n), s.has(history(n)), true)
			}
		}
	})
}

// One that is missing on the primary stops them, until it is there on either side. Whoever is restarted
// meanwhile, with some of them fetched, hangs even when it is there again.
func TestMissingHistoryStopsReceivers(t *testing.T) {
	on(t, "a history that is missing on the primary stops receivers until it is there", func(l *lab) {
		b := gap(l)
		b.remove(history(3))
		var standbys []*server
		for _, name := range []string{"c", "d", "e"} {
			s := l.server(name)
			s.write("standby.signal", "")
			s.conf["primary_conninfo"] = b.conninfo(name)
			s.start()
			s.logs(`could not open file "pg_wal/00000003.history"`)
			standbys = append(standbys, s)
		}
		c, d, e := standbys[0], standbys[1], standbys[2]
		l.stays("nobody streams", func() bool { return b.ask("select count(*) from pg_stat_replication where state = 'streaming'") == "0" })
		c.write(history(3), "")
		c.reaches(b.end())
		equal(l, "d's row", d.row(2), "0")
		e.stop(syscall.SIGINT)
		b.write(history(3), "")
		d.reaches(b.end())
		equal(l, "e has the first", e.has(history(2)), true)
		e.launch()
		b.streams(e)
		l.stays("e is starting up", func() bool { _, err := e.dial(""); return code(err) == "57P03" })
		e.stop(syscall.SIGINT)
		for _, name := range glob(l, e.data, "pg_wal/*.history") {
			l.must(os.Remove(name))
		}
		e.start()
		e.reaches(b.end())
	})
}

// A trap: a standby that is *restarted* with a history file above its own timeline says "starting up" for
// ever, replays nothing, yet streams and acknowledges. Running it does not mind. So such files are removed
// before a start.
func TestHistoryAboveHangsRestartedStandby(t *testing.T) {
	on(t, "a standby restarted with a history above its timeline hangs, yet acknowledges", func(l *lab) {
		a := l.primary("a")
		b := l.standby("b", a)
		b.write(history(2), "")
		b.reaches(a.insert(1, 1))
		b.stop(syscall.SIGINT)
		b.launch()
		a.streams(b)
		a.names("'ANY 1 (b)'")
		a.commit(2).returns()
		var err error
		l.stays("b is starting up", func() bool { _, err = b.dial(""); return code(err) == "57P03" })
		if !strings.Contains(err.Error(), "the database system is starting up") {
			l.Errorf("b says %v", err)
		}
		a.is("select coalesce(replay_lsn, '0/0') < flush_lsn from pg_stat_replication where state = 'streaming'", "t")
		b.stop(syscall.SIGINT)
		b.remove(history(2))
		b.start()
		b.reaches(a.end())
		equal(l, "b's row", b.row(2), "1")
	})
}

// A trap: a standby with a placeholder for a number that another instance really took does not ask for the
// real history, and never follows, until the placeholder is removed and it is restarted.
func TestPlaceholderForATakenNumber(t *testing.T) {
	on(t, "a placeholder for a number that another took: that standby never follows", func(l *lab) {
		a := l.primary("a").quiet()
		b, c := l.standby("b", a), l.standby("c", a)
		end := a.insert(1, 1)
		b.reaches(end)
		c.reaches(end)
		c.write(history(2), "")
		a.stop(syscall.SIGQUIT)
		b.promote()
		c.follow(b)
		end = b.insert(2, 2)
		c.logs("new timeline 2 is not a child of database system timeline 1")
		l.stays("c does not follow", func() bool { return c.replayed() < end })
		c.remove(history(2))
		c.stop(syscall.SIGINT)
		c.start()
		c.reaches(end)
		equal(l, "c's row", c.row(2), "1")
	})
}
