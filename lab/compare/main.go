// Command compare lets the same faults happen to pgctl, to Patroni with etcd, and to pg_auto_failover, on the
// same hosts (lab/hosts), under the same client (lab/writer), and prints for how long writes paused, what was
// lost, and whether two servers ever wrote side by side. It is for developers, and no part of the product;
// `make bench-failover` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
)

type options struct {
	pgctl           string
	record          string
	evidence        string
	systems, faults []string
	times           int
	patience        time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "route" { // we are the router of a lab that we made
		lab, err := hosts.Open(args[1])
		if err != nil {
			return err
		}
		return hosts.Route(ctx, lab)
	}
	o, onlyTable := options{}, false
	flags := flag.NewFlagSet("compare", flag.ExitOnError)
	systems := flags.String("systems", strings.Join(systemNames(), ","), "which, joined by commas")
	wanted := flags.String("faults", strings.Join(faultNames(), ","), "which, joined by commas")
	flags.IntVar(&o.times, "times", 5, "how often each fault")
	flags.StringVar(&o.pgctl, "pgctl", "bin/pgctl", "the static binary")
	flags.StringVar(&o.record, "record", "", "a file that every run is added to; the table is of all runs in it")
	flags.StringVar(&o.evidence, "evidence", "", "a folder for the journals of the hosts, after runs that failed")
	flags.DurationVar(&o.patience, "patience", 90*time.Second, "then a fault is ended, although writes are not back")
	flags.BoolVar(&onlyTable, "table", false, "play nothing, print the table of -record")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.systems, o.faults = strings.Split(*systems, ","), strings.Split(*wanted, ",")
	if err := o.check(); err != nil {
		return err
	}
	results, err := recorded(o.record)
	if err == nil && !onlyTable {
		var fresh []result
		fresh, err = playAll(ctx, o)
		results = append(results, fresh...)
	}
	fmt.Print(table(results))
	return err
}

func (o options) check() error {
	for _, name := range o.systems {
		if !slices.Contains(systemNames(), name) {
			return fmt.Errorf("there is no system %q: %s", name, strings.Join(systemNames(), ", "))
		}
	}
	for _, name := range o.faults {
		if !slices.Contains(faultNames(), name) {
			return fmt.Errorf("there is no fault %q: %s", name, strings.Join(faultNames(), ", "))
		}
	}
	return nil
}

// playAll plays every fault on every system. Each system has a lab of its own, with empty disks.
func playAll(ctx context.Context, o options) ([]result, error) {
	var all []result
	for _, name := range o.systems {
		b := &bench{options: o, name: name}
		for _, f := range faults {
			for n := 0; slices.Contains(o.faults, f.name) && n < o.times && ctx.Err() == nil; n++ {
				r := b.play(ctx, f)
				if ctx.Err() != nil { // broken off, which is nobody's fault
					break
				}
				say("%s, %s, %d of %d: %s", name, f.name, n+1, o.times, r)
				all = append(all, r)
				if err := record(o.record, r); err != nil {
					return all, errors.Join(err, b.down())
				}
			}
		}
		if err := b.down(); err != nil {
			return all, err
		}
	}
	return all, ctx.Err()
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
