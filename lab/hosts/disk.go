package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

const diskSize = 2 << 30 // of a sparse file

// From linux/fs.h; x/sys has no names for them.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

func (h Host) disk() string   { return h.file("disk") }
func (h Host) filler() string { return h.disk() + "/.filler" }

// makeDisk makes a host's file system in a file.
func (h Host) makeDisk(ctx context.Context) error {
	image := h.file("disk.img")
	file, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Truncate(diskSize), file.Close()); err != nil {
		return err
	}
	_, err = run(ctx, "mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", image)
	return err
}

// FillDisk leaves no block free on a host's disk.
func (l *Lab) FillDisk(h Host) error {
	file, err := os.OpenFile(h.filler(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	var size int64
	// Ever smaller pieces, so that the last free block is found.
	for piece := int64(64 << 20); piece >= 4<<10; {
		switch err := unix.Fallocate(int(file.Fd()), 0, size, piece); {
		case err == nil:
			size += piece
		case errors.Is(err, unix.ENOSPC):
			piece /= 4
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("fill %s: %w", h.disk(), err)
		}
	}
	return nil
}

// FreeDisk takes away what FillDisk wrote.
func (l *Lab) FreeDisk(h Host) error {
	if err := os.Remove(h.filler()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// StallDisk lets every write to a host's disk wait until FlowDisk.
func (l *Lab) StallDisk(h Host) error { return h.freezer(fiFreeze) }

// FlowDisk ends a stall.
func (l *Lab) FlowDisk(h Host) error { return h.freezer(fiThaw) }

// unstall ends a stall if there is one.
func (l *Lab) unstall(h Host) error {
	if err := h.freezer(fiThaw); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

func (h Host) freezer(request uint) error {
	dir, err := os.Open(h.disk())
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.IoctlSetInt(int(dir.Fd()), request, 0); err != nil {
		return fmt.Errorf("%s: %w", h.disk(), err)
	}
	return nil
}
