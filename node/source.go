package node

import (
	"context"
	"encoding/json"
	"net"
	"strconv"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// fetch is one question to the leader's agent under way.
type fetch struct {
	answer chan *ha.Source
	next   time.Duration // on the node's clock: not before
}

const (
	sourceTimeout = 2 * time.Second
	sourceRetry   = 20 * time.Millisecond
	sourceAgain   = time.Second // while nothing comes from a leader that said everything

	sourcePatience = sourceTimeout / 2 // who asks early is answered at the end of the promotion
	sourceLook     = 2 * time.Millisecond
)

// fetchSource asks the leader of this epoch about its data when that is needed.
func (a *agent) fetchSource(v *ha.InstanceView, hosts map[string]pgctl.Host) {
	ask, void := a.source.Look(v)
	if void {
		a.waits = fetch{}
	}
	switch {
	case !ask:
	case a.waits.answer != nil:
		select {
		case source := <-a.waits.answer:
			a.waits = fetch{next: a.node.Clock() + sourceRetry}
			if source != nil && source.Checkpoint == source.Timeline {
				a.waits.next += sourceAgain
			}
			a.source.Take(v, source)
		default:
		}
	case a.node.Clock() >= a.waits.next:
		a.askSource(v, hosts)
	}
}

func (a *agent) askSource(v *ha.InstanceView, hosts map[string]pgctl.Host) {
	for _, m := range v.Members {
		host, known := hosts[m.Host]
		if m.Life != v.Leadership.Leader || !known {
			continue
		}
		answer := make(chan *ha.Source, 1)
		a.waits.answer = answer
		ask := map[string]any{"Instance": m.Name, "Epoch": v.Leadership.Epoch}
		a.calls.Go(func() {
			ctx, cancel := context.WithTimeout(a.running, sourceTimeout)
			defer cancel()
			var source ha.Source
			if err := a.node.Peers.Call(ctx, host.API, "source", ask, &source); err != nil {
				a.log.Debug("the leader does not say where it is", "leader", m.Name, "error", err)
				answer <- nil
				return
			}
			answer <- &source
			poke(a.wake)
		})
	}
}

// asSource answers with what this instance holds, if it leads that epoch and its data can be followed.
func (a *agent) asSource(ctx context.Context, epoch pgctl.Epoch) (ha.Source, error) {
	var o Observed
	for deadline := a.node.Clock() + sourcePatience; ; {
		l, _ := a.node.Store.State().Leadership(a.self.Cluster)
		a.mu.Lock()
		o = a.observed
		a.mu.Unlock()
		if ha.Followable(l, a.self.Life, epoch, o) {
			break
		}
		if l.Epoch > epoch || a.node.Clock() > deadline || !pause(ctx, sourceLook, nil) {
			return ha.Source{}, pgctl.Errorf(pgctl.CodeConflict, "%s is not ready to be followed in epoch %d", a.self.Name, epoch)
		}
	}
	state := a.node.Store.State()
	cluster, _ := state.Cluster(a.self.Cluster)
	host, _ := state.Host(a.self.Host)
	// The end is that of the last look, at most a moment old: whoever asks has stopped receiving before
	// it asked, and what it received was flushed here earlier. So look again if it may be older.
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	o = a.server.Observe(ctx)
	if o.State != ha.Running || !o.Primary {
		return ha.Source{}, pgctl.Errorf(pgctl.CodeUnavailable, "%s does not answer", a.self.Name)
	}
	var streaming []pgctl.Life
	for _, s := range o.Senders {
		if s.Epoch == epoch && s.Streaming {
			streaming = append(streaming, s.Life)
		}
	}
	return ha.Source{
		Streaming: streaming,
		Life:      a.self.Life, Epoch: epoch, SystemID: o.Local.SystemID, Timeline: o.End.Timeline, History: o.History,
		End: o.End.LSN, Oldest: o.Oldest, Checkpoint: o.Checkpoint, Address: host.Address, Port: cluster.Port,
	}, nil
}

// serveCheckpoint makes the leader's stop for a switchover short.
func (n *Node) serveCheckpoint(ctx context.Context, _ string, body json.RawMessage) (any, error) {
	return n.doAt(ctx, body, ha.Checkpoint)
}

// doAt carries a step out on an instance of this host that needs no decision.
func (n *Node) doAt(ctx context.Context, body json.RawMessage, do ha.Action) (any, error) {
	var name string
	if err := json.Unmarshal(body, &name); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable request: %v", err)
	}
	n.mu.Lock()
	a := n.agents[name]
	n.mu.Unlock()
	if a == nil {
		return nil, pgctl.Errorf(pgctl.CodeNotFound, "no instance %s here", name)
	}
	return struct{}{}, a.server.Do(ctx, Task{Step: ha.Step{Do: do}})
}

// probeLeader looks at the leader as a member does, when a server asked for it.
func (a *agent) probeLeader(ctx context.Context) {
	state := a.node.Store.State()
	l, _ := state.Leadership(a.self.Cluster)
	cluster, _ := state.Cluster(a.self.Cluster)
	for m := range state.Instances(a.self.Cluster) {
		host, known := state.Host(m.Host)
		if m.Life != l.Leader || m.Life == a.self.Life || !known {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, lookTimeout)
		p := a.server.ProbeLeader(bounded, host.Address, cluster.Port)
		cancel()
		p.Leader, p.Epoch = l.Leader, l.Epoch
		a.mu.Lock()
		a.probe, a.probed = &p, a.node.Clock()
		a.mu.Unlock()
		a.log.Info("probed the leader", "at", net.JoinHostPort(host.Address, strconv.Itoa(cluster.Port)),
			"progress", p.Progress, "answered", p.Answered, "refused", p.Refused)
		poke(a.node.wake)
	}
}
