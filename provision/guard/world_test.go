package guard

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgctl/pgctl"
)

const boot = "3f0d6c1e-boot"

func uptime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err)
	}
	return time.Duration(now.Nano())
}

func in(d time.Duration) pgctl.Instant { return pgctl.Instant{Boot: boot, Up: uptime() + d} }

// world is a file with its two sides.
type world struct {
	path   string
	daemon *Deadlines
	guard  *Guard
	said   strings.Builder
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{path: filepath.Join(t.TempDir(), "guard")}
	w.daemon = NewDeadlines(w.path, boot, uptime)
	t.Cleanup(func() { _ = w.daemon.Close() })
	w.start(t)
	return w
}

func (w *world) start(t *testing.T) {
	t.Helper()
	g, err := New(Options{Path: w.path, Boot: boot, Log: func(line []byte) { w.said.Write(append(line, '\n')) }})
	if err != nil {
		t.Fatal(err)
	}
	w.guard = g
	t.Cleanup(func() {
		if w.guard == g {
			g.close()
		}
	})
}

func (w *world) stop() {
	w.guard.close()
	w.guard = nil
}

func (w *world) turn(t *testing.T) {
	t.Helper()
	if err := w.guard.turn(); err != nil {
		t.Fatal(err)
	}
}

// fake is a process that looks like a postmaster at work in a directory, with children of all kinds.
type fake struct {
	Instance
	command *exec.Cmd
	family  []int
}

func startServer(t *testing.T, name string, life pgctl.Life) *fake {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(bin, "postgres")
	if out, err := exec.Command("cp", shell, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// A worker that leads a session of its own, whose child works elsewhere; and one that left its parent.
	script := "(cd / && exec setsid sh -c 'sleep 1000 & echo $! >>" + bin + "/pids; wait') & echo $! >>" + bin + "/pids;" +
		program + " -c 'sleep 1001 & echo $! >>" + bin + "/pids' ; wait"
	s := &fake{command: exec.Command(program, "-c", script)}
	s.command.Dir, s.command.SysProcAttr = dir, &unix.SysProcAttr{Setsid: true}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = s.command.Wait(); close(ended) }()
	t.Cleanup(func() {
		for _, pid := range s.family {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		<-ended
	})
	pid := s.command.Process.Pid
	s.family = []int{pid}
	until(t, "its children", func() bool {
		text, _ := os.ReadFile(bin + "/pids")
		return len(strings.Fields(string(text))) == 3
	})
	text, err := os.ReadFile(bin + "/pids")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		s.family = append(s.family, child)
	}
	s.Instance = Instance{Name: name, Cluster: "shop", Life: life, Directory: dir, Postmaster: pid, Started: startOf(t, pid)}
	return s
}

func startOf(t *testing.T, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	p, ok := parseStat(text)
	if err != nil || !ok {
		t.Fatal(err, string(text))
	}
	return p.started
}

// living counts those that run; what ended may wait for its parent.
func (s *fake) living() (n int) {
	for _, pid := range s.family {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if p, ok := parseStat(text); err == nil && ok && !p.dead {
			n++
		}
	}
	return n
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// killed turns the guard until the server is gone.
func (w *world) killed(t *testing.T, s *fake) {
	t.Helper()
	until(t, s.Name+" is killed", func() bool {
		w.turn(t)
		return s.living() == 0
	})
}

func (w *world) arm(t *testing.T, s *fake, left time.Duration) {
	t.Helper()
	if err := w.daemon.Arm(s.Instance, 3, in(left)); err != nil {
		t.Fatal(err)
	}
}
