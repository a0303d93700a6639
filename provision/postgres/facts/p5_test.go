package facts

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// P5. What is counted are connections, not names: b beside its own half-open connection is two of ANY 2
// (b,c). c has nothing. A slot that each name must use makes it one again, since it refuses the second.
func TestP5ConnectionsCountNotNames(t *testing.T) {
	on(t, "P5 connections count, not names", func(l *lab) {
		a := l.primary("a")
		k := a.link()
		b := l.server("b")
		b.write("standby.signal", "")
		b.conf["primary_conninfo"] = strings.Replace(a.conninfo("b"), a.socket(), k.folder, 1)
		b.start()
		a.streams(b)
		a.names("'ANY 2 (b,c)'")
		w := a.commit(1)
		w.waits()
		k.halve()
		w.returns()
		equal(l, "connections of b", a.ask("select count(*) from pg_stat_replication where application_name = 'b'"), "2")
	})
}

// P5. A physical slot refuses a second connection while it has one, so that no member counts twice.
func TestP5SlotRefusesSecondConnection(t *testing.T) {
	on(t, "P5 a physical slot refuses the second connection", func(l *lab) {
		a := l.primary("a")
		a.ask("select pg_create_physical_replication_slot('b', true)")
		a.physical("b", "b", a.end())
		_, err := a.stream("replication=true application_name=b", "START_REPLICATION SLOT b PHYSICAL "+a.end().String())
		equal(l, "SQLSTATE", code(err), "55006")
	})
}

// P5. Whoever streams under a member's name is counted as the member: here something like pg_receivewal,
// which keeps WAL, but is nobody who could lead.
func TestP5ReceiverUnderAMembersNameCounts(t *testing.T) {
	on(t, "P5 a WAL receiver that is no standby counts under a member's name", func(l *lab) {
		a := l.primary("a")
		a.names("'ANY 1 (b)'")
		w := a.commit(1)
		w.waits()
		r := a.physical("b", "", 1<<20*(a.end()>>20))
		r.has(a.end())
		r.release(w)
	})
}

// P5, with PostgreSQL's own program.
func TestP5PgReceivewalCounts(t *testing.T) {
	on(t, "P5 … with pg_receivewal --synchronous", func(l *lab) {
		program := l.tool("pg_receivewal")
		a := l.primary("a")
		a.names("'ANY 1 (b)'")
		w := a.commit(1)
		w.waits()
		l.beside(program, "--synchronous", "--no-loop", "-D", folder(t), "-d",
			strings.Trim(a.conninfo("b"), "'"))
		w.returns()
	})
}

// beside runs a program until the test ends.
func (l *lab) beside(program string, args ...string) {
	l.Helper()
	c, err := credential()
	l.must(err)
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c, Pdeathsig: syscall.SIGKILL}
	l.must(cmd.Start())
	l.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
