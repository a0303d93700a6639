// Command gaps makes one fault happen again and again on a playground of its own, and says each time for how
// long an outside client could not write, and where that time went. It is for developers, and no part of the
// product. The playground's addresses are fixed: with another one on this machine, run it in a network
// namespace of its own.
//
//	go run ./lab/cmd/gaps -fault switchover -times 20
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

type options struct {
	binary, dir string
	faults      []string
	times       int
	hosts       int
	steps       bool
	keep        bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gaps:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, wanted := options{}, ""
	flags := flag.NewFlagSet("gaps", flag.ExitOnError)
	flags.StringVar(&wanted, "fault", "switchover", "one or more of "+strings.Join(slices.Sorted(maps.Keys(faults)), ", ")+", joined by commas")
	flags.IntVar(&o.times, "times", 20, "how often each")
	flags.IntVar(&o.hosts, "hosts", 3, "of the playground; three of them are servers and hold an instance each")
	flags.StringVar(&o.binary, "pgctl", "", "the binary to measure (built from this tree)")
	flags.StringVar(&o.dir, "dir", "", "where the playground is made (a temporary folder)")
	flags.BoolVar(&o.steps, "steps", false, "print what events and agents' steps fell into each gap")
	flags.BoolVar(&o.keep, "keep", false, "leave the folder there, with the daemons' logs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.faults = strings.Split(wanted, ",")
	for _, name := range o.faults {
		if _, known := faults[name]; !known {
			return fmt.Errorf("there is no fault %q", name)
		}
	}
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	failure := measure(ctx, w, o)
	if err := w.end(context.WithoutCancel(ctx), o.keep); failure == nil {
		failure = err
	}
	return failure
}

// measure plays all runs. A run in which something acknowledged was lost, or two servers wrote, ends them.
func measure(ctx context.Context, w *world, o options) error {
	var summaries []string
	for _, name := range o.faults {
		fmt.Printf("%s\n%s\n", name, heading)
		var all []result
		for n := range o.times {
			r, err := w.play(ctx, faults[name])
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", name, n+1, err)
			}
			fmt.Println(r.row(n + 1))
			if o.steps {
				fmt.Print(w.steps(r))
			}
			all = append(all, r)
		}
		summaries = append(summaries, summary(name, all))
	}
	fmt.Println(strings.Join(summaries, "\n"))
	return nil
}
