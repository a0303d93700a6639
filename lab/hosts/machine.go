package hosts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bootLimit = 60 * time.Second
	killLimit = 20 * time.Second
	dataMount = "/var/lib/pgctl" // of a host: the disk that can be full or stall
)

func (h Host) file(name string) string { return filepath.Join(h.dir, name) }

// Console is the file that has what a host printed while it booted.
func (h Host) Console() string { return h.file("console.log") }

// Root is the host's file system as the machine sees it.
func (h Host) Root() string { return h.file("root") }

// Start gives a host power, and returns when its init runs. One that runs already is left alone.
func (l *Lab) Start(ctx context.Context, h Host) error {
	if l.Runs(h) {
		return nil
	}
	if err := errors.Join(l.makeGroups(h), l.control(h, "cgroup.freeze", "0")); err != nil {
		return err
	}
	if err := l.mountDisk(ctx, h); err != nil {
		return err
	}
	if err := l.connect(ctx, h); err != nil {
		return err
	}
	if err := l.spawn(h); err != nil {
		return err
	}
	return await(ctx, bootLimit, h.Name+" does not boot, see "+h.Console(), func() bool {
		state, err := l.Exec(ctx, h, "systemctl", "is-system-running")
		return strings.HasPrefix(state, "running") || strings.HasPrefix(state, "degraded") && err != nil
	})
}

// spawn starts the container. It goes on running when we end.
func (l *Lab) spawn(h Host) error {
	groups, err := l.groups(h)
	if err != nil {
		return err
	}
	enter := ""
	for _, dir := range groups {
		enter += fmt.Sprintf("echo $$ >%s/cgroup.procs && ", dir)
	}
	offset, err := l.clockOffset(h)
	if err != nil {
		return err
	}
	command := inNet(l.Name, offset...)
	command = append(command,
		"systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=read-only", "--link-journal=no",
		"--resolv-conf=off", "--timezone=off", "--machine="+h.namespace, "--hostname="+h.Name,
		"--directory="+h.Root(), "--bind="+h.disk()+":"+dataMount,
		"--network-namespace-path="+netnsFolder+h.namespace, "--boot")
	console, err := os.OpenFile(h.Console(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer console.Close()
	c := exec.Command("sh", "-c", enter+`exec "$@"`, "sh")
	c.Args = append(c.Args, command...)
	c.Stdout, c.Stderr = console, console
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return err
	}
	go func() { _ = c.Wait() }() // it is killed one day; nobody asks how it ended
	return nil
}

// Kill is the loss of power: the cable first, so that nobody is told, then every process at once. The
// disk keeps what was written.
func (l *Lab) Kill(ctx context.Context, h Host) error {
	if err := l.unplug(ctx, h); err != nil {
		return err
	}
	if !l.Runs(h) {
		return nil
	}
	if err := l.control(h, "cgroup.kill", "1"); err != nil {
		return err
	}
	// A process that waits for a stalled disk cannot die before that moves again.
	if err := l.unstall(h); err != nil {
		return err
	}
	err := await(ctx, killLimit, h.Name+" survives SIGKILL", func() bool { return !l.Runs(h) })
	return errors.Join(err, l.nft(ctx, element("add", "frozen", h.Name), element("delete", "frozen", h.Name)))
}

// mountDisk mounts a host's file systems: its own layer above the common root, and the disk.
func (l *Lab) mountDisk(ctx context.Context, h Host) error {
	if !mounted(h.Root()) {
		root, err := os.Readlink(l.file("base"))
		if err != nil {
			return err
		}
		layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", root, h.file("layer"), h.file("work"))
		if err := unix.Mount("overlay", h.Root(), "overlay", 0, layers); err != nil {
			return fmt.Errorf("mount %s: %w", h.Root(), err)
		}
	}
	if mounted(h.disk()) {
		return nil
	}
	_, err := run(ctx, "mount", "-o", "loop,noatime", h.file("disk.img"), h.disk())
	return err
}

// mounted says whether something is mounted at a folder: it is of another device than its parent.
func mounted(dir string) bool {
	var here, above unix.Stat_t
	return unix.Stat(dir, &here) == nil && unix.Stat(filepath.Dir(dir), &above) == nil && here.Dev != above.Dev
}

// unmount takes a host's file systems away.
func (l *Lab) unmount(h Host) error {
	for _, dir := range []string{h.disk(), h.Root()} {
		for mounted(dir) {
			if err := unix.Unmount(dir, 0); err != nil {
				return fmt.Errorf("unmount %s: %w", dir, err)
			}
		}
	}
	return nil
}

// SetClock says how far a host's monotonic and boot-time clocks are ahead of the machine's from its next
// start on; 0 gives it the machine's own. The wall clock is common to all.
func (l *Lab) SetClock(h Host, ahead time.Duration) error {
	return os.WriteFile(h.file("clock"), []byte(strconv.Itoa(int(ahead/time.Second))), 0o644)
}

// clockOffset is the command that starts a program in a time namespace of its own.
func (l *Lab) clockOffset(h Host) ([]string, error) {
	text, err := os.ReadFile(h.file("clock"))
	if errors.Is(err, os.ErrNotExist) || string(text) == "0" {
		return nil, nil
	}
	seconds := string(text)
	return []string{"unshare", "--time", "--fork", "--monotonic", seconds, "--boottime", seconds}, err
}
