// Package apitest is an installation in memory behind the real handlers, for tests of the API, its client
// and the command line: the replicated state, Postgres and the servers are simple fakes, everything from
// the handlers on is real.
package apitest

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/server"
)

// Facts are what an installation consists of at one moment.
type Facts struct {
	Clusters    map[string]*pgctl.Cluster
	Leaderships map[string]*pgctl.Leadership
	Instances   []*pgctl.Instance
	Hosts       []*pgctl.Host
	Events      []pgctl.Event
	Settings    map[string]Value
	At          uint64 // index of the last change
}

// Value is one setting.
type Value struct {
	Text     json.RawMessage
	Revision uint64
}

// World is an installation.
type World struct {
	mu      sync.Mutex
	facts   Facts
	changed chan struct{} // closed and replaced with every change
	live    []api.Live
	heard   map[string]time.Duration
	secrets map[string]string // "cluster/user" → password
	fail    error             // what every consistent read and every write answers, if set
}

// Date is that of everything that happens in a world.
var Date = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// New is a world with three hosts and one healthy cluster, shop.
func New() *World {
	w := &World{
		changed: make(chan struct{}), heard: map[string]time.Duration{}, secrets: map[string]string{"shop/app": "s3cret"},
		facts: Facts{
			Clusters: map[string]*pgctl.Cluster{}, Leaderships: map[string]*pgctl.Leadership{}, At: 7,
			Settings: map[string]Value{"defaults": {Text: json.RawMessage(`{"version":15}`), Revision: 5}},
		},
	}
	for n, name := range []string{"db1", "db2", "db3"} {
		w.facts.Hosts = append(w.facts.Hosts, &pgctl.Host{
			Name: name, DataCenter: string(rune('a' + n)), Address: "10.0.0.1" + string(rune('1'+n)), Server: true,
			API: "10.0.0.1" + string(rune('1'+n)) + ":7432", Version: "1.0", Revision: 1,
			Postgres: []pgctl.PostgresVersion{{Major: 15, Version: "15.18", Bin: "/usr/lib/postgresql/15/bin"}},
		})
		w.heard[name] = 100 * time.Millisecond
	}
	w.Add("shop", 5432)
	w.facts.Events = []pgctl.Event{
		{Index: 3, Seq: 0, At: Date, Severity: pgctl.Info, Cluster: "shop", Kind: "cluster.created", Message: "declared"},
		{
			Index: 5, Seq: 0, At: Date, Severity: pgctl.Info, Cluster: "shop", Instance: "shop-1", Epoch: 1,
			Kind: "leader.steady", Message: "leads",
		},
		{Index: 5, Seq: 1, At: Date, Severity: pgctl.Warning, Host: "db3", Kind: "host.slow", Message: "disk is slow"},
	}
	return w
}

// Add puts a healthy cluster with an instance on every host into the world.
func (w *World) Add(name string, port int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.facts.Clusters[name] = &pgctl.Cluster{
		Name: name, Team: "acme", Port: port, Revision: 3,
		Spec: pgctl.ClusterSpec{
			Version: 15, Instances: 3, Parameters: map[string]string{"work_mem": "8MB"},
			Users: map[string][]string{"app": nil}, Databases: map[string]string{"orders": "app"},
			Durability: pgctl.Durability{Mode: pgctl.Quorum},
		},
	}
	var lives []pgctl.Life
	for n, host := range w.facts.Hosts {
		life := pgctl.Life((name + "aaaaaaaa")[:7] + string(rune('1'+n)))
		lives = append(lives, life)
		instance := &pgctl.Instance{
			Name: name + "-" + string(rune('1'+n)), Cluster: name, Ordinal: n + 1, Host: host.Name, Life: life,
			Wanted: pgctl.WantRunning, Revision: 4,
		}
		w.facts.Instances = append(w.facts.Instances, instance)
		lag := int64(n * 512)
		live := api.Live{
			Instance: instance.Name, Host: host.Name, Life: life, Role: api.RoleStandby, State: api.StateRunning, Open: true,
			Timeline: 1, LSN: 0x3000060, LagBytes: &lag, Streaming: true, Applied: 3, AgeMs: 120,
		}
		if n == 0 {
			live.Role, live.Streaming, live.LagBytes = api.RolePrimary, false, nil
		}
		w.live = append(w.live, live)
	}
	w.facts.Leaderships[name] = &pgctl.Leadership{
		Cluster: name, Mode: pgctl.Quorum, Epoch: 1, SteadyEpoch: 1, Phase: pgctl.Steady, Leader: lives[0], Serving: true,
		Rule: pgctl.Rule{Leader: lives[0], Standbys: lives[1:], Acks: 1, Version: 2}, SystemID: "7300000000000000001",
		Revision: 5,
	}
}

// Change changes the facts, as a committed command would; it returns the new index.
func (w *World) Change(change func(*Facts)) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.facts.copy()
	next.At++
	change(&next)
	w.facts = next
	close(w.changed)
	w.changed = make(chan struct{})
	return next.At
}

// copy lets pictures that were taken stay as they are.
func (f *Facts) copy() Facts {
	next := *f
	next.Clusters, next.Leaderships = maps.Clone(f.Clusters), maps.Clone(f.Leaderships)
	for name, l := range next.Leaderships {
		clone := *l
		next.Leaderships[name] = &clone
	}
	next.Settings = maps.Clone(f.Settings)
	next.Instances, next.Events = slices.Clone(f.Instances), slices.Clone(f.Events)
	return next
}

// Beat changes what heartbeats say.
func (w *World) Beat(change func(live []api.Live, heard map[string]time.Duration)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live, w.heard = slices.Clone(w.live), maps.Clone(w.heard)
	change(w.live, w.heard)
}

// Deaf takes all heartbeats away, as on a daemon that is no server.
func (w *World) Deaf() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live, w.heard = nil, nil
}

// Fail makes every consistent read and every write fail; nil ends it.
func (w *World) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// Options hands the world to the handlers.
func (w *World) Options() server.Options {
	return server.Options{
		Host: "db1", Version: "1.0", Log: slog.New(slog.DiscardHandler), Allows: w.allows,
		State: w, Waiter: w, Clusters: w, Settings: w, Manifests: w, Operator: w, Passwords: w, Live: w, Servers: w,
		Snapshots: w,
	}
}

// allows goes by the name in the certificate: "reader" may read, everybody else everything.
func (w *World) allows(c *x509.Certificate, access server.Access) bool {
	return c.Subject.CommonName != "reader" || access <= server.AccessRead
}

// Changed implements server.Reader.
func (w *World) Changed(string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.facts.At
}

// Index implements server.Reader.
func (w *World) Index() (uint64, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.facts.At, 40 * time.Millisecond
}

// State implements server.Reader.
func (w *World) State(_ context.Context, consistent bool) (server.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if consistent && w.fail != nil {
		return nil, w.fail
	}
	return &picture{Facts: w.facts, consistent: consistent}, nil
}

// Wait implements server.Waiter.
func (w *World) Wait(ctx context.Context, _ string, index uint64) error {
	for {
		w.mu.Lock()
		at, changed := w.facts.At, w.changed
		w.mu.Unlock()
		if at > index {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// picture implements server.State.
type picture struct {
	Facts
	consistent bool
}

// Index of the picture.
func (p *picture) Index() (uint64, time.Duration) {
	if p.consistent {
		return p.At, 0
	}
	return p.At, 40 * time.Millisecond
}

// Cluster finds one.
func (p *picture) Cluster(name string) (*pgctl.Cluster, bool) {
	c, ok := p.Facts.Clusters[name]
	return c, ok
}

// Clusters by name.
func (p *picture) Clusters() iter.Seq[*pgctl.Cluster] {
	return slices.Values(slices.SortedFunc(maps.Values(p.Facts.Clusters), func(a, b *pgctl.Cluster) int {
		return cmp.Compare(a.Name, b.Name)
	}))
}

// Leadership of a cluster.
func (p *picture) Leadership(cluster string) (*pgctl.Leadership, bool) {
	l, ok := p.Leaderships[cluster]
	return l, ok
}

// Instances of a cluster, or all.
func (p *picture) Instances(cluster string) []*pgctl.Instance {
	var out []*pgctl.Instance
	for _, i := range p.Facts.Instances {
		if cluster == "" || i.Cluster == cluster {
			out = append(out, i)
		}
	}
	return out
}

// Hosts by name.
func (p *picture) Hosts() []*pgctl.Host { return p.Facts.Hosts }

// Host finds one.
func (p *picture) Host(name string) (*pgctl.Host, bool) {
	for _, h := range p.Facts.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return nil, false
}

// Events as server.Records says.
func (p *picture) Events(after uint64, cluster string, limit int) []pgctl.Event {
	var out []pgctl.Event
	for _, e := range p.Facts.Events {
		if e.Index > after && (cluster == "" || e.Cluster == cluster) {
			out = append(out, e)
		}
	}
	if after == 0 && len(out) > limit {
		return out[len(out)-limit:]
	}
	for n := limit; n < len(out); n++ {
		if out[n].Index != out[n-1].Index {
			return out[:n]
		}
	}
	return out
}

// Settings are all values.
func (p *picture) Settings() []api.SettingEntry {
	all := []api.SettingEntry{}
	for _, key := range slices.Sorted(maps.Keys(p.Facts.Settings)) {
		all = append(all, api.SettingEntry{Key: key, Value: p.Facts.Settings[key].Text, Revision: p.Facts.Settings[key].Revision})
	}
	return all
}

// Setting finds a value.
func (p *picture) Setting(key string) ([]byte, uint64, bool) {
	v, ok := p.Facts.Settings[key]
	return v.Text, v.Revision, ok
}
