package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
)

// bench is a host with a real PostgreSQL, for one instance.
type bench struct {
	t      *testing.T
	ctx    context.Context
	around surroundings
	self   pgctl.Instance
	task   node.Task
}

func newBench(t *testing.T) *bench {
	t.Helper()
	versions := control.Discover(t.Context(), control.BinFolders)
	if len(versions) == 0 {
		t.Skip("no PostgreSQL is installed")
	}
	dir, err := os.MkdirTemp("", "pgctl-instance")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	cert, key := selfSigned(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	begun := time.Now()
	b := &bench{t: t, ctx: ctx, self: pgctl.Instance{Name: "shop-0", Cluster: "shop", Host: "one", Life: "aaaaaaaa"}}
	b.around = surroundings{
		host: "one", address: "127.0.0.1", dataDir: dir, socketDir: filepath.Join(dir, "run"), osUser: "postgres", daemonUser: "root",
		clock: func() time.Duration { return time.Since(begun) },
		passwords: func(context.Context, string) (map[string]string, error) {
			return map[string]string{config.ReplicationRole: "secret"}, nil
		},
		tls:          func() (c, k, ca []byte, err error) { return cert, key, cert, nil },
		confirmEpoch: func(context.Context, string, pgctl.Life, pgctl.Epoch) error { return nil },
		positions:    func() map[pgctl.Life]pgctl.LSN { return nil },
		note:         func(pgctl.Event) {},
		leadership:   func(string) (pgctl.Leadership, bool) { return pgctl.Leadership{}, false },
		versions:     versions, log: slog.New(slog.DiscardHandler),
	}
	b.task = node.Task{
		Cluster: pgctl.Cluster{Name: "shop", Port: port, Spec: pgctl.ClusterSpec{Version: versions[0].Major, Parameters: map[string]string{}}},
		Hosts:   map[string]pgctl.Host{"one": {Name: "one", Address: "127.0.0.1"}},
	}
	return b
}

func selfSigned(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// employ is what a starting daemon does about the instance.
func (b *bench) employ() *localServer {
	b.t.Helper()
	opened, err := newLocalServer(b.around, b.self, b.task.Cluster)
	if err != nil {
		b.t.Fatal(err)
	}
	s := opened.(*localServer)
	b.t.Cleanup(func() { _ = s.Close() })
	s.know(b.task)
	return s
}

// do carries a step out that has to succeed.
func (b *bench) do(s *localServer, step ha.Step) {
	b.t.Helper()
	task := b.task
	task.Step = step
	if err := s.Do(b.ctx, task); err != nil {
		b.t.Fatalf("%s: %v", step.Do, err)
	}
}

// started makes a data directory and starts a server in it.
func (b *bench) started(standby bool) *localServer {
	b.t.Helper()
	s := b.employ()
	b.do(s, ha.Step{Do: ha.Initialize})
	b.do(s, ha.Step{Do: ha.Start, Standby: standby})
	b.t.Cleanup(func() { _, _ = s.pg.Stop(context.WithoutCancel(b.ctx), 3*time.Second) })
	if err := s.awaitRunning(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) shows(s *localServer, setting string) string {
	b.t.Helper()
	value, err := s.pg.Show(b.ctx, setting)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// eventually polls a condition that must come true.
func (b *bench) eventually(what string, done func() bool) {
	b.t.Helper()
	for !done() {
		if sleep(b.ctx, 5*time.Millisecond) != nil {
			b.t.Fatal(what)
		}
	}
}

// TestUpkeepDoesNotBringAnOlderPostureBack: upkeep renders the files, a step changes the posture and
// writes them, and the upkeep's older ones must not be put in place after that.
func TestUpkeepDoesNotBringAnOlderPostureBack(t *testing.T) {
	b := newBench(t)
	s := b.started(false)
	for round := range 8 {
		b.task.Cluster.Spec.Parameters = map[string]string{"work_mem": strconv.Itoa(4096+round) + "kB"} // the server program checks it
		upkeep := make(chan error, 1)
		task := b.task
		s.know(task)
		go func() { upkeep <- s.configure(b.ctx) }()
		names := config.SyncNames(1, []string{pgctl.Life("bbbbbbbb").MemberName(pgctl.Epoch(round + 1))})
		if err := sleep(b.ctx, time.Duration(round)*2*time.Millisecond); err != nil { // any moment of the upkeep
			t.Fatal(err)
		}
		if err := s.assume(b.ctx, func(p *posture) { p.Names = names }); err != nil {
			t.Fatal(err)
		}
		if err := <-upkeep; err != nil {
			t.Fatal(err)
		}
		conf, err := os.ReadFile(filepath.Join(s.pg.PGData(), "postgresql.conf"))
		if err != nil || !strings.Contains(string(conf), "synchronous_standby_names = '"+names+"'") {
			t.Fatalf("round %d: the names of the step are gone again (%v)", round, err)
		}
	}
}

// TestAReloadThatWasNotSentIsMadeUp: a daemon is killed after it wrote that nobody is followed, and
// before the server was told. The next one must not believe the files.
func TestAReloadThatWasNotSentIsMadeUp(t *testing.T) {
	b := newBench(t)
	s := b.started(true)
	up := &upstream{Host: "127.0.0.1", Port: 1, Name: b.self.Life.MemberName(3)}
	if err := s.assume(b.ctx, func(p *posture) { p.Upstream = up }); err != nil {
		t.Fatal(err)
	}
	b.eventually("the upstream is not in force", func() bool { return b.shows(s, "primary_conninfo") != "" })
	s.posture.Upstream = nil
	files, err := s.render(b.task.Cluster.Spec)
	if err == nil {
		err = s.save("posture.json", s.posture)
	}
	if err == nil {
		_, err = s.pg.WriteFiles(b.ctx, files)
	}
	if err != nil {
		t.Fatal(err)
	}
	next := b.employ()
	if o := next.Observe(b.ctx); o.Upstream != up.Name {
		t.Fatalf("the server would go on streaming as %s, but %q is seen", up.Name, o.Upstream)
	}
	b.do(next, ha.Step{Do: ha.Detach, Epoch: 4})
	if got := b.shows(next, "primary_conninfo"); got != "" {
		t.Fatalf("detached, but in force is %s", got)
	}
	b.eventually("detached, but an upstream is seen", func() bool {
		o := next.Observe(b.ctx)
		return o.State == ha.Running && o.Upstream == ""
	})
}

// TestWaitingIsProvenAfterAnInterruptedProof: names were empty; the proof that commits wait again is
// interrupted after the names were written. The next attempt must prove it as well, since nothing but
// the checkpointer, which hangs here, makes commits wait.
func TestWaitingIsProvenAfterAnInterruptedProof(t *testing.T) {
	b := newBench(t)
	s := b.started(false)
	none, one := pgctl.Rule{Leader: b.self.Life, Version: 1}, pgctl.Rule{Leader: b.self.Life, Standbys: []pgctl.Life{"bbbbbbbb"}, Acks: 1, Version: 2}
	b.do(s, ha.Step{Do: ha.Confirm, Epoch: 1, Rule: &none, Joint: &none})
	pid := b.pidOf(s, "checkpointer")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	for attempt := range 3 {
		task := b.task
		task.Step = ha.Step{Do: ha.Confirm, Epoch: 1, Rule: &one, Joint: &one}
		short, cancel := context.WithTimeout(b.ctx, 700*time.Millisecond)
		err := s.Do(short, task)
		cancel()
		if err == nil || s.posture.Names != config.Nobody {
			t.Fatalf("attempt %d: nothing waits, but the names are %s (%v)", attempt, s.posture.Names, err)
		}
		s = b.employ()
	}
}

func (b *bench) pidOf(s *localServer, worker string) int {
	b.t.Helper()
	conn, err := s.pg.Connect(b.ctx, "postgres")
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = conn.Close(b.ctx) }()
	var pid int
	if err := conn.QueryRow(b.ctx, "select pid from pg_stat_activity where backend_type = $1", worker).Scan(&pid); err != nil {
		b.t.Fatal(err)
	}
	return pid
}

// TestADirectoryIsAdoptedAfterAKill: the daemon was killed between making the directory and noting it.
func TestADirectoryIsAdoptedAfterAKill(t *testing.T) {
	b := newBench(t)
	s := b.employ()
	b.do(s, ha.Step{Do: ha.Initialize})
	if err := os.Remove(filepath.Join(s.pg.Folder(), "state.json")); err != nil {
		t.Fatal(err)
	}
	s = b.employ()
	b.do(s, ha.Step{Do: ha.Start})
	t.Cleanup(func() { _, _ = s.pg.Stop(context.WithoutCancel(b.ctx), 3*time.Second) })
	if o := s.Observe(b.ctx); o.Local.SystemID == "" || o.Local.Mark != 1 {
		t.Fatalf("nobody will ever know whose data it is: %+v", o.Local)
	}
}

// TestARefusedDeclarationDoesNotHoldSteps: pg_hba lines that the server does not accept.
func TestARefusedDeclarationDoesNotHoldSteps(t *testing.T) {
	b := newBench(t)
	s := b.started(true)
	if err := s.assume(b.ctx, func(p *posture) { p.Open = true }); err != nil {
		t.Fatal(err)
	}
	b.task.Cluster.Spec.HBA = []string{"hostssl all all 0.0.0.0/0 peer"}
	s.know(b.task)
	if err := s.configure(b.ctx); pgctl.CodeOf(err) != pgctl.CodeInvalid {
		t.Fatalf("upkeep says %v", err)
	}
	s = b.employ()
	if err := s.assume(b.ctx, func(p *posture) { p.Upstream = &upstream{Host: "127.0.0.1", Port: 1, Name: "pgctl.aaaaaaaa@2"} }); err != nil {
		t.Fatal(err)
	}
	b.do(s, ha.Step{Do: ha.Detach, Epoch: 4})
}

// TestSlotsAreSeenNotRemembered: a rewind removes them, and so may a full disk.
func TestSlotsAreSeenNotRemembered(t *testing.T) {
	b := newBench(t)
	s := b.started(false)
	b.task.View.Members = []pgctl.Instance{{Name: "shop-1", Life: "bbbbbbbb"}}
	b.do(s, ha.Step{Do: ha.MakeSlots, Slots: []string{"pgctl_bbbbbbbb"}})
	if o := s.Observe(b.ctx); len(o.Slots) != 1 || o.Slots[0] != "pgctl_bbbbbbbb" {
		t.Fatalf("made, but seen are %v", o.Slots)
	}
	if err := s.pg.DropSlot(b.ctx, "bbbbbbbb"); err != nil {
		t.Fatal(err)
	}
	if o := s.Observe(b.ctx); len(o.Slots) != 0 {
		t.Fatalf("gone, but seen are %v", o.Slots)
	}
}
