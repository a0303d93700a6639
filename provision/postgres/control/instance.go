// Package control is the hands on one local PostgreSQL instance: it makes, starts, stops, promotes,
// rewinds and observes it. Every method does one thing and is safe to repeat; what should be done is
// decided elsewhere. No method hangs longer than its context allows, whatever the server does.
package control

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

// Processes are the hands on the processes of this machine; process.Local has them. A process is named
// by its pid and by when it started, so that a reused pid is never signalled.
type Processes interface {
	// Start starts a program that outlives the daemon, with its output appended to the log.
	Start(path string, args, env []string, dir, log string, as *syscall.Credential) (pid int, started uint64, err error)
	// Find finds the postmaster of a data directory and the status in its pid file.
	Find(dir string) (pid int, started uint64, status string, running bool)
	Alive(pid int, started uint64) bool
	// Signal is os.ErrProcessDone when the process is gone.
	Signal(pid int, started uint64, sig syscall.Signal) error
	// Frozen says whether the directory's postmaster was stopped by a signal.
	Frozen(dir string) bool
	// EndArriving asks sessions in the making to end, those that the server's views do not show yet, and
	// returns them: pid and when it was started.
	EndArriving(dir string) map[int]uint64
	// EndReceiver asks the WAL receiver to end, and returns it likewise.
	EndReceiver(dir string) map[int]uint64
	// AwaitEnd waits for the end of a process; false when that is not possible here, or the context ended.
	AwaitEnd(ctx context.Context, pid int, started uint64) bool
	// Sending says whether the postmaster of a directory has WAL senders.
	Sending(dir string) bool
	// Progress moves with what a recovery or a rewind in the directory reads and writes.
	Progress(dir string) (bytes uint64)
	// KillAll kills what works in the directory until nothing is seen.
	KillAll(ctx context.Context, dir string) error
}

// Options says which instance, and where it lives.
type Options struct {
	Data      string // the daemon's data folder; the instance is in Data/instances/Name/Life
	Name      string
	Cluster   string
	Life      pgctl.Life
	Version   pgctl.PostgresVersion
	SocketDir string // of the Unix socket; short, since the kernel allows 107 bytes for the whole path
	Port      int
	OSUser    string // who runs Postgres when the daemon is root; "postgres" when empty
	Processes Processes
	Repaired  func(what string) // told what was put right in our files; may be nil, must not block
	Log       *slog.Logger
}

// Instance is one PostgreSQL instance of this host. Its methods may be called from several goroutines.
type Instance struct {
	Options
	uid, gid int                 // of the files and processes
	as       *syscall.Credential // whom programs run as; nil without a switch

	turn chan struct{} // holds one token: the right to use conn
	conn *pgx.Conn     // the agent's own session, kept open between observations

	prepared *pgx.Conn // the session that observeSQL was prepared in; guarded by turn

	checked atomic.Pointer[string] // the configuration that the server program accepted last, without ours

	read atomic.Pointer[string] // the postmaster and the checksum of the configuration that it was seen to go by; nil: not known

	disk    chan error // the outstanding write of HealthProbe, if any; guarded by probing
	probing sync.Mutex
}

// maxSocketPath is sun_path of the kernel without its final zero.
const maxSocketPath = 107

// New names an instance; nothing is touched. It fails for an invalid life, an OS user that does not
// exist and a socket path that is too long.
func New(o Options) (*Instance, error) {
	if !o.Life.Valid() {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%q is not a life", o.Life)
	}
	i := &Instance{Options: o, turn: make(chan struct{}, 1)}
	i.turn <- struct{}{}
	if path := i.socketPath(); len(path) > maxSocketPath {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "the socket path %s has %d bytes; the system allows %d",
			path, len(path), maxSocketPath).WithHint("choose a shorter socket folder")
	}
	if err := i.setUser(); err != nil {
		return nil, err
	}
	return i, nil
}

func (i *Instance) setUser() error {
	i.uid, i.gid = os.Getuid(), os.Getgid()
	if i.uid != 0 {
		return nil
	}
	if i.OSUser == "" {
		i.OSUser = "postgres"
	}
	u, err := user.Lookup(i.OSUser)
	if err != nil {
		return pgctl.Errorf(pgctl.CodeInvalid, "there is no OS user %q to run Postgres as", i.OSUser).
			WithHint("install PostgreSQL's package, or name another user")
	}
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("groups of OS user %s: %w", i.OSUser, err)
	}
	ids := make([]uint32, len(groups)+2)
	for n, text := range append([]string{u.Uid, u.Gid}, groups...) {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return fmt.Errorf("ids of OS user %s: %w", i.OSUser, err)
		}
		ids[n] = uint32(id)
	}
	i.uid, i.gid = int(ids[0]), int(ids[1])
	i.as = &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: ids[2:]}
	return nil
}

// Folder is the instance's own folder, one per life.
func (i *Instance) Folder() string {
	return filepath.Join(i.Data, "instances", i.Name, string(i.Life))
}

// PGData is the data directory.
func (i *Instance) PGData() string { return filepath.Join(i.Folder(), "pgdata") }

// Passfile is where the instance's replication password lies.
func (i *Instance) Passfile() string { return filepath.Join(i.Folder(), "passfile") }

// ServerLog is the file that Postgres writes its messages to.
func (i *Instance) ServerLog() string { return filepath.Join(i.Folder(), "log", "postgresql.log") }

// TLS says where the instance's certificate, key and authority lie.
func (i *Instance) TLS() config.TLS {
	dir := filepath.Join(i.Folder(), "tls")
	return config.TLS{
		Cert: filepath.Join(dir, "server.crt"),
		Key:  filepath.Join(dir, "server.key"),
		CA:   filepath.Join(dir, "ca.crt"),
	}
}

func (i *Instance) socketPath() string {
	return filepath.Join(i.SocketDir, fmt.Sprintf(".s.PGSQL.%d", i.Port))
}

func (i *Instance) fresh() string { return i.PGData() + ".new" }

// Upstream is a source to stream from, copy or rewind, with the instance's own credentials.
func (i *Instance) Upstream(host string, port int, name string) config.Upstream {
	return config.Upstream{Host: host, Port: port, Name: name, Passfile: i.Passfile(), CA: i.TLS().CA}
}
