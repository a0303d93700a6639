package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Everything that runs on a host is in one control group of version 2, which freezes and kills as a
// whole. That works beside version 1 (a hybrid machine) too: only systemd inside wants its own group of
// the named hierarchy there.

const groupPatience = 10 * time.Second

// groupMount is where the hierarchy of version 2 is mounted.
func groupMount() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var found unix.Statfs_t
		if unix.Statfs(dir, &found) == nil && found.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir, nil
		}
	}
	return "", errors.New("control groups of version 2, at /sys/fs/cgroup or beside version 1")
}

// groups are the folders of a host's control groups, that of version 2 first.
func (l *Lab) groups(h Host) ([]string, error) {
	unified, err := groupMount()
	if err != nil {
		return nil, err
	}
	all := []string{filepath.Join(unified, l.Name, h.Name)}
	if named := "/sys/fs/cgroup/systemd"; unified != "/sys/fs/cgroup" {
		if _, err := os.Stat(named); err == nil {
			all = append(all, filepath.Join(named, l.Name, h.Name))
		}
	}
	return all, nil
}

// control writes a control file of a host's group.
func (l *Lab) control(h Host, file, value string) error {
	groups, err := l.groups(h)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(groups[0], file), []byte(value), 0o644)
}

// event reads one line of cgroup.events: populated or frozen. A group that is not there has neither.
func (l *Lab) event(h Host, name string) (bool, error) {
	groups, err := l.groups(h)
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(filepath.Join(groups[0], "cgroup.events"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return strings.Contains(string(text), name+" 1"), err
}

// Runs says whether anything of a host is alive; a frozen host is.
func (l *Lab) Runs(h Host) bool {
	alive, err := l.event(h, "populated")
	return err == nil && alive
}

func (l *Lab) makeGroups(h Host) error {
	groups, err := l.groups(h)
	if err != nil {
		return err
	}
	for _, dir := range groups {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// removeGroups removes a host's empty groups, and the lab's when it was the last one.
func (l *Lab) removeGroups(h Host) error {
	groups, err := l.groups(h)
	if err != nil {
		return err
	}
	for _, dir := range groups {
		var folders []string
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				folders = append(folders, path)
			}
			return nil // what went away meanwhile is gone
		})
		if err != nil {
			return err
		}
		for i := len(folders) - 1; i >= 0; i-- {
			if err := os.Remove(folders[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		_ = os.Remove(filepath.Dir(dir)) // others may be in it
	}
	return nil
}

// Freeze stops a host, as a hypervisor does: all its processes, and its network. It still has its
// connections when it thaws.
func (l *Lab) Freeze(ctx context.Context, h Host) error {
	if err := l.nft(ctx, element("add", "frozen", h.Name)); err != nil {
		return err
	}
	if err := l.control(h, "cgroup.freeze", "1"); err != nil {
		return err
	}
	return await(ctx, groupPatience, h.Name+" does not freeze", func() bool {
		frozen, err := l.event(h, "frozen")
		return err == nil && frozen
	})
}

// Thaw lets a frozen host go on.
func (l *Lab) Thaw(ctx context.Context, h Host) error {
	if err := l.control(h, "cgroup.freeze", "0"); err != nil {
		return err
	}
	// Adding first: deleting what is not there would be refused.
	return l.nft(ctx, element("add", "frozen", h.Name), element("delete", "frozen", h.Name))
}

// initProcess is the process that is a host's init, as the machine counts.
func (l *Lab) initProcess(h Host) (int, error) {
	groups, err := l.groups(h)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(groups[0], "payload/init.scope/cgroup.procs"))
	if err != nil {
		return 0, fmt.Errorf("%s does not run: %w", h.Name, err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return strconv.Atoi(first)
}

// await polls until ok; what says what did not come true within the time.
func await(ctx context.Context, within time.Duration, what string, ok func() bool) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !ok() {
		select {
		case <-limited.Done():
			return fmt.Errorf("%s: %w", what, limited.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
