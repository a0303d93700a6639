package node

import (
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// TestAFalseFailoverIsRemembered: the leader's host was cut off and served on all the time; from then on it
// takes a longer silence to depose a leader there, and an event says so.
func TestAFalseFailoverIsRemembered(t *testing.T) {
	in := install(t)
	in.hear(0, ha.Report{Primary: true, Open: true})
	for range 20 {
		in.node.Observer.tick(in.node.Observer.heard.Clock() + ha.Tick)
	}
	in.group.mu.Lock()
	in.group.now.leadership.Epoch, in.group.now.leadership.Leader = 2, "bbbbbbbb"
	in.group.mu.Unlock()
	in.beat += 7
	in.hear(0, ha.Report{Primary: true, Open: true})
	in.c.learn(t.Context(), hostGroup{in.group}.State())
	in.c.working.Wait()
	host, _ := in.group.State().Host("one")
	if host.Detect != 3*time.Second {
		t.Errorf("%s of silence mean failure", host.Detect)
	}
	v := in.c.view(in.group.State(), in.group.now.cluster, in.group.now.leadership, ha.NewMemory(0))
	if m := find(v.Members, pgctl.Life("aaaaaaaa")); m.Detect != 3*time.Second {
		t.Errorf("decisions are made with %s", m.Detect)
	}
}
