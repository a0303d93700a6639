package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pgctl/pgctl/node/api/client"
)

// Row says in one line what was measured.
func Row(r Result) string {
	return strings.Join(cells(r), ", ")
}

func cells(r Result) []string {
	moved, two, verdict := "stayed", "never", "ok"
	if r.Moved {
		moved = "moved"
	}
	if len(r.TwoWriters) > 0 {
		two = "YES"
	}
	if r.Failure != nil {
		verdict = "FAILED"
	}
	return []string{
		r.Name, fmt.Sprintf("gap %.2f s", r.Gap.Seconds()), fmt.Sprintf("%d rows", r.Acknowledged), fmt.Sprintf("lost %d", r.Lost),
		fmt.Sprintf("unknown %d", r.Unknown), "two writers " + two, "leader " + moved, fmt.Sprintf("took %.0f s", r.Took.Seconds()), verdict,
	}
}

// Table lists what was measured, one line a scenario.
func Table(results []Result) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, r := range results {
		fmt.Fprintln(w, strings.Join(cells(r), "\t"))
	}
	_ = w.Flush() // into memory
	return text.String()
}

// evidence collects what everybody said, into a folder: events, the state, the daemons' and the servers'
// logs.
func (w *World) evidence(ctx context.Context, dir string) error {
	failures := []error{os.MkdirAll(dir, 0o755)}
	keep := func(name string, text []byte, err error) {
		if err != nil {
			text = append(text, err.Error()...)
		}
		failures = append(failures, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	events, err := w.api.Events(limited, w.cluster, 0)
	var lines strings.Builder
	for _, e := range events.Events {
		line, _ := json.Marshal(e)
		lines.Write(append(line, '\n'))
	}
	keep("events", []byte(lines.String()), err)
	view, err := w.api.View(limited, w.cluster)
	keep("view.json", view, err)
	status, err := w.api.Status(limited, w.cluster, client.Read{})
	text, _ := json.MarshalIndent(status, "", "  ")
	keep("status.json", text, err)
	cancel()
	for _, h := range w.Lab.Hosts() {
		if !w.Lab.Runs(h) {
			keep(h.Name+".log", nil, errors.New("without power"))
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		said, err := w.Lab.Exec(limited, h, "sh", "-c", "journalctl -u pgctl -o short-precise --no-pager -n 3000 | grep -v 'raft: '; "+
			"tail -n 300 /var/lib/pgctl/instances/"+w.cluster+"-*/*/log/*.log; ps axf")
		cancel()
		keep(h.Name+".log", []byte(said), err)
	}
	return errors.Join(failures...)
}
