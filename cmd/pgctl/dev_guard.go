package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pgctl/pgctl/provision/process"
)

func (h devHost) guardPIDFile() string { return filepath.Join(h.Dir, "guard.pid") }

// guard is the process of the host's guard, if it runs.
func (h devHost) guard() (devProcess, bool) { return runningProcess(h.guardPIDFile()) }

// runningProcess reads which process was started, and whether it still runs.
func runningProcess(pidFile string) (devProcess, bool) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return devProcess{}, false
	}
	var id devProcess
	if json.Unmarshal(text, &id) != nil || id.PID <= 0 || !id.alive() {
		return devProcess{}, false
	}
	return id, true
}

// launch starts a program that goes on running when we end, and notes its process.
func (h devHost) launch(command []string, pidFile string) error {
	pid, started, err := process.Local{}.Start(command[0], command[1:], os.Environ(), h.Dir, h.log(), nil)
	if err != nil {
		return err
	}
	id := devProcess{PID: pid, Started: started}
	text, err := json.Marshal(id)
	if err == nil {
		err = os.WriteFile(pidFile, append(text, '\n'), 0o644)
	}
	if err != nil {
		return errors.Join(err, id.signal(syscall.SIGKILL)) // nobody would find it again
	}
	return nil
}

// startGuard starts the host's guard with the program that its daemon runs.
func (h devHost) startGuard(daemon []string) error {
	if _, runs := h.guard(); runs {
		return nil
	}
	return h.launch([]string{daemon[0], "guard", "--config", h.config()}, h.guardPIDFile())
}

// stopGuard ends it with the signal; it needs no time for that.
func (h devHost) stopGuard(ctx context.Context, signal syscall.Signal) error {
	id, runs := h.guard()
	if !runs {
		return nil
	}
	if err := endProcess(ctx, id, signal, devStopDaemon); err != nil {
		return fmt.Errorf("stop the guard of %s: %w", h.Name, err)
	}
	return nil
}
