package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

// Checkpoint runs CHECKPOINT, for as long as the context allows.
func (i *Instance) Checkpoint(ctx context.Context) error {
	return i.alone(ctx, map[string]string{"statement_timeout": "0"}, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "checkpoint")
		return err
	})
}

// PrepareStop makes a stop, and what the next leader has to do after it, short: a checkpoint, and a new segment of
// WAL, of which a promotion's followers stream all that there is once more. It returns when the standbys that
// stream have the old one, or half a second later.
func (i *Instance) PrepareStop(ctx context.Context) error {
	var text string
	err := i.exec(ctx, writeSQL) // or nothing would be switched, and there would be no end to wait for
	if err == nil {
		err = i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
			if _, err := c.Exec(ctx, "select pg_switch_wal()"); err != nil {
				return err
			}
			return c.QueryRow(ctx, "select pg_current_wal_flush_lsn()::text").Scan(&text)
		})
	}
	if err == nil {
		err = i.Checkpoint(ctx)
	}
	if err != nil {
		return err
	}
	end, err := pgctl.ParseLSN(text)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	err = i.wait(bounded, func() (bool, error) {
		seen, err := i.Observe(bounded)
		for _, s := range seen.Senders {
			if s.State == "streaming" && s.Flush < end {
				return false, err
			}
		}
		return true, err
	})
	if bounded.Err() != nil {
		return ctx.Err()
	}
	return err
}

// HealthProbe asks for signs of life on paths of its own: a new session, a replication connection, and
// a small write with fsync beside the data directory, within a second each.
func (i *Instance) HealthProbe(ctx context.Context) Health {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var h Health
	var session, replication, disk error
	var all sync.WaitGroup
	all.Go(func() {
		h.Session, session = answers(i.alone(ctx, nil, func(ctx context.Context, c *pgx.Conn) error {
			_, err := c.Exec(ctx, "select 1")
			return err
		}))
	})
	all.Go(func() { h.Replication, replication = answers(i.identifyAlone(ctx)) })
	all.Go(func() {
		disk = i.writeProbe(ctx)
		h.Disk, h.Full = disk == nil, errors.Is(disk, syscall.ENOSPC) || errors.Is(disk, syscall.EDQUOT)
	})

	all.Wait()
	h.Frozen = i.Processes.Frozen(i.PGData())
	for _, probe := range []struct {
		what string
		err  error
	}{{"session", session}, {"replication", replication}, {"disk", disk}} {
		if probe.err != nil {
			h.Errors = append(h.Errors, fmt.Sprintf("%s: %v", probe.what, probe.err))
		}
	}
	return h
}

// answers says whether there was an answer: success, or an error of the server itself.
func answers(err error) (bool, error) {
	_, said := serverSays(err)
	return err == nil || said, err
}

// identifyAlone asks over a replication connection, which needs no database and takes no locks.
func (i *Instance) identifyAlone(ctx context.Context) error {
	conn, err := i.dial(ctx, "", map[string]string{"replication": "true", "application_name": "pgctl-probe"})
	if err != nil {
		return err
	}
	_, _, _, err = identify(ctx, conn)
	return errors.Join(err, closeConn(conn))
}

// dial connects to the local socket as the agent.
func (i *Instance) dial(ctx context.Context, database string, settings map[string]string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig("sslmode=disable passfile=/dev/null")
	if err != nil {
		return nil, fmt.Errorf("session of %s: %w", i.Name, err)
	}
	cfg.Host, cfg.Port, cfg.Database = i.SocketDir, uint16(i.Port), database
	cfg.User, cfg.Password, cfg.Fallbacks = config.AgentRole, "", nil
	cfg.RuntimeParams = settings
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // a WAL sender knows no other
	return pgx.ConnectConfig(ctx, cfg)
}

// dialUpstream connects to another instance as the replication role, in database postgres.
func dialUpstream(ctx context.Context, u config.Upstream) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(config.Conninfo(u) + " dbname=postgres")
	if err != nil {
		return nil, fmt.Errorf("connection to %s: %w", u.Host, err)
	}
	maps.DeleteFunc(cfg.RuntimeParams, func(name, _ string) bool { // what only libpq knows
		return name != "application_name" && name != "options"
	})
	return pgx.ConnectConfig(ctx, cfg)
}

// writeProbe writes and syncs a small file. A disk that hangs keeps the goroutine; there is never more
// than one, and the next probe waits for it instead of starting another.
func (i *Instance) writeProbe(ctx context.Context) error {
	i.probing.Lock()
	defer i.probing.Unlock()
	if i.disk == nil {
		done := make(chan error, 1)
		i.disk = done
		go func() { done <- touch(filepath.Join(i.Folder(), "probe")) }()
	}
	select {
	case err := <-i.disk:
		i.disk = nil
		return err
	case <-ctx.Done():
		return fmt.Errorf("write and fsync in %s: %w", i.Folder(), ctx.Err())
	}
}

// touch replaces a file by a new one of the size of a page, so that a full disk shows: what is written
// over again needs no room.
func touch(path string) error {
	const page = 8192
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, page))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return os.Rename(next, path)
}
