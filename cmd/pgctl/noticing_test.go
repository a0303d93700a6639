package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
)

// TestClosingMeetsEveryConnection: a client that connected before the closing and says nothing would be let
// in by the older pg_hba.conf whenever it speaks; others that come again and again must not stretch it.
func TestClosingMeetsEveryConnection(t *testing.T) {
	b := newBench(t)
	s := b.started(false)
	if err := s.assume(b.ctx, func(p *posture) { p.Open = true }); err != nil {
		t.Fatal(err)
	}
	if err := s.pg.AwaitRead(b.ctx); err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(b.task.Cluster.Port))
	silent, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	stop := make(chan struct{})
	var pressing sync.WaitGroup
	defer pressing.Wait()
	defer close(stop)
	for range 3 {
		pressing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
					_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
					_, _ = conn.Read(make([]byte, 1))
					_ = conn.Close()
				}
			}
		})
	}
	if err := s.shut(b.ctx); err != nil {
		t.Fatalf("the closing did not end: %v", err)
	}
	_ = silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that is older than the closing lives: %v", err)
	}
}

// TestAFrozenPostmasterIsNoLife: new sessions hang, which the agent's own one does not show.
func TestAFrozenPostmasterIsNoLife(t *testing.T) {
	b := newBench(t)
	s := b.started(false)
	if err := s.Prove(b.ctx); err != nil {
		t.Fatal(err)
	}
	seen, err := s.pg.Observe(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(seen.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err = s.Prove(b.ctx)
	if again := syscall.Kill(seen.PID, syscall.SIGCONT); again != nil {
		t.Fatal(again)
	}
	if !errors.Is(err, node.ErrFrozen) {
		t.Errorf("its proof: %v", err)
	}
	b.eventually("it lives again, and does not prove it", func() bool { return s.Prove(b.ctx) == nil })
}

// TestWhoStreamsUnderAMembersNameIsExpelled: a backup tool that took the name of a member acknowledges what
// that member never had.
func TestWhoStreamsUnderAMembersNameIsExpelled(t *testing.T) {
	tool := filepath.Join("/usr/lib/postgresql", "15", "bin", "pg_receivewal")
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is not installed", tool)
	}
	b := newBench(t)
	var mu sync.Mutex
	var told []string
	b.around.note = func(e pgctl.Event) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, e.Kind+" "+e.Message)
	}
	s := b.started(false)
	name := pgctl.Life("bbbbbbbb").MemberName(1)
	impostor := exec.CommandContext(b.ctx, tool, "--no-loop", "-D", t.TempDir(), "-d", fmt.Sprintf(
		"host=127.0.0.1 port=%d user=pgctl_replication password=secret application_name=%s sslmode=require", b.task.Cluster.Port, name))
	if err := impostor.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- impostor.Wait() }()
	b.eventually("it streams on", func() bool {
		if err := s.expel(b.ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	mu.Lock()
	defer mu.Unlock()
	if text := strings.Join(told, "\n"); !strings.Contains(text, "sender.expelled") || !strings.Contains(text, name) {
		t.Errorf("told: %s", text)
	}
}
