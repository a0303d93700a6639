package writer_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgctl/pgctl/lab/writer"
	"github.com/pgctl/pgctl/provision/process"
)

// server is a single PostgreSQL of the distribution, run as postgres when the tests run as root.
type server struct {
	t    *testing.T
	bin  string
	dir  string
	port int
	as   *syscall.Credential
	run  *exec.Cmd
}

func newServer(t *testing.T) *server {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(bins) == 0 {
		t.Skip("there is no PostgreSQL in /usr/lib/postgresql: scripts/install-postgres installs it")
	}
	dir, err := os.MkdirTemp("/tmp", "pgctl-writer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{t: t, bin: filepath.Dir(bins[0]), dir: filepath.Join(dir, "data")}
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	if out, err := s.command("initdb", "-D", s.dir, "-U", "app", "-A", "trust", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s
}

func (s *server) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, name), args...)
	c.Dir = filepath.Dir(s.dir)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return c
}

func (s *server) start() {
	s.t.Helper()
	s.run = s.command("postgres", "-D", s.dir, "-p", strconv.Itoa(s.port), "-c", "unix_socket_directories=", "-h", "127.0.0.1")
	s.run.Dir = s.dir
	if err := s.run.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.kill)
}

// kill ends the server as a power failure would.
func (s *server) kill() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := (process.Local{}).KillAll(ctx, s.dir); err != nil {
		s.t.Error(err)
	}
	_ = s.run.Wait()
}

func (s *server) dsn() string {
	return fmt.Sprintf("postgres://app@127.0.0.1:%d/postgres?target_session_attrs=read-write&sslmode=disable", s.port)
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestRowsSurviveAKill(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := writer.Start(ctx, writer.Config{DSN: s.dsn(), Connections: 2, Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	more := func(n int) {
		t.Helper()
		from := w.Report().Acknowledged
		wait(t, "no rows are written", func() bool { return w.Report().Acknowledged >= from+n })
	}
	more(20)
	s.kill()
	down := time.Now()
	wait(t, "no failure noticed", func() bool { return w.Failure() != nil })
	s.start()
	more(20)
	back := time.Since(down)
	report := w.Stop()
	if report.LongestGap <= 0 || report.LongestGap > back+time.Second {
		t.Errorf("gap %v of %v", report.LongestGap, back)
	}
	if missing, err := w.Missing(ctx); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}

	// A loss shows.
	conn, err := pgx.Connect(ctx, s.dsn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "DELETE FROM pgctl_writer WHERE id IN (3, 4)"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(ctx)
	if missing, err := w.Missing(ctx); err != nil || len(missing) != 2 {
		t.Errorf("missing %v, %v", missing, err)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := writer.Start(ctx, writer.Config{DSN: "postgres://app@127.0.0.1:1/x"}); err == nil {
		t.Error("it began without a server")
	}
}
