package raftstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/raft"
	"github.com/pgctl/pgctl"
)

// authority is a CA of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{cert, key}
}

// config is a daemon's TLS configuration; its certificate ends at until.
func (a *authority) config(t testing.TB, name string, until time.Time) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for i := range 9 {
		template.IPAddresses = append(template.IPAddresses, net.IPv4(127, 0, 0, byte(i+1)))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: pool, ClientCAs: pool,
	}
}

// group is a Raft group in this process.
type group struct {
	t       testing.TB
	ca      *authority
	configs []Config
	stores  []*Store // nil: not running
}

// newGroup starts n servers on 127.0.0.1 to 127.0.0.n; change may alter their configuration.
func newGroup(t testing.TB, n int, change func(*Config)) *group {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	must(t, err)
	g := &group{t: t, ca: newAuthority(t), stores: make([]*Store, n)}
	var peers []Peer
	for i := range n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:0", i+1))
		must(t, err)
		name := fmt.Sprintf("s%d", i+1)
		peers = append(peers, Peer{name, l.Addr().String()})
		g.configs = append(g.configs, Config{
			Dir: t.TempDir(), Name: name, Listen: l.Addr().String(), Listener: l, SecretKey: identity.String(),
			TLS: g.ca.config(t, name, time.Now().Add(time.Hour)), Log: testLog(name),
		})
	}
	for i := range n {
		g.configs[i].Servers = peers
		if change != nil {
			change(&g.configs[i])
		}
		g.start(i)
	}
	t.Cleanup(func() {
		for i := range g.stores {
			g.stop(i)
		}
	})
	return g
}

func testLog(name string) *slog.Logger {
	if os.Getenv("RAFTSTORE_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil)).With("server", name)
}

func (g *group) start(i int) {
	g.t.Helper()
	s, err := Open(g.configs[i])
	must(g.t, err)
	g.stores[i], g.configs[i].Listener = s, nil
}

func (g *group) stop(i int) {
	if g.stores[i] != nil {
		if err := g.stores[i].Close(); err != nil {
			g.t.Errorf("closing: %v", err)
		}
		g.stores[i] = nil
	}
}

// leader waits for a leader and returns its number.
func (g *group) leader() int {
	g.t.Helper()
	found := -1
	eventually(g.t, "a leader", func() bool {
		for i, s := range g.stores {
			if s != nil && s.IsLeader() {
				found = i
			}
		}
		return found >= 0
	})
	return found
}

// follower is the number of a running server that does not lead.
func (g *group) follower() int {
	g.t.Helper()
	leader := g.leader()
	for i, s := range g.stores {
		if s != nil && i != leader {
			return i
		}
	}
	g.t.Fatal("no follower runs")
	return -1
}

func (g *group) addresses() []string {
	var all []string
	for _, c := range g.configs {
		all = append(all, c.Listen)
	}
	return all
}

func (g *group) follow() *Store {
	g.t.Helper()
	all := g.addresses()
	s, err := Follow(FollowConfig{
		Name: "agent", Addresses: func() []string { return all }, Log: testLog("agent"),
		TLS: g.ca.config(g.t, "agent", time.Now().Add(time.Hour)),
	})
	must(g.t, err)
	g.t.Cleanup(func() { must(g.t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within 20 s", what)
		}
	}
}

func apply(t testing.TB, s *Store, cmds ...Command) uint64 {
	t.Helper()
	r, err := s.Apply(context.Background(), cmds...)
	must(t, err)
	return r.Index
}

// applyFails wants an error of a code, and of a field unless that is "".
func applyFails(t testing.TB, s *Store, code pgctl.Code, field string, cmds ...Command) {
	t.Helper()
	_, err := s.Apply(context.Background(), cmds...)
	wantError(t, err, code, field)
}

func wantError(t testing.TB, err error, code pgctl.Code, field string) {
	t.Helper()
	e, ok := errors.AsType[*pgctl.Error](err)
	if !ok || e.Code != code || field != "" && e.Field != field {
		t.Fatalf("error %v, want code %s, field %q", err, code, field)
	}
}

// machine is an FSM without Raft.
type machine struct {
	*fsm
	t     testing.TB
	index uint64
}

func newMachine(t testing.TB) *machine {
	return &machine{fsm: newFSM(slog.New(slog.DiscardHandler)), t: t}
}

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// do applies one unit.
func (m *machine) do(cmds ...Command) error {
	m.t.Helper()
	unit, err := encodeUnit(testTime, cmds)
	if err != nil {
		return err
	}
	m.index++
	entry := encodeEntry([]*pending{{unit: unit}})
	return m.Apply(&raft.Log{Index: m.index, Data: entry}).([]error)[0]
}

func (m *machine) must(cmds ...Command) {
	m.t.Helper()
	must(m.t, m.do(cmds...))
}

func (m *machine) fails(code pgctl.Code, field string, cmds ...Command) {
	m.t.Helper()
	wantError(m.t, m.do(cmds...), code, field)
}

func (m *machine) state() *State { return m.current.Load() }

func named(cluster string) PutCluster { return PutCluster{Cluster: pgctl.Cluster{Name: cluster}} }

func ptr[T any](v T) *T { return &v }
