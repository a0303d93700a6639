package control

import (
	"context"
	"errors"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

// LeaderProbe is what a member learns about its leader by connecting to it.
type LeaderProbe struct {
	Answered bool      // any answer of a living server, an error too
	Refused  bool      // its host answers, nothing listens
	Open     bool      // it lets clients in
	Closed   bool      // it said that it is not open
	Written  pgctl.LSN // the end of a record that was flushed for this probe; 0 without one
}

const openSQL = "SELECT current_setting('synchronous_standby_names'), coalesce(current_setting('" + config.OpenSetting + "', true), '')"

// ProbeLeader connects to the leader as a member does and has it write and flush one record.
func (i *Instance) ProbeLeader(ctx context.Context, leader config.Upstream) LeaderProbe {
	conn, err := dialUpstream(ctx, leader)
	if err != nil {
		_, answered := errors.AsType[*pgconn.PgError](err)
		return LeaderProbe{Answered: answered, Refused: errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)}
	}
	defer func() { _ = conn.Close(ctx) }() // it was only to be looked at
	found := LeaderProbe{Answered: true}
	var names, open, end string
	if conn.QueryRow(ctx, openSQL).Scan(&names, &open) == nil {
		found.Open = names != config.Nobody && open != "off"
		found.Closed = !found.Open
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return found
	}
	if _, err = tx.Exec(ctx, "SET LOCAL synchronous_commit = local"); err == nil {
		_, err = tx.Exec(ctx, writeSQL)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err == nil && conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&end) == nil {
		found.Written, _ = pgctl.ParseLSN(end) // 0 says that nothing is known
	}
	return found
}
