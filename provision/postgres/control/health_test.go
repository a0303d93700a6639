package control

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A probe that only writes over what it wrote before finds room on a full disk.
func TestTheProbeNoticesAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	probe, filler := filepath.Join(dir, "probe"), filepath.Join(dir, "filler")
	for range 2 {
		if err := touch(probe); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filler, make([]byte, 256<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	for range 2 {
		if err := touch(probe); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("on a full disk: %v", err)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := touch(probe); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
