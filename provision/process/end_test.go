package process

import (
	"context"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// The end of a process is seen when it comes, by whoever waits; a wait that is given up ends too.
func TestAwaitEnd(t *testing.T) {
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Wait() }()
	s, err := read(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	given, giveUp := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer giveUp()
	if (Local{}).AwaitEnd(given, s.pid, s.started) {
		t.Fatal("a process that runs seems to have ended")
	}
	ended := make(chan bool, 1)
	go func() { ended <- Local{}.AwaitEnd(t.Context(), s.pid, s.started) }()
	if err := syscall.Kill(s.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !<-ended {
		t.Error("its end was not seen")
	}
	_ = c.Wait()
	if !(Local{}).AwaitEnd(t.Context(), s.pid, s.started) {
		t.Error("a process that is gone is waited for")
	}
}
