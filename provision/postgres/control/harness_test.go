package control_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
	"github.com/pgctl/pgctl/provision/postgres/roles"
	"github.com/pgctl/pgctl/provision/process"
)

const password = `p:a\ss 'word`

// versions are the installed ones, and those in PGCTL_TEST_POSTGRES.
func versions(t *testing.T) []pgctl.PostgresVersion {
	t.Helper()
	globs := append(filepath.SplitList(os.Getenv("PGCTL_TEST_POSTGRES")), control.BinFolders...)
	all := control.Discover(t.Context(), globs)
	if len(all) == 0 {
		t.Fatal("no PostgreSQL from 15 to 18 is installed")
	}
	return all
}

// cluster makes instances that lie under one folder and trust one authority.
type cluster struct {
	t       *testing.T
	ctx     context.Context
	version pgctl.PostgresVersion
	dir     string
	secrets control.Secrets
}

func newCluster(t *testing.T, version pgctl.PostgresVersion) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp(quickFolder(), "pgctl")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return &cluster{t: t, ctx: ctx, version: version, dir: dir, secrets: certificates(t)}
}

// quickFolder is one in memory if there is room, since most of the time would go into fsync.
func quickFolder() string {
	const memory, room = "/dev/shm", 4 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return ""
	}
	return memory
}

func certificates(t *testing.T) control.Secrets {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pgctl test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return control.Secrets{
		Password: password, Cert: cert, CA: cert,
		Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

// node is an instance and the settings it is to run with.
type node struct {
	*control.Instance
	c    *cluster
	conf config.Settings
}

func (c *cluster) options(n int) control.Options {
	return control.Options{
		Data: c.dir, Name: fmt.Sprintf("shop-%d", n), Cluster: "shop", Life: pgctl.Life(fmt.Sprintf("life000%d", n)),
		Version: c.version, SocketDir: filepath.Join(c.dir, fmt.Sprint(n)), Port: freePort(c.t),
		Processes: process.Local{}, Log: slog.New(slog.DiscardHandler),
	}
}

func (c *cluster) node(n int) *node {
	c.t.Helper()
	o := c.options(n)
	i, err := control.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := i.WriteSecrets(c.secrets); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = i.Close()
		if err := i.KillAll(context.Background()); err != nil {
			c.t.Error(err)
		}
		if c.t.Failed() {
			text, _ := os.ReadFile(i.ServerLog())
			c.t.Logf("%s:\n%s", i.Name, text)
		}
	})
	return &node{Instance: i, c: c, conf: config.Settings{
		Major: c.version.Major, Instance: o.Name, Listen: "127.0.0.1", Port: o.Port, SocketDir: o.SocketDir,
		TLS: i.TLS(), SyncNames: config.Nobody, Members: []string{"127.0.0.1"}, DaemonUser: me.Username,
		Parameters: map[string]string{"shared_buffers": "16MB", "max_connections": "30"},
	}}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (n *node) must(err error) {
	n.c.t.Helper()
	if err != nil {
		n.c.t.Fatalf("%s: %v", n.Name, err)
	}
}

func (n *node) files() config.Files {
	n.c.t.Helper()
	f, err := config.Render(n.conf)
	n.must(err)
	return f
}

// apply renders the settings, puts them in place and has them read.
func (n *node) apply() {
	n.c.t.Helper()
	f := n.files()
	_, err := n.WriteFiles(n.c.ctx, f)
	n.must(err)
	if o, _ := n.Observe(n.c.ctx); o.PID == 0 {
		return
	}
	n.must(n.Reload(n.c.ctx))
	n.until("its configuration in force", func(o control.Observation) bool { return o.Config == f.Checksum() })
}

// until observes until something holds.
func (n *node) until(what string, holds func(control.Observation) bool) control.Observation {
	n.c.t.Helper()
	var o control.Observation
	var err error
	for range 3000 {
		if o, err = n.Observe(n.c.ctx); err == nil && holds(o) {
			return o
		}
		time.Sleep(5 * time.Millisecond)
	}
	n.c.t.Fatalf("%s never came to %s: %+v, %v", n.Name, what, o, err)
	return o
}

func running(o control.Observation) bool { return o.State == control.Running }

func (n *node) start() control.Observation {
	n.c.t.Helper()
	n.must(n.Start(n.c.ctx))
	return n.until("take sessions", running)
}

// lead makes n a new primary, closed, at which commits wait for nobody.
func (c *cluster) lead(n *node) {
	c.t.Helper()
	n.must(n.Init(c.ctx, nil))
	n.conf.SyncNames = ""
	n.apply()
	n.start()
	conn, err := n.Connect(c.ctx, "postgres")
	n.must(err)
	defer conn.Close(c.ctx)
	if changed, err := roles.EnsureReplication(c.ctx, conn, password); err != nil || !changed {
		c.t.Fatal(changed, err)
	}
	if changed, err := roles.EnsureReplication(c.ctx, conn, password); err != nil || changed {
		c.t.Fatal(changed, err)
	}
}

// follow makes n stream from the leader under its member's name.
func (n *node) follow(leader *node, e pgctl.Epoch) {
	n.conf.PrimaryConninfo = config.Conninfo(n.Upstream("127.0.0.1", leader.Port, n.Life.MemberName(e)))
	n.conf.PrimarySlot = n.Life.Slot()
	n.apply()
}

// standby is a copy of the leader that streams from it.
func (c *cluster) standby(number int, leader *node, e pgctl.Epoch) *node {
	c.t.Helper()
	n := c.node(number)
	leader.must(leader.EnsureSlots(c.ctx, []pgctl.Life{n.Life}))
	var done, total int64
	from := n.Upstream("127.0.0.1", leader.Port, "")
	n.must(n.BaseBackup(c.ctx, from, n.Life.Slot(), func(d, t int64) { done, total = d, t }))
	if done == 0 || total == 0 {
		c.t.Errorf("progress of the base backup: %d of %d bytes", done, total)
	}
	n.follow(leader, e)
	n.start()
	n.until("stream", func(o control.Observation) bool { return o.Receiver != nil && o.Receiver.Status == "streaming" })
	return n
}

// sql runs a statement in a session of the agent that commits as users' do.
func (n *node) sql(ctx context.Context, statement string) error {
	conn, err := n.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	_, err = conn.Exec(ctx, statement)
	return err
}

func (n *node) number(query string) (number int) {
	n.c.t.Helper()
	conn, err := n.Connect(n.c.ctx, "postgres")
	n.must(err)
	defer conn.Close(n.c.ctx)
	n.must(conn.QueryRow(n.c.ctx, query).Scan(&number))
	return number
}

// connect opens a session over TLS as a user.
func (n *node) connect(user, pass string) (*pgx.Conn, error) {
	return pgx.Connect(n.c.ctx, fmt.Sprintf("host=127.0.0.1 port=%d user='%s' password='%s' dbname=postgres "+
		"sslmode=require connect_timeout=5", n.Port, user, strings.ReplaceAll(pass, `'`, `\'`)))
}

func (n *node) client(user, pass string) error {
	conn, err := n.connect(user, pass)
	if err != nil {
		return err
	}
	return conn.Close(n.c.ctx)
}
