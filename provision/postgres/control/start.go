package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

const (
	hangup    = syscall.SIGHUP
	fast      = syscall.SIGINT
	immediate = syscall.SIGQUIT
)

// poll is the pause between two looks while a method waits.
const poll = 2 * time.Millisecond

// Start starts the postmaster with the files in place (WriteFiles before), and returns when it has
// locked its data directory; whether it takes sessions is seen by Observe. Nothing when it runs.
// Before, guarded settings are stripped from postgresql.auto.conf, and history files removed that
// would hang a standby. CodeRefused when the directory is foreign.
func (i *Instance) Start(ctx context.Context) error {
	if _, _, _, running := i.Processes.Find(i.PGData()); running {
		return nil
	}
	return i.start(ctx)
}

// StartRecruit starts it as a standby that follows nobody and restores nothing, whatever its files
// say: until it is stopped and started again, reloads cannot change that. CodeConflict when it runs.
func (i *Instance) StartRecruit(ctx context.Context) error {
	if _, _, _, running := i.Processes.Find(i.PGData()); running {
		return pgctl.Errorf(pgctl.CodeConflict, "%s runs", i.Name).WithHint("stop it first")
	}
	if err := i.SetStandby(true); err != nil {
		return err
	}
	return i.start(ctx, "-c", "primary_conninfo=", "-c", "restore_command=", "-c", aloneSetting+"=on")
}

// aloneSetting says of a running server that StartRecruit started it.
const aloneSetting = "pgctl.alone"

func (i *Instance) start(ctx context.Context, args ...string) error {
	program, err := i.program("postgres")
	if err != nil {
		return err
	}
	if err := i.ready(ctx); err != nil {
		return i.explain(err)
	}
	pid, started, err := i.Processes.Start(program,
		append([]string{"-D", i.PGData()}, args...), i.environment(), i.PGData(), i.ServerLog(), i.as)
	if err != nil {
		return i.explain(err)
	}
	err = i.wait(ctx, func() (bool, error) {
		if found, _, _, ok := i.Processes.Find(i.PGData()); ok && found == pid {
			return true, nil
		}
		if !i.Processes.Alive(pid, started) {
			return false, i.Ended()
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", i.Name, err)
	}
	return nil
}

// ready makes sure that the directory may be started: ours, rendered by us, nobody at work in it.
func (i *Instance) ready(ctx context.Context) error {
	if ok, err := i.Exists(""); err != nil || !ok {
		return errors.Join(err, i.absent(ok))
	}
	conf, err := os.ReadFile(i.file(confName))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(conf), config.Header) {
		return pgctl.Errorf(pgctl.CodeConflict, "%s has no configuration of pgctl yet", i.Name)
	}
	if _, err := i.stripAuto(); err != nil {
		return err
	}
	if err := i.prepare(); err != nil { // the socket's folder is gone after a reboot
		return err
	}
	// Without a postmaster what is left at work are orphans; a pid file is stale then, and its pid may
	// have become a stranger's, which would keep the server from starting.
	if err := i.Processes.KillAll(ctx, i.PGData()); err != nil {
		return err
	}
	if err := remove(i.file("postmaster.pid")); err != nil {
		return err
	}
	control, err := i.ControlData(ctx)
	if err != nil {
		return err
	}
	segments, err := i.highestSegment(func(_, _ uint64) bool { return true })
	if err != nil {
		return err
	}
	return i.removeHistoriesAbove(max(control.Timeline, control.MinRecovery.Timeline, segments))
}

// lastWords is the end of the server's log.
func (i *Instance) lastWords() string {
	f, err := os.Open(i.ServerLog())
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }() // only read
	end, err := f.Seek(0, 2)
	if err != nil {
		return err.Error()
	}
	text := make([]byte, min(end, 2000))
	if _, err := f.ReadAt(text, end-int64(len(text))); err != nil {
		return err.Error()
	}
	return sinceStart(string(text))
}

// linePrefix is what the server puts before each message: the time and its process.
var linePrefix = regexp.MustCompile(`(?m)^\S+ \S+ \S+ \[\d+\] `)

// sinceStart leaves of a server's log what it said since it was started last, at most six messages and
// without what every start and stop says.
func sinceStart(text string) string {
	const started = "LOG:  starting PostgreSQL "
	if at := strings.LastIndex(text, started); at >= 0 {
		text = text[at:]
	}
	var said []string
	for line := range strings.Lines(linePrefix.ReplaceAllString(text, "")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, started) && !strings.HasSuffix(line, "LOG:  database system is shut down") {
			said = append(said, line)
		}
	}
	return strings.Join(said[max(0, len(said)-6):], "; ")
}

// wait polls until done or the context ends.
func (i *Instance) wait(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

// signal sends a signal to the postmaster; CodeConflict when there is none.
func (i *Instance) signal(sig syscall.Signal) error {
	pid, started, _, running := i.Processes.Find(i.PGData())
	if running {
		err := i.Processes.Signal(pid, started, sig)
		if !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	return pgctl.Errorf(pgctl.CodeConflict, "%s does not run", i.Name)
}

// Stop stops it within the budget: fast for a third of it, then immediate, then SIGKILL. True when
// it was shut down in order. Clients are to be kept out before: see TerminateSessions.
func (i *Instance) Stop(ctx context.Context, budget time.Duration) (bool, error) {
	return i.StopTelling(ctx, budget, func() {})
}

// StopTelling is Stop, and calls ended at most once, as soon as the log of a server that shuts down in order has its
// end and whoever streams has it: nobody is left then who could write or be acknowledged, while the postmaster
// still waits for those who came too late.
func (i *Instance) StopTelling(ctx context.Context, budget time.Duration, ended func()) (bool, error) {
	i.hangUp(ctx)
	told := false
	settled := func() {
		if control, err := i.ControlData(ctx); err != nil || !control.Clean() {
			return
		}
		i.Processes.EndArriving(i.PGData())
		if !told && !i.Processes.Sending(i.PGData()) {
			told = true
			ended()
		}
	}
	for _, sig := range []syscall.Signal{fast, immediate} {
		pid, started, _, running := i.Processes.Find(i.PGData())
		if !running {
			break
		}
		if err := i.Processes.Signal(pid, started, sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return false, err
		}
		third, cancel := context.WithTimeout(ctx, budget/3)
		err := i.wait(third, func() (bool, error) {
			settled()
			return !i.Processes.Alive(pid, started), nil
		})
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return false, fmt.Errorf("stop %s: %w", i.Name, ctx.Err())
		}
	}
	if _, _, _, running := i.Processes.Find(i.PGData()); !running {
		if control, err := i.ControlData(ctx); err == nil && control.Clean() { // its postmaster was the last to go
			return true, nil
		}
	}
	if err := i.KillAll(ctx); err != nil {
		return false, err
	}
	if !exists(i.PGData()) {
		return false, nil
	}
	control, err := i.ControlData(ctx)
	return control.Clean(), err
}

// AwaitEnd waits for the end of the postmaster that runs now. False when none runs, when that cannot be waited for,
// and when the context ended.
func (i *Instance) AwaitEnd(ctx context.Context) bool {
	pid, started, _, running := i.Processes.Find(i.PGData())
	return running && i.Processes.AwaitEnd(ctx, pid, started)
}

// KillAll sends SIGKILL to every process of the instance until none is seen.
func (i *Instance) KillAll(ctx context.Context) error { return i.Processes.KillAll(ctx, i.PGData()) }
