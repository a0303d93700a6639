package control

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgctl/pgctl"
)

// patience bounds every exchange with the server, so that one that hangs does not hang us.
const patience = time.Second

// sessionSettings keep users' defaults from changing what our sessions do.
func (i *Instance) sessionSettings(name string) map[string]string {
	s := map[string]string{
		"application_name":                    name,
		"synchronous_commit":                  "local",
		"statement_timeout":                   "5s",
		"lock_timeout":                        "1s",
		"idle_in_transaction_session_timeout": "0",
		"idle_session_timeout":                "0",
		"default_transaction_read_only":       "off",
		"default_transaction_isolation":       "read committed",
		"search_path":                         "pg_catalog",
		"client_encoding":                     "UTF8",
		"datestyle":                           "ISO",
		"jit":                                 "off",
		"standard_conforming_strings":         "on",
	}
	if i.Version.Major >= 17 {
		s["event_triggers"] = "off"
		s["transaction_timeout"] = "0"
	}
	return s
}

// open opens a session of the agent over the local socket. The server must be the one of our data
// directory.
func (i *Instance) open(ctx context.Context, name, database string, more map[string]string) (*pgx.Conn, error) {
	settings := i.sessionSettings(name)
	maps.Copy(settings, more)
	conn, err := i.dial(ctx, database, settings)
	if err != nil {
		return nil, err
	}
	var dir string
	err = conn.QueryRow(ctx, "show data_directory").Scan(&dir)
	if err == nil && dir != i.PGData() {
		if real, e := filepath.EvalSymlinks(i.PGData()); e != nil || real != dir {
			err = pgctl.Errorf(pgctl.CodeConflict, "the server at %s has the data directory %s, not %s",
				i.socketPath(), dir, i.PGData())
		}
	}
	if err != nil {
		return nil, errors.Join(err, closeConn(conn))
	}
	return conn, nil
}

// Connect opens a session of the agent in which what users asked for is done: with the cluster's own
// synchronous_commit and without time limits. The caller closes it.
func (i *Instance) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return i.open(ctx, "pgctl-agent", database, map[string]string{
		"synchronous_commit": "on", "statement_timeout": "0", "lock_timeout": "0",
	})
}

func closeConn(c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience/10)
	defer cancel()
	return c.Close(ctx)
}

// session runs f on the agent's own session, which is opened when it is needed. It is one of a WAL
// sender, since only that can be asked for the timeline of replay, and takes SQL as well. When the
// session turns out to be stale, f runs again on a new one.
func (i *Instance) session(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-i.turn:
		defer func() { i.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if i.conn != nil {
		err := f(ctx, i.conn)
		if err == nil || !i.conn.IsClosed() {
			return err
		}
		i.conn = nil
		if ctx.Err() != nil {
			return err
		}
	}
	conn, err := i.open(ctx, "pgctl-agent", "postgres", map[string]string{"replication": "database"})
	if err != nil {
		return err
	}
	i.conn = conn
	return f(ctx, conn)
}

// alone runs f on a new session, within the context only.
func (i *Instance) alone(
	ctx context.Context, more map[string]string, f func(context.Context, *pgx.Conn) error,
) error {
	conn, err := i.open(ctx, "pgctl-probe", "postgres", more)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, conn), closeConn(conn))
}

// hangUp closes the agent's own session.
func (i *Instance) hangUp(ctx context.Context) {
	select {
	case <-i.turn:
	case <-ctx.Done():
		return
	}
	if i.conn != nil {
		_ = closeConn(i.conn) // it may be broken, which is why it is closed
		i.conn = nil
	}
	i.turn <- struct{}{}
}

// strings are the rows of a query with one column of text.
func (i *Instance) strings(ctx context.Context, sql string, args ...any) (rows []string, err error) {
	err = i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		got, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(got, pgx.RowTo[string])
		return err
	})
	return rows, err
}

// exec runs a statement on the agent's own session.
func (i *Instance) exec(ctx context.Context, sql string, args ...any) error {
	return i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql, args...)
		return err
	})
}

// Show is the value of a setting as a new session sees it.
func (i *Instance) Show(ctx context.Context, setting string) (value string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = i.alone(ctx, nil, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "select current_setting($1)", setting).Scan(&value)
	})
	return value, err
}

// Close ends the agent's session and waits for a write of HealthProbe, a second at most: a hung disk
// does not hang us. Postgres goes on.
func (i *Instance) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	i.hangUp(ctx)
	i.probing.Lock()
	defer i.probing.Unlock()
	if i.disk != nil {
		select {
		case <-i.disk:
		case <-ctx.Done():
		}
	}
	return nil
}

// serverSays is the server's answer if an error is one.
func serverSays(err error) (*pgconn.PgError, bool) {
	return errors.AsType[*pgconn.PgError](err)
}
