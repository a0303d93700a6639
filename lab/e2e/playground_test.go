// Package e2e runs the built binary as users do: several hosts on this machine, real PostgreSQL, and an
// outside client that remembers every acknowledged row.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl/lab/writer"
	"github.com/pgctl/pgctl/node/api"
)

// playground is a set of hosts that all scenarios of this package share.
type playground struct {
	binary string
	dir    string
	env    []string
}

var world *playground

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (status int) {
	dir, err := os.MkdirTemp("/tmp", "pgctl-e2e-") // in a place that the postgres user can reach
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p := &playground{binary: filepath.Join(dir, "pgctl"), dir: filepath.Join(dir, "playground")}
	p.env = append(os.Environ(), "PGCTL_DEV_DIR="+p.dir, "PGCTL_CONFIG="+filepath.Join(p.dir, "client.toml"))
	build := exec.Command("go", "build", "-o", p.binary, "github.com/pgctl/pgctl/cmd/pgctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	for _, step := range []*exec.Cmd{build, p.command("dev", "up", "--hosts", "4")} {
		if out, err := step.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s\n", strings.Join(step.Args, " "), err, out)
			status = 1
			break
		}
	}
	if status == 0 {
		world = p
		status = m.Run()
	}
	if status != 0 {
		logs, _ := p.command("dev", "logs").CombinedOutput()
		var said strings.Builder
		for line := range strings.Lines(string(logs)) {
			if !strings.Contains(line, "raft: ") { // of a server that is dead on purpose
				said.WriteString(line)
			}
		}
		fmt.Fprintf(os.Stderr, "what the daemons said:\n%s\n", lastLines(said.String(), 200))
	}
	if out, err := p.command("dev", "down", "--purge").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the playground did not end: %v\n%s\n", err, out)
		return 1
	}
	_ = os.RemoveAll(dir)
	return status
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (p *playground) command(args ...string) *exec.Cmd {
	c := exec.Command(p.binary, args...)
	c.Env = p.env
	return c
}

// do runs a command that must succeed and returns what it printed.
func do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try("", args...)
	if err != nil {
		t.Fatalf("pgctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// refused runs a command that must fail, and returns its message.
func refused(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := try(input, args...)
	if err == nil {
		t.Fatalf("pgctl %s succeeded:\n%s", strings.Join(args, " "), out)
	}
	return out
}

func try(input string, args ...string) (string, error) {
	c := world.command(args...)
	var out bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), &out, &out
	err := c.Run()
	return out.String(), err
}

// get reads a command's answer as JSON.
func get[T any](t *testing.T, args ...string) (answer T) {
	t.Helper()
	var out string
	var err error
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		out, _ = try("", append(args, "-o", "json")...) // status has exit statuses of its own
		if err = json.Unmarshal([]byte(out), &answer); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatalf("pgctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return answer
}

const patience = 60 * time.Second // on a busy machine; scenarios take seconds

// eventually waits for a condition; what says what was missing last.
func eventually(t *testing.T, story string, holds func() (ok bool, what string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, what := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			status, _ := try("", "status")
			events, _ := try("", "events")
			t.Fatalf("%s: not within %s: %s\n%s\n%s", story, patience, what, status, lastLines(events, 25))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// apply declares a cluster and waits until it is well.
func apply(t *testing.T, manifest string) {
	t.Helper()
	if out, err := try(manifest, "apply", "-f", "-", "--yes", "--wait", "--timeout", patience.String()); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
}

// manifest is a small declaration; more is appended to its spec.
func manifest(name string, instances int, more ...string) string {
	return fmt.Sprintf("apiVersion: acid.zalan.do/v1\nkind: postgresql\nmetadata:\n  name: %s\nspec:\n  teamId: acme\n"+
		"  numberOfInstances: %d\n  volume: {size: 1Gi}\n  users: {app: []}\n  databases: {app: app}\n%s\n",
		name, instances, indent(append([]string{"postgresql: {version: \"15\"}"}, more...)))
}

func indent(lines []string) string {
	for i, l := range lines {
		lines[i] = "  " + l
	}
	return strings.Join(lines, "\n")
}

// well waits until a cluster has nothing to complain of, and as many standbys as it should wait for.
func well(t *testing.T, cluster string, standbys int) {
	t.Helper()
	eventually(t, cluster+" is well", func() (bool, string) {
		detail := get[api.ClusterDetail](t, "show", cluster)
		status := get[api.Status](t, "status", cluster)
		if detail.Leadership == nil {
			return false, "it has no leadership"
		}
		rule := detail.Leadership.Rule
		return status.Health == api.LevelWell && len(rule.Standbys) == standbys && detail.Leadership.NextRule == nil,
			fmt.Sprintf("%s: %s; standbys in the rule: %d of %d", status.Health, status.Summary, len(rule.Standbys), standbys)
	})
}

// leader is the instance and the host that lead.
func leader(t *testing.T, cluster string) (instance, host string) {
	t.Helper()
	detail := get[api.ClusterDetail](t, "show", cluster)
	for _, i := range detail.Instances {
		if detail.Leadership != nil && i.Life == detail.Leadership.Leader {
			return i.Name, i.Host
		}
	}
	return "", ""
}

// hostOf finds the host of an instance.
func hostOf(t *testing.T, cluster, instance string) string {
	t.Helper()
	for _, i := range get[api.ClusterDetail](t, "show", cluster).Instances {
		if i.Name == instance {
			return i.Host
		}
	}
	t.Fatalf("%s has no instance %s", cluster, instance)
	return ""
}

// dsn is how an application connects: all instances, the driver finds the leader.
func dsn(t *testing.T, cluster string) string {
	t.Helper()
	password := strings.TrimSpace(do(t, "password", cluster, "app"))
	text := strings.TrimSpace(do(t, "dsn", cluster))
	u, err := url.Parse(text)
	if err != nil {
		t.Fatalf("dsn: %v", err)
	}
	u.User = url.UserPassword("app", password)
	return u.String()
}

// write begins to write rows steadily.
func write(t *testing.T, cluster string) *writer.Writer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := writer.Start(ctx, writer.Config{DSN: dsn(t, cluster), Connections: 4, Interval: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// more waits until the writer got further rows acknowledged: writes are back.
func more(t *testing.T, w *writer.Writer) {
	t.Helper()
	before := w.Report().Acknowledged
	eventually(t, "writes go on", func() (bool, string) {
		return w.Report().Acknowledged > before+20, fmt.Sprint(w.Report(), w.Failure())
	})
}

// nothingLost ends the writing and holds the database against what was acknowledged.
func nothingLost(t *testing.T, w *writer.Writer) {
	t.Helper()
	report := w.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	missing, err := w.Missing(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 {
		t.Fatalf("%d of %d acknowledged rows are lost, the first are %v", len(missing), report.Acknowledged, missing[:min(10, len(missing))])
	}
	t.Logf("%d rows acknowledged, none lost; the longest gap was %s", report.Acknowledged, report.LongestGap.Round(time.Millisecond))
}
