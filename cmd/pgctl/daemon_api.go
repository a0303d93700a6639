package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/server"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/pki"
	"github.com/pgctl/pgctl/raftstore"
)

// apiOptions gives the API what it needs of the daemon.
func (d *daemon) apiOptions() server.Options {
	a := apiDaemon{d}
	return server.Options{
		Host: d.config.Name, Version: version(), Log: d.log, Allows: allows,
		State: a, Waiter: a, Clusters: a, Settings: a, Manifests: a, Operator: a, Passwords: a, Live: d.relay, Servers: a, Snapshots: a,
	}
}

// allows says what the bearers of certificates may do: clients read, hosts change things, operators do
// everything.
func allows(c *x509.Certificate, access server.Access) bool {
	switch role := pki.RoleOf(c); {
	case role == pki.Operator:
		return true
	case role.Host():
		return access <= server.AccessChange
	case role == pki.Client:
		return access <= server.AccessRead
	}
	return false
}

// apiDaemon is the daemon as the API sees it.
type apiDaemon struct{ *daemon }

// Index is the newest one here, and how long ago it was known to be.
func (a apiDaemon) Index() (uint64, time.Duration) { return a.store.State().Index(), a.store.Age() }

// Changed is when what discovery says of a cluster may have changed last.
func (a apiDaemon) Changed(cluster string) uint64 {
	state := a.store.State()
	return max(state.Changed(raftstore.ClusterTopic(cluster)), state.Changed(raftstore.HostsTopic))
}

// State is a picture of now, or, consistent, of everything that was committed before the call.
func (a apiDaemon) State(ctx context.Context, consistent bool) (server.State, error) {
	if !a.current.Load() {
		return nil, pgctl.Errorf(pgctl.CodeUnavailable, "this daemon started a moment ago and has not caught up with the servers yet").
			WithHint("ask another one, or try again")
	}
	if !consistent {
		return apiState{a.store.State(), a.store.Age()}, nil
	}
	if err := a.store.Linearize(ctx); err != nil {
		return nil, err
	}
	return apiState{a.store.State(), 0}, nil
}

// Wait blocks until something about the cluster, or for "" about anything, is newer than index.
func (a apiDaemon) Wait(ctx context.Context, cluster string, index uint64) error {
	topic := raftstore.Everything
	if cluster != "" {
		topic = raftstore.ClusterTopic(cluster)
	}
	_, err := a.store.Wait(ctx, index, topic)
	return err
}

// commit applies a change and waits until it is in this daemon's own state, so that whoever made it
// finds it here.
func (a apiDaemon) commit(ctx context.Context, command raftstore.Command) (uint64, error) {
	result, err := a.store.Apply(ctx, command)
	for err == nil && a.store.State().Index() < result.Index {
		_, err = a.store.Wait(ctx, a.store.State().Index(), raftstore.Everything)
	}
	return result.Index, err
}

// PutCluster declares a cluster; roles that are new get a password.
func (a apiDaemon) PutCluster(ctx context.Context, cluster pgctl.Cluster) (uint64, error) {
	secrets, err := a.newSecrets(ctx, cluster)
	if err != nil {
		return 0, err
	}
	return a.commit(ctx, raftstore.PutCluster{Cluster: cluster, Expect: &cluster.Revision, Secrets: secrets})
}

// DeleteCluster stops a cluster and keeps its data for a time.
func (a apiDaemon) DeleteCluster(ctx context.Context, name string, keep time.Duration) (uint64, error) {
	return a.commit(ctx, raftstore.DeleteCluster{Name: name, Keep: keep})
}

// Undelete takes a deletion back.
func (a apiDaemon) Undelete(ctx context.Context, name string) (uint64, error) {
	return a.commit(ctx, raftstore.UndeleteCluster{Name: name})
}

// PutSetting changes the operator configuration.
func (a apiDaemon) PutSetting(ctx context.Context, key string, value json.RawMessage, revision *uint64) (uint64, error) {
	result, err := a.store.Apply(ctx, raftstore.PutSetting{Key: key, Value: string(value), Expect: revision})
	return result.Index, err
}

// Switchover hands the leadership over; the Raft leader takes the order.
func (a apiDaemon) Switchover(ctx context.Context, cluster, to string) (uint64, error) {
	return a.order(ctx, node.Wish{Cluster: cluster, To: to})
}

// Failover gives the leadership to an instance although the leader is not there.
func (a apiDaemon) Failover(ctx context.Context, cluster string, move api.Move) (uint64, error) {
	return a.order(ctx, node.Wish{
		Cluster: cluster, To: move.To, Failover: true, Lossy: move.AllowDataLoss, OldDead: move.OldLeaderIsDead,
	})
}

func (a apiDaemon) order(ctx context.Context, w node.Wish) (uint64, error) {
	if a.config.Cluster.Server && a.store.IsLeader() {
		return a.store.State().Index(), a.node.Ask(ctx, w)
	}
	return a.store.State().Index(), a.askLeader(ctx, "request", w, nil)
}

// Order hands an order to the Raft leader.
func (a apiDaemon) Order(ctx context.Context, cluster string, o api.Order) (uint64, error) {
	order := node.Order{Cluster: cluster, Do: string(o.Do), Instance: o.Instance, Rolling: o.Rolling, Pending: o.Pending}
	if o.At != nil {
		order.At = *o.At
	}
	if a.config.Cluster.Server && a.store.IsLeader() {
		return a.store.State().Index(), a.node.Order(ctx, order)
	}
	return a.store.State().Index(), a.askLeader(ctx, "order", order, nil)
}

// View is the struct that the Raft leader decided on.
func (a apiDaemon) View(ctx context.Context, cluster string) (json.RawMessage, error) {
	var view json.RawMessage
	return view, a.askLeader(ctx, "view", cluster, &view)
}

// replay decides on a view again.
func replay(text []byte) ([]byte, error) {
	var d node.Decided
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "this is not what pgctl debug view prints: %v", err)
	}
	decision := ha.Decide(d.View)
	again := struct {
		Decision ha.Decision `json:"decision"`
		Check    string      `json:"check"`
	}{decision, "holds"}
	if err := ha.Check(d.View, decision); err != nil {
		again.Check = err.Error()
	}
	return json.MarshalIndent(again, "", "  ")
}

// Password shows the one of a role that pgctl manages.
func (a apiDaemon) Password(ctx context.Context, cluster, user string) (string, error) {
	if !a.config.Cluster.Server {
		return "", pgctl.Errorf(pgctl.CodeUnavailable, "this daemon is an agent and holds no passwords").
			WithHint("ask a server: pgctl servers")
	}
	passwords, err := a.passwordsOf(ctx, cluster)
	if err != nil {
		return "", err
	}
	if passwords[user] == "" {
		e := pgctl.Errorf(pgctl.CodeNotFound, "cluster %s has no role %q with a password of pgctl", cluster, user)
		if near := pgctl.Nearest(user, sortedKeys(passwords)); near != "" {
			_ = e.WithHint("did you mean %s?", near)
		}
		return "", e
	}
	return passwords[user], nil
}

// Rotate replaces a role's password.
func (a apiDaemon) Rotate(ctx context.Context, cluster, user string) (string, uint64, error) {
	if _, err := a.Password(ctx, cluster, user); err != nil {
		return "", 0, err
	}
	return a.rotate(ctx, cluster, user)
}

// Servers lists the Raft group.
func (a apiDaemon) Servers(ctx context.Context) ([]api.Server, error) {
	members, err := a.store.Servers()
	if err != nil {
		return nil, err
	}
	heard, indexes := a.node.Observer.Hosts(), a.indexes(ctx, members)
	var servers []api.Server
	for _, m := range members {
		s := api.Server{Name: m.Name, Address: m.Address, Role: "follower", Index: indexes[m.Name]}
		if m.Leader {
			s.Role = "leader"
		}
		if host, ok := a.store.State().Host(m.Name); ok {
			s.DataCenter = host.DataCenter
		}
		if age, ok := heard[m.Name]; ok {
			ms := age.Milliseconds()
			s.HeardMs = &ms
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// Save writes a snapshot of the whole state.
func (a apiDaemon) Save(_ context.Context, to io.Writer) error {
	if !a.config.Cluster.Server {
		return pgctl.Errorf(pgctl.CodeUnavailable, "this daemon is an agent").WithHint("ask a server: pgctl servers")
	}
	return a.store.SaveSnapshot(to)
}

// Restore replaces the whole state; the leadership of every cluster is unknown afterwards.
func (a apiDaemon) Restore(ctx context.Context, from io.Reader) error {
	return a.store.RestoreSnapshot(ctx, from)
}

// apiState is a picture as the API reads it.
type apiState struct {
	*raftstore.State
	age time.Duration
}

// Index of the picture, and how old it is.
func (s apiState) Index() (uint64, time.Duration) { return s.State.Index(), s.age }

// Cluster finds a declaration.
func (s apiState) Cluster(name string) (*pgctl.Cluster, bool) {
	c, ok := s.State.Cluster(name)
	return &c, ok
}

// Clusters are all declarations, by name.
func (s apiState) Clusters() iter.Seq[*pgctl.Cluster] {
	return func(yield func(*pgctl.Cluster) bool) {
		for c := range s.State.Clusters() {
			if !yield(&c) {
				return
			}
		}
	}
}

// Leadership finds a cluster's leadership.
func (s apiState) Leadership(cluster string) (*pgctl.Leadership, bool) {
	l, ok := s.State.Leadership(cluster)
	return &l, ok
}

// Instances are those of a cluster, or all for "".
func (s apiState) Instances(cluster string) []*pgctl.Instance {
	names := []string{cluster}
	if cluster == "" {
		names = names[:0]
		for c := range s.State.Clusters() {
			names = append(names, c.Name)
		}
	}
	var all []*pgctl.Instance
	for _, name := range names {
		for i := range s.State.Instances(name) {
			all = append(all, &i)
		}
	}
	return all
}

// Hosts are all hosts, by name.
func (s apiState) Hosts() (hosts []*pgctl.Host) {
	for h := range s.State.Hosts() {
		hosts = append(hosts, &h)
	}
	return hosts
}

// Events are those of a cluster, or all for "".
func (s apiState) Events(after uint64, cluster string, limit int) []pgctl.Event {
	return s.State.Events(raftstore.EventFilter{Cluster: cluster, AfterIndex: after, Limit: limit})
}

// Setting finds a value of the operator configuration.
func (s apiState) Settings() []api.SettingEntry {
	all := []api.SettingEntry{}
	for found := range s.State.Settings() {
		all = append(all, api.SettingEntry{Key: found.Key, Value: json.RawMessage(found.Value), Revision: found.Revision})
	}
	return all
}

// Setting finds a value of the operator configuration.
func (s apiState) Setting(key string) ([]byte, uint64, bool) {
	found, ok := s.State.Setting(key)
	return []byte(found.Value), found.Revision, ok
}

// sortedKeys are the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// joinErrors is one error of many, with the first's code.
func joinErrors(code pgctl.Code, problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Error()
	}
	e := pgctl.Errorf(code, "%s", strings.Join(texts, "\n"))
	if first, ok := errors.AsType[*pgctl.Error](problems[0]); ok && len(problems) == 1 {
		return first
	}
	return e
}

// Host finds a host.
func (s apiState) Host(name string) (*pgctl.Host, bool) {
	h, ok := s.State.Host(name)
	return &h, ok
}
