package control

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// environment of every program of PostgreSQL: nothing of the daemon's own leaks in, and messages can
// be parsed.
func (i *Instance) environment() []string {
	return []string{"PATH=" + i.Version.Bin + ":/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "HOME=/nonexistent"}
}

// tool runs a program of the installation as the instance's OS user in a folder and returns what it
// wrote to stdout. When the context ends it is killed with what it started. Its stderr goes to errors
// too, if that is not nil.
func (i *Instance) tool(ctx context.Context, dir string, errors io.Writer, name string, args ...string) (string, error) {
	program, err := i.program(name)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, i.environment()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if errors != nil {
		cmd.Stderr = io.MultiWriter(&stderr, errors)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: i.as}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", &toolError{name: name, err: err, output: lastLines(stderr.String(), 5)}
	}
	return stdout.String(), nil
}

// toolError is a failure of a program of PostgreSQL and the end of what it said.
type toolError struct {
	name   string
	err    error
	output string
}

func (e *toolError) Error() string { return fmt.Sprintf("%s: %v: %s", e.name, e.err, e.output) }

func (e *toolError) Unwrap() error { return e.err }

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
