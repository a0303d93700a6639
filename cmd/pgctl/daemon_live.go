package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/ha"
)

// Heartbeats go to servers. An agent that is asked how things are asks a server.
const (
	relayPatience = 300 * time.Millisecond // for the first answer of any server
	relayFresh    = ha.Heartbeat           // an answer, also that nobody answers, is good for so long
)

// relay is what heartbeats told this daemon or, on an agent, one of the servers.
type relay struct {
	*daemon
	mu   sync.Mutex
	told map[string]*heardOf // by cluster; "" when only hosts were asked for
}

// heardOf is a server's answer.
type heardOf struct {
	Hosts     map[string]time.Duration `json:"hosts"`
	Instances []api.Live               `json:"instances"`

	mu sync.Mutex    // held while servers are asked
	at time.Duration // when they were; 0: never
}

// Hosts are the silences of those that were heard.
func (r *relay) Hosts() map[string]time.Duration {
	if r.config.Cluster.Server {
		return r.node.Observer.Hosts()
	}
	hosts, _ := r.ask("")
	return hosts
}

// Instances are the last words about a cluster's instances.
func (r *relay) Instances(cluster string) []api.Live {
	if r.config.Cluster.Server {
		return r.heard(cluster)
	}
	_, instances := r.ask(cluster)
	return instances
}

// serveLive tells an agent what this daemon heard.
func (r *relay) serveLive(_ context.Context, _ string, body json.RawMessage) (any, error) {
	var cluster string
	if err := json.Unmarshal(body, &cluster); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable request: %v", err)
	}
	if !r.config.Cluster.Server {
		return nil, pgctl.Errorf(pgctl.CodeUnavailable, "this daemon is no server")
	}
	return &heardOf{Hosts: r.node.Observer.Hosts(), Instances: r.heard(cluster)}, nil
}

// ask returns what the first server answers, or answered a moment ago; nothing when none does.
func (r *relay) ask(cluster string) (map[string]time.Duration, []api.Live) {
	r.mu.Lock()
	if len(r.told) > 1000 { // of clusters that nobody asks for any more
		clear(r.told)
	}
	h := r.told[cluster]
	if h == nil {
		h = &heardOf{}
		r.told[cluster] = h
	}
	r.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := bootTime(); h.at == 0 || now-h.at > relayFresh {
		h.Hosts, h.Instances = r.first(cluster)
		h.at = bootTime()
	}
	return h.Hosts, h.Instances
}

// first asks all servers at once, since those that are gone answer never.
func (r *relay) first(cluster string) (map[string]time.Duration, []api.Live) {
	ctx, cancel := context.WithTimeout(context.Background(), relayPatience)
	defer cancel()
	var asking sync.WaitGroup
	defer asking.Wait()
	answers := make(chan *heardOf)
	for host := range r.store.State().Hosts() {
		if !host.Server {
			continue
		}
		asking.Go(func() {
			answer := &heardOf{}
			if err := r.peers.Call(ctx, host.API, "live", cluster, answer); err != nil {
				return
			}
			select {
			case answers <- answer:
			case <-ctx.Done():
			}
		})
	}
	select {
	case answer := <-answers:
		cancel()
		return answer.Hosts, answer.Instances
	case <-ctx.Done():
		return nil, nil
	}
}

// heard are the last words about a cluster's instances that came here.
func (d *daemon) heard(cluster string) []api.Live {
	state := d.store.State()
	leadership, _ := state.Leadership(cluster)
	reports := d.node.Observer.Reports()
	end := pgctl.LSN(0)
	for _, heard := range reports {
		if heard.Report.Life == leadership.Leader && heard.Report.Primary {
			end = heard.Report.End.LSN
		}
	}
	var all []api.Live
	for i := range state.Instances(cluster) {
		if heard, ok := reports[i.Name]; ok && heard.Report.Life == i.Life {
			all = append(all, liveOf(heard, end))
		}
	}
	return all
}

func liveOf(heard node.Heard, leaderEnd pgctl.LSN) api.Live {
	r := heard.Report
	live := api.Live{
		Instance: r.Instance, Host: heard.Host, Life: r.Life, Open: r.Open, Timeline: r.End.Timeline, LSN: r.End.LSN,
		Streaming: r.Upstream != "", Problem: firstText(r.LifeLost, r.Failed), AgeMs: heard.Age.Milliseconds(),
		Pending: r.Pending, Restarted: r.Restarted, Applied: r.Applied, Armed: r.Armed, Unguarded: r.Unguarded,
	}
	switch r.State {
	case ha.Running:
		live.State, live.Role = api.StateRunning, api.RoleStandby
		if r.Primary {
			live.Role = api.RolePrimary
		}
	case ha.Starting:
		live.State, live.Doing = api.StateStarting, r.Detail
	case ha.Making:
		live.State, live.Doing = api.StateCreating, r.Detail
	case ha.Absent:
		live.State, live.Doing = api.StateStopped, "has no data yet"
	default:
		live.State = api.StateStopped
	}
	if live.Problem != "" && live.State == api.StateStopped {
		live.State = api.StateFailed
	}
	if !r.Primary && leaderEnd > 0 && r.End.LSN > 0 {
		lag := max(int64(leaderEnd)-int64(r.End.LSN), 0)
		live.LagBytes = &lag
	}
	return live
}
