package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
)

const frozenFor = 20 * time.Second

// fault is something that interrupts writes. strike returns when it is in force; it is ended by all hosts
// being healed and given power again, once writes are back.
type fault struct {
	name   string
	title  string
	strike func(context.Context, *bench, situation) error
	lasts  time.Duration // at least so long, though writes are back, and no longer, though they are not; 0: until they are
}

// situation is where things are when a fault strikes.
type situation struct {
	leader hosts.Host
	data   string     // the leader's data directory, as a shell's pattern
	store  hosts.Host // who leads the consensus, or is the monitor
}

var faults = []fault{
	{name: "postmaster", title: "postmaster SIGKILL", strike: killPostmaster},
	{name: "power", title: "power loss of the leader", strike: cutPower},
	{name: "isolation", title: "isolation of the leader", strike: isolate},
	{name: "freeze", title: "freeze of the leader's host, 20 s", strike: freeze, lasts: frozenFor},
	{name: "both", title: "power loss of leader and consensus leader", strike: cutBoth},
	{name: "switchover", title: "planned switchover", strike: switchOver},
}

func faultNames() []string {
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

// killPostmaster ends the leader's Postgres, as the kernel's out-of-memory killer would.
func killPostmaster(ctx context.Context, b *bench, s situation) error {
	out, err := b.lab.Exec(ctx, s.leader, "sh", "-c", "kill -KILL $(head -n 1 "+s.data+"/postmaster.pid)")
	if err != nil {
		return fmt.Errorf("the postmaster of %s: %w: %s", s.leader.Name, err, out)
	}
	return nil
}

func cutPower(ctx context.Context, b *bench, s situation) error { return b.lab.Kill(ctx, s.leader) }

func isolate(ctx context.Context, b *bench, s situation) error {
	return b.lab.Isolate(ctx, s.leader, hosts.BothWays)
}

func freeze(ctx context.Context, b *bench, s situation) error { return b.lab.Freeze(ctx, s.leader) }

// cutBoth takes the power of two hosts, or of one that is both.
func cutBoth(ctx context.Context, b *bench, s situation) error {
	both := slices.CompactFunc([]hosts.Host{s.leader, s.store}, func(x, y hosts.Host) bool { return x.Name == y.Name })
	ended := make(chan error)
	for _, h := range both {
		go func() { ended <- b.lab.Kill(ctx, h) }()
	}
	var failures []error
	for range both {
		failures = append(failures, <-ended)
	}
	return errors.Join(failures...)
}

// switchOver lets somebody else lead, and returns when somebody does.
func switchOver(ctx context.Context, b *bench, s situation) error {
	if err := b.system.switchover(ctx, s.leader); err != nil {
		return err
	}
	return eventually(ctx, b.patience, "another host leads", func(ctx context.Context) error {
		now, _, err := b.system.leader(ctx)
		if err == nil && now.Name == s.leader.Name {
			err = errors.New("it is still " + now.Name)
		}
		return err
	})
}
