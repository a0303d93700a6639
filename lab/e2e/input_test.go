package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgctl/pgctl/node/api"
)

// What is wrong is refused before anything is done, with a message that says what to do.
func TestBadManifests(t *testing.T) {
	good := manifest("input", 1)
	for story, c := range map[string]struct {
		text string
		says []string
	}{
		"unknown parameter":      {with(t, good, "parameters: {work_men: 8MB}"), []string{"work_men", "did you mean work_mem"}},
		"invalid value":          {with(t, good, "parameters: {work_mem: plenty}"), []string{"work_mem", "plenty"}},
		"invalid enumeration":    {with(t, good, "parameters: {wal_compression: sometimes}"), []string{"wal_compression"}},
		"guarded parameter":      {with(t, good, `parameters: {fsync: "off"}`), []string{"fsync", "acknowledged commits would be lost"}},
		"unsupported version":    {strings.Replace(good, `"15"`, `"9"`, 1), []string{"version", "15"}},
		"broken second document": {good + "---\nkind: postgresql\nspec: [\n", []string{"line"}},
		"unknown field":          {good + "  numberOfInstanzes: 2\n", []string{"numberOfInstanzes", "numberOfInstances"}},
		"10 MB":                  {good + strings.Repeat("# "+strings.Repeat("x", 1022)+"\n", 10<<10), []string{"larger"}},
		"a path as a name":       {strings.Replace(good, "name: input", "name: ../input", 1), []string{"name"}},
		"nothing":                {"", nil},
	} {
		if out := refused(t, c.text, "apply", "-f", "-", "--yes"); !containsAll(out, c.says) {
			t.Errorf("%s: says not %q: %s", story, c.says, out)
		}
	}
	if out, err := try("", "show", "input"); err == nil {
		t.Errorf("something was half done: %s", out)
	}
}

// What somebody changes behind pgctl's back is put right, with an event.
func TestHandsInFiles(t *testing.T) {
	apply(t, manifest("hands", 1))
	well(t, "hands", 0)
	i := get[api.ClusterDetail](t, "show", "hands").Instances[0]
	data := filepath.Join(world.dir, i.Host, "data/instances", i.Name, string(i.Life), "pgdata")
	target := dsn(t, "hands")
	for file, line := range map[string]string{"postgresql.conf": "this is no setting at all\n", "pg_hba.conf": "let everybody in\n"} {
		appendTo(t, filepath.Join(data, file), line)
		said(t, "hands", "by hand", file)
		eventually(t, file+" is as it was", func() (bool, string) {
			text, err := os.ReadFile(filepath.Join(data, file))
			return err == nil && !strings.Contains(string(text), strings.TrimSpace(line)), fmt.Sprint(err)
		})
	}
	appendTo(t, filepath.Join(data, "postgresql.auto.conf"), "synchronous_standby_names = ''\nfsync = off\nwork_mem = '5MB'\n")
	said(t, "hands", "ALTER SYSTEM", "synchronous_standby_names", "fsync")
	answers(t, target, "SELECT current_setting('fsync')", "on")
	text, err := os.ReadFile(filepath.Join(data, "postgresql.auto.conf"))
	if err != nil || !strings.Contains(string(text), "work_mem") {
		t.Errorf("a setting that anybody may make is gone: %s %v", text, err)
	}
	secretsStaySecret(t, "hands")
	replayed(t, "hands")
	do(t, "delete", "hands", "--yes", "hands")
}

// secretsStaySecret looks for passwords where they must not be.
func secretsStaySecret(t *testing.T, cluster string) {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle.tar.gz")
	do(t, "debug", "bundle", bundle)
	titles, err := exec.Command("ps", "axww", "-o", "args").Output()
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{
		"daemons' logs": do(t, "dev", "logs"), "events": do(t, "events", "-o", "json"), "process titles": string(titles),
		"bundle": unpacked(t, bundle), "view": do(t, "debug", "view", cluster), "show": do(t, "show", cluster, "-o", "yaml"),
	}
	found, err := filepath.Glob(world.dir + "/*/data/instances/*/????????/passfile")
	if err != nil || len(found) == 0 {
		t.Fatalf("no replication passwords to look for: %v", err)
	}
	secrets := []string{strings.TrimSpace(do(t, "password", cluster, "app"))}
	for _, path := range found {
		line, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Split(strings.TrimSpace(string(line)), ":")
		secrets = append(secrets, fields[len(fields)-1])
	}
	for place, text := range places {
		for _, secret := range secrets {
			if len(secret) < 16 || strings.Contains(text, secret) {
				t.Errorf("a password is in the %s", place)
			}
		}
	}
}

// replayed decides on the last view again.
func replayed(t *testing.T, cluster string) {
	t.Helper()
	view := do(t, "debug", "view", cluster)
	out, err := try(view, "debug", "replay")
	if err != nil || !strings.Contains(out, `"check": "holds"`) {
		t.Fatalf("debug replay: %v %s", err, out)
	}
	type decided struct {
		Decision map[string]any `json:"decision"`
	}
	if a, b := decode[decided](t, view), decode[decided](t, out); fmt.Sprint(a.Decision) != fmt.Sprint(b.Decision) {
		t.Errorf("decided again:\n%v\ninstead of\n%v", b.Decision, a.Decision)
	}
}

// unpacked is all text of an archive.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for archive := tar.NewReader(zip); ; {
		if _, err := archive.Next(); errors.Is(err, io.EOF) {
			return all.String()
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&all, archive); err != nil {
			t.Fatal(err)
		}
	}
}

func appendTo(t *testing.T, path, line string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(line)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func decode[T any](t *testing.T, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

// A folder that pgctl did not make is refused and left alone, even one that is named like a life.
func TestForeignFolder(t *testing.T) {
	var kept []string
	for n := range 4 {
		file := fmt.Sprintf("%s/dev-%d/data/instances/foreign-0/business/pgdata/PG_VERSION", world.dir, n+1)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("15\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, file)
	}
	if out, err := try(manifest("foreign", 1), "apply", "-f", "-", "--yes"); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	said(t, "foreign", "did not make", "business", "move it away")
	for _, file := range kept {
		if text, err := os.ReadFile(file); err != nil || string(text) != "15\n" {
			t.Errorf("a foreign file was touched: %q %v", text, err)
		}
		if err := os.RemoveAll(filepath.Dir(filepath.Dir(file))); err != nil {
			t.Fatal(err)
		}
	}
	well(t, "foreign", 0)
	do(t, "delete", "foreign", "--yes", "foreign")
}
