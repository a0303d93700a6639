package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

// ErrCopyNeeded is in the chain of Rewind's error when only a fresh copy helps.
var ErrCopyNeeded = errors.New("a fresh copy is needed")

// rewinding is the file that says that a rewind was begun and not completed.
func (i *Instance) rewinding() string { return filepath.Join(i.Folder(), "rewinding") }

// rewound is the file that says that a rewind was completed: whoever asked for it may have been killed
// before it noted that, and a second one would find neither a server that was shut down in order nor one
// that can recover without the source.
func (i *Instance) rewound() string { return filepath.Join(i.Folder(), "rewound") }

// ForgetRewound makes the next Rewind a new one; without it, it is the same as the last.
func (i *Instance) ForgetRewound() error { return remove(i.rewound()) }

// Rewind makes the stopped instance a standby on the source's history and puts marker, standby.signal
// and the files in place; then it can be started. A server that was not shut down in order is started
// for its recovery first. CodeUnavailable when the source cannot be asked, or has no checkpoint on its
// timeline yet: try again. With ErrCopyNeeded it never will be possible. Nothing when it was done and not
// forgotten since.
func (i *Instance) Rewind(ctx context.Context, source config.Upstream, f config.Files) error {
	if _, _, _, running := i.Processes.Find(i.PGData()); running {
		return pgctl.Errorf(pgctl.CodeConflict, "%s runs", i.Name).WithHint("stop it first")
	}
	if exists(i.rewinding()) {
		return fmt.Errorf("%w: an earlier rewind of %s was interrupted", ErrCopyNeeded, i.Name)
	}
	if ok, err := i.Exists(""); err != nil || !ok {
		return errors.Join(err, i.absent(ok))
	}
	if exists(i.rewound()) {
		return nil
	}
	source.Name, source.Bulk = "pgctl-rewind", true
	if err := i.settled(ctx, source); err != nil {
		return err
	}
	if err := i.recover(ctx); err != nil {
		return err
	}
	args := []string{
		"-D", i.PGData(), "--source-server=" + config.Conninfo(source) + " dbname=postgres", "--no-ensure-shutdown",
	}
	if _, err := i.tool(ctx, i.PGData(), nil, "pg_rewind", append(args, "--dry-run")...); err != nil {
		return i.rewindError(err)
	}
	if _, err := i.write(i.rewinding(), []byte(source.Host)); err != nil {
		return err
	}
	if _, err := i.tool(ctx, i.PGData(), nil, "pg_rewind", args...); err != nil {
		return fmt.Errorf("%w: %w", ErrCopyNeeded, err)
	}
	return i.restore(ctx, f)
}

// settled makes sure that the source is a primary whose last checkpoint shows its own timeline:
// pg_rewind reads the timeline from there.
func (i *Instance) settled(ctx context.Context, source config.Upstream) error {
	ctx, cancel := context.WithTimeout(ctx, 5*patience)
	defer cancel()
	conn, err := dialUpstream(ctx, source)
	if err != nil {
		return pgctl.Errorf(pgctl.CodeUnavailable, "%s cannot reach its source: %v", i.Name, err)
	}
	var ready bool
	err = conn.QueryRow(ctx, `select case when pg_is_in_recovery() then false else
		lpad(upper(to_hex(timeline_id)), 8, '0') = substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end
		from pg_control_checkpoint()`).Scan(&ready)
	if err := errors.Join(err, closeConn(conn)); err != nil {
		return pgctl.Errorf(pgctl.CodeUnavailable, "%s cannot ask its source: %v", i.Name, err)
	}
	if !ready {
		return pgctl.Errorf(pgctl.CodeUnavailable, "the source of %s has no checkpoint on its timeline yet", i.Name)
	}
	return nil
}

// recover lets a server that was not shut down in order read its WAL to the end, following nobody.
func (i *Instance) recover(ctx context.Context) error {
	control, err := i.ControlData(ctx)
	if err != nil || control.Clean() {
		return err
	}
	if err := i.StartRecruit(ctx); err != nil {
		return err
	}
	err = i.wait(ctx, func() (bool, error) {
		o, err := i.Observe(ctx)
		if o.State == Down {
			return false, pgctl.Errorf(pgctl.CodeInternal, "%s ended during its recovery: %s", i.Name, i.lastWords())
		}
		return err == nil && o.AtEnd, ctx.Err() // what cannot be observed yet is asked again
	})
	if err != nil {
		return fmt.Errorf("recovery of %s before its rewind: %w", i.Name, err)
	}
	clean, err := i.Stop(ctx, time.Minute)
	if err == nil && !clean {
		err = pgctl.Errorf(pgctl.CodeUnavailable, "%s could not be shut down in order for its rewind", i.Name)
	}
	return err
}

// unreachable is what pg_rewind says when the source, not the data, is in the way.
var unreachable = regexp.MustCompile(`connection to server|could not connect|server closed the connection|terminating connection`)

func (i *Instance) rewindError(err error) error {
	var failed *toolError
	if !errors.As(err, &failed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if unreachable.MatchString(failed.output) {
		return pgctl.Errorf(pgctl.CodeUnavailable, "%s cannot reach its source: %s", i.Name, failed.output)
	}
	return fmt.Errorf("%w: %w", ErrCopyNeeded, err)
}

// restore makes a rewound directory ours again: it has the source's files.
func (i *Instance) restore(ctx context.Context, f config.Files) error {
	if err := i.mark(i.PGData()); err != nil {
		return err
	}
	if _, err := i.write(i.file(standbySignal), nil); err != nil {
		return err
	}
	if _, err := i.stripAuto(); err != nil {
		return err
	}
	for name, text := range map[string]string{confName: f.Conf, hbaName: f.HBA, identName: f.Ident} {
		if _, err := i.write(i.file(name), []byte(text)); err != nil {
			return err
		}
	}
	if err := os.Rename(i.rewinding(), i.rewound()); err != nil {
		return err
	}
	return errors.Join(syncFolder(i.Folder()), ctx.Err())
}
