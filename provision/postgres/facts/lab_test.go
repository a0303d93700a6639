package facts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/control"
)

// patience bounds every wait for something that must happen: far beyond what a loaded machine needs.
const patience = 60 * time.Second

// calm is how long something must not happen before a test believes that it never does. Too short a time
// would let a fact pass that does not hold; it cannot make one fail that does.
const calm = 250 * time.Millisecond

func TestMain(m *testing.M) {
	status := m.Run()
	templates.remove()
	results.print(os.Stdout)
	os.Exit(status)
}

// installed are the versions found on this machine and in PGCTL_TEST_POSTGRES, oldest first.
var installed = sync.OnceValue(func() []pgctl.PostgresVersion {
	globs := append(filepath.SplitList(os.Getenv("PGCTL_TEST_POSTGRES")), control.BinFolders...)
	return control.Discover(context.Background(), globs)
})

// lab is where one experiment on one version happens; its servers end with the test.
type lab struct {
	*testing.T
	major   int
	bin     string
	dir     string
	servers []*server
	outcome *row
	version string
}

// on runs an experiment on every version that is here, and enters the outcomes in the table under the
// fact's name.
func on(t *testing.T, fact string, experiment func(*lab)) {
	t.Helper()
	if len(installed()) == 0 {
		t.Fatal("no PostgreSQL from 15 to 18 is installed")
	}
	r := results.enter(fact)
	t.Parallel()
	for _, v := range installed() {
		t.Run(v.Version, func(t *testing.T) {
			t.Parallel()
			l := &lab{T: t, major: v.Major, version: v.Version, bin: v.Bin, outcome: r, dir: folder(t)}
			t.Cleanup(func() {
				l.close()
				r.finish(v.Version, t)
			})
			experiment(l)
		})
	}
}

func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(quickFolder(), "facts")
	if err == nil {
		err = own(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
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

// credential is whom servers run as: PostgreSQL refuses root, so that root's tests use postgres.
var credential = sync.OnceValues(func() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("user postgres has the ids %s and %s", u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
})

// own gives a file or folder to whoever runs the servers, who must be able to reach it.
func own(path string) error {
	c, err := credential()
	if err != nil || c == nil {
		return err
	}
	if err := os.Chmod(path, 0o755); err != nil {
		return err
	}
	return os.Chown(path, int(c.Uid), int(c.Gid))
}

// run runs a program as whoever runs the servers, and returns what it printed.
func run(ctx context.Context, program string, args ...string) (string, error) {
	c, err := credential()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c, Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGCONNECT_TIMEOUT=10")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %v: %w\n%s", program, args, err, out)
	}
	return string(out), err
}

func (l *lab) run(program string, args ...string) string {
	l.Helper()
	out, err := run(l.Context(), program, args...)
	l.must(err)
	return out
}

// tool is the path of a program that not every package of PostgreSQL brings; without it the fact cannot
// be tried on this version.
func (l *lab) tool(name string) string {
	l.Helper()
	path := filepath.Join(l.bin, name)
	if _, err := os.Stat(path); err != nil {
		l.untried("no " + name)
	}
	return path
}

// untried ends the test where the version lacks what the fact is about.
func (l *lab) untried(why string) {
	l.Helper()
	l.outcome.say(l.version, "-", why)
	l.Skipf("not possible with PostgreSQL %s: %s", l.version, why)
}

// differs notes that this version does something else than the fact's name says. The test holds it to
// that from here on.
func (l *lab) differs(what string) { l.outcome.say(l.version, "differs", what) }

// measured notes a figure of this run for the table; nothing is asserted about it.
func (l *lab) measured(format string, args ...any) {
	l.outcome.say(l.version, "", fmt.Sprintf(format, args...))
}

// glob are the files of a folder whose names match.
func glob(l *lab, dir, pattern string) []string {
	l.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	l.must(err)
	return found
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// until polls for something that must come true.
func (l *lab) until(what string, holds func() bool) {
	l.Helper()
	pause := 2 * time.Millisecond
	for begin := time.Now(); !holds(); pause = min(pause*3/2, 25*time.Millisecond) {
		if time.Since(begin) > patience {
			l.Fatalf("never seen: %s", what)
		}
		time.Sleep(pause)
	}
}

// stays watches for a while that something remains true.
func (l *lab) stays(what string, holds func() bool) {
	l.Helper()
	for begin := time.Now(); time.Since(begin) < calm; time.Sleep(10 * time.Millisecond) {
		if !holds() {
			l.Fatalf("no longer so: %s", what)
		}
	}
}

// equal says what was expected where something else was seen.
func equal[V comparable](l *lab, what string, got, want V) {
	l.Helper()
	if got != want {
		l.Errorf("%s: %v instead of %v", what, got, want)
	}
}

// close stops all servers, and shows their logs if the test failed.
func (l *lab) close() {
	for _, s := range l.servers {
		s.discard()
		if l.Failed() {
			l.Logf("%s:\n%s", s.name, s.log())
		}
	}
}
