package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A process whose title is a startup process's, which reads in its directory, is seen to move.
func TestProgress(t *testing.T) {
	dir := t.TempDir()
	program, err := os.ReadFile("/bin/dd")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "postgres"), program, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(dir, "postgres"), "if=/dev/zero", "of=/dev/null", "bs=4k")
	c.Args[0], c.Dir = "postgres: shop-0: startup recovering", dir
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Signal(os.Kill); _ = c.Wait() }()
	var first uint64
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		now := (Local{}).Progress(dir)
		if first > 0 && now > first {
			break
		}
		first = max(first, now)
		if time.Now().After(deadline) {
			t.Fatalf("no progress seen: %d", now)
		}
	}
	if other := (Local{}).Progress(t.TempDir()); other != 0 {
		t.Errorf("another directory shows %d", other)
	}
}
