package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/process"
)

const (
	devStopDaemon   = 10 * time.Second // then it is killed
	devStopPostgres = 15 * time.Second // likewise
	devKill         = 10 * time.Second
	devPoll         = 20 * time.Millisecond
)

// devProcess names a process by pid and by when it started, so that a reused pid is never signalled.
type devProcess struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks since the boot
}

func (d devProcess) alive() bool { return process.Local{}.Alive(d.PID, d.Started) }

// signal does nothing when the process is gone.
func (d devProcess) signal(s syscall.Signal) error {
	if err := (process.Local{}).Signal(d.PID, d.Started, s); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// daemon is the process of a host, if it runs.
func (h devHost) daemon() (devProcess, bool) { return runningProcess(h.pidFile()) }

// start starts the host's daemon: command with arguments, normally this binary. It goes on running
// when we end.
func (h devHost) start(command []string) error {
	if _, runs := h.daemon(); runs {
		return nil
	}
	return h.launch(append(slices.Clone(command), h.config()), h.pidFile())
}

// startAll starts the host's daemon and its guard.
func (h devHost) startAll(command []string) error {
	if err := h.start(command); err != nil {
		return err
	}
	return h.startGuard(command)
}

// devDaemon is how a daemon is started; the path of its configuration follows.
func devDaemon() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return []string{self, "daemon", "--config"}, nil
}

// stopDaemon asks it to end, and kills it if it does not.
func (h devHost) stopDaemon(ctx context.Context) error {
	id, runs := h.daemon()
	if !runs {
		return nil
	}
	if err := endProcess(ctx, id, syscall.SIGTERM, devStopDaemon); err != nil {
		return fmt.Errorf("stop the daemon of %s: %w", h.Name, err)
	}
	return nil
}

// endProcess signals and waits; after the time given it kills. Done when the process is gone.
func endProcess(ctx context.Context, id devProcess, signal syscall.Signal, within time.Duration) error {
	if err := id.signal(signal); err != nil {
		return err
	}
	polite, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if poll(polite, func() bool { return !id.alive() }) {
		return nil
	}
	if err := id.signal(syscall.SIGKILL); err != nil {
		return err
	}
	// Not bound to ctx, which may have ended: what is killed is gone in a moment.
	killed, cancel := context.WithTimeout(context.WithoutCancel(ctx), devKill)
	defer cancel()
	if !poll(killed, func() bool { return !id.alive() }) {
		return fmt.Errorf("process %d survives SIGKILL", id.PID)
	}
	return nil
}

// poll waits until ok, or ctx ends: then the last look counts.
func poll(ctx context.Context, ok func() bool) bool {
	for !ok() {
		select {
		case <-ctx.Done():
			return ok()
		case <-time.After(devPoll):
		}
	}
	return true
}

// workFolders are the folders below dir in which programs of PostgreSQL work: the data directories of
// servers that run or are being made.
func workFolders(dir string) (map[string]bool, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	processes, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, proc := range processes {
		cwd, err1 := os.Readlink(proc + "/cwd")
		exe, err2 := os.Readlink(proc + "/exe")
		if err1 != nil || err2 != nil {
			continue // it ended meanwhile, or is not ours to look at
		}
		program := strings.TrimSuffix(filepath.Base(exe), " (deleted)")
		cwd = strings.TrimSuffix(cwd, " (deleted)")
		if strings.HasPrefix(cwd, real+"/") && slices.Contains(postgresPrograms, program) {
			found[cwd] = true
		}
	}
	return found, nil
}

var postgresPrograms = []string{"postgres", "initdb", "pg_basebackup", "pg_rewind"}

// kill is the loss of the whole host: SIGKILL for its daemon, its guard and everything of its Postgres
// servers.
func (h devHost) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, devKill)
	defer cancel()
	if id, runs := h.daemon(); runs {
		if err := endProcess(ctx, id, syscall.SIGKILL, devKill); err != nil {
			return err
		}
	}
	if err := h.stopGuard(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	return h.killPostgres(ctx)
}

func (h devHost) killPostgres(ctx context.Context) error {
	for {
		folders, err := workFolders(h.data())
		if err != nil || len(folders) == 0 {
			return err
		}
		for dir := range folders {
			if err := (process.Local{}).KillAll(ctx, dir); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return pgctl.Errorf(pgctl.CodeUnavailable, "something goes on working in %s", h.data())
		}
	}
}

// postmasters are the Postgres servers of the host.
func (h devHost) postmasters() ([]devProcess, error) {
	folders, err := workFolders(h.data())
	if err != nil {
		return nil, err
	}
	var all []devProcess
	for dir := range folders {
		if pid, started, _, runs := (process.Local{}).Find(dir); runs {
			all = append(all, devProcess{PID: pid, Started: started})
		}
	}
	return all, nil
}

// stop ends daemons, so that nobody starts anything again, and then all Postgres servers together:
// a primary waits for its standbys to have everything. The guards end last: they watch until then.
func (p *playground) stop(ctx context.Context, say func(format string, args ...any)) error {
	var errs []error
	for _, h := range p.hosts() {
		if _, runs := h.daemon(); runs {
			say("%s: stopping the daemon", h.Name)
			errs = append(errs, h.stopDaemon(ctx))
		}
	}
	var all []devProcess
	for _, h := range p.hosts() {
		ids, err := h.postmasters()
		errs = append(errs, err)
		all = append(all, ids...)
	}
	if len(all) > 0 {
		say("stopping %d Postgres servers", len(all))
	}
	for _, id := range all {
		errs = append(errs, id.signal(syscall.SIGINT))
	}
	polite, cancel := context.WithTimeout(ctx, devStopPostgres)
	defer cancel()
	poll(polite, func() bool {
		for _, id := range all {
			if id.alive() {
				return false
			}
		}
		return true
	})
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), devKill)
	defer cancelLast()
	for _, h := range p.hosts() {
		errs = append(errs, h.killPostgres(last), h.stopGuard(last, syscall.SIGTERM))
	}
	return errors.Join(errs...)
}
