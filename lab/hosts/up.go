package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Programs are what a lab needs beside the machine's own.
type Programs struct {
	Pgctl  string   // the static binary, installed on every host
	Router []string // starts the router: a command that calls Route
}

// Up makes a lab, or gives power to the hosts of one that is there, and returns when all have booted and
// the router works. Whether the daemons are a group yet is asked of them.
func Up(ctx context.Context, config Config, programs Programs, say func(string, ...any)) (*Lab, error) {
	if lacks := Missing(); len(lacks) > 0 {
		return nil, fmt.Errorf("a lab needs what this machine lacks: %s", strings.Join(lacks, "; "))
	}
	l, err := Open(config.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if l, err = create(config); err != nil {
			return nil, err
		}
		if err := l.fill(ctx, config.Packages, say); err != nil {
			return nil, errors.Join(err, l.Down(context.WithoutCancel(ctx), true))
		}
	case err != nil:
		return nil, err
	case config.Sites != nil && !slices.Equal(config.Sites, l.Sites):
		return nil, fmt.Errorf("the lab %s has %v hosts in its data centers: `lab down -purge` removes it", l.Name, l.Sites)
	}
	for _, h := range l.Hosts() {
		if err := l.mountDisk(ctx, h); err != nil {
			return nil, err
		}
		if err := h.install(programs.Pgctl); err != nil {
			return nil, err
		}
	}
	if l.tell(ctx, request{Do: "ask"}) != nil { // no router: the first start, or one after `lab down`
		if err := l.network(ctx); err != nil {
			return nil, err
		}
		if err := l.startRouter(ctx, programs.Router); err != nil {
			return nil, err
		}
	}
	return l, l.startAll(ctx, say)
}

func (l *Lab) startAll(ctx context.Context, say func(string, ...any)) error {
	all := l.Hosts()
	failures := make([]error, len(all))
	var starts sync.WaitGroup
	for i, h := range all {
		starts.Go(func() {
			if failures[i] = l.Start(ctx, h); failures[i] == nil {
				say("%s: %s, data center %s", h.Name, h.Address, h.DataCenter)
			}
		})
	}
	starts.Wait()
	return errors.Join(failures...)
}

// fill makes what lies in the lab's folder.
func (l *Lab) fill(ctx context.Context, packages []string, say func(string, ...any)) error {
	root, err := Root(ctx, packages, say)
	if err != nil {
		return err
	}
	if err := os.Symlink(root, l.file("base")); err != nil {
		return err
	}
	if _, err := run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", l.Name, "-f", l.file("ssh-key")); err != nil {
		return err
	}
	for _, h := range l.Hosts() {
		for _, dir := range []string{"root", "layer", "work", "disk"} {
			if err := os.MkdirAll(h.file(dir), 0o755); err != nil {
				return err
			}
		}
		if err := h.makeDisk(ctx); err != nil {
			return err
		}
		if err := l.mountDisk(ctx, h); err != nil {
			return err
		}
	}
	return l.equip(time.Now())
}

func (l *Lab) startRouter(ctx context.Context, command []string) error {
	log, err := os.OpenFile(l.file("router.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command(command[0], command[1:]...)
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(l.file("router.pid"), []byte(strconv.Itoa(c.Process.Pid)), 0o644); err != nil {
		return errors.Join(err, c.Process.Kill())
	}
	go func() { _ = c.Wait() }() // it goes on when we end
	return await(ctx, groupPatience, "the router does not start, see "+log.Name(), func() bool {
		return l.tell(ctx, request{Do: "ask"}) == nil
	})
}

// stopRouter ends the router that was started for this lab.
func (l *Lab) stopRouter(ctx context.Context) error {
	text, err := os.ReadFile(l.file("router.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	if l.tell(ctx, request{Do: "ask"}) == nil { // else the number may be another's by now
		if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		err = await(ctx, groupPatience, "the router does not end", func() bool { return l.tell(ctx, request{Do: "ask"}) != nil })
	}
	return errors.Join(err, os.Remove(l.file("router.pid")))
}

// Down takes all power away and removes the networks. The folder with the hosts' disks stays, unless
// purge is set.
func (l *Lab) Down(ctx context.Context, purge bool) error {
	var failures []error
	for _, h := range l.Hosts() {
		failures = append(failures, l.Kill(ctx, h), l.unmount(h), l.removeGroups(h))
	}
	failures = append(failures, l.stopRouter(ctx), l.unplug(ctx, l.client()), removeNetwork(ctx, l.Name))
	if err := errors.Join(failures...); err != nil || !purge {
		return err
	}
	for _, h := range l.Hosts() {
		if mounted(h.Root()) || mounted(h.disk()) {
			return fmt.Errorf("something is mounted in %s: it is not removed", h.dir)
		}
	}
	// The mark goes last, so that a removal which broke off can be repeated.
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != markFile {
			if err := os.RemoveAll(filepath.Join(l.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(l.Dir)
}
