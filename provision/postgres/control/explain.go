package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pgctl/pgctl"
)

// explain adds what to do about an error whose cause lies in the instance's surroundings: nil for nil.
// Programs of PostgreSQL tell only by their messages.
func (i *Instance) explain(err error) error {
	if err == nil {
		return nil
	}
	if hint := i.hint(err); hint != "" {
		return fmt.Errorf("%w (%s)", err, hint)
	}
	return err
}

func (i *Instance) hint(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "Address already in use"):
		return fmt.Sprintf("another program has port %d: find it with ss -ltnp 'sport = :%d' and end it", i.Port, i.Port)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), strings.Contains(text, syscall.ENOSPC.Error()),
		strings.Contains(text, "No space left on device"):
		return "make room on the file system of " + i.Data
	case errors.Is(err, syscall.EROFS), strings.Contains(text, "Read-only file system"):
		return "the file system of " + i.Data + " is read-only: look at the kernel's messages"
	case errors.Is(err, fs.ErrPermission), strings.Contains(text, "Permission denied"):
		return fmt.Sprintf("%s and all folders above must let the user %s pass, and what is in %s must be its own", i.Data, i.owner(), i.Folder())
	}
	return ""
}

// owner is the user that runs Postgres, for people.
func (i *Instance) owner() string {
	if i.as != nil {
		return i.OSUser
	}
	return fmt.Sprintf("with the id %d", i.uid)
}

// program is the path of a program of the installation; CodeUnavailable when it is gone.
func (i *Instance) program(name string) (string, error) {
	path := filepath.Join(i.Version.Bin, name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", pgctl.Errorf(pgctl.CodeUnavailable, "the program %s is gone", path).
			WithHint("install PostgreSQL %d again, or name its folder in postgres_paths", i.Version.Major)
	}
	return path, nil
}

// Ended is the error of a server that ended while it started: with its last words, and what to do.
func (i *Instance) Ended() error {
	ended := pgctl.Errorf(pgctl.CodeUnavailable, "%s ended while it started: %s", i.Name, i.lastWords())
	hint := i.hint(ended)
	if hint == "" {
		hint = "more is in " + i.ServerLog()
	}
	return ended.WithHint("%s", hint)
}
