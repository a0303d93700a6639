package facts

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgctl/pgctl/provision/postgres/control"
)

// server is one instance: a copy of its version's template, with settings of its own.
type server struct {
	*lab
	name   string
	data   string
	conf   map[string]string
	exited chan struct{} // closed when the postmaster is gone; nil before the first start
	pid    int
	frozen []int
	own    *session // answers ask
}

// defaults are the settings of every server. Quick and quiet: nothing writes WAL unasked, and no timeout
// ends what a test has frozen.
var defaults = map[string]string{
	"listen_addresses": "''", "max_connections": "20", "shared_buffers": "8MB", "dynamic_shared_memory_type": "mmap",
	"max_logical_replication_workers": "0", "max_wal_senders": "10", "max_replication_slots": "10", "wal_keep_size": "64MB", "wal_log_hints": "on",
	"autovacuum": "off", "jit": "off", "lc_messages": "C", "log_line_prefix": "'%m [%p] '",
	"wal_sender_timeout": "0", "wal_receiver_timeout": "0",
	"wal_retrieve_retry_interval": "100ms", "wal_receiver_status_interval": "1s",
}

// folders is one stopped data directory a version, made when it is first needed.
type folders struct {
	sync.Mutex
	made map[string]func() (string, error)
}

var templates folders

func (f *folders) of(bin string) (string, error) {
	f.Lock()
	if f.made == nil {
		f.made = map[string]func() (string, error){}
	}
	if f.made[bin] == nil {
		f.made[bin] = sync.OnceValues(func() (string, error) { return template(bin) })
	}
	get := f.made[bin]
	f.Unlock()
	return get()
}

func (f *folders) remove() {
	for _, get := range f.made {
		if dir, err := get(); err == nil {
			_ = os.RemoveAll(filepath.Dir(dir))
		}
	}
}

// template makes a data directory with an empty table t, and without the databases that nobody connects to.
func template(bin string) (string, error) {
	dir, err := os.MkdirTemp(quickFolder(), "facts")
	if err != nil {
		return "", err
	}
	if err := own(dir); err != nil {
		return "", err
	}
	data := filepath.Join(dir, "data")
	if _, err := run(context.Background(), filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--data-checksums", "--wal-segsize=1"); err != nil {
		return "", err
	}
	c, err := credential()
	if err != nil {
		return "", err
	}
	args := []string{"--single", "-D", data, "-c", "fsync=off"}
	for _, name := range []string{"max_connections", "max_wal_senders", "wal_log_hints"} { // as standbys must have them
		args = append(args, "-c", name+"="+defaults[name])
	}
	single := exec.Command(filepath.Join(bin, "postgres"), append(args, "postgres")...)
	single.SysProcAttr = &syscall.SysProcAttr{Credential: c}
	single.Dir, single.Stdin = "/", strings.NewReader(`
create table t (x int)
update pg_database set datistemplate = false
drop database template0
drop database template1
`)
	out, err := single.CombinedOutput()
	if err != nil || strings.Contains(string(out), "ERROR") {
		return "", fmt.Errorf("template: %v\n%s", err, out)
	}
	return data, nil
}

// server makes an instance that does not run yet.
func (l *lab) server(name string) *server {
	l.Helper()
	from, err := templates.of(l.bin)
	l.must(err)
	s := &server{lab: l, name: name, data: filepath.Join(l.dir, name), conf: maps.Clone(defaults)}
	l.must(exec.Command("cp", "-a", from, s.data).Run())
	s.conf["unix_socket_directories"] = "'" + s.socket() + "'"
	l.must(os.Mkdir(s.socket(), 0o755))
	l.must(own(s.socket()))
	l.servers = append(l.servers, s)
	return s
}

// primary makes an instance and starts it.
func (l *lab) primary(name string) *server {
	l.Helper()
	s := l.server(name)
	s.start()
	return s
}

// standby makes a standby of a server that was not written to yet, and waits for it to stream.
func (l *lab) standby(name string, of *server) *server {
	l.Helper()
	s := l.server(name)
	s.write("standby.signal", "")
	s.conf["primary_conninfo"] = of.conninfo(name)
	s.start()
	of.streams(s)
	return s
}

// conninfo is what a standby of this name has in primary_conninfo, quoted.
func (s *server) conninfo(name string) string {
	return fmt.Sprintf("'host=%s port=5432 user=postgres application_name=%s'", s.socket(), name)
}

// socket is the folder of the server's socket. It is short: the kernel allows 107 bytes for the path.
func (s *server) socket() string { return s.data + ".s" }

func (s *server) path(name string) string { return filepath.Join(s.data, name) }

// write puts a file into the data directory.
func (s *server) write(name, text string) {
	s.Helper()
	folder := filepath.Dir(s.path(name))
	if folder != s.data && os.Mkdir(folder, 0o700) == nil {
		s.must(own(folder))
	}
	made := s.data + ".new" // in its place at once, since servers look at signal files when they like
	s.must(os.WriteFile(made, []byte(text), 0o600))
	s.must(own(made))
	s.must(os.Rename(made, s.path(name)))
}

func (s *server) has(name string) bool {
	_, err := os.Stat(s.path(name))
	return err == nil
}

func (s *server) read(name string) string {
	s.Helper()
	text, err := os.ReadFile(s.path(name))
	s.must(err)
	return string(text)
}

func (s *server) remove(name string) {
	s.Helper()
	s.must(os.Remove(s.path(name)))
}

func (s *server) log() string {
	text, _ := os.ReadFile(s.data + ".log")
	return string(text)
}

// logs waits for a line in the server's log.
func (s *server) logs(line string) {
	s.Helper()
	s.until(fmt.Sprintf("%q in the log of %s", line, s.name), func() bool { return strings.Contains(s.log(), line) })
}

// launch starts the postmaster without waiting for it to accept anybody.
func (s *server) launch() {
	s.Helper()
	c, err := credential()
	s.must(err)
	s.configure()
	out, err := os.OpenFile(s.data+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	s.must(err)
	defer out.Close()
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.data)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out
	// Should the test binary die, its servers go too, and clean up behind them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	s.must(cmd.Start())
	exited := make(chan struct{})
	s.exited, s.pid = exited, cmd.Process.Pid
	go func() {
		_ = cmd.Wait() // how it ended is in the log
		close(exited)
	}()
}

// start starts the server and waits until it accepts sessions.
func (s *server) start() {
	s.Helper()
	s.launch()
	s.ready()
}

// ready waits until the server accepts sessions.
func (s *server) ready() {
	s.Helper()
	s.until(s.name+" accepts sessions", func() bool {
		if !s.running() {
			s.Fatalf("%s is gone", s.name)
		}
		pidfile, _ := os.ReadFile(s.path("postmaster.pid"))
		lines := strings.Split(string(pidfile), "\n")
		return len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready"
	})
}

func (s *server) running() bool {
	if s.exited == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// stop ends the server by one of PostgreSQL's signals: SIGINT is fast, SIGQUIT immediate. What was frozen
// is not waited for.
func (s *server) stop(sig syscall.Signal) {
	s.Helper()
	s.signal(sig)
	s.thawAll()
	s.gone()
}

// gone waits until the postmaster has exited.
func (s *server) gone() {
	s.Helper()
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.Fatalf("%s does not stop", s.name)
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.Helper()
	s.must(syscall.Kill(s.pid, sig))
}

// discard ends the server at the end of a test, whatever state it is in.
func (s *server) discard() {
	if s.exited == nil {
		return
	}
	if s.running() {
		_ = syscall.Kill(s.pid, syscall.SIGQUIT)
	}
	s.thawAll()
	select {
	case <-s.exited:
	case <-time.After(patience):
		_ = syscall.Kill(s.pid, syscall.SIGKILL)
		s.Errorf("%s did not stop at once", s.name)
	}
}

// configure writes the settings.
func (s *server) configure() {
	s.Helper()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.conf)) {
		fmt.Fprintf(&b, "%s = %s\n", name, s.conf[name])
	}
	s.write("postgresql.conf", b.String())
}

// set changes a setting's text, quoted as the file has it, and has it read.
func (s *server) set(name, value string) {
	s.Helper()
	s.conf[name] = value
	s.reload()
}

// reload has the settings read, and waits until new sessions have them. Other processes may be later.
func (s *server) reload() {
	s.Helper()
	const loaded = "select pg_conf_load_time()"
	before := s.fresh(loaded)
	s.configure()
	s.signal(syscall.SIGHUP)
	s.until("new settings", func() bool { return s.fresh(loaded) != before })
}

// names changes synchronous_standby_names, and sees to it that the checkpointer has read them: it does so
// before it makes another checkpoint. From then on sessions wait by them.
func (s *server) names(value string) {
	s.Helper()
	s.set("synchronous_standby_names", value)
	s.ask("checkpoint")
}

// promote makes a standby a primary the way pgctl does: a file, a signal, own polling.
func (s *server) promote() {
	s.Helper()
	s.write("promote", "")
	s.signal(syscall.SIGUSR1)
	s.is("select pg_is_in_recovery()", "f")
}

// control reads pg_control.
func (s *server) control() control.ControlData {
	s.Helper()
	data, err := os.ReadFile(s.path("global/pg_control"))
	s.must(err)
	c, err := control.ParseControlData(data)
	s.must(err)
	return c
}

// history is the path of a timeline's history file below the data directory.
func history(timeline int) string { return fmt.Sprintf("pg_wal/%08X.history", timeline) }
