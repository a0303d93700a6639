package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

var (
	local       Local
	environment = []string{"PATH=/usr/bin:/bin"}
)

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func TestLifeOfAProcess(t *testing.T) {
	dir := t.TempDir()
	pid, started, err := local.Start("/bin/sleep", []string{"1000"}, environment, dir, filepath.Join(dir, "log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = local.Signal(pid, started, syscall.SIGKILL) })
	if !local.Alive(pid, started) {
		t.Fatal("it should run")
	}
	if local.Alive(pid, started+1) || !errors.Is(local.Signal(pid, started+1, syscall.SIGKILL), os.ErrProcessDone) {
		t.Fatal("a process with the same pid and another start must not be taken for it")
	}
	s, err := read(pid)
	if err != nil || s.session != pid {
		t.Fatalf("session %d of process %d, %v: it must lead its own", s.session, pid, err)
	}
	if err := local.Signal(pid, started, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "its end", func() bool { return !local.Alive(pid, started) })
	waitFor(t, "being reaped", func() bool { _, err := read(pid); return err != nil })
}

func TestStartFails(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if _, _, err := local.Start("/no/such", nil, nil, "/", log, nil); err == nil {
		t.Error("a program that is not there was started")
	}
	if _, _, err := local.Start("/bin/true", nil, nil, "/", "/no/such/log", nil); err == nil {
		t.Error("started without a log")
	}
}

// A copy of sleep under the name of a postmaster, in the data directory: found by its pid file, killed
// together with what it started.
func TestFindAndKillAll(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	fake := filepath.Join(bin, "postgres")
	if out, err := exec.Command("cp", shell, fake).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	script := "setsid sleep 1000 & cd /; sleep 1000 & cd " + dir + "; wait"
	pid, started, err := local.Start(fake, []string{"-c", script}, environment, dir, filepath.Join(bin, "log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, ok := local.Find(dir); ok {
		t.Fatal("found without a pid file")
	}
	pidfile := []byte(strconv.Itoa(pid) + "\n" + dir + "\n1\n5432\n/tmp\n*\n1 2\nready   \n")
	if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), pidfile, 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "being found", func() bool {
		found, at, status, ok := local.Find(dir)
		return ok && found == pid && at == started && status == "ready"
	})
	var victims []stat
	waitFor(t, "the whole family", func() bool {
		victims, err = family(resolve(dir), map[int]bool{})
		return err == nil && len(victims) == 3
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := local.KillAll(ctx, dir); err != nil {
		t.Fatal(err)
	}
	for _, v := range victims {
		if local.Alive(v.pid, v.started) {
			t.Errorf("process %d survived", v.pid)
		}
	}
	if _, _, _, ok := local.Find(dir); ok {
		t.Error("found after its end")
	}
}

func TestPIDFileOfAnother(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "x\n", "0\n", strconv.Itoa(os.Getpid()) + "\n" + dir + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, _, ok := local.Find(dir); ok {
			t.Errorf("%q: a process that is no postgres was believed", text)
		}
	}
}

func FuzzPIDFile(f *testing.F) {
	f.Add("123\n/data\n1700000000\n5432\n/tmp\nlocalhost\n 1 2\nready   \n")
	f.Add("-5\n")
	f.Fuzz(func(t *testing.T, text string) {
		if pid, _, err := parsePIDFile(text); err == nil && pid == 0 {
			t.Error("no process id")
		}
	})
}

func FuzzStat(f *testing.F) {
	f.Add("42 (a) b)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1")
	f.Fuzz(func(_ *testing.T, line string) { _, _ = parseStat(line) })
}
