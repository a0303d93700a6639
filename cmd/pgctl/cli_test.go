package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/apitest"
)

var update = flag.Bool("update", false, "write what the scripts print into the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pgctl": main})
}

// TestCommands runs the scripts in testdata: the real program against the real handlers, over TLS, with an
// installation in memory behind them.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *update, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			w := apitest.New()
			config := apitest.Start(t, w)
			env.Values["world"] = w
			env.Setenv("PGCTL_ADDRESS", config.Addresses[0])
			env.Setenv("PGCTL_CA", config.CA)
			env.Setenv("PGCTL_CERT", config.Cert)
			env.Setenv("PGCTL_KEY", config.Key)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=10") // every program would end a second later under -race
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"world": func(ts *testscript.TestScript, _ bool, args []string) {
				happen(ts, ts.Value("world").(*apitest.World), args)
			},
			"until": until,
			"large": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), make([]byte, 10<<20), 0o600))
			},
		},
	})
}

// happen lets something happen in the world of a script.
func happen(ts *testscript.TestScript, w *apitest.World, args []string) {
	switch args[0] {
	case "silent": // hosts
		w.Beat(func(live []api.Live, heard map[string]time.Duration) {
			for i := range live {
				for _, host := range args[1:] {
					if live[i].Host == host {
						live[i].AgeMs, heard[host] = 9000, 9*time.Second
					}
				}
			}
		})
	case "recruiting":
		w.Change(func(f *apitest.Facts) {
			l := f.Leaderships["shop"]
			l.Phase, l.Leader, l.Epoch = pgctl.Recruiting, "", l.Epoch+1
		})
	case "event": // of a cluster
		w.Change(func(f *apitest.Facts) {
			f.Events = append(f.Events, pgctl.Event{
				Index: f.At, At: apitest.Date, Severity: pgctl.Info, Cluster: args[1], Kind: args[2], Message: args[2],
			})
		})
	case "ready": // a cluster that was declared becomes one that works
		w.Change(func(f *apitest.Facts) { delete(f.Clusters, args[1]) })
		w.Add(args[1], 5433)
	default:
		ts.Fatalf("nothing known happens by %q", args[0])
	}
}

// until waits until a file has a text.
func until(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(text), args[1]) {
			return
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			ts.Check(err)
		}
	}
	ts.Fatalf("%s never had %q", args[0], args[1])
}

// TestDocumentedStatuses: the help and docs/rest.md say the same about exit statuses.
func TestDocumentedStatuses(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "rest.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(exitHelp) {
		status, meaning, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || status == "EXIT" {
			continue
		}
		if row := "| " + status + " | " + strings.TrimSpace(meaning) + " |"; !strings.Contains(string(text), row) {
			t.Errorf("docs/rest.md has no row %s", row)
		}
	}
	for code, status := range exitOf {
		if !strings.Contains(exitHelp, "("+string(code)+")") && code != pgctl.CodeInternal {
			t.Errorf("the help does not say that %s ends with %d", code, status)
		}
	}
}
