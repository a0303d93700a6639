package scenario

import (
	"context"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
)

func isolated(direction hosts.Direction) fault {
	return func(ctx context.Context, r *run) error {
		if err := r.Lab.Isolate(ctx, r.leaderHost(), direction); err != nil {
			return err
		}
		if err := r.more(ctx); err != nil {
			return err
		}
		return hold(ctx, 10*time.Second) // the former leader should close meanwhile
	}
}

// cutFromServers leaves the leader its standbys and its clients.
func cutFromServers(ctx context.Context, r *run) error {
	if err := r.Lab.Cut(ctx, r.leaderHost(), r.servers(), hosts.BothWays, hosts.Ports{}); err != nil {
		return err
	}
	return hold(ctx, 20*time.Second)
}

// cutFromStandbys leaves the leader the servers and its clients.
func cutFromStandbys(ctx context.Context, r *run) error {
	if err := r.Lab.Cut(ctx, r.leaderHost(), r.standbyHosts(), hosts.BothWays, hosts.Ports{}); err != nil {
		return err
	}
	if err := r.more(ctx); err != nil {
		return err
	}
	return hold(ctx, 10*time.Second)
}

// streamCut lets heartbeats pass, but no WAL.
func streamCut(ctx context.Context, r *run) error {
	port := uint16(r.before.detail.Cluster.Port)
	if err := r.Lab.Cut(ctx, r.leaderHost(), r.standbyHosts(), hosts.BothWays, hosts.Ports{First: port, Last: port}); err != nil {
		return err
	}
	if err := r.more(ctx); err != nil {
		return err
	}
	return hold(ctx, 10*time.Second)
}

// packetsLost drops a part of all packets for half a minute.
func packetsLost(percent float64) fault {
	return func(ctx context.Context, r *run) error {
		if err := r.Lab.Lose(ctx, percent); err != nil {
			return err
		}
		return hold(ctx, 30*time.Second)
	}
}
