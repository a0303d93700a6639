// Command bench measures the store of three pgctl daemons beside three etcd members: writes through each
// one's own public API, and reads over HTTP. Same machine, same folder, same size of values, taking turns
// in one run; what counts are the ratios. It prints tables in Markdown for docs/benchmarks.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	pgctl, etcd string // binaries
	dir         string // where both keep their data
	writers     []int  // concurrencies
	readers     int
	duration    time.Duration // of one measurement
	rounds      int           // measurements of each kind; the median counts
}

// system is one of the two that are compared.
type system interface {
	// write stores value under one of a thousand keys; worker numbers the callers from 0.
	write(ctx context.Context, worker, n int) error
	// read is one request over HTTP, answered from the memory of whoever is asked.
	read(ctx context.Context, worker, n int) error
	// cpu is how much processor time its processes have used.
	cpu() time.Duration
	// stop ends its processes.
	stop()
}

// valueSize is the size of a value in bytes; keys is how many there are.
const (
	valueSize = 256
	keys      = 1000
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var writers string
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.StringVar(&o.pgctl, "pgctl", "", "the pgctl binary; empty: etcd alone")
	flags.StringVar(&o.etcd, "etcd", "", "the etcd binary; empty: pgctl alone")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "folder on the disk to measure")
	flags.StringVar(&writers, "writers", "1,64,256,1000", "concurrencies of writes")
	flags.IntVar(&o.readers, "readers", 64, "concurrency of reads")
	flags.DurationVar(&o.duration, "duration", 3*time.Second, "of one measurement")
	flags.IntVar(&o.rounds, "rounds", 3, "measurements of each kind, of which the median counts")
	_ = flags.Parse(args)
	for _, text := range strings.Split(writers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-writers: %q is not a number of workers", text)
		}
		o.writers = append(o.writers, n)
	}
	for _, binary := range []*string{&o.pgctl, &o.etcd} {
		if *binary == "" {
			continue
		}
		path, err := filepath.Abs(*binary)
		if err != nil {
			return o, err
		}
		*binary = path
	}
	return o, nil
}

func run(ctx context.Context, o options) error {
	folder, err := os.MkdirTemp(o.dir, "pgctl-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	var names []string
	systems := map[string]system{}
	starts := []struct {
		name, binary string
		start        func(ctx context.Context, binary, folder string, workers int) (system, error)
	}{
		{"etcd", o.etcd, startSecureEtcd}, {"etcd without TLS", o.etcd, startPlainEtcd}, {"pgctl", o.pgctl, startPgctl},
	}
	for _, s := range starts {
		if s.binary == "" {
			continue
		}
		fmt.Fprintf(os.Stderr, "==> starting three of %s\n", s.name)
		started, err := s.start(ctx, s.binary, filepath.Join(folder, s.name), slices.Max(o.writers))
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		defer started.stop()
		names, systems[s.name] = append(names, s.name), started
	}
	return compare(ctx, o, names, systems)
}

// compare lets the systems take turns and prints what came out.
func compare(ctx context.Context, o options, names []string, systems map[string]system) error {
	writes := newTable("Writes per second, values of "+strconv.Itoa(valueSize)+" bytes, three servers", names)
	for _, workers := range o.writers {
		results, err := turns(ctx, o, workers, names, systems, system.write)
		if err != nil {
			return err
		}
		writes.add(workers, results)
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "etcd" }) // nor has discovery TLS
	reads := newTable("Reads per second over HTTP (etcd: serializable; pgctl: discovery)", names)
	results, err := turns(ctx, o, o.readers, names, systems, system.read)
	if err != nil {
		return err
	}
	reads.add(o.readers, results)
	fmt.Print(environment(o), "\n", writes, "\n", reads)
	return nil
}

// turns measures each system in turn, as many rounds as asked for, and takes the median.
func turns(
	ctx context.Context, o options, workers int, names []string, systems map[string]system,
	do func(system, context.Context, int, int) error,
) (map[string]result, error) {
	rounds := map[string][]result{}
	for range o.rounds {
		for _, name := range names {
			servers, client := systems[name].cpu(), ownCPU()
			r, err := load(ctx, workers, o.duration, func(ctx context.Context, worker, n int) error {
				return do(systems[name], ctx, worker, n)
			})
			if err != nil {
				return nil, fmt.Errorf("%s, %d at a time: %w", name, workers, err)
			}
			r.servers, r.client = (systems[name].cpu()-servers)/time.Duration(r.count), (ownCPU()-client)/time.Duration(r.count)
			fmt.Fprintf(os.Stderr, "    %-16s %5d at a time: %s\n", name, workers, r)
			rounds[name] = append(rounds[name], r)
		}
	}
	medians := map[string]result{}
	for name, all := range rounds {
		slices.SortFunc(all, func(a, b result) int { return int(a.perSecond - b.perSecond) })
		medians[name] = all[len(all)/2]
	}
	return medians, nil
}
