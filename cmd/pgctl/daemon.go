package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"os/user"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/api/server"
	"github.com/pgctl/pgctl/node/gossip"
	"github.com/pgctl/pgctl/node/peer"
	"github.com/pgctl/pgctl/provision/pki"
	"github.com/pgctl/pgctl/provision/postgres/control"
	"github.com/pgctl/pgctl/raftstore"
)

// daemonCommand runs the daemon in the foreground; systemd and pgctl dev start it.
func daemonCommand() *cli.Command {
	return &cli.Command{
		Name:      "daemon",
		Usage:     "run the daemon of this host in the foreground",
		UsageText: "pgctl daemon [--config FILE]",
		Description: "Every host runs one. It ends on SIGTERM or SIGINT; the Postgres instances of the host go on, and the\n" +
			"next start takes them over.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "config", Value: defaultDaemonConfigPath, Usage: "the daemon's configuration"}},
		Action: func(c *cli.Context) error {
			config, err := LoadDaemonConfig(c.String("config"))
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return runDaemon(ctx, config)
		},
	}
}

// daemon holds the parts of a running daemon.
type daemon struct {
	config   DaemonConfig
	log      *slog.Logger
	identity *pki.Identity
	gossip   *gossip.Gossip
	store    *raftstore.Store
	node     *node.Node
	beats    *peer.Heartbeats
	peers    *peer.Client
	versions []pgctl.PostgresVersion
	catalogs catalogs
	guarding *guarding // nil: no guard is wanted
	troubles troubles
	relay    *relay
	current  atomic.Bool // the local state has had everything that was committed before the start
}

// runDaemon starts everything, works until ctx ends or the store fails, and stops everything.
func runDaemon(ctx context.Context, config DaemonConfig) (err error) {
	d := &daemon{config: config, troubles: make(troubles, 32), log: newLogger(config.Log).With("host", config.Name)}
	d.relay = &relay{daemon: d, told: map[string]*heardOf{}}
	if d.identity, err = pki.Load(config.TLS.CA, config.TLS.Cert, config.TLS.Key, time.Now()); err != nil {
		return err
	}
	if !d.identity.Role.Host() || d.identity.Name != config.Name {
		return invalid("tls.cert", "the certificate is of %s %q, not of host %q", d.identity.Role, d.identity.Name, config.Name)
	}
	for _, folder := range []struct{ path, field string }{{config.DataDir, "data_dir"}, {config.SocketDir, "socket_dir"}} {
		if err := os.MkdirAll(folder.path, 0o755); err != nil {
			return invalid(folder.field, "the folder cannot be used: %v", err).WithHint("name one that the daemon may make and write to")
		}
	}
	lock, err := raftstore.LockFolder(config.DataDir) // before anything that others could notice
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := giveToPostgres(config.SocketDir, config.PostgresUser); err != nil {
		return err
	}
	d.versions = control.Discover(ctx, config.PostgresPaths)
	closers, err := d.open()
	defer func() {
		for _, c := range closers {
			err = errors.Join(err, c())
		}
	}()
	if err != nil {
		return err
	}
	return d.serve(ctx)
}

// open starts the parts that others reach, and returns how to close what was started, last first.
func (d *daemon) open() (closers []func() error, err error) {
	later := func(c func() error) { closers = append([]func() error{c}, closers...) }
	key, err := readGossipKey(d.config.Cluster.GossipKeyFile)
	if err != nil {
		return closers, err
	}
	d.peers = peer.NewClient(d.identity.ClientConfig(), pki.Explain)
	later(func() error { d.peers.Close(); return nil })
	d.gossip, err = gossip.Open(gossip.Config{
		Name: d.config.Name, Bind: d.config.Listen.Gossip, Key: key, Join: d.config.Cluster.Join, Log: d.log, OnTrouble: d.gossipFailed,
		Tags: gossip.Tags{
			DataCenter: d.config.DataCenter, API: d.config.Listen.API, Heartbeat: d.config.Listen.Heartbeat,
			Raft: d.config.Listen.Raft, Version: version(), Server: d.config.Cluster.Server,
		},
	})
	if err != nil {
		return closers, err
	}
	later(d.gossip.Close)
	if err := d.openStore(); err != nil {
		return closers, err
	}
	later(d.store.Close)
	if d.guarding = newGuarding(d.config); d.guarding != nil {
		later(d.guarding.deadlines.Close)
	}
	d.node = d.newNode()
	d.beats, err = peer.Listen(peer.Config{
		Host: d.config.Name, Boot: bootID(), Listen: d.config.Listen.Heartbeat, Key: key, Log: d.log,
		OnBeat:   func(b peer.Beat) []byte { return d.node.Heard(b.Host, b.Number, b.Payloads) },
		OnAnswer: func(a peer.Answer) { d.node.Answered(a.Payload) },
	})
	if err != nil {
		return closers, err
	}
	later(d.beats.Close)
	return closers, nil
}

func (d *daemon) openStore() (err error) {
	dir := d.config.DataDir + "/raft"
	if !d.config.Cluster.Server {
		d.store, err = raftstore.Follow(raftstore.FollowConfig{
			Name: d.config.Name, TLS: d.groupTLS(), Addresses: d.serverAddresses, Log: d.log, Explain: d.connectionFailed,
		})
		return err
	}
	voters, err := d.config.Voters()
	if err != nil {
		return err
	}
	secret, err := readKeyFile(d.config.Cluster.SecretKeyFile, "cluster.secret_key_file")
	if err != nil {
		return err
	}
	var peers []raftstore.Peer
	for _, v := range voters {
		peers = append(peers, raftstore.Peer(v))
	}
	d.store, err = raftstore.Open(raftstore.Config{
		Dir: dir, Name: d.config.Name, Listen: d.config.Listen.Raft, Servers: peers, TLS: d.groupTLS(),
		SecretKey: string(secret), Log: d.log, Explain: d.connectionFailed,
	})
	return err
}

// groupTLS is for both directions of the store's connections.
func (d *daemon) groupTLS() *tls.Config {
	both := d.identity.ServerConfig()
	both.RootCAs, both.VerifyConnection = both.ClientCAs, d.identity.ClientConfig().VerifyConnection
	return both
}

// serverAddresses are where an agent finds the store: what gossip knows, and the configured list.
func (d *daemon) serverAddresses() []string {
	var addresses []string
	for _, m := range d.gossip.Members() {
		if m.Alive && m.Tags.Server {
			addresses = append(addresses, m.Tags.Raft)
		}
	}
	voters, _ := d.config.Voters() // was checked when the configuration was read
	for _, v := range voters {
		addresses = append(addresses, v.Address)
	}
	return addresses
}

// serve answers the API and works until the end.
func (d *daemon) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	handlers := http.NewServeMux()
	handlers.Handle(peer.Path, peer.Handler(d.methods(), pki.HostOf))
	handlers.Handle("/", server.New(d.apiOptions()))
	var running sync.WaitGroup
	defer running.Wait()
	secure := &http.Server{
		Handler: handlers, TLSConfig: d.identity.APIConfig(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	if err := listenHTTP(ctx, &running, secure, d.config.Listen.API, cancel); err != nil {
		return err
	}
	if d.config.Listen.Discovery != "" {
		plain := &http.Server{
			Handler: server.Public(d.apiOptions()), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
			WriteTimeout: 100 * time.Second, IdleTimeout: time.Minute, // a request may wait for 60 s
			ErrorLog: secure.ErrorLog, BaseContext: secure.BaseContext,
		}
		if err := listenHTTP(ctx, &running, plain, d.config.Listen.Discovery, cancel); err != nil {
			cancel(err)
			return err
		}
	}
	running.Go(func() { d.catchUp(ctx); boundGarbage(ctx) })
	running.Go(func() { d.register(ctx) })
	running.Go(func() { d.removePurged(ctx) })
	running.Go(func() { d.recordTroubles(ctx) })
	running.Go(func() { d.watchCertificate(ctx) })
	running.Go(func() { d.stopUnassigned(ctx) })
	running.Go(func() { d.node.Run(ctx, d.beats) })
	d.log.Info("ready", "version", version(), "api", d.config.Listen.API, "server", d.config.Cluster.Server)
	select {
	case <-ctx.Done():
	case err := <-d.store.Failed():
		cancel(fmt.Errorf("the store failed: %w", err))
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// catchUp waits until the local state is no longer that of before the start.
func (d *daemon) catchUp(ctx context.Context) {
	for ctx.Err() == nil && !d.current.Load() {
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		d.current.Store(d.store.Linearize(bounded) == nil)
		cancel()
		if !d.current.Load() && sleep(ctx, 50*time.Millisecond) != nil {
			return
		}
	}
}

// listenHTTP serves until ctx ends; then it lets requests finish for a moment.
func listenHTTP(ctx context.Context, running *sync.WaitGroup, s *http.Server, address string, failed context.CancelCauseFunc) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return pgctl.Errorf(pgctl.CodeUnavailable, "cannot listen on %s: %v", address, err).
			WithHint("another daemon on this address, or an address that is not this host's?")
	}
	running.Go(func() {
		serve := func() error { return s.Serve(listener) }
		if s.TLSConfig != nil {
			serve = func() error { return s.ServeTLS(listener, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("serve %s: %w", address, err))
		}
	})
	running.Go(func() {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(ending) != nil {
			_ = s.Close() // requests that do not end are cut
		}
	})
	return nil
}

// readKeyFile reads a key that only root, or the daemon's user, may read.
func readKeyFile(path, field string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, invalid(field, "cannot read the key: %v", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, invalid(field, "%s can be read by others", path).WithHint("chmod 600 %s", path)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, invalid(field, "cannot read the key: %v", err)
	}
	return bytes.TrimSpace(key), nil
}

// readGossipKey reads the key in base64, as the example configuration says.
func readGossipKey(path string) ([]byte, error) {
	const field = "cluster.gossip_key_file"
	text, err := readKeyFile(path, field)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(key) != gossip.KeySize {
		return nil, invalid(field, "%s does not hold %d bytes in base64", path, gossip.KeySize).WithHint("openssl rand -base64 %d", gossip.KeySize)
	}
	return key, nil
}

func newLogger(c LogConfig) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // was checked when the configuration was read
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// bootID tells one boot of this host from another.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
}

// bootTime counts since the boot, sleep included, and never jumps.
func bootTime() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // cannot fail with this clock
	return time.Duration(now.Nano())
}

// newLife draws the id of a life of a data directory.
func newLife() pgctl.Life {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails: documented
	for i := range raw {
		raw[i] = letters[int(raw[i])%len(letters)]
	}
	return pgctl.Life(raw)
}

// giveToPostgres makes the sockets' folder writable for whoever runs Postgres.
func giveToPostgres(dir, name string) error {
	if os.Getuid() != 0 {
		return nil
	}
	owner, err := user.Lookup(name)
	if err != nil {
		return invalid("postgres_user", "there is no OS user %q", name).WithHint("install PostgreSQL's package, or name another user")
	}
	var uid, gid int
	if _, err := fmt.Sscan(owner.Uid+" "+owner.Gid, &uid, &gid); err != nil {
		return err
	}
	return os.Chown(dir, uid, gid)
}
