// Package process starts PostgreSQL without a service manager, for development and tests: programs
// live in a session of their own, do not end with the daemon, and are found again by their data
// directory. A process is named by pid and start time, so that a reused pid is never signalled.
package process

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Local manages the processes of this machine. A process is named by its pid and by when it started, in
// clock ticks since the boot.
type Local struct{}

// Start starts a program in a session of its own, with what it writes appended to the log, and returns
// at once. It outlives its starter. as is whom it runs as; nil for oneself.
func (Local) Start(
	path string, args, env []string, dir, log string, as *syscall.Credential,
) (pid int, started uint64, err error) {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o640)
	if err != nil {
		return 0, 0, fmt.Errorf("open the log of %s: %w", path, err)
	}
	defer func() { _ = out.Close() }() // nothing of ours was written
	if as != nil {
		if err := out.Chown(int(as.Uid), int(as.Gid)); err != nil {
			return 0, 0, fmt.Errorf("give the log of %s to its user: %w", path, err)
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as}
	if err := cmd.Start(); err != nil {
		return 0, 0, fmt.Errorf("start %s: %w", path, err)
	}
	s, err := read(cmd.Process.Pid) // it is there in any case: nobody but us reaps it
	if err != nil {
		return 0, 0, fmt.Errorf("look at %s: %w", path, err)
	}
	return s.pid, s.started, cmd.Process.Release()
}

// Alive says whether the process still runs. A child of ours that ended is reaped.
func (Local) Alive(pid int, started uint64) bool {
	s, err := read(pid)
	return err == nil && s.started == started && s.runs()
}

// Signal sends a signal to the process, and to no other that got its pid later. os.ErrProcessDone when
// it is gone.
func (l Local) Signal(pid int, started uint64, sig syscall.Signal) error {
	p, err := os.FindProcess(pid) // holds a pidfd from here on
	if err != nil {
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	defer func() { _ = p.Release() }() // only frees the descriptor
	if !l.Alive(pid, started) {
		return os.ErrProcessDone
	}
	return p.Signal(sig)
}

// stat is the part of /proc/PID/stat that matters here.
type stat struct {
	pid     int
	started uint64
	state   byte
	parent  int
	session int
}

// runs is false for a process that ended and waits for its parent; if that is us, it is reaped.
func (s stat) runs() bool {
	if s.state != 'Z' && s.state != 'X' {
		return true
	}
	if s.parent == os.Getpid() {
		_, _ = syscall.Wait4(s.pid, nil, syscall.WNOHANG, nil) // somebody else of us may have been first
	}
	return false
}

func read(pid int) (stat, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(text))
}

// parseStat reads a line of proc(5). The program's name, in parentheses, may contain anything.
func parseStat(line string) (stat, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("process state %q has no name", line)
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return stat{}, fmt.Errorf("process state %q is too short", line)
	}
	s := stat{state: f[0][0]}
	var errs [4]error
	s.pid, errs[0] = strconv.Atoi(strings.TrimSpace(line[:open]))
	s.parent, errs[1] = strconv.Atoi(f[1])
	s.session, errs[2] = strconv.Atoi(f[3])
	s.started, errs[3] = strconv.ParseUint(f[19], 10, 64)
	for _, err := range errs {
		if err != nil {
			return stat{}, fmt.Errorf("process state %q: %w", line, err)
		}
	}
	return s, nil
}
