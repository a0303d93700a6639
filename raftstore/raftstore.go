// Package raftstore is the replicated state: declarations, hosts, leadership, assignments, encrypted
// secrets, settings and events, kept by a Raft group of servers and copied to agents. DESIGN.md
// beside this file says how it works.
package raftstore

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/raft"
	"github.com/pgctl/pgctl"
)

// Peer is a server: its name (Raft's server id, the host's name) and the host:port of its transport.
type Peer struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Config is what a server needs.
type Config struct {
	Dir       string       // data folder, of this store alone; made when it is missing
	Name      string       // server id: the host's name
	Listen    string       // host:port
	Listener  net.Listener // in place of Listen, when it is open already (TCP, without TLS)
	Advertise string       // host:port where others reach it; "": where it listens
	Servers   []Peer       // the initial voters, the same on all of them; used only where there is no state yet
	// Dial replaces the plain TCP of connections to other servers, below TLS; nil: none.
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	TLS       *tls.Config  // of both directions, with client certificates; nil only in tests
	SecretKey string       // age X25519 identity (AGE-SECRET-KEY-1…); "": Encrypt and Decrypt are refused
	Log       *slog.Logger // nil: nothing is logged
	// Explain, if set, says in an operator's words why a connection with another daemon failed. It is
	// asked once a minute for each host and error, and must not block.
	Explain func(peer string, err error) error

	// Raft's timings; 0 is the default of 500 ms each. The lease must not exceed the heartbeat.
	Heartbeat, Election, Lease time.Duration
	// A snapshot is taken after so many entries (0: 8192) or 64 MiB, and so many entries are kept
	// behind it for servers that were away (0: 1024).
	SnapshotThreshold, TrailingLogs uint64
}

const defaultTimeout = 500 * time.Millisecond

func (c *Config) complete() error {
	if err := checkName("name", c.Name, maxHostName); err != nil {
		return err
	}
	for _, d := range []*time.Duration{&c.Heartbeat, &c.Election, &c.Lease} {
		if *d == 0 {
			*d = defaultTimeout
		}
	}
	if c.SnapshotThreshold == 0 {
		c.SnapshotThreshold = 8192
	}
	if c.TrailingLogs == 0 {
		c.TrailingLogs = 1024
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (c *Config) raft() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.Name)
	rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout = c.Heartbeat, c.Election, c.Lease
	rc.CommitTimeout = time.Second // followers need not wait that long; see announce
	rc.SnapshotThreshold, rc.TrailingLogs = c.SnapshotThreshold, c.TrailingLogs
	rc.SnapshotInterval = 15 * time.Second
	rc.Logger = raftLogger(c.Log)
	rc.NoLegacyTelemetry = true
	return rc
}

// Open starts a server. It returns when the server serves, which may be before there is a leader.
func Open(c Config) (*Store, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	s := newStore(c.Name, c.TLS, c.Log)
	s.dialer.open, s.dialer.quiet.explain = c.Dial, c.Explain
	if c.SecretKey != "" {
		identity, err := age.ParseX25519Identity(c.SecretKey)
		if err != nil {
			return nil, pgctl.Errorf(pgctl.CodeInvalid, "the secret key is none: %v", err).At("secretKey")
		}
		s.identity = identity
	}
	if err := s.openServer(&c); err != nil {
		s.release()
		return nil, err
	}
	s.transport.start()
	s.start(s.trackLeadership, s.pack, s.await, s.announce, s.confirmReads, s.snapshotBySize)
	return s, nil
}

func (s *Store) openServer(c *Config) error {
	disk, err := openDisk(c.Dir, s.fail)
	if err != nil {
		return err
	}
	s.disk = disk
	listener := c.Listener
	if listener == nil {
		if listener, err = net.Listen("tcp", c.Listen); err != nil {
			return pgctl.Errorf(pgctl.CodeUnavailable, "the Raft transport cannot listen on %s: %v", c.Listen, err).
				WithHint("another daemon may run here; or choose another address")
		}
	}
	if c.Advertise == "" {
		c.Advertise = listener.Addr().String()
	}
	s.address = c.Advertise
	s.transport = newTransport(listener, c.Advertise, &s.dialer, map[byte]func(net.Conn){
		forwardProtocol: s.serveForward, streamProtocol: s.serveStream,
	})
	return s.startRaft(c)
}

func (s *Store) startRaft(c *Config) (err error) {
	rc := c.raft()
	s.patience = [2]time.Duration{rc.HeartbeatTimeout, rc.ElectionTimeout}
	s.net = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: s.transport, MaxPool: 4, Timeout: 2 * time.Second, Logger: rc.Logger,
	})
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(filepath.Clean(c.Dir), 2, rc.Logger)
	if err != nil {
		return pgctl.Errorf(pgctl.CodeUnavailable, "the folder for snapshots: %v", err)
	}
	if err := s.bootstrap(c, rc, snapshots); err != nil {
		return err
	}
	cache, err := raft.NewLogCache(64, s.disk)
	if err != nil {
		return err
	}
	defer func() { // Raft panics when its first write fails
		if p := recover(); p != nil {
			err = pgctl.Errorf(pgctl.CodeUnavailable, "Raft cannot start: %v", p)
		}
	}()
	s.raft, err = raft.NewRaft(rc, s.fsm, cache, s.disk, &snapshotDisk{snapshots, s.disk}, s.net)
	if err != nil {
		return pgctl.Errorf(pgctl.CodeUnavailable, "Raft cannot start: %v", err)
	}
	s.disk.running.Store(true)
	return nil
}

// bootstrap writes the initial configuration where there is no state at all. All initial voters
// write the same one, so nobody has to be first.
func (s *Store) bootstrap(c *Config, rc *raft.Config, snapshots raft.SnapshotStore) error {
	has, err := raft.HasExistingState(s.disk, s.disk, snapshots)
	if err != nil {
		return pgctl.Errorf(pgctl.CodeUnavailable, "the state in %s cannot be read: %v", c.Dir, err)
	}
	if has || len(c.Servers) == 0 {
		return nil
	}
	var configuration raft.Configuration
	for _, p := range c.Servers {
		configuration.Servers = append(configuration.Servers, raft.Server{
			ID: raft.ServerID(p.Name), Address: raft.ServerAddress(p.Address),
		})
	}
	if err := raft.BootstrapCluster(rc, s.disk, s.disk, snapshots, s.net, configuration); err != nil {
		return pgctl.Errorf(pgctl.CodeInvalid, "the initial servers: %v", err).At("servers")
	}
	return nil
}

// snapshotBySize takes a snapshot when much was written, however few entries that was: replaying it
// at the next start would take long.
func (s *Store) snapshotBySize() {
	const limit = 64 << 20
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		if s.fsm.pending.Load() > limit {
			if err := s.settle(s.raft.Snapshot()); err != nil && s.ctx.Err() == nil {
				s.log.Warn("a snapshot of the state failed", "err", err)
			}
		}
	}
}

const versionLine = "pgctl raftstore 2\n"

// checkVersion writes the version of a new folder, and refuses one of another version.
func checkVersion(dir string) error {
	path := filepath.Join(dir, "VERSION")
	have, err := os.ReadFile(path)
	switch {
	case os.IsNotExist(err):
		if err := os.WriteFile(path, []byte(versionLine), 0o600); err != nil {
			return pgctl.Errorf(pgctl.CodeUnavailable, "the data folder cannot be written: %v", err)
		}
		return nil
	case err != nil:
		return pgctl.Errorf(pgctl.CodeUnavailable, "the data folder cannot be read: %v", err)
	case string(have) != versionLine:
		return pgctl.Errorf(pgctl.CodeRefused, "the data folder %s is of another version: %.40q", dir, have).
			WithHint("use the version of pgctl that wrote it")
	}
	return nil
}
