package node

import (
	"context"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// fake is a local server that does what it is told; a rule is never confirmed.
type fake struct {
	mu   sync.Mutex
	seen Observed
	did  []ha.Action
}

func (f *fake) Observe(context.Context) Observed {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

func (f *fake) Do(ctx context.Context, task Task) error {
	f.mu.Lock()
	f.did = append(f.did, task.Do)
	if task.Do == ha.MakeSlots {
		f.seen.Slots = task.Slots
	}
	f.mu.Unlock()
	if task.Do == ha.Confirm {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *fake) Tend(context.Context, Task) error                  { return nil }
func (f *fake) Prove(context.Context) error                       { return nil }
func (f *fake) ProbeLeader(context.Context, string, int) ha.Probe { return ha.Probe{} }
func (f *fake) NoteListed(context.Context, pgctl.Life) error      { return nil }
func (f *fake) AwaitEnd(context.Context) bool                     { return false }
func (f *fake) Close() error                                      { return nil }
func (f *fake) count(do ha.Action) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(f.did), func(a ha.Action) bool { return a != do }))
}

func (p hostPicture) InstancesOf(host string) iter.Seq[pgctl.Instance] {
	return slices.Values(p.instances[:1])
}

// hostPicture is a picture in which this host carries the first instance.
type hostPicture struct{ picture }

type hostGroup struct{ *group }

func (g hostGroup) Wait(ctx context.Context, _ string, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

func (g hostGroup) State() State { return hostPicture{g.group.State().(picture)} }

// TestSlotsAreMadeWhileARuleIsConfirmed: a lost member is copied anew under a new life, and needs its
// slot on the leader before it can acknowledge; the strict leader waits for exactly that.
func TestSlotsAreMadeWhileARuleIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := install(t)
		server := &fake{seen: Observed{Server: ha.Server{
			Directory: ha.ReadyDirectory, State: ha.Running, Primary: true, Open: true, Slots: []string{"pgctl_bbbbbbbb", "pgctl_cccccccc"},
		}}}
		n := in.node
		n.NewServer = func(pgctl.Instance, pgctl.Cluster) (LocalServer, error) { return server, nil }
		ctx, cancel := context.WithCancel(t.Context())
		defer n.stopAgents()
		defer cancel()
		n.Store = hostGroup{in.group}
		n.employ(ctx, in.group.now.instances[0], n.Store.State())
		time.Sleep(time.Second)
		if server.count(ha.Confirm) == 0 || server.count(ha.MakeSlots) != 0 {
			t.Fatalf("did %v", server.did)
		}
		in.group.mu.Lock()
		in.group.now.instances[2].Life = "dddddddd"
		in.group.mu.Unlock()
		time.Sleep(time.Second)
		if server.count(ha.MakeSlots) != 1 || server.count(ha.Confirm) != 1 {
			t.Fatalf("the new life has no slot: did %v", server.did)
		}
	})
}

// TestAHostSpeaksWhileAFormerLifeIsStopped: that takes seconds, and its silence would be its other
// instances'.
func TestAHostSpeaksWhileAFormerLifeIsStopped(t *testing.T) {
	in := install(t)
	n := in.node
	opening, opened := make(chan struct{}), make(chan struct{})
	n.NewServer = func(pgctl.Instance, pgctl.Cluster) (LocalServer, error) {
		close(opening)
		<-opened
		return nil, pgctl.Errorf(pgctl.CodeUnavailable, "it does not stop")
	}
	var working sync.WaitGroup
	working.Go(func() { n.employ(t.Context(), in.group.now.instances[0], in.group.State()) })
	<-opening
	if !n.mu.TryLock() {
		t.Fatal("a heartbeat would wait")
	}
	n.mu.Unlock()
	close(opened)
	working.Wait()
}

// TestAGrantIsSaidOnce: the beats of a daemon that is started anew are counted from one again, so an old
// grant would fit one of them by number.
func TestAGrantIsSaidOnce(t *testing.T) {
	o, p := observer(), leased()
	o.hear("one", 7, []ha.Report{leaderWord()})
	o.granted(o.renewals(p), p)
	if a := o.answerTo("one"); a == nil || a.Granted != 7 {
		t.Fatalf("answered %+v", a)
	}
	if a := o.answerTo("one"); a != nil {
		t.Fatalf("said again: %+v", a)
	}
}

// TestAnotherClustersDataIsNotFollowed: the life was to found the cluster, and another one did.
func TestAnotherClustersDataIsNotFollowed(t *testing.T) {
	seen := Observed{Server: ha.Server{Directory: ha.ReadyDirectory, State: ha.Running}, Local: ha.Local{SystemID: "1"}}
	if why := ha.LifeLost(ha.InstanceView{Leadership: pgctl.Leadership{SystemID: "2"}}, seen, ""); why == "" {
		t.Error("it would be followed")
	}
	if why := ha.LifeLost(ha.InstanceView{Leadership: pgctl.Leadership{SystemID: "1"}}, seen, ""); why != "" {
		t.Error(why)
	}
}
