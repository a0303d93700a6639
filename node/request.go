package node

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// request is an operator's wish that waits for the controller.
type request struct {
	ask        ha.Request
	answer     chan error
	unattended bool // nobody waits for the answer: a refusal is an event
}

// Wish is a Request as it travels between daemons: instances by name.
type Wish struct {
	Cluster  string `json:"cluster"`
	To       string `json:"to,omitempty"`
	Failover bool   `json:"failover,omitempty"`
	Lossy    bool   `json:"lossy,omitempty"`
	OldDead  bool   `json:"oldDead,omitempty"`
}

const requestTimeout = 15 * time.Second

// Ask hands an operator's wish to the controller and waits until it was taken up or refused. It works
// on the Raft leader only; elsewhere it fails with pgctl.CodeUnavailable.
func (n *Node) Ask(ctx context.Context, w Wish) error {
	if err := n.leads(); err != nil {
		return err
	}
	state := n.Store.State()
	r := &request{ask: ha.Request{Failover: w.Failover, Lossy: w.Lossy, OldDead: w.OldDead}, answer: make(chan error, 1)}
	l, led := state.Leadership(w.Cluster)
	if !led {
		return pgctl.Errorf(pgctl.CodeNotFound, "there is no cluster %q with a leadership", w.Cluster)
	}
	for i := range state.Instances(w.Cluster) {
		if i.Name == w.To {
			r.ask.To = i.Life
		}
	}
	if w.To != "" && r.ask.To == "" {
		return pgctl.Errorf(pgctl.CodeNotFound, "cluster %s has no instance %q", w.Cluster, w.To).At("to")
	}
	if !w.Failover {
		n.checkpoint(ctx, l, slices.Collect(state.Instances(w.Cluster)))
	}
	return n.submit(ctx, w.Cluster, r)
}

// leads refuses what only the Raft leader may answer. It comes before any look at the state: that of a server
// that has just started is an old one, or empty, and others may still take it for the leader that it was.
func (n *Node) leads() error {
	if n.Quorum == nil || !n.Quorum.IsLeader() {
		return pgctl.Errorf(pgctl.CodeUnavailable, "this daemon does not lead the Raft group")
	}
	return nil
}

// checkpoint makes the leader's stop for a switchover short.
func (n *Node) checkpoint(ctx context.Context, l pgctl.Leadership, instances []pgctl.Instance) {
	for _, i := range instances {
		host, known := n.Store.State().Host(i.Host)
		if i.Life != l.Leader || !known {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, requestTimeout)
		if err := n.Peers.Call(bounded, host.API, "checkpoint", i.Name, nil); err != nil {
			n.Log.Info("the leader did not make a checkpoint before the switchover", "error", err)
		}
		cancel()
	}
}

// submit hands a request to the controller and waits until it was taken up or refused.
func (n *Node) submit(ctx context.Context, cluster string, r *request) error {
	if err := n.leads(); err != nil {
		return err
	}
	n.mu.Lock()
	if n.requests[cluster] != nil {
		n.mu.Unlock()
		return pgctl.Errorf(pgctl.CodeConflict, "another order about %s is being taken up", cluster).WithHint("try again")
	}
	n.requests[cluster] = r
	n.mu.Unlock()
	poke(n.ticks)
	return n.await(ctx, cluster, r)
}

func (n *Node) await(ctx context.Context, cluster string, r *request) error {
	timer := time.NewTimer(requestTimeout)
	defer timer.Stop()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.requests[cluster] == r {
			delete(n.requests, cluster)
		}
	}()
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return pgctl.Errorf(pgctl.CodeUnavailable, "the change of leadership could not be started within %s", requestTimeout).
			WithHint("pgctl status %s says what is in the way", cluster)
	}
}

func (n *Node) serveRequest(ctx context.Context, _ string, body json.RawMessage) (any, error) {
	var w Wish
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable request: %v", err)
	}
	return struct{}{}, n.Ask(ctx, w)
}

func (n *Node) requestOf(cluster string) *ha.Request {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.requests[cluster]; r != nil {
		ask := r.ask
		return &ask
	}
	return nil
}

// requested are the clusters that an operator asked something of.
func (n *Node) requested() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.requests))
}

// answerRequest tells whoever asked what became of it.
func (n *Node) answerRequest(cluster string, d ha.Decision) {
	if d.Answer == nil && !d.Done {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.requests[cluster]
	if r == nil {
		return
	}
	delete(n.requests, cluster)
	if d.Answer != nil && r.unattended {
		n.Log.Warn("what was scheduled is refused", "cluster", cluster, "error", d.Answer)
		n.refused[cluster] = d.Answer
	}
	if d.Answer != nil {
		r.answer <- d.Answer
		return
	}
	r.answer <- nil
}

// refuseRequests ends the wait of whoever asked a daemon that decides no longer.
func (n *Node) refuseRequests() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for cluster, r := range n.requests {
		r.answer <- pgctl.Errorf(pgctl.CodeUnavailable, "the Raft group has another leader now").WithHint("try again")
		delete(n.requests, cluster)
	}
}
