package scenario_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
	"github.com/pgctl/pgctl/lab/scenario"
)

// TestScenarios plays the scenarios on a lab of six hosts in three data centers, and prints a table.
// PGCTL_LAB says which: short, all, or a regular expression for their names. PGCTL_LAB_BINARY names a
// pgctl to be tested instead of the one that is built here.
func TestScenarios(t *testing.T) {
	wanted := os.Getenv("PGCTL_LAB")
	if wanted == "" {
		t.Skip("takes long and needs root: make lab-test runs it")
	}
	if lacks := hosts.Missing(); len(lacks) > 0 {
		t.Skipf("this machine lacks what a lab needs: %s", strings.Join(lacks, "; "))
	}
	lab := up(t)
	w, err := scenario.New(lab, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	out := evidence(t)
	var results []scenario.Result
	for _, s := range scenario.All() {
		if !chosen(t, wanted, s) {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			dir := filepath.Join(out, regexp.MustCompile(`[^a-zA-Z0-9]+`).ReplaceAllString(s.Name, "-"))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			r := w.Play(ctx, s, dir)
			results = append(results, r)
			t.Log(scenario.Row(r))
			for _, said := range r.Serves {
				t.Log(said)
			}
			if r.Failure == nil {
				return
			}
			t.Error(r.Failure)
			ctx, cancel = context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
			defer cancel()
			t.Logf("what everybody said is in %s", dir)
			if err := w.Forget(ctx); err != nil {
				t.Fatal(err)
			}
		})
	}
	fmt.Printf("\n%s\n", scenario.Table(results))
}

func chosen(t *testing.T, wanted string, s scenario.Scenario) bool {
	t.Helper()
	switch wanted {
	case "all":
		return true
	case "short":
		return s.Short
	}
	pattern, err := regexp.Compile(wanted)
	if err != nil {
		t.Fatalf("PGCTL_LAB: %v", err)
	}
	return pattern.MatchString(s.Name)
}

// up makes a lab of our own, which is gone afterwards.
func up(t *testing.T) *hosts.Lab {
	t.Helper()
	dir := t.TempDir()
	pgctl, router := filepath.Join(dir, "pgctl"), filepath.Join(dir, "lab")
	programs := map[string]string{pgctl: "cmd/pgctl", router: "lab/cmd/lab"}
	if given := os.Getenv("PGCTL_LAB_BINARY"); given != "" {
		delete(programs, pgctl)
		pgctl = given
	}
	for program, from := range programs {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/pgctl/pgctl/"+from)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	const name = "pgctl-test"
	ctx := context.WithoutCancel(t.Context())
	if old, err := hosts.Open(name); err == nil { // of a run that was killed
		if err := old.Down(ctx, true); err != nil {
			t.Fatal(err)
		}
	}
	lab, err := hosts.Up(ctx, hosts.Config{Name: name, Sites: []int{2, 2, 2}},
		hosts.Programs{Pgctl: pgctl, Router: []string{router, "-name", name, "route"}}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Down(ctx, true); err != nil {
			t.Error(err)
		}
	})
	return lab
}

// evidence is the folder for journals and logs; it stays when something failed.
func evidence(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgctl-lab-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	return dir
}
