package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// fenced is a block of commands in a page.
var fenced = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")

// unrun are the commands of the documentation that are not run here, by how they begin, and why.
var unrun = map[string]string{
	"make ":                      "it is what runs this, or takes minutes: the demo, the benchmarks",
	"scripts/install-postgres":   "make test has done it before",
	"pgctl dev down --purge":     "every run of this package ends with it",
	"pgctl daemon ":              "the playground's daemons run with configurations of their own",
	"install -m ":                "it is for hosts with systemd",
	"systemctl ":                 "it is for hosts with systemd",
	"age-keygen ":                "the program is not installed by make test",
	"pgctl dsn shop --user repo": "the example declares no role report",
}

// replies are how a command ends that does not end with 0: what it says then.
var replies = map[string]string{
	"pgctl switchover shop --to shop-2 --at": "is scheduled for",            // the page has scheduled a restart before
	"pgctl failover shop":                    "is not known to have failed", // of a leader that is well
}

// asked are what a person types when a command asks.
var asked = map[string]string{"pgctl delete shop": "shop\n", "pgctl snapshot restore": "restore\n", "pgctl psql shop": "select 1;\n\\q\n"}

// endless are commands that go on until somebody ends them.
var endless = []string{"pgctl events shop --follow", "while "}

// TestDocumentedCommands runs every command that a block of the documentation shows, in order, against the
// playground; pages that build on the quick start after it.
func TestDocumentedCommands(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(root, "docs/quickstart.md")
	pages = append([]string{first}, slices.DeleteFunc(append(pages, filepath.Join(root, "README.md")), func(p string) bool { return p == first })...)
	r := &reader{t: t}
	t.Cleanup(func() { _, _ = try("", "dev", "up") }) // pages kill hosts: no other scenario is to miss them when this one fails
	for _, page := range pages {
		r.dir = t.TempDir()
		for from, to := range map[string]string{
			root + "/examples": "examples", root + "/examples/shop.yaml": "shop.yaml", root + "/packaging": "packaging",
			world.dir + "/ca.pem": "ca.pem", world.dir + "/operator.pem": "me.pem", world.dir + "/operator-key.pem": "me-key.pem",
		} {
			if out, err := exec.Command("cp", "-r", from, filepath.Join(r.dir, to)).CombinedOutput(); err != nil { // no links: pages write files
				t.Fatalf("cp: %v %s", err, out)
			}
		}
		r.read(page)
		if page == first { // it ends with the playground's
			do(t, "dev", "up")
			well(t, "shop", 2)
		}
	}
	if r.ran < 40 {
		t.Errorf("only %d commands were run", r.ran)
	}
	for begin := range unrun {
		if !slices.ContainsFunc(r.left, func(command string) bool { return strings.HasPrefix(command, begin) }) {
			t.Errorf("no page shows a command %q: it needs no exception", begin)
		}
	}
	well(t, "shop", 2)
	do(t, "delete", "shop", "--yes", "shop", "--keep", "1s") // other scenarios begin with a new one
	eventually(t, "the cluster is purged", func() (bool, string) {
		out, _ := try("", "list", "-o", "json")
		return !strings.Contains(out, `"shop"`), out
	})
}

// reader types what the pages say.
type reader struct {
	t   *testing.T
	dir string // where it is typed

	ran  int
	left []string // what was not run
}

func (r *reader) read(page string) {
	r.t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, block := range fenced.FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(block[1], "while ") {
			r.run(filepath.Base(page), block[1])
			continue
		}
		for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
			if line = strings.TrimSpace(line); line != "" {
				r.run(filepath.Base(page), line)
			}
		}
	}
}

// run types one command, with this installation's address for that of the page.
func (r *reader) run(page, command string) {
	r.t.Helper()
	for begin := range unrun {
		if strings.HasPrefix(command, begin) {
			r.left = append(r.left, command)
			return
		}
	}
	for _, program := range []string{"psql", "jq", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil && regexp.MustCompile(`\b`+program+`\b`).MatchString(command) {
			r.t.Logf("%s: %s: not run, there is no %s here", page, command, program)
			return
		}
	}
	// What a person waits for as well. A state that was saved in the middle of a change of the rule is one of which a
	// leader cannot prove that it is current.
	waits := []string{"pgctl switchover", "pgctl reinit", "pgctl snapshot save"}
	if slices.ContainsFunc(waits, func(begin string) bool { return strings.HasPrefix(command, begin) }) {
		well(r.t, "shop", 2)
		if now, _ := leader(r.t, "shop"); now == "shop-1" && strings.HasSuffix(command, "shop-1") {
			do(r.t, "switchover", "shop", "--to", "shop-0", "--wait")
			well(r.t, "shop", 2)
		}
	}
	r.ran++
	limit := patience
	if r.isEndless(command) {
		limit = 4 * time.Second
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	typed := strings.ReplaceAll(command, "10.0.0.11", "127.0.0.1")
	c := exec.CommandContext(ctx, "script", "-qec", typed, "/dev/null") // with a terminal, since some ask
	var out bytes.Buffer
	c.Dir, c.Stdin, c.Stdout, c.Stderr, c.WaitDelay = r.dir, strings.NewReader(begun(asked, command)), &out, &out, time.Second
	c.Env = append(world.env, "PAGER=cat", "PATH="+filepath.Dir(world.binary)+":"+os.Getenv("PATH"))
	err := c.Run()
	r.judge(ctx, page, command, out.String(), err)
}

func (r *reader) isEndless(command string) bool {
	return slices.ContainsFunc(endless, func(part string) bool { return strings.Contains(command, part) })
}

func (r *reader) judge(ctx context.Context, page, command, out string, err error) {
	r.t.Helper()
	status := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		status = failed.ExitCode()
	}
	says, fails := begun(replies, command), false
	switch {
	case says != "":
		fails = status == 0 || !strings.Contains(out, says)
	case ctx.Err() != nil:
		fails = !r.isEndless(command) || strings.TrimSpace(out) == ""
	case strings.HasPrefix(command, "pgctl status"):
		fails = status != 0 && status != 3 && status != 4 // a host was killed just before
	case strings.HasPrefix(command, "pgctl diff"):
		fails = status != 0 && status != 10
	default:
		fails = err != nil
	}
	if fails {
		r.t.Errorf("%s: %s: %v (status %d)\n%s", page, command, err, status, out)
	}
}

// begun finds the entry whose key a command begins with; "" for none. The longest counts.
func begun(entries map[string]string, command string) (found string) {
	longest := ""
	for begin, text := range entries {
		if strings.HasPrefix(command, begin) && len(begin) > len(longest) {
			longest, found = begin, text
		}
	}
	return found
}
