package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// fault is something that interrupts writes.
type fault struct {
	fresh  bool                                           // needs a cluster in which nothing has happened yet
	before func(context.Context, *world) error            // while nothing is measured
	strike func(context.Context, *world, situation) error // returns at once
	repair func(context.Context, *world, situation) error // once writes are back
}

// faults, by name. A loss of power is a host that falls silent: on one machine the kernel would answer for a
// host whose processes are gone.
var faults = map[string]fault{
	"switchover": {strike: switchOver},
	"postmaster": {fresh: true, strike: killPostmaster},
	"crash":      {before: crashOnce, strike: killPostmaster},
	"freeze":     {fresh: true, strike: freeze, repair: thaw},
	"power":      {fresh: true, strike: freeze, repair: losePower},
	"both":       {fresh: true, before: leadRaftToo, strike: freeze, repair: losePower},
	"processes":  {fresh: true, strike: killHost, repair: start},
}

func switchOver(ctx context.Context, w *world, _ situation) error {
	_, err := w.pgctl(ctx, "", "switchover", w.cluster)
	return err
}

// killPostmaster ends the leader's postmaster, as the kernel's out-of-memory killer would.
func killPostmaster(_ context.Context, w *world, s situation) error {
	w.crashed = true
	found, err := filepath.Glob(filepath.Join(w.dir, s.host, "data/instances", s.leader, "????????/pgdata/postmaster.pid"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%d postmasters of %s: %w", len(found), s.leader, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// crashOnce makes the next crash the second one within ten minutes, which is restarted in place.
func crashOnce(ctx context.Context, w *world) error {
	if w.crashed {
		return nil
	}
	s, err := w.look(ctx)
	if err == nil {
		err = killPostmaster(ctx, w, s)
	}
	if err != nil {
		return err
	}
	return w.changed(ctx, s)
}

// leadRaftToo makes the instance on the Raft leader's host the leader.
func leadRaftToo(ctx context.Context, w *world) error {
	var servers struct {
		Servers []struct{ Name, Role string }
	}
	if err := w.ask(ctx, &servers, "servers"); err != nil {
		return err
	}
	s, err := w.look(ctx)
	if err != nil {
		return err
	}
	for _, server := range servers.Servers {
		if server.Role == "leader" && server.Name != s.host {
			_, err := w.pgctl(ctx, "", "switchover", w.cluster, "--to", s.instances[server.Name], "--wait")
			return err
		}
	}
	return nil
}

func killHost(ctx context.Context, w *world, s situation) error {
	_, err := w.pgctl(ctx, "", "dev", "kill", s.host)
	return err
}

func start(ctx context.Context, w *world, s situation) error {
	_, err := w.pgctl(ctx, "", "dev", "start", s.host)
	return err
}

func losePower(ctx context.Context, w *world, s situation) error {
	return errors.Join(killHost(ctx, w, s), start(ctx, w, s))
}

// freeze makes a whole host stand still.
func freeze(_ context.Context, w *world, s situation) error {
	return w.signal(s.host, syscall.SIGSTOP)
}

// thaw lets it go on after it was given up.
func thaw(ctx context.Context, w *world, s situation) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second): // it was silent for longer than the client was
	}
	return w.signal(s.host, syscall.SIGCONT)
}

// signal sends a signal to all processes of a host: the daemon and its guard by their pid files, and whoever
// works in its folder.
func (w *world) signal(host string, sig syscall.Signal) error {
	folder := filepath.Join(w.dir, host)
	pids := map[int]bool{}
	files, err := filepath.Glob(filepath.Join(folder, "*.pid"))
	if err != nil {
		return err
	}
	for _, file := range files {
		var process struct{ PID int }
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &process) == nil && process.PID > 0 {
			pids[process.PID] = true
		}
	}
	links, err := filepath.Glob("/proc/[1-9]*/cwd")
	if err != nil {
		return err
	}
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, folder+"/") {
			if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
				pids[pid] = true
			}
		}
	}
	for pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}
