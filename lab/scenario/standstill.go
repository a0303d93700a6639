package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
)

// frozen lets the leader's host stand still for a minute.
func frozen(ctx context.Context, r *run) error {
	began := time.Now()
	if err := r.Lab.Freeze(ctx, r.leaderHost()); err != nil {
		return err
	}
	if err := r.more(ctx); err != nil {
		return err
	}
	if err := hold(ctx, time.Minute-time.Since(began)); err != nil {
		return err
	}
	return r.Lab.Thaw(ctx, r.leaderHost())
}

// who picks hosts for a fault.
type who func(context.Context, *run) ([]hosts.Host, error)

func theLeader(ctx context.Context, r *run) ([]hosts.Host, error) {
	now, err := r.look(ctx)
	if err == nil && now.leader.life == "" {
		err = errors.New("nobody leads")
	}
	return []hosts.Host{now.leader.host}, err
}

func theRaftLeader(ctx context.Context, r *run) ([]hosts.Host, error) {
	h, err := r.raftLeader(ctx)
	return []hosts.Host{h}, err
}

func aStandby(_ context.Context, r *run) ([]hosts.Host, error) { return r.standbyHosts()[:1], nil }

func theServers(_ context.Context, r *run) ([]hosts.Host, error) { return r.servers(), nil }

func everybody(_ context.Context, r *run) ([]hosts.Host, error) { return r.Lab.Hosts(), nil }

// stunned lets hosts stand still for a short time, several times.
func stunned(which who, d time.Duration, times int) fault {
	return func(ctx context.Context, r *run) error {
		for range times {
			all, err := which(ctx, r)
			if err != nil {
				return err
			}
			if err := together(all, func(h hosts.Host) error { return r.Lab.Freeze(ctx, h) }); err != nil {
				return err
			}
			if err := hold(ctx, d); err != nil {
				return err
			}
			if err := together(all, func(h hosts.Host) error { return r.Lab.Thaw(ctx, h) }); err != nil {
				return err
			}
			if err := r.more(ctx); err != nil {
				return err
			}
			if err := hold(ctx, 3*time.Second); err != nil {
				return err
			}
		}
		return nil
	}
}

// daemon does something to the leader's daemon, and lets time pass.
func daemon(d time.Duration, command ...string) fault {
	return func(ctx context.Context, r *run) error {
		if err := r.exec(ctx, r.leaderHost(), command...); err != nil {
			return err
		}
		return hold(ctx, d)
	}
}

// daemonsStopped ends all daemons for a minute.
func daemonsStopped(ctx context.Context, r *run) error {
	if err := together(r.Lab.Hosts(), func(h hosts.Host) error { return r.exec(ctx, h, "systemctl", "stop", "pgctl") }); err != nil {
		return err
	}
	if err := hold(ctx, time.Minute); err != nil {
		return err
	}
	return together(r.Lab.Hosts(), func(h hosts.Host) error { return r.exec(ctx, h, "systemctl", "start", "pgctl") })
}

// leaderDiskFull leaves the leader no room. Writes may go on for a while in what is there already.
func leaderDiskFull(ctx context.Context, r *run) error {
	if err := r.Lab.FillDisk(r.leaderHost()); err != nil {
		return err
	}
	if err := hold(ctx, 5*time.Second); err != nil {
		return err
	}
	return r.more(ctx)
}

// disksFull leaves others no room for twenty seconds.
func disksFull(which who) fault {
	return func(ctx context.Context, r *run) error {
		all, err := which(ctx, r)
		if err != nil {
			return err
		}
		if err := together(all, r.Lab.FillDisk); err != nil {
			return err
		}
		if err := hold(ctx, 20*time.Second); err != nil {
			return err
		}
		return together(all, r.Lab.FreeDisk)
	}
}

func diskStalled(ctx context.Context, r *run) error {
	if err := r.Lab.StallDisk(r.leaderHost()); err != nil {
		return err
	}
	if err := r.more(ctx); err != nil {
		return err
	}
	return r.Lab.FlowDisk(r.leaderHost())
}
