package facts

import (
	"syscall"
	"testing"
	"time"
)

// A planned switchover by signals and own polling: the old leader's WAL senders deliver its shutdown
// checkpoint before it is gone. So whoever has that has everything, and the old leader follows without
// being rewound.
func TestShutdownDeliversItsCheckpoint(t *testing.T) {
	on(t, "a fast shutdown delivers its checkpoint to standbys before the server is gone", func(l *lab) {
		a := l.primary("a")
		b, c := l.standby("b", a), l.standby("c", a)
		a.insert(1, 10000)
		begin := time.Now()
		a.stop(syscall.SIGINT)
		stopped := time.Now()
		for _, s := range []*server{b, c} {
			if s.received() <= a.control().Checkpoint {
				l.Errorf("%s has %s, a's checkpoint is at %s", s.name, s.received(), a.control().Checkpoint)
			}
		}
		b.write("promote", "")
		b.signal(syscall.SIGUSR1)
		l.until("b can be written", func() bool { _, err := b.try("insert into t values (0)"); return err == nil })
		written := time.Now()
		equal(l, "rows", b.ask("select count(*) from t"), "10001")
		c.follow(b)
		c.reaches(b.end())
		a.write("standby.signal", "")
		a.conf["primary_conninfo"] = b.conninfo("a")
		a.start()
		a.reaches(b.end())
		l.measured("stopped in %s, from the promotion to the first write %s",
			stopped.Sub(begin).Round(time.Millisecond), written.Sub(stopped).Round(time.Millisecond))
	})
}
