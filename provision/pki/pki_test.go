package pki_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/pki"
)

const day = 24 * time.Hour

type fixture struct {
	t   *testing.T
	dir string
	now time.Time
}

func (f fixture) file(name string) string { return filepath.Join(f.dir, name) }

func (f fixture) ca(name string) *pki.Authority {
	f.t.Helper()
	ca, err := pki.NewCA(name, f.now)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := ca.Save(f.file(name+".crt"), f.file(name+".key")); err != nil {
		f.t.Fatal(err)
	}
	return ca
}

func (f fixture) issue(ca *pki.Authority, name string, role pki.Role, validity time.Duration) {
	f.t.Helper()
	r := pki.Request{Name: name, Role: role, Addresses: []string{"127.0.0.1", "localhost"}, Validity: validity}
	pair, err := ca.Issue(r, f.now)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := pair.Save(f.file(name+".crt"), f.file(name+".key")); err != nil {
		f.t.Fatal(err)
	}
}

func (f fixture) load(ca, name string, at time.Time) (*pki.Identity, error) {
	return pki.Load(f.file(ca+".crt"), f.file(name+".crt"), f.file(name+".key"), at)
}

func (f fixture) mustLoad(ca, name string) *pki.Identity {
	f.t.Helper()
	id, err := f.load(ca, name, f.now)
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

func newFixture(t *testing.T) fixture {
	t.Parallel()
	return fixture{t: t, dir: t.TempDir(), now: time.Now()}
}

func TestFilesOfOthersAreRefusedClearly(t *testing.T) {
	f := newFixture(t)
	ours, theirs := f.ca("ours"), f.ca("theirs")
	f.issue(ours, "db-1", pki.Server, 30*day)
	f.issue(theirs, "foreign", pki.Server, 30*day)
	f.issue(ours, "db-2", pki.Agent, 30*day)
	for _, tc := range []struct {
		name string
		load func() error
		want string
	}{
		{"wrong CA", func() error { _, err := f.load("ours", "foreign", f.now); return err }, "was not signed by the authority"},
		{"expired", func() error { _, err := f.load("ours", "db-1", f.now.Add(31*day)); return err }, "expired on"},
		{"too early", func() error { _, err := f.load("ours", "db-1", f.now.Add(-2*day)); return err }, "valid only from"},
		{"other key", func() error {
			_, err := pki.Load(f.file("ours.crt"), f.file("db-1.crt"), f.file("db-2.key"), f.now)
			return err
		}, "does not belong to the certificate"},
		{"swapped", func() error {
			_, err := pki.Load(f.file("ours.crt"), f.file("db-1.key"), f.file("db-1.crt"), f.now)
			return err
		}, "holds no PEM certificate"},
		{"no file", func() error { _, err := f.load("ours", "db-9", f.now); return err }, "does not exist"},
		{"authority as host", func() error { _, err := f.load("ours", "ours", f.now); return err }, "states no role"},
		{"host as authority", func() error {
			_, err := pki.LoadCA(f.file("db-1.crt"), f.file("db-1.key"))
			return err
		}, "not the certificate of an authority"},
	} {
		if err := tc.load(); err == nil || !strings.Contains(err.Error(), tc.want) || pgctl.CodeOf(err) != pgctl.CodeInvalid {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if info, err := os.Stat(f.file("db-1.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v %v", info.Mode(), err)
	}
}

func TestAReloadedAuthorityIssues(t *testing.T) {
	f := newFixture(t)
	f.ca("ours")
	again, err := pki.LoadCA(f.file("ours.crt"), f.file("ours.key"))
	if err != nil {
		t.Fatal(err)
	}
	f.issue(again, "alice", pki.Operator, day)
	if id := f.mustLoad("ours", "alice"); id.Name != "alice" || id.Role != pki.Operator {
		t.Errorf("%+v", id)
	}
	for _, bad := range []pki.Request{
		{Name: "../x", Role: pki.Client, Validity: day},
		{Name: "x", Role: "king", Validity: day},
		{Name: "x", Role: pki.Server, Validity: day},
		{Name: "x", Role: pki.Client},
	} {
		if _, err := again.Issue(bad, f.now); pgctl.CodeOf(err) != pgctl.CodeInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// handshake connects the two sides and returns what each of them says about it.
func handshake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			tlsConn := conn.(*tls.Conn)
			if err = tlsConn.Handshake(); err == nil {
				state = tlsConn.ConnectionState()
				_, err = tlsConn.Write([]byte("."))
			}
			_ = conn.Close()
		}
		done <- err
	}()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", listener.Addr().String(), client)
	if err == nil {
		// With TLS 1.3 the client hears only now whether its certificate was accepted.
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	serverErr = <-done
	_ = listener.Close()
	return state, serverErr, err
}

func TestHandshakes(t *testing.T) {
	f := newFixture(t)
	ours, theirs := f.ca("ours"), f.ca("theirs")
	f.issue(ours, "db-1", pki.Server, day)
	f.issue(ours, "db-2", pki.Agent, day)
	f.issue(ours, "app", pki.Client, day)
	f.issue(theirs, "foreign", pki.Server, day)
	server, agent, app := f.mustLoad("ours", "db-1"), f.mustLoad("ours", "db-2"), f.mustLoad("ours", "app")
	foreign := f.mustLoad("theirs", "foreign")

	state, err1, err2 := handshake(t, server.ServerConfig(), agent.ClientConfig())
	if err1 != nil || err2 != nil || state.Version != tls.VersionTLS13 {
		t.Fatal(err1, err2, state.Version)
	}
	if c := state.PeerCertificates[0]; pki.HostOf(c) != "db-2" || pki.RoleOf(c) != pki.Agent {
		t.Error(pki.HostOf(c), pki.RoleOf(c))
	}
	state, err1, err2 = handshake(t, server.APIConfig(), app.ClientConfig())
	if c := state.PeerCertificates[0]; err1 != nil || err2 != nil || pki.HostOf(c) != "" || pki.RoleOf(c) != pki.Client {
		t.Error(err1, err2, pki.HostOf(c))
	}

	anonymous := agent.ClientConfig()
	anonymous.Certificates = nil
	if _, err1, err2 = handshake(t, server.APIConfig(), anonymous); err1 != nil || err2 != nil {
		t.Error(err1, err2)
	}
	refused := func(what string, server, client *tls.Config, want string) {
		t.Helper()
		if _, _, err := handshake(t, server, client); err == nil || !strings.Contains(pki.Explain(err).Error(), want) {
			t.Errorf("%s: %v", what, pki.Explain(err))
		}
	}
	refused("no certificate", server.ServerConfig(), anonymous, "wants a certificate")
	refused("server of another CA", foreign.ServerConfig(), agent.ClientConfig(), "of another authority")
	trusting := foreign.ClientConfig()
	trusting.RootCAs = agent.ClientConfig().RootCAs
	refused("client of another CA", server.ServerConfig(), trusting, "authority")
	refused("a client's certificate as server", app.ServerConfig(), agent.ClientConfig(), "incompatible key usage")
	elsewhere := agent.ClientConfig()
	elsewhere.ServerName = "127.0.0.9"
	refused("other address", server.ServerConfig(), elsewhere, "not for the address")
	late := agent.ClientConfig()
	late.Time = func() time.Time { return f.now.Add(2 * day) }
	refused("expired", server.ServerConfig(), late, "is valid from")
	lateServer := server.ServerConfig()
	lateServer.Time = late.Time
	refused("ours expired", lateServer, agent.ClientConfig(), "our certificate expired")
}
