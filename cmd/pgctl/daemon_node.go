package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/peer"
	"github.com/pgctl/pgctl/raftstore"
)

// nodeStore shows the store to the node.
type nodeStore struct {
	*raftstore.Store
	host string
}

// State is the newest picture.
func (s nodeStore) State() node.State { return s.Store.State() }

// Wait returns when something about the cluster is newer than index; for "" when that is so of this
// host, of the list of hosts, or of any declaration.
func (s nodeStore) Wait(ctx context.Context, cluster string, index uint64) error {
	topics := []raftstore.Topic{raftstore.HostTopic(s.host), raftstore.HostsTopic, raftstore.ClustersTopic}
	if cluster != "" {
		topics = []raftstore.Topic{raftstore.ClusterTopic(cluster)}
	}
	_, err := s.Store.Wait(ctx, index, topics...)
	return err
}

// Verify is one quorum round: does this server still lead?
func (s nodeStore) Verify(ctx context.Context) error { return s.VerifyLeader(ctx) }

// SetLeadership commits a decision, if the leadership is still the one it was made on.
func (s nodeStore) SetLeadership(ctx context.Context, old, next pgctl.Leadership, events []pgctl.Event) error {
	expect := raftstore.LeadershipExpectation{}
	if old.Revision != 0 {
		expect = raftstore.ExpectLeadership(old)
	}
	_, err := s.Apply(ctx, raftstore.SetLeadership{Expect: expect, Next: next, Events: events})
	return err
}

// SetInstances commits assignments.
func (s nodeStore) SetInstances(ctx context.Context, cluster string, put []pgctl.Instance, remove []string, events []pgctl.Event) error {
	commands := []raftstore.Command{raftstore.SetInstances{Cluster: cluster, Put: put, Remove: remove}}
	if len(events) > 0 {
		commands = append(commands, raftstore.RecordEvents{Events: events})
	}
	_, err := s.Apply(ctx, commands...)
	return err
}

// LearnHost commits what silence of a host means its failure.
func (s nodeStore) LearnHost(ctx context.Context, host string, detect time.Duration, events []pgctl.Event) error {
	_, err := s.Apply(ctx, raftstore.LearnHost{Name: host, Detect: detect, Events: events})
	return err
}

// Purge removes all that the store knows about a cluster.
func (s nodeStore) Purge(ctx context.Context, cluster string) error {
	_, err := s.Apply(ctx, raftstore.PurgeCluster{Name: cluster})
	return err
}

func (d *daemon) newNode() *node.Node {
	store := nodeStore{d.store, d.config.Name}
	config := node.Config{
		Host: d.config.Name, Store: store, Proposer: store, Peers: d.peers, NewLife: newLife, Boot: bootID(), LeaseFile: filepath.Join(d.config.SocketDir, "leases.json"), Clock: bootTime, Wall: time.Now, Note: d.note, Log: d.log,
	}
	if d.config.Cluster.Server {
		config.Quorum = store
	}
	if d.guarding != nil {
		config.MoveDeadline = d.moveDeadline
	}
	around := d.surroundings()
	refused := map[string]string{} // by instance; asked by one goroutine
	config.NewServer = func(i pgctl.Instance, cluster pgctl.Cluster) (node.LocalServer, error) {
		s, err := newLocalServer(around, i, cluster)
		if text := fmt.Sprint(err); err != nil && refused[i.Name] != text {
			refused[i.Name] = text
			d.note(pgctl.Event{
				Severity: pgctl.Alarm, Cluster: i.Cluster, Instance: i.Name, Host: i.Host, Kind: "instance.refused", Message: text,
			})
		}
		return s, err
	}
	return node.New(config)
}

func (d *daemon) surroundings() surroundings {
	name := "root"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return surroundings{
		host: d.config.Name, address: d.config.Address, dataDir: d.config.DataDir, socketDir: d.config.SocketDir,
		osUser: d.config.PostgresUser, daemonUser: name, clock: bootTime, passwords: d.passwordsOf, versions: d.versions, log: d.log,
		tls: func() (cert, key, ca []byte, err error) {
			for _, f := range []struct {
				path string
				into *[]byte
			}{{d.config.TLS.Cert, &cert}, {d.config.TLS.Key, &key}, {d.config.TLS.CA, &ca}} {
				if *f.into, err = os.ReadFile(f.path); err != nil {
					return nil, nil, nil, err
				}
			}
			return cert, key, ca, nil
		},
		confirmEpoch: d.confirmEpoch,
		guarding:     d.guarding,
		positions:    d.positions,
		note:         d.note,
		leadership:   func(cluster string) (pgctl.Leadership, bool) { return d.store.State().Leadership(cluster) },
	}
}

// confirmEpoch asks the store, linearizably, whether a life still leads an epoch.
func (d *daemon) confirmEpoch(ctx context.Context, cluster string, life pgctl.Life, epoch pgctl.Epoch) error {
	if err := d.store.Linearize(ctx); err != nil {
		return err
	}
	l, ok := d.store.State().Leadership(cluster)
	if !ok || l.Leader != life || l.Epoch != epoch || l.Phase != pgctl.Steady {
		return pgctl.Errorf(pgctl.CodeConflict, "epoch %d is over", epoch)
	}
	return nil
}

// positions are the ends of log that heartbeats told this daemon.
func (d *daemon) positions() map[pgctl.Life]pgctl.LSN {
	ends := map[pgctl.Life]pgctl.LSN{}
	for _, heard := range d.node.Observer.Reports() {
		ends[heard.Report.Life] = heard.Report.End.LSN
	}
	return ends
}

// note records an event; losing one is better than waiting for the store.
func (d *daemon) note(e pgctl.Event) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := d.store.Apply(ctx, raftstore.RecordEvents{Events: []pgctl.Event{e}}); err != nil {
		d.log.Warn("an event was not recorded", "kind", e.Kind, "message", e.Message, "error", err)
	}
}

// register keeps this host's record in the store as it is configured.
func (d *daemon) register(ctx context.Context) {
	host := pgctl.Host{
		Name: d.config.Name, DataCenter: d.config.DataCenter, Labels: d.config.Labels, Address: d.config.Address,
		API: d.config.Listen.API, Heartbeat: d.config.Listen.Heartbeat, Raft: d.config.Listen.Raft,
		Server: d.config.Cluster.Server, Version: version(), Postgres: d.versions,
	}
	if !host.Server {
		host.Raft = ""
	}
	for ctx.Err() == nil {
		known, _ := d.store.State().Host(host.Name)
		host.Revision, host.Detect, host.Learned = known.Revision, known.Detect, known.Learned
		if !sameJSON(known, host) {
			bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
			if _, err := d.store.Apply(bounded, raftstore.PutHost{Host: host}); err != nil {
				d.log.Info("this host is not in the store yet", "error", err)
			}
			cancel()
			if sleep(ctx, 200*time.Millisecond) != nil {
				return
			}
			continue
		}
		waiting, cancel := context.WithTimeout(ctx, time.Minute)
		_, _ = d.store.Wait(waiting, d.store.State().Index(), raftstore.HostTopic(host.Name)) // a time-out only means another look
		cancel()
	}
}

func sameJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && slices.Equal(x, y)
}

// methods are what other daemons may ask this one.
func (d *daemon) methods() map[string]peer.Method {
	methods := map[string]peer.Method{}
	for name, m := range d.node.Methods() {
		methods[name] = m
	}
	methods["parameters"] = d.serveParameters
	methods["index"] = d.serveIndex
	methods["live"] = d.relay.serveLive
	for name, m := range d.secretMethods() {
		methods[name] = m
	}
	return methods
}
