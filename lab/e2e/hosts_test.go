package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pgctl/pgctl/node/api"
)

// A second daemon on the data folder of one that runs is refused before anybody else could notice it: of
// a server as of a host that holds no part of the state.
func TestSecondDaemon(t *testing.T) {
	for _, host := range []string{"dev-1", "dev-4"} {
		config, err := os.ReadFile(filepath.Join(world.dir, host, "pgctl.toml"))
		if err != nil {
			t.Fatal(err)
		}
		other := filepath.Join(t.TempDir(), "other.toml") // with addresses of its own
		text := strings.ReplaceAll(string(config), `"127.0.0.`+host[4:]+":", `"127.0.0.9:`)
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out := refused(t, "", "daemon", "--config", other)
		if !containsAll(out, []string{"another daemon", fmt.Sprint(daemonOf(t, host)), filepath.Join(world.dir, host, "data"), "stop it"}) {
			t.Errorf("a second daemon on the folder of %s: %s", host, out)
		}
	}
}

// An instance was removed while its host was cut off. Its Postgres ends when the host is back, with a new
// daemon that never had to do with it; the data stays.
func TestUnassignedInstanceStops(t *testing.T) {
	apply(t, manifest("gone", 2))
	well(t, "gone", 1)
	w := write(t, "gone")
	leads, _ := leader(t, "gone")
	var left api.InstanceDetail
	for _, i := range get[api.ClusterDetail](t, "show", "gone").Instances {
		if i.Name != leads {
			left = i
		}
	}
	endDaemon(t, left.Host)
	if out, err := try(manifest("gone", 1), "apply", "-f", "-", "--yes"); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	eventually(t, left.Name+" is removed", func() (bool, string) {
		n := len(get[api.ClusterDetail](t, "show", "gone").Instances)
		return n == 1, fmt.Sprint(n, " instances")
	})
	folder := filepath.Join(world.dir, left.Host, "data/instances", left.Name, string(left.Life))
	if matches(t, folder+"/pgdata/postmaster.pid") != 1 {
		t.Fatalf("%s does not run any more, although nobody could stop it", left.Name)
	}
	do(t, "dev", "start", left.Host)
	said(t, "gone", left.Name, "not assigned to this host any more", folder)
	if matches(t, folder+"/pgdata/postmaster.pid") != 0 || matches(t, folder+"/pgdata/PG_VERSION") != 1 {
		t.Errorf("%s runs, or its data is gone from %s", left.Name, folder)
	}
	more(t, w)
	nothingLost(t, w)
	do(t, "delete", "gone", "--yes", "gone")
}

// daemonOf is the process of a host's daemon.
func daemonOf(t *testing.T, host string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(world.dir, host, "daemon.pid"))
	var id struct{ PID int }
	if err == nil {
		err = json.Unmarshal(text, &id)
	}
	if err != nil || id.PID <= 1 {
		t.Fatalf("the daemon of %s: %v", host, err)
	}
	return id.PID
}

// endDaemon kills a host's daemon alone; its Postgres servers go on.
func endDaemon(t *testing.T, host string) {
	t.Helper()
	pid := daemonOf(t, host)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon of "+host+" has ended", func() (bool, string) { return !alive(pid), "it runs" })
}

// Somebody else's program has the cluster's port: that is an event which says so, once, and not a word
// for each attempt. When the port is free again the instance comes back by itself.
func TestPortInUse(t *testing.T) {
	apply(t, manifest("taken", 1, "pgctl: {placement: {dataCenters: [c]}}"))
	well(t, "taken", 0)
	w := write(t, "taken")
	more(t, w)
	i := get[api.ClusterDetail](t, "show", "taken").Instances[0]
	port := parse(t, dsn(t, "taken")).Port()
	do(t, "dev", "kill", i.Host)
	foreign, err := net.Listen("tcp", addressOf(i.Host)+":"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	do(t, "dev", "start", i.Host)
	said(t, "taken", i.Name, "cannot start", "Address already in use", "another program has port "+port)
	attempts := strings.Count(do(t, "dev", "logs", i.Host), "step failed")
	eventually(t, "further attempts", func() (bool, string) {
		now := strings.Count(do(t, "dev", "logs", i.Host), "step failed")
		return now > attempts+2, fmt.Sprint(now)
	})
	if n := countOf(kinds(t, "taken", i.Name), "step.failed"); n != 1 {
		t.Errorf("%d events say that it does not start", n)
	}
	if out, _ := try("", "status", "taken"); !containsAll(out, []string{"Address already in use"}) {
		t.Errorf("status does not say why it is down: %s", out)
	}
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}
	more(t, w)
	said(t, "taken", i.Name, "could start after")
	nothingLost(t, w)
	do(t, "delete", "taken", "--yes", "taken")
}

func countOf(all []string, one string) (n int) {
	for _, text := range all {
		if text == one {
			n++
		}
	}
	return n
}

// The programs of PostgreSQL are gone from a host: an event says which and what to do, the cluster goes on
// without that host, which comes back by itself. A daemon that starts without them says so, too.
func TestMissingPrograms(t *testing.T) {
	bin := filepath.Join(world.dir, "bin") // links to the real ones, so that only this host misses them
	real, err := filepath.Glob("/usr/lib/postgresql/15/bin/*")
	if err != nil || len(real) == 0 {
		t.Skip("PostgreSQL 15 is not where Debian installs it")
	}
	link := func() {
		for _, path := range real {
			if err := os.Symlink(path, filepath.Join(bin, filepath.Base(path))); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	link()
	changed := reconfigure(t, "dev-4", map[string]string{"postgres_paths = .*": fmt.Sprintf("postgres_paths = [%q]", bin)})
	defer func() {
		link()
		changed()
	}()
	apply(t, manifest("bare", 2, "pgctl: {placement: {dataCenters: [a]}}")) // dev-1 and dev-4
	well(t, "bare", 1)
	w := write(t, "bare")
	lost := ""
	for _, i := range get[api.ClusterDetail](t, "show", "bare").Instances {
		if i.Host == "dev-4" {
			lost = i.Name
		}
	}
	if err := os.Remove(filepath.Join(bin, "postgres")); err != nil {
		t.Fatal(err)
	}
	killPostmaster(t, "bare", lost)
	said(t, "bare", lost, "cannot start", bin+"/postgres is gone", "install PostgreSQL 15 again")
	more(t, w)
	endDaemon(t, "dev-4")
	do(t, "dev", "start", "dev-4")
	said(t, "bare", "has no PostgreSQL 15", "install it")
	link()
	endDaemon(t, "dev-4")
	do(t, "dev", "start", "dev-4")
	well(t, "bare", 1)
	nothingLost(t, w)
	do(t, "delete", "bare", "--yes", "bare")
}

// reconfigure changes lines of a host's configuration, found by patterns, and starts its daemon anew. What it
// returns brings the former ones back.
func reconfigure(t *testing.T, host string, lines map[string]string) (undo func()) {
	t.Helper()
	path := filepath.Join(world.dir, host, "pgctl.toml")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(before)
	for pattern, line := range lines {
		at := regexp.MustCompile(`(?m)^( *)` + pattern + "$")
		if !at.MatchString(text) {
			t.Fatalf("%s has no line %s:\n%s", path, pattern, text)
		}
		text = at.ReplaceAllString(text, "${1}"+line)
	}
	put := func(text []byte) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		endDaemon(t, host)
		do(t, "dev", "start", host)
	}
	put([]byte(text))
	undo = sync.OnceFunc(func() { put(before) })
	t.Cleanup(undo)
	return undo
}
