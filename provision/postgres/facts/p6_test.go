package facts

import (
	"syscall"
	"testing"

	"github.com/pgctl/pgctl"
)

// segment is the first position of the segment of WAL that a position lies in.
func segment(lsn pgctl.LSN) pgctl.LSN { return lsn >> 20 << 20 }

// P6. What a standby says that it received is unknown after a restart: NULL while nothing is streamed, then,
// as soon as it asks an upstream (which need not even exist), the start of a segment, behind what it
// has. So a position counts only if the receiver has streamed since the start; otherwise the end of replay.
func TestP6ReceivedPositionAfterRestart(t *testing.T) {
	on(t, "P6 the received position is NULL after a restart, then the start of a segment", func(l *lab) {
		a := l.primary("a").quiet()
		b := l.standby("b", a)
		end := a.insert(1, 100)
		b.reaches(end)
		equal(l, "before", b.received(), end)
		b.stop(syscall.SIGINT)
		b.conf["primary_conninfo"] = "''"
		b.start()
		b.reaches(end)
		const received = "select coalesce(pg_last_wal_receive_lsn()::text, 'NULL')"
		equal(l, "without an upstream", b.ask(received), "NULL")
		b.set("primary_conninfo", "'host=/nowhere'")
		b.is(received, segment(end).String())
	})
}

// P6. It remains NULL for ever where replay waits on purpose.
func TestP6ReceivedPositionOfDelayedStandby(t *testing.T) {
	on(t, "P6 … for ever under recovery_min_apply_delay", func(l *lab) {
		a := l.primary("a").quiet()
		b := l.standby("b", a)
		b.set("recovery_min_apply_delay", "'1h'")
		end := a.insert(1, 1)
		b.until("b has the row's WAL", func() bool { return b.received() == end })
		b.stop(syscall.SIGINT)
		b.start()
		unknown := func() bool { return b.received() == 0 && b.replayed() < end && b.find("walreceiver") == 0 }
		if !unknown() {
			l.Errorf("received %s, replayed %s of %s", b.received(), b.replayed(), end)
		}
		l.stays("nothing is received", unknown)
	})
}
