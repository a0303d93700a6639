package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/lab/hosts"
)

// A fault is in force when its function returns or has ended by then; Play ends what is left.
type fault = func(context.Context, *run) error

// together does the same to several hosts at once.
func together(all []hosts.Host, do func(hosts.Host) error) error {
	failures := make([]error, len(all))
	var tasks sync.WaitGroup
	for i, h := range all {
		tasks.Go(func() { failures[i] = do(h) })
	}
	tasks.Wait()
	return errors.Join(failures...)
}

// lose takes the power of hosts at once.
func (r *run) lose(ctx context.Context, all ...hosts.Host) error {
	return together(all, func(h hosts.Host) error { return r.Lab.Kill(ctx, h) })
}

func (r *run) power(ctx context.Context, all ...hosts.Host) error {
	return together(all, func(h hosts.Host) error { return r.Lab.Start(ctx, h) })
}

func (r *run) leaderHost() hosts.Host { return r.before.leader.host }

func (r *run) standbyHosts() []hosts.Host {
	var all []hosts.Host
	for _, m := range r.before.standbys() {
		all = append(all, m.host)
	}
	return all
}

// postmasterKilled ends the leader's Postgres, as the kernel's out-of-memory killer would.
func postmasterKilled(ctx context.Context, r *run) error {
	data := "postgres -D /var/lib/pgctl/instances/" + r.before.leader.name + "/"
	if err := r.exec(ctx, r.leaderHost(), "pkill", "-KILL", "-o", "-f", data); err != nil {
		return err
	}
	return r.more(ctx)
}

// leaderLost takes the power of the leader's host.
func leaderLost(ctx context.Context, r *run) error {
	if err := r.lose(ctx, r.leaderHost()); err != nil {
		return err
	}
	return r.more(ctx)
}

// bothLeadersLost takes the leader and the Raft leader at once.
func bothLeadersLost(ctx context.Context, r *run) error {
	raft, err := r.raftLeader(ctx)
	if err != nil {
		return err
	}
	if r.place == onServers && raft.Name != r.leaderHost().Name {
		if err := r.lead(ctx, raft); err != nil {
			return err
		}
	}
	all := []hosts.Host{raft}
	if raft.Name != r.leaderHost().Name {
		all = append(all, r.leaderHost())
	}
	if err := r.lose(ctx, all...); err != nil {
		return err
	}
	return r.more(ctx)
}

// lead makes the instance on a host the leader.
func (r *run) lead(ctx context.Context, h hosts.Host) error {
	for _, m := range r.before.members {
		if m.host.Name == h.Name {
			return r.switchover(ctx, m)
		}
	}
	return fmt.Errorf("%s carries no instance", h.Name)
}

// switchover moves the leader, and waits until the cluster is well again.
func (r *run) switchover(ctx context.Context, to member) error {
	if _, err := r.api.Switchover(ctx, r.cluster, to.name); err != nil {
		return err
	}
	return r.eventually(ctx, to.name+" leads", func(ctx context.Context) error {
		now, err := r.look(ctx)
		if err != nil {
			return err
		}
		if now.leader.name != to.name || now.detail.Leadership.Phase != pgctl.Steady {
			return fmt.Errorf("%q leads, %s", now.leader.name, now.detail.Leadership.Phase)
		}
		r.before = now
		return nil
	})
}

// leadersLost takes two leaders in a row; the third instance must go on.
func leadersLost(ctx context.Context, r *run) error {
	if err := leaderLost(ctx, r); err != nil {
		return err
	}
	now, err := r.look(ctx)
	if err != nil {
		return err
	}
	if now.leader.life == "" || now.leader.life == r.before.leader.life {
		return errors.New("nobody took over")
	}
	if err := r.lose(ctx, now.leader.host); err != nil {
		return err
	}
	return r.more(ctx)
}

// serversLost takes the power of all servers for 20 seconds.
func serversLost(ctx context.Context, r *run) error {
	if err := r.lose(ctx, r.servers()...); err != nil {
		return err
	}
	if err := hold(ctx, 20*time.Second); err != nil {
		return err
	}
	return r.power(ctx, r.servers()...)
}

// standbysLost takes the power of some standbys for a while.
func standbysLost(count int) fault {
	return func(ctx context.Context, r *run) error {
		if err := r.lose(ctx, r.standbyHosts()[:count]...); err != nil {
			return err
		}
		if err := r.more(ctx); err != nil {
			return err
		}
		return hold(ctx, 8*time.Second)
	}
}

// siteLost takes the power of the leader's data center.
func siteLost(ctx context.Context, r *run) error {
	if err := r.lose(ctx, r.Lab.In(r.leaderHost().DataCenter)...); err != nil {
		return err
	}
	return r.more(ctx)
}

// allLost takes the power of everything.
func allLost(ctx context.Context, r *run) error {
	if err := r.lose(ctx, r.Lab.Hosts()...); err != nil {
		return err
	}
	if err := r.power(ctx, r.Lab.Hosts()...); err != nil {
		return err
	}
	return r.more(ctx)
}

// clocksApart boots all hosts with clocks that differ by days, and takes the leader.
func clocksApart(ctx context.Context, r *run) error {
	if err := r.lose(ctx, r.Lab.Hosts()...); err != nil {
		return err
	}
	for i, h := range r.Lab.Hosts() {
		if err := r.Lab.SetClock(h, time.Duration(i)*100*time.Hour); err != nil {
			return err
		}
	}
	if err := r.power(ctx, r.Lab.Hosts()...); err != nil {
		return err
	}
	err := r.more(ctx)
	if err == nil {
		r.before, err = r.look(ctx)
	}
	if err == nil {
		err = leaderLost(ctx, r)
	}
	for _, h := range r.Lab.Hosts() { // from their next boot on
		err = errors.Join(err, r.Lab.SetClock(h, 0))
	}
	return err
}

// switchovers moves the leader on, again and again.
func switchovers(times int) fault {
	return func(ctx context.Context, r *run) error {
		for n := range times {
			s, err := r.look(ctx)
			if err != nil {
				return err
			}
			to := s.standbys()
			if err := r.switchover(ctx, to[n%len(to)]); err != nil {
				return fmt.Errorf("switchover %d: %w", n+1, err)
			}
			if err := errors.Join(r.more(ctx), r.well(ctx)); err != nil {
				return fmt.Errorf("after switchover %d: %w", n+1, err)
			}
		}
		return nil
	}
}
