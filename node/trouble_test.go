package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// stubborn is a server that cannot be started for as long as something is in the way.
type stubborn struct {
	fake
	inTheWay string
	tries    int
}

func (s *stubborn) Do(ctx context.Context, task Task) error {
	if task.Do == ha.Confirm {
		<-ctx.Done() // nobody acknowledges here
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	switch {
	case task.Do != ha.Start:
		return nil
	case s.inTheWay != "":
		return fmt.Errorf("process %d ended: %s", s.tries, s.inTheWay)
	}
	s.seen.State, s.seen.Primary = ha.Running, true
	return nil
}

func (s *stubborn) set(inTheWay string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inTheWay = inTheWay
}

// TestAnInstanceThatDoesNotStartIsAnEvent: one for each reason, not one for each attempt, and one when it
// is over. A start that is only late is none.
func TestAnInstanceThatDoesNotStartIsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, begun := install(t), time.Now()
		server := &stubborn{fake: fake{seen: Observed{Server: ha.Server{
			Directory: ha.ReadyDirectory, State: ha.Down, Slots: []string{"pgctl_bbbbbbbb", "pgctl_cccccccc"},
		}}}, inTheWay: "port in use"}
		var mu sync.Mutex
		var told []string
		n := in.node
		n.Clock = func() time.Duration { return boot + time.Since(begun) }
		n.Note = func(e pgctl.Event) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, string(e.Severity)+" "+e.Kind+" "+e.Message)
		}
		n.NewServer = func(pgctl.Instance, pgctl.Cluster) (LocalServer, error) { return server, nil }
		ctx, cancel := context.WithCancel(t.Context())
		defer n.stopAgents()
		defer cancel()
		n.Store = hostGroup{in.group}
		n.employ(ctx, in.group.now.instances[0], n.Store.State())
		expect := func(after time.Duration, want ...string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(told) != len(want) {
				t.Fatalf("%d events instead of %d: %q", len(told), len(want), told)
			}
			for i := range want {
				if !strings.Contains(told[i], want[i]) {
					t.Errorf("says %q, not %q", told[i], want[i])
				}
			}
		}
		expect(1500 * time.Millisecond)
		expect(time.Minute, "error step.failed shop-0 cannot start, which is tried again and again: process")
		server.set("disk full")
		expect(time.Minute, "port in use", "disk full")
		server.set("")
		expect(5*time.Second, "port in use", "disk full", "info step.succeeded shop-0 could start after")
	})
}
