package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
	"github.com/pgctl/pgctl/lab/writer"
)

const (
	labName    = "pgctl-cmp"
	recovery   = 3 * time.Minute // for all to be whole again
	rowsToGoOn = 40              // that show that writes are back
	askEvery   = 200 * time.Millisecond
	askTimeout = 10 * time.Second
)

// How the client behaves: as in the fault scenarios it gives up soon, so that what is measured is the
// cluster's time and not its own.
var client = writer.Config{
	Connections: 4, Interval: 5 * time.Millisecond, ConnectTimeout: 250 * time.Millisecond, WriteTimeout: time.Second,
}

// system is what is compared. Its cluster is three instances on hosts that are no servers, and a commit waits
// for one of two standbys.
type system interface {
	// ready makes sure before a run of a cluster that is whole.
	ready(context.Context) error
	// whole waits until everything is as before a fault, with both standbys.
	whole(context.Context) error
	dsn(context.Context) (string, error)
	// leader is the host that leads, and its data directory there, as a shell's pattern.
	leader(context.Context) (hosts.Host, string, error)
	// store is the host whose loss the consensus notices most: its leader, or the monitor.
	store(context.Context) (hosts.Host, error)
	// switchover orders one, away from the leader, and may return before it is done.
	switchover(ctx context.Context, leader hosts.Host) error
	close()
}

// bench is a system on hosts of its own.
type bench struct {
	options
	name   string
	lab    *hosts.Lab // nil: not there
	system system
}

// play plays a fault once. After a run that went wrong the next one gets new hosts. Ours gets them for every
// run: what it learns of a host, as how long its silence means failure, outlives clusters.
func (b *bench) play(ctx context.Context, f fault) result {
	r := result{System: b.name, Fault: f.name, At: time.Now()}
	err := b.up(ctx)
	if err == nil {
		err = b.measure(ctx, f, &r)
	}
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, b.keep(ctx, r))
	}
	if err != nil || b.name == ours {
		err = errors.Join(err, b.down())
	}
	if err != nil {
		r.Failure = err.Error()
	}
	return r
}

func (b *bench) measure(ctx context.Context, f fault, r *result) error {
	if err := b.system.ready(ctx); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	s, err := b.situation(ctx)
	if err != nil {
		return err
	}
	config := client
	config.Dial = b.lab.Dial
	if config.DSN, err = b.system.dsn(ctx); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	running, err := writer.Start(starting, config)
	if err != nil {
		return err
	}
	failure := b.suffer(ctx, f, s, running, r)
	if failure != nil {
		failure = errors.Join(failure, running.Failure())
	}
	report := running.Stop()
	missing, err := running.Missing(ctx)
	r.Gap, r.Rows, r.Lost, r.TwoWriters = report.LongestGap, report.Acknowledged, len(missing), report.TwoWriters
	return errors.Join(failure, err)
}

// keep writes what every host's journal says into a folder, if one is given.
func (b *bench) keep(ctx context.Context, r result) error {
	if b.evidence == "" || b.lab == nil {
		return nil
	}
	dir := filepath.Join(b.evidence, fmt.Sprintf("%s-%s-%d", r.System, r.Fault, r.At.Unix()))
	failures := []error{os.MkdirAll(dir, 0o755)}
	for _, h := range b.lab.Hosts() {
		limited, cancel := context.WithTimeout(ctx, askTimeout)
		said, err := b.lab.Exec(limited, h, "sh", "-c", "journalctl --no-pager -n 3000; ps axf; tail -n 200 /var/lib/pgctl/postgres/log/*")
		cancel()
		if err != nil { // of a host without power, or without such a folder
			said += err.Error() + "\n"
		}
		failures = append(failures, os.WriteFile(filepath.Join(dir, h.Name+".log"), []byte(said), 0o644))
	}
	return errors.Join(failures...)
}

func (b *bench) situation(ctx context.Context) (s situation, err error) {
	if s.leader, s.data, err = b.system.leader(ctx); err != nil {
		return s, err
	}
	s.store, err = b.system.store(ctx)
	return s, err
}

// suffer lets a fault strike while rows are written, ends it when they are written again, and waits until all
// is whole.
func (b *bench) suffer(ctx context.Context, f fault, s situation, running *writer.Writer, r *result) error {
	if err := more(ctx, running, b.patience); err != nil {
		return err
	}
	began := time.Now()
	if err := f.strike(ctx, b, s); err != nil {
		return err
	}
	patience := b.patience
	if f.lasts > 0 {
		patience = f.lasts
	}
	r.Ended = more(ctx, running, patience) != nil
	select {
	case <-time.After(time.Until(began.Add(f.lasts))):
	case <-ctx.Done():
	}
	healed := time.Now()
	if err := b.heal(ctx); err != nil {
		return err
	}
	if err := more(ctx, running, recovery); err != nil {
		return err
	}
	if err := b.system.whole(ctx); err != nil {
		return err
	}
	r.Whole = time.Since(healed)
	return more(ctx, running, b.patience)
}

// more waits until rows are acknowledged that were sent from now on.
func more(ctx context.Context, running *writer.Writer, within time.Duration) error {
	from := running.Report().Acknowledged
	return eventually(ctx, within, "writes go on", func(context.Context) error {
		if n := running.Report().Acknowledged - from; n < rowsToGoOn {
			return fmt.Errorf("%d rows acknowledged, last error: %w", n, running.Failure())
		}
		return nil
	})
}

// heal ends all faults, and gives power to hosts that have none.
func (b *bench) heal(ctx context.Context) error {
	if err := b.lab.Heal(ctx); err != nil {
		return err
	}
	for _, h := range b.lab.Hosts() {
		if err := b.lab.Start(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// up makes the hosts and the system, unless they are there.
func (b *bench) up(ctx context.Context) error {
	if b.lab != nil {
		return nil
	}
	if err := remove(); err != nil { // of a run that was killed
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.lab, err = hosts.Up(ctx, hosts.Config{Name: labName, Sites: []int{2, 2, 2}, Packages: packages},
		hosts.Programs{Pgctl: b.pgctl, Router: []string{self, "route", labName}}, say)
	if err != nil {
		return err
	}
	b.system, err = newSystem(ctx, b.name, b.lab)
	return err
}

// down removes the hosts. What was asked for may have ended by then: this is done in any case.
func (b *bench) down() error {
	if b.system != nil {
		b.system.close()
	}
	b.lab, b.system = nil, nil
	return remove()
}

func remove() error {
	lab, err := hosts.Open(labName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return lab.Down(context.Background(), true)
}

// eventually waits until check finds nothing to complain of.
func eventually(ctx context.Context, within time.Duration, what string, check func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := check(limited)
		if err == nil {
			return nil
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("%s: not within %s: %w", what, within, err)
		case <-time.After(askEvery):
		}
	}
}
