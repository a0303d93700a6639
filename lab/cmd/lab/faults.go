package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
)

func (c *cli) isolate(ctx context.Context) error {
	flags := flag.NewFlagSet("isolate", flag.ContinueOnError)
	out := flags.Bool("out", false, "only what it sends")
	in := flags.Bool("in", false, "only what it receives")
	if err := c.parse(flags, 1, 1); err != nil {
		return err
	}
	h, err := c.host()
	if err != nil {
		return err
	}
	direction := hosts.BothWays
	switch {
	case *out && *in:
	case *out:
		direction = hosts.Outgoing
	case *in:
		direction = hosts.Incoming
	}
	return c.lab.Isolate(ctx, h, direction)
}

// side is one side of a cut: hosts, and the data center's name where it is one.
func (c *cli) side(name string) (found []hosts.Host, dataCenter string, err error) {
	if name == "client" {
		return []hosts.Host{c.lab.Client()}, "", nil
	}
	if in := c.lab.In(name); len(in) > 0 {
		return in, name, nil
	}
	h, err := c.lab.Host(name)
	return []hosts.Host{h}, "", err
}

func (c *cli) cut(ctx context.Context) error {
	flags := flag.NewFlagSet("cut", flag.ContinueOnError)
	oneWay := flags.Bool("one-way", false, "only what A sends to B")
	span := flags.String("ports", "", "only services on these ports")
	if err := c.parse(flags, 2, 2); err != nil {
		return err
	}
	a, from, err1 := c.side(c.args[0])
	b, to, err2 := c.side(c.args[1])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if c.args[0] == c.args[1] {
		return fmt.Errorf("%s cannot be cut from itself", c.args[0])
	}
	if from != "" && to != "" && *span == "" { // the router's business
		err := c.lab.CutSites(ctx, from, to)
		if err == nil && !*oneWay {
			err = c.lab.CutSites(ctx, to, from)
		}
		return err
	}
	var ports hosts.Ports
	if *span != "" {
		if _, err := fmt.Sscanf(*span, "%d-%d", &ports.First, &ports.Last); err != nil {
			return fmt.Errorf("-ports wants FIRST-LAST: %w", err)
		}
	}
	direction := hosts.BothWays
	if *oneWay {
		direction = hosts.Outgoing
	}
	for _, h := range a {
		if err := c.lab.Cut(ctx, h, b, direction, ports); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) delay(ctx context.Context) error {
	if len(c.args) < 3 || len(c.args) > 4 {
		return errors.New("two data centers, a time and perhaps jitter: lab delay a b 5ms 2ms")
	}
	wait, err := time.ParseDuration(c.args[2])
	var jitter time.Duration
	if err == nil && len(c.args) == 4 {
		jitter, err = time.ParseDuration(c.args[3])
	}
	if err != nil {
		return err
	}
	a, b := c.args[0], c.args[1]
	return errors.Join(c.lab.Delay(ctx, a, b, wait, jitter), c.lab.Delay(ctx, b, a, wait, jitter))
}

func (c *cli) lose(ctx context.Context) error {
	if len(c.args) != 1 {
		return errors.New("how many percent?")
	}
	percent, err := strconv.ParseFloat(c.args[0], 64)
	if err == nil && (percent < 0 || percent > 100) {
		err = fmt.Errorf("%v percent", percent)
	}
	if err != nil {
		return err
	}
	return c.lab.Lose(ctx, percent)
}

func (c *cli) clock(context.Context) error {
	h, err := c.host()
	if err != nil {
		return err
	}
	if len(c.args) != 1 {
		return errors.New("how far ahead? lab clock h2 10000s")
	}
	ahead, err := time.ParseDuration(c.args[0])
	if err == nil && ahead < 0 {
		err = errors.New("a boot cannot lie in the future: set the others ahead")
	}
	if err != nil {
		return err
	}
	return c.lab.SetClock(h, ahead)
}
