package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pgctl/pgctl/node/api"
)

// The disk of a server's log is full: the server stops and says so, the group goes on, and with room again it
// comes back as if nothing had been.
func TestDiskOfServerIsFull(t *testing.T) {
	const host = "dev-3"
	folder := filepath.Join(world.dir, host, "data/raft")
	endDaemon(t, host)
	small(t, folder, 24)
	do(t, "dev", "start", host)
	do(t, "settings", "set", "disk", "roomy")
	filler := filepath.Join(folder, "filler")
	fill(t, filler)
	large := strings.Repeat("x", 60<<10)
	eventually(t, "the server stops", func() (bool, string) {
		_, _ = try("", "settings", "set", "disk", large) // which may be the one that was asked
		return !alive(daemonOf(t, host)), "it runs"
	})
	logged(t, host, "cannot be written to disk", "no space left on device", "make room")
	do(t, "settings", "set", "disk", "others go on")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	do(t, "dev", "start", host)
	eventually(t, host+" has everything again", func() (bool, string) {
		out, err := try("", "settings", "get", "disk", "--address", addressOf(host)+":7432")
		return err == nil && strings.Contains(out, "others go on"), out
	})
	endDaemon(t, host) // its folder moves once more
}

// There is no room for the data of an instance: an event says so, once; when there is, it is made by itself.
func TestNoRoomForData(t *testing.T) {
	folder := filepath.Join(world.dir, "dev-4/data/instances")
	endDaemon(t, "dev-4")
	used := small(t, folder, 12)
	do(t, "dev", "start", "dev-4")
	if out, err := try(manifest("roomy", 2, "pgctl: {placement: {dataCenters: [a]}}"), "apply", "-f", "-", "--yes"); err != nil { // dev-1 and dev-4
		t.Fatalf("apply: %v\n%s", err, out)
	}
	said(t, "roomy", "tried again and again", "No space left on device", "make room on the file system of "+filepath.Dir(folder))
	if out, err := exec.Command("mount", "-o", fmt.Sprintf("remount,size=%dm", used+600), folder).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v %s", err, out)
	}
	said(t, "roomy", "could", "after")
	well(t, "roomy", 1)
	for _, i := range get[api.ClusterDetail](t, "show", "roomy").Instances {
		if n := countOf(kinds(t, "roomy", i.Name), "step.failed"); n > 1 {
			t.Errorf("%d events say that there is no room", n)
		}
	}
	do(t, "delete", "roomy", "--yes", "roomy")
	stopped(t, "roomy")
	endDaemon(t, "dev-4")
}

// small puts a folder of a stopped daemon on a file system of its own, with room for so many MB more than
// there are, which it returns; afterwards the folder is put back, and the daemon started.
func small(t *testing.T, folder string, room int) (used int) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a file system without room can be mounted by root only")
	}
	aside := folder + ".aside"
	if out, err := exec.Command("du", "-sm", folder).Output(); err == nil {
		used, _ = strconv.Atoi(strings.Fields(string(out))[0])
	}
	size := fmt.Sprintf("%dm", used+room)
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.Rename(folder, aside), os.Mkdir(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=755,size="+size, "pgctl-test", folder).CombinedOutput(); err != nil {
		put(t, aside, folder)
		t.Skipf("a file system without room cannot be mounted here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("cp", "-a", folder+"/.", aside).CombinedOutput(); err != nil {
			t.Errorf("cp: %v %s", err, out)
		}
		if out, err := exec.Command("umount", "-l", folder).CombinedOutput(); err != nil {
			t.Fatalf("umount: %v %s", err, out)
		}
		put(t, aside, folder)
		for _, host := range []string{"dev-3", "dev-4"} {
			do(t, "dev", "start", host)
		}
	})
	if out, err := exec.Command("cp", "-a", aside+"/.", folder).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v %s", err, out)
	}
	return used
}

func put(t *testing.T, aside, folder string) {
	t.Helper()
	if err := errors.Join(os.Remove(folder), os.Rename(aside, folder)); err != nil {
		t.Fatal(err)
	}
}

// fill writes until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

func alive(pid int) bool {
	state, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(state), ") Z ")
}

// A folder that the daemon may not write to keeps it from starting; one that PostgreSQL may not enter is an
// event. Both say what to do, and what was ordered is done as soon as it can be.
func TestFoldersThatMayNotBeWritten(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(world.dir, "dev-4/pgctl.toml"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "pgctl.toml")
	own := regexp.MustCompile(`(?m)^data_dir = .*$`)
	if err := os.WriteFile(config, own.ReplaceAll(text, []byte(`data_dir = "/proc/pgctl"`)), 0o600); err != nil { // where not even root makes folders
		t.Fatal(err)
	}
	if out := refused(t, "", "daemon", "--config", config); !containsAll(out, []string{"/proc/pgctl", "may make and write to"}) {
		t.Errorf("a folder that cannot be made: %s", out)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, with which PostgreSQL has a user of its own")
	}
	folder := filepath.Join(world.dir, "dev-4/data/instances")
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.Chmod(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(folder, 0o755) })
	if out, err := try(manifest("locked", 2, "pgctl: {placement: {dataCenters: [a]}}"), "apply", "-f", "-", "--yes"); err != nil { // dev-1 and dev-4
		t.Fatalf("apply: %v\n%s", err, out)
	}
	said(t, "locked", "tried again and again", "must let the user postgres pass")
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	well(t, "locked", 1)
	do(t, "delete", "locked", "--yes", "locked")
}
