package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/pgctl/pgctl"
)

func TestGroup(t *testing.T) {
	g := newGroup(t, 3, nil)
	leader, follower := g.stores[g.leader()], g.stores[g.follower()]
	agent := g.follow()
	ctx := context.Background()

	for i, s := range []*Store{leader, follower, agent} {
		key := fmt.Sprintf("key-%d", i)
		index := apply(t, s, PutSetting{Key: key, Value: "v"})
		for _, reader := range []*Store{leader, follower, agent} {
			state, err := reader.Wait(ctx, index-1, Everything)
			must(t, err)
			if got, ok := state.Setting(key); !ok || got.Value != "v" || got.Revision != index {
				t.Fatalf("%+v", got)
			}
		}
		applyFails(t, s, pgctl.CodeConflict, "revision", PutSetting{Key: key, Value: "w", Expect: ptr(uint64(0))})
		applyFails(t, s, pgctl.CodeInvalid, "key", PutSetting{Key: "../x"})
	}
	for _, s := range []*Store{leader, follower, agent} {
		index := apply(t, leader, PutSetting{Key: "fresh", Value: "v"})
		must(t, s.Linearize(ctx))
		if s.State().Index() < index {
			t.Fatalf("linearized at %d, before %d", s.State().Index(), index)
		}
		servers, err := s.Servers()
		must(t, err)
		if len(servers) != 3 || !servers[g.leader()].Leader || !servers[0].Voter || servers[2].Address != g.configs[2].Listen {
			t.Fatalf("%+v", servers)
		}
	}
	must(t, leader.VerifyLeader(ctx))
	wantError(t, follower.VerifyLeader(ctx), pgctl.CodeUnavailable, "")
	wantError(t, agent.VerifyLeader(ctx), pgctl.CodeUnavailable, "")
	if name, address := follower.Leader(); name != leader.name || address != leader.address || follower.IsLeader() {
		t.Fatalf("leader %s at %s", name, address)
	}
	if lead := <-leader.LeaderChanges(); lead.Term == 0 {
		t.Fatalf("%+v", lead)
	}
	eventually(t, "young states", func() bool {
		return leader.Age() == 0 && follower.Age() < time.Second && agent.Age() < 2*time.Second
	})
	testSecretsOf(t, leader, follower, agent)
}

func testSecretsOf(t *testing.T, leader, follower, agent *Store) {
	t.Helper()
	cipher, err := follower.Encrypt([]byte("password"))
	must(t, err)
	plain, err := leader.Decrypt(cipher)
	must(t, err)
	if string(plain) != "password" || bytes.Contains(cipher, []byte("password")) {
		t.Fatalf("%q", plain)
	}
	_, err = agent.Encrypt(nil)
	wantError(t, err, pgctl.CodeRefused, "")
	_, err = agent.Decrypt(cipher)
	wantError(t, err, pgctl.CodeRefused, "")
	_, err = leader.Decrypt([]byte("x"))
	wantError(t, err, pgctl.CodeRefused, "")
	wantError(t, agent.SaveSnapshot(&bytes.Buffer{}), pgctl.CodeRefused, "")

	index := apply(t, agent, PutCluster{
		Cluster: pgctl.Cluster{Name: "shop"}, Secrets: []pgctl.Secret{{Cluster: "shop", User: "app", Ciphertext: cipher}},
	})
	for s, want := range map[*Store]bool{leader: true, follower: true, agent: false} {
		state, err := s.Wait(context.Background(), index-1, ClusterTopic("shop"))
		must(t, err)
		if _, ok := state.Secret("shop", "app"); ok != want {
			t.Fatalf("secret: %v, want %v", ok, want)
		}
	}
}

func TestManyWritersFromEverywhere(t *testing.T) {
	g := newGroup(t, 3, nil)
	agent := g.follow()
	var wg sync.WaitGroup
	writers := append(slices.Clone(g.stores), agent)
	for w, s := range writers {
		for c := range 16 {
			wg.Go(func() {
				for i := range 10 {
					key := fmt.Sprintf("k-%d-%d-%d", w, c, i)
					if _, err := s.Apply(context.Background(), PutSetting{Key: key, Expect: ptr(uint64(0))}); err != nil {
						t.Errorf("%s: %v", key, err)
					}
				}
			})
		}
	}
	wg.Wait()
	must(t, agent.Linearize(context.Background()))
	if n := len(slices.Collect(agent.State().Settings())); n != 4*16*10 {
		t.Fatalf("%d settings", n)
	}
	leader := g.stores[g.leader()]
	if entries := leader.raft.LastIndex(); entries > 4*16*10/2 {
		t.Errorf("%d entries for %d changes: they were not packed", entries, 4*16*10)
	}
}

func TestFollowerAndAgentCatchUpBySnapshot(t *testing.T) {
	g := newGroup(t, 3, func(c *Config) { c.TrailingLogs, c.SnapshotThreshold = 4, 1<<30 })
	agent := g.follow()
	away := g.follower()
	apply(t, g.stores[away], named("shop"))
	g.stop(away)
	leader := g.stores[g.leader()]
	for i := range 50 {
		apply(t, leader, PutSetting{Key: fmt.Sprint("k", i)})
	}
	must(t, leader.raft.Snapshot().Error())
	leader.fsm.recent.clear(leader.State().Index())
	index := apply(t, leader, PutHost{pgctl.Host{Name: "last"}})
	g.start(away)
	for _, s := range []*Store{g.stores[away], agent} {
		state, err := s.Wait(context.Background(), index-1, Everything)
		must(t, err)
		if n := len(slices.Collect(state.Settings())); n != 50 {
			t.Fatalf("%d settings", n)
		}
	}
}

func TestRestartOfAll(t *testing.T) {
	g := newGroup(t, 3, nil)
	agent := g.follow()
	apply(t, agent, named("shop"), PutHost{pgctl.Host{Name: "h"}})
	must(t, g.stores[g.leader()].raft.Snapshot().Error())
	index := apply(t, g.stores[g.leader()], PutSetting{Key: "after", Value: "snapshot"})
	_, err := agent.Wait(context.Background(), index-1, Everything)
	must(t, err)
	for i := range g.stores {
		g.stop(i)
	}
	if _, ok := agent.State().Cluster("shop"); !ok {
		t.Fatal("the agent forgot what it knew")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = agent.Apply(ctx, named("never"))
	wantError(t, err, pgctl.CodeUnavailable, "")
	for i := range g.stores {
		g.start(i)
	}
	s := g.stores[g.leader()]
	if c, ok := s.State().Cluster("shop"); !ok || c.Port != 5432 {
		t.Fatalf("%+v", c)
	}
	index = apply(t, s, PutSetting{Key: "again"})
	state, err := agent.Wait(context.Background(), index-1, Everything)
	must(t, err)
	if v, _ := state.Setting("after"); v.Value != "snapshot" {
		t.Fatalf("%+v", v)
	}
}

func TestRestoreReachesEverybody(t *testing.T) {
	g := newGroup(t, 3, nil)
	agent, s := g.follow(), g.stores[g.follower()]
	apply(t, s, largeCluster(1)...)
	must(t, s.Linearize(context.Background()))
	var file bytes.Buffer
	must(t, s.SaveSnapshot(&file))
	wantError(t, s.RestoreSnapshot(context.Background(), bytes.NewReader(file.Bytes()[:300])), pgctl.CodeInvalid, "")
	before := apply(t, s, named("later"))
	must(t, s.RestoreSnapshot(context.Background(), &file))
	for _, s := range append(slices.Clone(g.stores), agent) {
		state, err := s.Wait(context.Background(), before, ClusterTopic("cluster-00001"))
		must(t, err)
		_, later := state.Cluster("later")
		l, _ := state.Leadership("cluster-00001")
		if later || l.Phase != pgctl.Unknown || l.Rule.Acks != 1 {
			t.Fatalf("%v %+v", later, l)
		}
	}
}

func TestFolderIsLocked(t *testing.T) {
	g := newGroup(t, 1, nil)
	c := g.configs[0]
	c.Listen = "127.0.0.1:0"
	_, err := Open(c)
	wantError(t, err, pgctl.CodeConflict, "")
	if !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), c.Dir) {
		t.Fatal(err)
	}
	g.stop(0)
	must(t, os.WriteFile(c.Dir+"/VERSION", []byte("pgctl raftstore 9\n"), 0o600))
	_, err = Open(c)
	wantError(t, err, pgctl.CodeRefused, "")
}

func TestOpenRefuses(t *testing.T) {
	file := t.TempDir() + "/file"
	must(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct {
		config Config
		code   pgctl.Code
	}{
		"no name":         {Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}, pgctl.CodeInvalid},
		"bad key":         {Config{Dir: t.TempDir(), Name: "a", Listen: "127.0.0.1:0", SecretKey: "x"}, pgctl.CodeInvalid},
		"folder is file":  {Config{Dir: file, Name: "a", Listen: "127.0.0.1:0"}, pgctl.CodeUnavailable},
		"foreign address": {Config{Dir: t.TempDir(), Name: "a", Listen: "192.0.2.1:1"}, pgctl.CodeUnavailable},
	} {
		_, err := Open(c.config)
		if pgctl.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := Follow(FollowConfig{Name: "a"})
	wantError(t, err, pgctl.CodeInvalid, "addresses")
}

func TestAFailingDiskStopsTheServer(t *testing.T) {
	g := newGroup(t, 3, nil)
	leader := g.leader()
	s := g.stores[leader]
	must(t, s.disk.Log.Close()) // every write fails from now on
	_, err := s.Apply(context.Background(), PutSetting{Key: "k"})
	if err != nil && !errors.Is(err, ErrOutcomeUnknown) && pgctl.CodeOf(err) != pgctl.CodeUnavailable {
		t.Fatal(err)
	}
	wantError(t, <-s.Failed(), pgctl.CodeUnavailable, "")
	eventually(t, "stopped Raft", func() bool { return s.raft.Barrier(0).Error() == raft.ErrRaftShutdown })
	g.stop(leader)
	apply(t, g.stores[g.leader()], PutSetting{Key: "others-go-on"})
}

// lines is a log that can be waited for.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), part)
}

func TestWrongCertificatesAreNamed(t *testing.T) {
	var server, client lines
	g := newGroup(t, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&server, nil)) })
	g.leader()
	all := g.addresses()
	addresses := func() []string { return all }
	try := func(name string, ca *authority, until time.Time, serverSays, clientSays string) {
		s, err := Follow(FollowConfig{
			Name: "agent", Addresses: addresses, TLS: ca.config(t, name, until),
			Log: slog.New(slog.NewTextHandler(&client, nil)),
		})
		must(t, err)
		for text, log := range map[string]*lines{serverSays: &server, clientSays: &client} {
			eventually(t, "log of "+text, func() bool { return log.has(text) && log.has("peer=127.0.0.1:") })
		}
		if s.State().Index() != 0 {
			t.Error("the agent was let in")
		}
		must(t, s.Close())
	}
	try("expired", g.ca, time.Now().Add(-time.Hour), "has expired", "expired certificate")
	try("foreign", newAuthority(t), time.Now().Add(time.Hour), "bad certificate", "unknown authority")
}

// A lone write that nobody waits for in a failover: the followers must not learn of it only from Raft's
// next heartbeat, which an idle group sends seldom.
func TestALoneWriteIsAnnounced(t *testing.T) {
	g := newGroup(t, 3, nil)
	leader := g.stores[g.leader()]
	index := apply(t, leader, PutSetting{Key: "lone", Value: `"write"`})
	eventually(t, "an entry that does nothing follows", func() bool { return leader.raft.LastIndex() == index+1 })
	for _, s := range g.stores {
		eventually(t, "everybody has it", func() bool { return s.State().Index() >= index })
	}
}

// A leader is as patient as a follower again when it leads no more.
func TestPaceOfALeader(t *testing.T) {
	g := newGroup(t, 3, nil)
	leads := func(s *Store) bool {
		c := s.raft.ReloadableConfig()
		return c.HeartbeatTimeout == 2*s.patience[0] && c.ElectionTimeout >= c.HeartbeatTimeout
	}
	follows := func(s *Store) bool {
		c := s.raft.ReloadableConfig()
		return [2]time.Duration{c.HeartbeatTimeout, c.ElectionTimeout} == s.patience
	}
	old := g.stores[g.leader()]
	eventually(t, "the leader sends fewer heartbeats", func() bool { return leads(old) })
	must(t, old.raft.LeadershipTransfer().Error())
	eventually(t, "the former leader is a follower", func() bool { return follows(old) })
	eventually(t, "the new one sends fewer, too", func() bool { return leads(g.stores[g.leader()]) })
}
