package control

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// gone bounds how long the methods that terminate sessions wait to see them gone.
const gone = 300 * time.Millisecond

// until repeats a query that terminates something and counts what is left, and also what does the same
// to what no query shows, until nothing is left.
func (i *Instance) until(ctx context.Context, also func() int, sql string, args ...any) (left int, err error) {
	bounded, cancel := context.WithTimeout(ctx, gone)
	defer cancel()
	look := func() (bool, error) {
		others := also()
		err = i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
			return c.QueryRow(ctx, sql, args...).Scan(&left)
		})
		left += others
		return left == 0, err
	}
	if waited := i.wait(bounded, look); waited != nil && bounded.Err() == nil {
		return left, waited
	}
	return left, ctx.Err()
}

func none() int { return 0 }

// TerminateReceiver ends the WAL receiver by pid, since a busy startup process does not look at its
// configuration; true when none is seen any more, for which it waits up to 300 ms. As long as
// primary_conninfo is set, a new one may come. It takes a signal: pg_terminate_backend refuses what is no
// backend.
func (i *Instance) TerminateReceiver(ctx context.Context) (bool, error) {
	receiving := func() int { return i.alive(i.Processes.EndReceiver(i.PGData())) }
	left, err := i.until(ctx, receiving, `select count(*) from `+activity+` where backend_type = 'walreceiver'`)
	return err == nil && left == 0, err
}

// alive counts the processes that still run.
func (i *Instance) alive(processes map[int]uint64) (n int) {
	for pid, started := range processes {
		if i.Processes.Alive(pid, started) {
			n++
		}
	}
	return n
}

// TerminateSessions ends the sessions, workers and WAL senders of others, never cancelling what they
// wait for, and says how many are left after up to 300 ms. Sessions that are still being authenticated,
// by a pg_hba.conf that may be older, are ended and counted as well. Those that come later are not waited
// for: after AwaitRead they meet the new one, and clients that try again and again must not stretch a closing.
func (i *Instance) TerminateSessions(ctx context.Context) (int, error) {
	arriving := i.Processes.EndArriving(i.PGData())
	alive := func() int { return i.alive(arriving) }
	return i.until(ctx, alive, `select count(pg_terminate_backend(pid)) from `+activity+` where `+others)
}

// DismissSessions tells the sessions and WAL senders of others to end, without waiting for that.
func (i *Instance) DismissSessions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, gone)
	defer cancel()
	return i.exec(ctx, `select count(pg_terminate_backend(pid)) from `+activity+` where `+others)
}

// TerminateSender ends one WAL sender, and says whether it is gone after up to 300 ms.
func (i *Instance) TerminateSender(ctx context.Context, s Sender) (bool, error) {
	left, err := i.until(ctx, none, `select count(pg_terminate_backend(pid)) from pg_stat_activity
		where pid = $1 and extract(epoch from backend_start)::text = $2`, s.PID, s.Started)
	return err == nil && left == 0, err
}

// ReplayUnblock terminates the sessions that keep the startup process from replaying: those that it
// waits for, and, if it waits for a snapshot to end, those that have one. It says how many it was.
// Settings.ReplayNow goes with it.
func (i *Instance) ReplayUnblock(ctx context.Context) (ended int, err error) {
	err = i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `select count(pg_terminate_backend(a.pid)) from pg_stat_activity a, pg_stat_activity s
			where s.backend_type = 'startup' and a.pid <> pg_backend_pid() and a.backend_type <> 'startup'
			and (a.pid = any (pg_blocking_pids(s.pid))
				or a.backend_type = 'client backend' and a.usename is distinct from 'pgctl'
					and s.wait_event in ('RecoveryConflictSnapshot', 'RecoveryConflictTablespace', 'BufferPin')
					and (a.backend_xmin is not null or a.state <> 'idle'))`).Scan(&ended)
	})
	return ended, err
}
