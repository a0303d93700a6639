package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api/client"
	"github.com/pgctl/pgctl/provision/pki"
	"github.com/pgctl/pgctl/provision/process"
)

func quiet(string, ...any) {}

// openFolder is a temporary folder that every user may enter.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgctl-test-dev-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func testPlayground(t *testing.T, hosts int) *playground {
	t.Helper()
	p, err := prepare(filepath.Join(openFolder(t), "play"), hosts, time.Now(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDevPlaygroundIsComplete(t *testing.T) {
	t.Parallel()
	p := testPlayground(t, 4)
	for i, h := range p.hosts() {
		c, err := LoadDaemonConfig(h.config())
		if err != nil {
			t.Fatal(err)
		}
		if c.Name != fmt.Sprintf("dev-%d", i+1) || c.Cluster.Server != (i < 3) || len(c.Cluster.Servers) != 3 ||
			c.Listen.Raft != h.Address+":7433" || c.DataCenter != []string{"a", "b", "c", "a"}[i] {
			t.Errorf("%+v", c)
		}
		id, err := pki.Load(c.TLS.CA, c.TLS.Cert, c.TLS.Key, time.Now())
		if err != nil || id.Name != h.Name || id.Role.Host() != true || (id.Role == pki.Server) != h.Server {
			t.Errorf("%+v %v", id, err)
		}
		if info, err := os.Stat(c.Cluster.GossipKeyFile); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(err)
		}
	}
	if _, err := client.New(p.clientConfig()); err != nil {
		t.Error(err)
	}
	found, err := readContext(p.contextFile(), "", true)
	if err != nil || found.CA != p.file("ca.pem") || len(found.Addresses) != 4 {
		t.Errorf("%+v %v", found, err)
	}

	// What is there is used again, with its certificates and keys.
	before, _ := os.ReadFile(p.file("ca.pem"))
	if _, err := prepare(p.Dir, 0, time.Now(), quiet); err != nil {
		t.Error(err)
	}
	if after, _ := os.ReadFile(p.file("ca.pem")); !bytes.Equal(before, after) {
		t.Error("the authority was made anew")
	}
	// A playground that lay for a year gets new certificates of the same authority.
	later := time.Now().Add(400 * 24 * time.Hour)
	if _, err := prepare(p.Dir, 0, later, quiet); err != nil {
		t.Error(err)
	}
	if _, err := pki.Load(p.file("ca.pem"), p.file("dev-1/host.pem"), p.file("dev-1/host-key.pem"), later); err != nil {
		t.Error(err)
	}
	if _, err := prepare(p.Dir, 3, time.Now(), quiet); pgctl.CodeOf(err) != pgctl.CodeConflict {
		t.Error(err)
	}
	if _, err := p.host("dev-9"); err == nil || !strings.Contains(err.Error(), "dev-1, dev-2, dev-3, dev-4") {
		t.Error(err)
	}
	if err := p.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := openPlayground(p.Dir); pgctl.CodeOf(err) != pgctl.CodeNotFound {
		t.Error(err)
	}
}

func TestDevForeignFoldersAreLeftAlone(t *testing.T) {
	t.Parallel()
	foreign := t.TempDir()
	precious := filepath.Join(foreign, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(testPlayground(t, 1).Dir, link); err != nil {
		t.Fatal(err)
	}
	strange := t.TempDir()
	if err := os.WriteFile(filepath.Join(strange, devMark), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		foreign:  "holds something else",
		precious: "is not a folder of user",
		link:     "is not a folder of user",
		strange:  "is not a mark that this pgctl wrote",
	} {
		if _, err := prepare(dir, 3, time.Now(), quiet); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
		if err := (&playground{Dir: dir}).remove(); err == nil {
			t.Errorf("%s was removed", dir)
		}
	}
	if _, err := prepare(filepath.Join(t.TempDir(), "x"), 10, time.Now(), quiet); pgctl.CodeOf(err) != pgctl.CodeInvalid {
		t.Error(err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestDevPostgresMustReachTheFolder(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root runs Postgres as another user: run the tests as root too")
	}
	private := filepath.Join(openFolder(t), "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := prepare(filepath.Join(private, "play"), 3, time.Now(), quiet)
	if err == nil || !strings.Contains(err.Error(), "may not enter "+private) || !strings.Contains(err.Error(), "chmod o+x") {
		t.Error(err)
	}
}

// standIn is a daemon's process for tests: it ends on SIGTERM. Its configuration comes as $0.
var standIn = []string{"/bin/sh", "-c", `trap 'exit 0' TERM; echo "with $0"; while :; do sleep 0.02; done`}

func TestDevDaemons(t *testing.T) {
	t.Parallel()
	p := testPlayground(t, 1)
	h := p.hosts()[0]
	t.Cleanup(func() { _ = h.kill(context.Background()) })
	if _, runs := h.daemon(); runs {
		t.Fatal("runs before it was started")
	}
	if err := h.start(standIn); err != nil {
		t.Fatal(err)
	}
	first, runs := h.daemon()
	if err := h.start(standIn); err != nil || !runs {
		t.Fatal(err, runs)
	}
	if again, _ := h.daemon(); again != first {
		t.Error("a second daemon was started")
	}
	limited, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if !poll(limited, func() bool { return strings.Contains(tail(h.log(), 1), "with "+h.config()) }) {
		t.Errorf("log: %q", tail(h.log(), 5))
	}
	if err := p.stop(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	if first.alive() {
		t.Error("alive after the stop")
	}

	// The pid of our own test, as if it had been given out again: it must not be signalled.
	text := fmt.Appendf(nil, `{"pid":%d,"started":1}`, os.Getpid())
	if err := os.WriteFile(h.pidFile(), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.kill(t.Context()); err != nil {
		t.Error(err)
	}
}

// postgresLike starts a process in a data folder that looks like a Postgres server's.
func postgresLike(t *testing.T, dir string) devProcess {
	t.Helper()
	sleep, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "postgres")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, sleep, 0o755); err != nil {
		t.Fatal(err)
	}
	pid, started, err := process.Local{}.Start(program, []string{"1000"}, nil, dir, program+".log", nil)
	if err != nil {
		t.Fatal(err)
	}
	id := devProcess{PID: pid, Started: started}
	t.Cleanup(func() { _ = id.signal(syscall.SIGKILL) })
	pidFile := fmt.Sprintf("%d\n%s\n0\n0\n\n\n\nready\n", id.PID, dir)
	if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(pidFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestDevPostgresServersEndWithTheirHost(t *testing.T) {
	t.Parallel()
	p := testPlayground(t, 3)
	one, two := p.hosts()[0], p.hosts()[1]
	a := postgresLike(t, filepath.Join(one.data(), "instances/shop-1/data"))
	b := postgresLike(t, filepath.Join(two.data(), "instances/shop-2/data"))
	if found, err := one.postmasters(); err != nil || !slices.Equal(found, []devProcess{a}) {
		t.Error(found, err)
	}
	if err := one.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.alive() || !b.alive() {
		t.Error(a.alive(), b.alive())
	}
	said := &bytes.Buffer{}
	if err := p.stop(t.Context(), sayTo(said)); err != nil || b.alive() {
		t.Error(err, b.alive())
	}
	if said.String() != "stopping 1 Postgres servers\n" {
		t.Errorf("%q", said)
	}
}

func TestDevWhoHoldsAPort(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	us := fmt.Sprintf("process %d (", os.Getpid())
	for network, port := range map[string]int{
		"tcp": tcp.Addr().(*net.TCPAddr).Port, "udp": udp.LocalAddr().(*net.UDPAddr).Port,
	} {
		err := occupied(network, fmt.Sprintf("127.0.0.1:%d", port), port, io.EOF)
		if !strings.Contains(err.Error(), us) {
			t.Errorf("%s: %v", network, err)
		}
	}
}

func TestDevContextIsOfferedButNeverForced(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	p := testPlayground(t, 1)
	path := filepath.Join(home, "pgctl/config.toml")
	if found, err := p.offerContext(); err != nil || !found {
		t.Fatal(found, err)
	}
	if found, err := readContext(path, devContext, true); err != nil || found.Key != p.file("operator-key.pem") {
		t.Error(found, err)
	}
	other := testPlayground(t, 1)
	if err := other.withdrawContext(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("another playground's was removed")
	}
	if err := p.withdrawContext(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it is still there")
	}
	if err := os.WriteFile(path, []byte("current = \"prod\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := p.offerContext(); err != nil || found {
		t.Error(found, err)
	}
	if text, _ := os.ReadFile(path); string(text) != "current = \"prod\"\n" {
		t.Errorf("%s", text)
	}
}

func TestDevLogLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	out := &bytes.Buffer{}
	if n, err := copyLines(out, path, 0, ""); n != 0 || err != nil {
		t.Error(n, err)
	}
	if err := os.WriteFile(path, []byte("one\ntwo\nhal"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := copyLines(out, path, 0, "dev-1  ")
	if err != nil || out.String() != "dev-1  one\ndev-1  two\n" || n != 8 {
		t.Errorf("%q %d %v", out, n, err)
	}
	if n, err := copyLines(out, path, n, ""); n != 0 || err != nil {
		t.Error(n, err)
	}
	if text := tail(path, 2); text != "two\nhal" {
		t.Errorf("%q", text)
	}
}
