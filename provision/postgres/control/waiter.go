package control

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/pgctl/pgctl"
)

// writeSQL is a transaction that writes a WAL record of its own. One that only has a transaction id
// would neither be flushed at its commit nor wait for acknowledgement.
const writeSQL = `select pg_logical_emit_message(true, 'pgctl', '')`

// FlushedProbe writes a WAL record in a transaction of ours, without waiting for acknowledgement, and
// returns a position at or behind its end, up to which WAL is flushed here.
func (i *Instance) FlushedProbe(ctx context.Context) (lsn pgctl.LSN, err error) {
	err = i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		if _, err := c.Exec(ctx, writeSQL); err != nil {
			return err
		}
		var text string
		if err := c.QueryRow(ctx, "select pg_current_wal_flush_lsn()::text").Scan(&text); err != nil {
			return err
		}
		lsn, err = pgctl.ParseLSN(text)
		return err
	})
	return lsn, err
}

// Waiter is a commit in a session of its own that may have to wait for acknowledgement.
type Waiter struct {
	instance *Instance
	conn     *pgx.Conn
	pid      uint32
	cancel   context.CancelFunc
	done     chan struct{}
	err      error // of the commit; read after done
}

// StartWaiter commits a transaction in a session of its own, with synchronous_commit on. The caller
// closes it.
func (i *Instance) StartWaiter(ctx context.Context) (*Waiter, error) {
	conn, err := i.open(ctx, "pgctl-probe", "postgres", map[string]string{
		"synchronous_commit": "on", "statement_timeout": "0",
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Waiter{instance: i, conn: conn, pid: conn.PgConn().PID(), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		_, w.err = conn.Exec(ctx, writeSQL)
	}()
	return w, nil
}

// Waits says whether the commit waits for acknowledgement now.
func (w *Waiter) Waits(ctx context.Context) (waits bool, err error) {
	err = w.instance.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `select exists (select from pg_stat_activity
			where pid = $1 and wait_event = 'SyncRep')`, w.pid).Scan(&waits)
	})
	return waits, err
}

// Returned says whether the commit has returned, and with which error.
func (w *Waiter) Returned() (bool, error) {
	select {
	case <-w.done:
		return true, w.err
	default:
		return false, nil
	}
}

// Close terminates the session, waiting or not.
func (w *Waiter) Close() error {
	var err error
	if returned, _ := w.Returned(); !returned {
		err = w.instance.exec(context.Background(), "select pg_terminate_backend($1)", w.pid)
	}
	w.cancel()
	<-w.done
	return errors.Join(err, closeConn(w.conn))
}
