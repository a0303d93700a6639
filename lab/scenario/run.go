package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
	"github.com/pgctl/pgctl/lab/writer"
)

// How the client behaves: it gives up soon, so that what is measured is the cluster's time, not its own.
const (
	connections    = 4
	writeEvery     = 5 * time.Millisecond
	connectTimeout = 250 * time.Millisecond
	writeTimeout   = time.Second
	rowsToGoOn     = 40 // that show that writes are back
)

// Scenario is one thing that happens, and what must hold then. In all of them no acknowledged row may be
// lost and no two servers may write side by side.
type Scenario struct {
	Name  string
	Short bool // part of `make test`
	Stays bool // the leader must not move
	// MostGap bounds how long writes may pause; wide, since machines are busy. What is aimed at stands in
	// docs/benchmarks.md.
	MostGap time.Duration
	where   place
	size    int  // instances; 0: three
	fresh   bool // wants a cluster in which nothing has happened yet
	fault   func(context.Context, *run) error
}

// Result is what was measured.
type Result struct {
	Scenario
	Acknowledged int
	Unknown      int
	Gap          time.Duration // longest, without an acknowledged row
	GapBegan     time.Time
	Lost         int
	TwoWriters   []string
	Moved        bool // another instance led after the fault
	Took         time.Duration
	Serves       []string // what the cluster says itself about each change of the leader: where the time went
	Failure      error    // what did not hold
}

// run is a scenario under way.
type run struct {
	*World
	dir    string
	before state // when the fault begins
	client *writer.Writer
}

func dialSoon(lab *hosts.Lab) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return lab.Dial(limited, network, address)
	}
}

// Play plays one scenario, and heals the world afterwards. dir is a folder for evidence: every
// acknowledgement, and after a failure what everybody said, while the fault was in force and at the end.
func (w *World) Play(ctx context.Context, s Scenario, dir string) Result {
	began := time.Now()
	result := Result{Scenario: s}
	r := &run{World: w, dir: dir}
	if result.Failure = r.play(ctx, s, &result); result.Failure != nil {
		// Not bound to ctx, which may be what ended.
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		result.Failure = errors.Join(result.Failure, w.evidence(limited, filepath.Join(dir, "end")))
	}
	result.Took = time.Since(began)
	return result
}

// Forget gives up the cluster under test, so that the next scenario gets another one.
func (w *World) Forget(ctx context.Context) error {
	return errors.Join(w.restore(ctx), w.discard(ctx))
}

func (r *run) play(ctx context.Context, s Scenario, result *Result) error {
	if err := r.begin(ctx, s); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	file, err := os.Create(filepath.Join(r.dir, "acknowledged"))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := r.write(ctx, file); err != nil {
		return err
	}
	failure := s.fault(ctx, r)
	if failure == nil {
		result.Moved, failure = r.moved(ctx)
	}
	if failure != nil { // before it is over
		failure = errors.Join(failure, r.evidence(ctx, filepath.Join(r.dir, "fault")))
	}
	failure = errors.Join(failure, r.end(ctx))
	report := r.client.Stop()
	result.Acknowledged, result.Unknown = report.Acknowledged, report.Unknown
	result.Gap, result.GapBegan, result.TwoWriters = report.LongestGap, report.GapBegan, report.TwoWriters
	missing, err := r.client.Missing(ctx)
	result.Lost = len(missing)
	result.Serves = r.serves(ctx)
	return errors.Join(failure, err, result.judge())
}

// begin makes sure of a cluster that is well.
func (r *run) begin(ctx context.Context, s Scenario) error {
	size := s.size
	if size == 0 {
		size = 3
	}
	if s.fresh || r.cluster == "" || r.place != s.where || r.World.size != size {
		return r.declare(ctx, s.where, size)
	}
	return r.well(ctx)
}

// write starts the client; before the fault it has written some rows.
func (r *run) write(ctx context.Context, journal io.Writer) error {
	dsn, err := r.dsn(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.client, err = writer.Start(limited, writer.Config{
		DSN: dsn, Connections: connections, Interval: writeEvery, Dial: r.Lab.Dial,
		ConnectTimeout: connectTimeout, WriteTimeout: writeTimeout, Journal: journal,
	})
	if err != nil {
		return err
	}
	if err = r.more(ctx); err == nil {
		r.before, err = r.look(ctx)
	}
	if err != nil {
		r.client.Stop()
	}
	return err
}

// serves are the messages of leaders that began to serve since the fault. What cannot be read is left out:
// nothing depends on it.
func (r *run) serves(ctx context.Context) []string {
	events, err := r.api.Events(ctx, r.cluster, r.before.detail.Index)
	if err != nil {
		return nil
	}
	var said []string
	for _, e := range events.Events {
		if e.Kind == "leader.serves" {
			said = append(said, e.Message)
		}
	}
	return said
}

// end ends the fault and waits until all is well.
func (r *run) end(ctx context.Context) error {
	if err := r.restore(ctx); err != nil {
		return err
	}
	if err := r.well(ctx); err != nil {
		return err
	}
	return r.more(ctx)
}

// judge holds what was measured against what must hold.
func (r *Result) judge() error {
	var failures []error
	if r.Lost > 0 {
		failures = append(failures, fmt.Errorf("%d acknowledged rows are lost", r.Lost))
	}
	for _, two := range r.TwoWriters {
		failures = append(failures, errors.New(two))
	}
	if r.Stays && r.Moved {
		failures = append(failures, errors.New("the leader moved without cause"))
	}
	if r.Gap > r.MostGap {
		failures = append(failures, fmt.Errorf("writes paused for %s, more than %s", r.Gap.Round(time.Millisecond), r.MostGap))
	}
	return errors.Join(failures...)
}

// more waits until writes are back: rows that were sent from now on are acknowledged.
func (r *run) more(ctx context.Context) error {
	from := r.client.Report().Acknowledged
	return r.eventually(ctx, "writes go on", func(context.Context) error {
		if n := r.client.Report().Acknowledged - from; n < rowsToGoOn {
			return fmt.Errorf("%d rows acknowledged, last error: %w", n, r.client.Failure())
		}
		return nil
	})
}

// moved says whether another instance leads than before the fault.
func (r *run) moved(ctx context.Context) (moved bool, err error) {
	err = r.eventually(ctx, "somebody leads", func(ctx context.Context) error {
		now, err := r.look(ctx)
		if err == nil && now.leader.life == "" {
			err = errors.New("nobody does")
		}
		moved = now.leader.life != r.before.leader.life
		return err
	})
	return moved, err
}

// hold lets time pass in which a fault is in force: there is nothing to wait for.
func hold(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// exec runs a program on a host.
func (r *run) exec(ctx context.Context, h hosts.Host, args ...string) error {
	if out, err := r.Lab.Exec(ctx, h, args...); err != nil {
		return fmt.Errorf("%s: %v: %w: %s", h.Name, args, err, out)
	}
	return nil
}
