package hosts

import (
	"context"
	"net"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Command is a program to be run on a host as root, whatever the network is like.
func (l *Lab) Command(ctx context.Context, h Host, args ...string) (*exec.Cmd, error) {
	pid, err := l.initProcess(h)
	if err != nil {
		return nil, err
	}
	enter := []string{"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--time", "--"}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...), nil
}

// Exec runs a program on a host and returns what it printed, on both outputs.
func (l *Lab) Exec(ctx context.Context, h Host, args ...string) (string, error) {
	c, err := l.Command(ctx, h, args...)
	if err != nil {
		return "", err
	}
	out, err := c.CombinedOutput()
	return string(out), err
}

// SSH is a client that logs in on a host through the network, from the clients' place.
func (l *Lab) SSH(ctx context.Context, h Host, args ...string) *exec.Cmd {
	command := append(inNet(l.client().namespace, "ssh",
		"-i", l.file("ssh-key"), "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "root@"+h.Address.String()), args...)
	return exec.CommandContext(ctx, command[0], command[1:]...)
}

// ClientCommand is a program of this machine, run in the clients' place.
func (l *Lab) ClientCommand(ctx context.Context, args ...string) *exec.Cmd {
	command := inNet(l.client().namespace, args...)
	return exec.CommandContext(ctx, command[0], command[1:]...)
}

// Dial connects from the clients' place to an address there is in the lab; no names are resolved.
func (l *Lab) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The thread stays in the other namespace, so it must end with this goroutine: it is not unlocked.
		runtime.LockOSThread()
		if err := enterNet(l.client().namespace); err != nil {
			done <- result{err: err}
			return
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// enterNet moves the thread of the caller, which has locked it, into a network namespace.
func enterNet(namespace string) error {
	fd, err := unix.Open(netnsFolder+namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}
