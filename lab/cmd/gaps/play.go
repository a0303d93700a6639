package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/lab/writer"
)

// play is one run of a fault.
func (w *world) play(ctx context.Context, f fault) (r result, err error) {
	if err := w.ready(ctx, f.fresh); err != nil {
		return r, err
	}
	if f.before != nil {
		if err := f.before(ctx, w); err != nil {
			return r, err
		}
		if err := w.ready(ctx, false); err != nil {
			return r, err
		}
	}
	config := client
	if config.DSN, err = w.dsn(ctx); err != nil {
		return r, err
	}
	before, err := w.look(ctx)
	if err != nil {
		return r, err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	running, err := writer.Start(limited, config)
	if err != nil {
		return r, err
	}
	err = w.suffer(ctx, f, before, running)
	report := running.Stop()
	if err != nil {
		return r, errors.Join(err, running.Failure())
	}
	missing, err := running.Missing(limited)
	if err != nil || len(missing) > 0 || len(report.TwoWriters) > 0 {
		return r, fmt.Errorf("%d acknowledged rows are lost; two writers: %v; %w", len(missing), report.TwoWriters, err)
	}
	return w.judge(ctx, before, report)
}

// suffer lets the fault strike while rows are written, and repairs it when they are written again.
func (w *world) suffer(ctx context.Context, f fault, before situation, running *writer.Writer) error {
	if err := writes(ctx, running); err != nil {
		return err
	}
	if err := f.strike(ctx, w, before); err != nil {
		return err
	}
	if err := writes(ctx, running); err != nil {
		return err
	}
	if f.repair == nil {
		return nil
	}
	if err := f.repair(ctx, w, before); err != nil {
		return err
	}
	return w.ready(ctx, false)
}

// writes waits until rows have been acknowledged for a while without a pause.
func writes(ctx context.Context, running *writer.Writer) error {
	var since time.Time
	return eventually(ctx, "rows are written", func() error {
		if running.Report().SinceLast > askEvery {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
		}
		if since.IsZero() || time.Since(since) < settled {
			return errors.New("they are not, or not for long")
		}
		return nil
	})
}

// judge says where the time of a gap went.
func (w *world) judge(ctx context.Context, before situation, report writer.Report) (result, error) {
	r := result{gap: report.LongestGap, began: report.GapBegan, rows: report.Acknowledged}
	now, err := w.look(ctx)
	if err != nil {
		return r, err
	}
	r.leader = now.leader
	if last := now.history[len(now.history)-1]; last.Epoch > before.epoch {
		r.took = last.Took
	}
	r.rest = r.gap - r.took.Total()
	return r, nil
}

var (
	logged  = regexp.MustCompile(`^time=(\S+) level=\S+ msg=("[^"]*"|\S+) (.*)$`)
	telling = []string{"step", `"step ended"`, `"this daemon decides now: it leads the Raft group"`}
)

// steps are the events and the agents' steps within the gap, in order.
func (w *world) steps(r result) string {
	type line struct {
		at   time.Time
		text string
	}
	var all []line
	add := func(at time.Time, format string, args ...any) {
		if since := at.Sub(r.began); since > -300*time.Millisecond && since < r.gap+200*time.Millisecond {
			all = append(all, line{at, fmt.Sprintf("%8s  ", ms(since)) + fmt.Sprintf(format, args...)})
		}
	}
	var events []pgctl.Event
	if err := w.ask(context.Background(), &events, "events", w.cluster); err == nil {
		for _, e := range events {
			add(e.At, "%s: %s", e.Kind, e.Message)
		}
	}
	files, _ := filepath.Glob(filepath.Join(w.dir, "*", "daemon.log")) // the pattern is right
	for _, file := range files {
		log, err := os.Open(file)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(log); lines.Scan(); {
			found := logged.FindStringSubmatch(lines.Text())
			if found == nil || !slices.Contains(telling, found[2]) {
				continue
			}
			if at, err := time.Parse(time.RFC3339Nano, found[1]); err == nil {
				add(at, "%s %s: %s", filepath.Base(filepath.Dir(file)), strings.Trim(found[2], `"`), found[3])
			}
		}
		_ = log.Close() // it was only read
	}
	slices.SortStableFunc(all, func(a, b line) int { return a.at.Compare(b.at) })
	var text strings.Builder
	for _, l := range all {
		fmt.Fprintln(&text, l.text)
	}
	return text.String()
}
