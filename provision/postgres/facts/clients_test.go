package facts

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refusing is a folder whose socket refuses connections: a file is there, as that of a killed server.
func (l *lab) refusing() string {
	l.Helper()
	folder := filepath.Join(l.dir, "refused")
	l.must(os.Mkdir(folder, 0o755))
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(folder, socketFile)})
	l.must(err)
	l.must(os.Chmod(filepath.Join(folder, socketFile), 0o777))
	listener.SetUnlinkOnClose(false)
	l.must(listener.Close())
	return folder
}

// resetting is a port of 127.0.0.1 that accepts connections and resets them when the client says something.
func (l *lab) resetting() string {
	l.Helper()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	l.must(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1))
			_, _ = c.SetLinger(0), c.Close() // without lingering the end is a reset
		}
	}()
	l.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	_, port, err := net.SplitHostPort(listener.Addr().String())
	l.must(err)
	return port
}

// A client with several hosts, as libpq has it, stops at a server that refuses its authentication. Whom it
// cannot reach, who refuses the connection, and who says that it is starting up, it passes over: so a closed
// instance refuses connections where it can. Resetting them when they were accepted is no better than
// refusing the authentication.
func TestClientStopsAtRefusedAuthentication(t *testing.T) {
	on(t, "libpq stops at a host that refuses authentication, passes over refused connections and 57P03", func(l *lab) {
		open := l.primary("open")
		open.ask("create role app login")
		open.ask("create extension dblink")
		closed := l.server("closed")
		closed.write("pg_hba.conf", "local all postgres trust\nlocal all all reject\n")
		closed.start()
		closed.ask("create role app login")
		starting := l.server("starting")
		starting.write("standby.signal", "")
		starting.conf["hot_standby"] = "off"
		starting.launch()
		l.until("it says what it is", func() bool { _, err := starting.dial(""); return code(err) == "57P03" })
		// The client is this version's own libpq, inside a server.
		client := func(host, port string) string {
			answer, err := open.try(fmt.Sprintf("select pid <> pg_backend_pid() from dblink('host=%s,%s port=%s,5432 user=app "+
				"dbname=postgres target_session_attrs=read-write', 'select pg_backend_pid()') as t (pid int)",
				host, open.socket(), port))
			return answer + detail(err)
		}
		for what, c := range map[string]struct{ host, port, got string }{
			"no socket":              {"/nowhere", "5432", "t"},
			"refused":                {l.refusing(), "5432", "t"},
			"57P03":                  {starting.socket(), "5432", "t"},
			"28000":                  {closed.socket(), "5432", "pg_hba.conf rejects connection"},
			"reset after acceptance": {"127.0.0.1", l.resetting(), `connection to server at "127.0.0.1"`},
		} {
			if got := client(c.host, c.port); !strings.Contains(got, c.got) {
				l.Errorf("%s: %q does not contain %q", what, got, c.got)
			}
		}
	})
}

// A healthy server can refuse new sessions. A replication connection is answered then.
func TestFullServerAnswersReplication(t *testing.T) {
	on(t, "with all slots full (53300) a replication connection answers", func(l *lab) {
		a := l.primary("a")
		var err error
		for n := 0; err == nil; n++ {
			if n > 20 {
				l.Fatal("more sessions than max_connections")
			}
			_, err = a.dial("")
		}
		equal(l, "SQLSTATE", code(err), "53300")
		c := a.connect("replication=true")
		if c.sql("IDENTIFY_SYSTEM") == "" {
			l.Error("no system identifier")
		}
	})
}

// hanging is a session that is being opened.
func (s *server) hanging(more string) chan error {
	opened := make(chan error, 1)
	go func() {
		_, err := s.dial(more)
		opened <- err
	}()
	return opened
}

// It can also let them hang, for as long as somebody locks a catalog that opening a session reads, or
// rewrites it by VACUUM FULL.
func TestLockedCatalogHangsSessions(t *testing.T) {
	on(t, "with pg_class or pg_database locked sessions hang, a replication connection answers", func(l *lab) {
		a := l.primary("a")
		lock := a.connect("")
		for _, catalog := range []string{"pg_class", "pg_database"} {
			lock.sql("begin; lock " + catalog + " in access exclusive mode")
			session := a.hanging("")
			l.stays("the session hangs", func() bool { return len(session) == 0 })
			c := a.connect("replication=true")
			if c.sql("IDENTIFY_SYSTEM") == "" {
				l.Error("no system identifier")
			}
			lock.sql("rollback")
			l.must(<-session)
		}
	})
}

// With pg_authid, replication connections hang as well, since they have a role, and even who would be rejected.
// All that is still answered is what comes before any role: here the question for TLS.
func TestLockedRolesHangReplication(t *testing.T) {
	on(t, "with pg_authid locked replication connections hang too; the question for TLS is answered", func(l *lab) {
		a := l.primary("a")
		lock := a.connect("")
		lock.sql("begin; lock pg_authid in access exclusive mode")
		session, replication, unknown := a.hanging(""), a.hanging("replication=true"), a.hanging("user=unknown")
		l.stays("all hang", func() bool { return len(session)+len(replication)+len(unknown) == 0 })
		c, err := net.Dial("unix", filepath.Join(a.socket(), socketFile))
		l.must(err)
		defer c.Close()
		l.must(c.SetDeadline(time.Now().Add(patience)))
		_, err = c.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}) // SSLRequest
		l.must(err)
		answer := []byte{0}
		_, err = c.Read(answer)
		if err != nil || answer[0] != 'N' {
			l.Errorf("answered %q, %v", answer, err)
		}
		lock.sql("rollback")
		l.must(<-session)
		l.must(<-replication)
		equal(l, "SQLSTATE of an unknown role", code(<-unknown), "28000")
	})
}
