package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
	"github.com/pgctl/pgctl/provision/process"
)

// surroundings are what an instance needs of its daemon.
type surroundings struct {
	host       string
	address    string // of this host's Postgres instances
	dataDir    string
	socketDir  string
	osUser     string
	daemonUser string
	clock      func() time.Duration
	// passwords of a cluster's roles, the replication role's among them.
	passwords func(ctx context.Context, cluster string) (map[string]string, error)
	tls       func() (cert, key, ca []byte, err error)
	// confirmEpoch fails unless the store, read linearizably, still has the life lead that epoch.
	confirmEpoch func(ctx context.Context, cluster string, life pgctl.Life, epoch pgctl.Epoch) error
	// positions are the ends of log of other lives, where this daemon hears of them.
	positions func() map[pgctl.Life]pgctl.LSN
	note      func(pgctl.Event)
	// leadership is what the local copy of the store has of a cluster's.
	leadership func(cluster string) (pgctl.Leadership, bool)
	guarding   *guarding // nil: no guard is wanted
	versions   []pgctl.PostgresVersion
	log        *slog.Logger
}

// posture is how an instance is configured at present, apart from its declaration. It is on disk
// before it is in force, so that a restarted daemon knows.
type posture struct {
	Names     string        `json:"names"`
	Lax       bool          `json:"lax,omitempty"` // commits were not seen to wait since the names were empty
	Upstream  *upstream     `json:"upstream,omitempty"`
	Open      bool          `json:"open,omitempty"`
	ReplayNow bool          `json:"replayNow,omitempty"`
	Hurry     bool          `json:"hurry,omitempty"`   // it was chosen to lead: no delay any more
	Started   bool          `json:"started,omitempty"` // it was started and not told to stop since
	Promoted  *ha.Promotion `json:"promoted,omitempty"`
}

type upstream struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	Name string `json:"name"`
}

// localServer carries the node's steps out on one PostgreSQL instance.
type localServer struct {
	around surroundings
	self   pgctl.Instance
	pg     *control.Instance
	log    *slog.Logger

	begun atomic.Bool // a standby was started and not seen running since

	notes sync.Mutex // held while the agent's notes are written: none may be lost
	files sync.Mutex // held from a look at the posture until the files show it: nobody writes an older one again

	mu        sync.Mutex // guards what follows; never held while Postgres is asked
	local     ha.Local
	posture   posture
	cluster   pgctl.Cluster
	accepted  *pgctl.ClusterSpec // the last declaration that the server took
	members   []string           // addresses of the hosts of the cluster
	ready     bool               // the data directory was checked
	confirmed *ha.Confirmation
	pid       int // the postmaster that confirmed
	stopped   *ha.Stopped
	downSince time.Duration
	leaderEnd pgctl.LSN // of the upstream, as last heard
	oldest    pgctl.LSN // of a primary: it has its log from here on
	oldestAt  time.Duration
	copied    uint64 // bytes of a copy under way
	moved     uint64 // bytes that a recovery or a rewind has moved
	movedAt   time.Duration
	atEnd     int      // looks in a row that saw the end of local WAL
	inPlace   bool     // what is pending only a restart in place brings about
	repaired  []string // what was put right in the files since the last upkeep
	settled   control.ControlData
	pending   []string
	applied   uint64 // revision of the declaration that Tend has carried out
	tended    tended
	guardedAt time.Duration // when the guard last answered; 0: it was not looked for yet
}

// newLocalServer opens an assigned life. Other lives of the instance are stopped and kept beside.
func newLocalServer(around surroundings, i pgctl.Instance, cluster pgctl.Cluster) (node.LocalServer, error) {
	version := slices.IndexFunc(around.versions, func(v pgctl.PostgresVersion) bool { return v.Major == cluster.Spec.Version })
	if version < 0 {
		return nil, pgctl.Errorf(pgctl.CodeUnavailable, "this host has no PostgreSQL %d", cluster.Spec.Version).
			WithHint("install it, or name its folder in postgres_paths")
	}
	log := around.log.With("instance", i.Name, "life", i.Life)
	pg, err := control.New(control.Options{
		Data: around.dataDir, Name: i.Name, Cluster: i.Cluster, Life: i.Life, Version: around.versions[version],
		SocketDir: around.socketDir, Port: cluster.Port, OSUser: around.osUser, Processes: process.Local{}, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s := &localServer{around: around, self: i, pg: pg, log: log, cluster: cluster, posture: posture{Names: config.Nobody}}
	pg.Repaired = func(what string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.repaired = append(s.repaired, what)
	}
	if err := s.load("state.json", &s.local); err != nil {
		return nil, err
	}
	if err := s.load("posture.json", &s.posture); err != nil {
		return nil, err
	}
	if err := s.load("declaration.json", &s.accepted); err != nil {
		return nil, err
	}
	if s.local.Life != "" && s.local.Life != i.Life {
		return nil, pgctl.Errorf(pgctl.CodeRefused, "%s belongs to life %s", pg.Folder(), s.local.Life)
	}
	return s, s.setAside()
}

// load reads one of the life's files; nothing when it is not there.
func (s *localServer) load(name string, into any) error {
	path := filepath.Join(s.pg.Folder(), name)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return pgctl.Errorf(pgctl.CodeRefused, "cannot read %s: %v", path, err).
			WithHint("what this instance pledged is unknown; remove the instance's folder only if its data may go")
	}
	return nil
}

// save writes one of the life's files so that it survives a power loss.
func (s *localServer) save(name string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return control.WriteDurable(filepath.Join(s.pg.Folder(), name), append(text, '\n'))
}

// noteLocal changes what the agent keeps of this life; it is on disk when it returns.
func (s *localServer) noteLocal(change func(*ha.Local)) error {
	s.notes.Lock()
	defer s.notes.Unlock()
	s.mu.Lock()
	next := s.local
	s.mu.Unlock()
	next.Format, next.Cluster, next.Instance, next.Life = 1, s.self.Cluster, s.self.Name, s.self.Life
	change(&next)
	if err := s.save("state.json", next); err != nil {
		return err
	}
	s.mu.Lock()
	s.local = next
	s.mu.Unlock()
	return nil
}

// assume takes a posture: on disk, in the server's files, and in force when it runs.
func (s *localServer) assume(ctx context.Context, change func(*posture)) error {
	s.files.Lock()
	defer s.files.Unlock()
	if err := s.resolve(change); err != nil {
		return err
	}
	changed, refused, err := s.apply(ctx)
	if refused != nil {
		s.log.Warn("the declaration is refused; the one before stays", "error", refused)
	}
	if err != nil || changed {
		return err
	}
	if read, err := s.pg.HasRead(ctx); err != nil || read {
		return nil // a server that cannot be asked is looked at again before anything rests on its settings
	}
	return s.pg.Reload(ctx) // a former daemon wrote the files and was killed before it said so
}

// notePosture changes what a posture says that the files do not show.
func (s *localServer) notePosture(change func(*posture)) error {
	s.files.Lock()
	defer s.files.Unlock()
	return s.resolve(change)
}

// resolve puts a posture on disk before it counts. The caller holds files.
func (s *localServer) resolve(change func(*posture)) error {
	s.mu.Lock()
	next := s.posture
	s.mu.Unlock()
	change(&next)
	if err := s.save("posture.json", next); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posture = next
	return nil
}

// configure renders the files for the present posture and declaration, puts them in place and lets a
// running server read them.
func (s *localServer) configure(ctx context.Context) error {
	s.files.Lock()
	defer s.files.Unlock()
	_, refused, err := s.apply(ctx)
	return errors.Join(refused, err)
}

// apply says whether the files differed, or nobody runs who could read them. A declaration that the
// server refuses must not keep it from being detached, closed or promoted: the one before is rendered
// then. The caller holds files.
func (s *localServer) apply(ctx context.Context) (changed bool, refused, err error) {
	s.mu.Lock()
	spec, before := s.cluster.Spec, s.accepted
	s.mu.Unlock()
	changed, err = s.write(ctx, spec)
	_, _, _, running := s.pg.Processes.Find(s.pg.PGData())
	switch {
	case running && err == nil && (before == nil || !reflect.DeepEqual(spec, *before)):
		err = s.save("declaration.json", spec)
		s.mu.Lock()
		s.accepted = &spec
		s.mu.Unlock()
	case pgctl.CodeOf(err) == pgctl.CodeInvalid && before != nil:
		refused = err
		changed, err = s.write(ctx, *before)
	}
	return changed, refused, err
}

// write renders a declaration for the present posture, and lets a running server read the files if they
// changed.
func (s *localServer) write(ctx context.Context, spec pgctl.ClusterSpec) (changed bool, err error) {
	files, err := s.render(spec)
	if err != nil {
		return false, err
	}
	changed, err = s.pg.WriteFiles(ctx, files)
	if _, _, _, running := s.pg.Processes.Find(s.pg.PGData()); err != nil || !running {
		return true, err
	}
	if !changed {
		return false, nil
	}
	return true, s.pg.Reload(ctx)
}

func (s *localServer) render(spec pgctl.ClusterSpec) (config.Files, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	settings := config.Settings{
		Major: spec.Version, Instance: s.self.Name, Listen: s.around.address, Port: s.cluster.Port,
		SocketDir: s.around.socketDir, TLS: s.pg.TLS(), Parameters: spec.Parameters,
		SyncNames: s.posture.Names, Open: s.posture.Open, ReplayNow: s.posture.ReplayNow,
		ReplayDelay: s.delay(spec),
		Members:     s.members, HBA: spec.HBA, AllowedSources: spec.AllowedSources, DaemonUser: s.around.daemonUser,
	}
	if _, err := os.Stat(filepath.Join(s.pg.PGData(), "standby.signal")); err == nil {
		data, err := s.pg.ControlData(context.Background())
		if err != nil {
			return config.Files{}, err
		}
		settings.AtLeast = data.Leader // with less it would stop replaying
	}
	if up := s.posture.Upstream; up != nil {
		settings.PrimaryConninfo = config.Conninfo(s.pg.Upstream(up.Host, up.Port, up.Name))
		settings.PrimarySlot = s.self.Life.Slot()
	}
	return config.Render(settings)
}

// delay is by how much this instance replays later. One that an operator has lead in spite of it does not.
func (s *localServer) delay(spec pgctl.ClusterSpec) time.Duration {
	if s.posture.Promoted != nil || s.posture.Hurry {
		return 0
	}
	return spec.Tags[s.self.Name].Delay
}

// know takes over what a task says about the cluster.
func (s *localServer) know(task node.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if task.Cluster.Name != "" {
		s.cluster = task.Cluster
	}
	if len(task.Hosts) == 0 {
		return
	}
	s.members = s.members[:0:0]
	for _, h := range task.Hosts {
		s.members = append(s.members, h.Address)
		if ip := net.ParseIP(h.Address); ip != nil && ip.IsLoopback() {
			s.members = append(s.members, "127.0.0.1") // where connections on loopback come from
		}
	}
	slices.Sort(s.members)
	s.members = slices.Compact(s.members)
}

// Close ends the agent's sessions. Postgres goes on.
func (s *localServer) Close() error { return s.pg.Close() }
