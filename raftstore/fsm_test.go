package raftstore

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"
	"github.com/pgctl/pgctl"
)

func bytesOf(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, writeSnapshot(&b, s, tables))
	return b.Bytes()
}

// one is a machine with something of everything.
func one(t testing.TB) *machine {
	m := newMachine(t)
	m.must(PutHost{pgctl.Host{Name: "host-3"}}, PutSetting{Key: "k", Value: "v"})
	m.must(largeCluster(1)...)
	m.must(named("gone"), DeleteCluster{Name: "gone"}, PurgeCluster{Name: "gone"})
	m.must(RecordEvents{[]pgctl.Event{{Kind: "a", Cluster: "cluster-00001"}, {Kind: "b"}}})
	m.must(restoreBegin{"R1"}, restoreChunk{chunk{0, []byte("half"), "R1"}})
	return m
}

func TestFailedUnitLeavesNothing(t *testing.T) {
	m := one(t)
	before := bytesOf(t, m.state())
	for _, cmds := range [][]Command{
		{named("new"), PutHost{pgctl.Host{Name: "h"}}, DeleteCluster{Name: "none"}},
		{DeleteCluster{Name: "cluster-00001"}, PurgeCluster{Name: "cluster-00001"}, RemoveHost{"none"}},
		{RecordEvents{[]pgctl.Event{{Kind: "x"}}}, PutSetting{Key: "k", Value: "w"}, RemoveHost{"none"}},
		{restoreBegin{"R2"}, RemoveHost{"none"}},
	} {
		m.index-- // the index stands in the snapshot
		if err := m.do(cmds...); err == nil {
			t.Fatal("no error")
		}
		if !bytes.Equal(before, bytesOf(t, m.state())) {
			t.Fatalf("%T… left something behind", cmds[0])
		}
	}
	if m.derived.total != 2 || m.derived.freePort(5432, 5999) != 5433 {
		t.Fatalf("derived: %d events, port %d", m.derived.total, m.derived.freePort(5432, 5999))
	}
}

func TestUnitsOfOneEntryAreIndependent(t *testing.T) {
	m := newMachine(t)
	var batch []*pending
	for _, cmd := range []Command{named("a"), RemoveHost{"none"}, PutCluster{Cluster: pgctl.Cluster{Name: "a"}, Expect: ptr(uint64(0))}, named("b")} {
		unit, err := encodeUnit(testTime, []Command{cmd})
		must(t, err)
		batch = append(batch, &pending{unit: unit})
	}
	batch = append(batch, &pending{unit: []byte("nonsense")}, &pending{})
	results := m.Apply(&raft.Log{Index: 1, Data: encodeEntry(batch)}).([]error)
	var failed []bool
	for _, err := range results {
		failed = append(failed, err != nil)
	}
	if !slices.Equal(failed, []bool{false, true, true, false, true, true}) {
		t.Fatalf("%v", results)
	}
	if n := len(slices.Collect(m.state().Clusters())); n != 2 {
		t.Fatalf("%d clusters", n)
	}
}

func TestUnknownKindsAndVersionsAreRefused(t *testing.T) {
	m := newMachine(t)
	good, err := encodeUnit(testTime, []Command{PutSetting{Key: "k", Value: "v"}})
	must(t, err)
	for i, unit := range [][]byte{
		bytes.Replace(good, []byte("setting.put"), []byte("setting.xxx"), 1),
		bytes.Replace(good, []byte("setting.put\x01"), []byte("setting.put\x02"), 1),
		append([]byte{2}, good[1:]...),
		good[:len(good)-1], append(slices.Clone(good), 0), nil,
	} {
		results := m.Apply(&raft.Log{Index: uint64(i + 1), Data: encodeEntry([]*pending{{unit: unit}})}).([]error)
		wantError(t, results[0], pgctl.CodeInvalid, "")
	}
	m.Apply(&raft.Log{Index: 9, Data: []byte("no entry")})
	if m.state().Index() != 9 || len(slices.Collect(m.state().Settings())) != 0 {
		t.Fatal("something was applied")
	}
}

// randomEntries are entries of random commands, many of which fail.
func randomEntries(t testing.TB, r *rand.Rand, n int) [][]byte {
	var entries [][]byte
	for range n {
		var batch []*pending
		for range 1 + r.IntN(4) {
			var cmds []Command
			for range 1 + r.IntN(3) {
				cmds = append(cmds, randomCommand(r))
			}
			unit, err := encodeUnit(testTime.Add(time.Duration(r.IntN(1000))*time.Second), cmds)
			if err == nil {
				batch = append(batch, &pending{unit: unit})
			}
		}
		entries = append(entries, encodeEntry(batch))
	}
	return entries
}

func randomCommand(r *rand.Rand) Command {
	name := fmt.Sprintf("c%d", r.IntN(4))
	host := fmt.Sprintf("h%d", r.IntN(3))
	switch r.IntN(11) {
	case 0, 1:
		return PutCluster{Cluster: pgctl.Cluster{Name: name, Labels: map[string]string{"x": host, "y": name, "z": "1"}}}
	case 2:
		return DeleteCluster{Name: name}
	case 3:
		return UndeleteCluster{Name: name}
	case 4:
		return PurgeCluster{Name: name}
	case 5:
		return PutHost{pgctl.Host{Name: host}}
	case 6:
		return RemoveHost{host}
	case 7:
		return SetInstances{Cluster: name, Put: []pgctl.Instance{{Name: name + "-0", Cluster: name, Host: host}}}
	case 8:
		return PutSecrets{Secrets: []pgctl.Secret{{Cluster: name, User: host, Ciphertext: []byte("x")}}, Replace: r.IntN(2) == 0}
	case 9:
		return RecordEvents{[]pgctl.Event{{Kind: "k", Cluster: name}}}
	}
	l := steady()
	l.Cluster = name
	return SetLeadership{Next: l}
}

func TestSameEntriesMakeTheSameBytes(t *testing.T) {
	for seed := range uint64(4) {
		entries := randomEntries(t, rand.New(rand.NewPCG(seed, 1)), 120)
		a, b := newMachine(t), newMachine(t)
		for i, e := range entries {
			a.Apply(&raft.Log{Index: uint64(i + 1), Data: e})
			b.Apply(&raft.Log{Index: uint64(i + 1), Data: e})
			if i == 60 { // b is restarted from a snapshot
				must(t, b.Restore(nopCloser{bytes.NewReader(bytesOf(t, b.state()))}))
			}
		}
		if !bytes.Equal(bytesOf(t, a.state()), bytesOf(t, b.state())) {
			t.Fatalf("seed %d: states differ", seed)
		}
		if _, d, _, err := loadSnapshot(bytes.NewReader(bytesOf(t, a.state()))); err != nil || !reflect.DeepEqual(d, a.derived) {
			t.Fatalf("seed %d: what is derived differs (%v)", seed, err)
		}
	}
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

func TestAgentsFollowEveryChange(t *testing.T) {
	for seed := range uint64(4) {
		server, agent := newMachine(t), newFSM(slog.New(slog.DiscardHandler))
		for i, e := range randomEntries(t, rand.New(rand.NewPCG(seed, 2)), 120) {
			server.Apply(&raft.Log{Index: uint64(i + 1), Data: e})
		}
		deltas, complete := server.recent.after(0)
		if !complete || len(deltas) != 120 {
			t.Fatalf("%d deltas", len(deltas))
		}
		for _, d := range deltas {
			must(t, agent.follow(d.encoded()))
		}
		var want, have bytes.Buffer
		must(t, writeSnapshot(&want, server.state(), published))
		must(t, writeSnapshot(&have, agent.current.Load(), tables))
		if !bytes.Equal(want.Bytes(), have.Bytes()) {
			t.Fatalf("seed %d: the agent's state differs", seed)
		}
	}
}

func TestRecentForgetsTheOldest(t *testing.T) {
	m := newMachine(t)
	for range maxRecentEntries + 5 {
		m.must(PutSetting{Key: "k", Value: "v"})
	}
	if _, complete := m.recent.after(4); complete {
		t.Fatal("entry 5 should be gone")
	}
	if deltas, complete := m.recent.after(5); !complete || len(deltas) != maxRecentEntries {
		t.Fatalf("%d, %v", len(deltas), complete)
	}
	if deltas, complete := m.recent.after(m.index); !complete || len(deltas) != 0 {
		t.Fatalf("%d, %v", len(deltas), complete)
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	m := one(t)
	good := bytesOf(t, m.state())
	for cut := 0; cut < len(good); cut += 7 {
		_, err := readSnapshot(bytes.NewReader(good[:cut]), func(*table, any) error { return nil })
		wantError(t, err, pgctl.CodeInvalid, "")
	}
	for at := 0; at < len(good); at += 5 {
		bad := slices.Clone(good)
		bad[at] ^= 0x11
		if _, err := readSnapshot(bytes.NewReader(bad), func(*table, any) error { return nil }); err == nil {
			t.Fatalf("a flipped bit at %d was not noticed", at)
		}
	}
	if err := m.Restore(nopCloser{bytes.NewReader([]byte("garbage"))}); err == nil {
		t.Fatal("garbage restored")
	}
	if !bytes.Equal(good, bytesOf(t, m.state())) {
		t.Fatal("a failed restore changed the state")
	}
}

// TestOneChangeWakesOnlyItsWatchers has a watcher on each of 10,000 clusters.
func TestOneChangeWakesOnlyItsWatchers(t *testing.T) {
	const clusters = 10_000
	m := newMachine(t)
	m.must(PutSetting{Key: settingPortFirst, Value: "2000"}, PutSetting{Key: settingPortLast, Value: "65000"})
	for i := 0; i < clusters; i += 100 {
		var cmds []Command
		for n := range 100 {
			cmds = append(cmds, named(fmt.Sprintf("c%d", i+n)))
		}
		m.must(cmds...)
	}
	sets := map[Topic]memdb.WatchSet{}
	watch := func(topic Topic) {
		sets[topic] = memdb.NewWatchSet()
		m.state().watch(topic, sets[topic])
	}
	for i := range clusters {
		watch(ClusterTopic(fmt.Sprintf("c%d", i)))
	}
	m.must(named("c77"), RecordEvents{[]pgctl.Event{{Kind: "k", Cluster: "c4711"}}})
	m.must(named("new"), PutSetting{Key: "a", Value: "b"}) // wakes none of them
	var got []string
	for topic, set := range sets {
		for ch := range set {
			select {
			case <-ch:
				got = append(got, string(topic))
			default:
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"cluster/c4711", "cluster/c77"}) {
		t.Fatalf("woken: %v", got)
	}
}

func TestHostTopicTellsAllThatAnAgentNeeds(t *testing.T) {
	m := newMachine(t)
	changed := func(host string, cmds ...Command) {
		t.Helper()
		m.must(cmds...)
		if at := m.state().Changed(HostTopic(host)); at != m.index {
			t.Fatalf("host %s changed at %d, not %d", host, at, m.index)
		}
	}
	changed("h1", PutHost{pgctl.Host{Name: "h1"}})
	m.must(named("shop"))
	changed("h1", SetInstances{Cluster: "shop", Put: []pgctl.Instance{{Name: "shop-0", Cluster: "shop", Host: "h1"}}})
	changed("h1", named("shop"))
	changed("h1", SetLeadership{Next: steady()})
	changed("h1", PutSecrets{Secrets: []pgctl.Secret{{Cluster: "shop", User: "u", Ciphertext: []byte("x")}}})
	i, _ := m.state().Instance("shop-0")
	i.Host = "h2"
	changed("h1", SetInstances{Cluster: "shop", Put: []pgctl.Instance{i}})
	changed("h2", DeleteCluster{Name: "shop"})
	changed("h2", PurgeCluster{Name: "shop"})
	m.must(named("other"))
	if m.state().Changed(HostTopic("h1")) == m.index {
		t.Fatal("a strange cluster touched the host")
	}
}

func TestRestoreMakesLeadershipsUnknown(t *testing.T) {
	m := one(t)
	var file bytes.Buffer
	must(t, writeSnapshot(&file, m.state(), saved))
	m.must(named("later"), DeleteCluster{Name: "cluster-00001"})
	m.must(restoreBegin{"R2"}, restoreChunk{chunk{0, file.Bytes()[:100], "R2"}})
	m.fails(pgctl.CodeConflict, "", restoreCommit{"R1", 1})
	m.fails(pgctl.CodeConflict, "", restoreCommit{"R2", 2})
	m.fails(pgctl.CodeInvalid, "", restoreCommit{"R2", 1})
	m.must(restoreChunk{chunk{1, file.Bytes()[100:], "R2"}})
	m.must(restoreCommit{"R2", 2})
	s := m.state()
	if _, ok := s.Cluster("later"); ok {
		t.Fatal("the restore kept something newer")
	}
	c, _ := s.Cluster("cluster-00001")
	l, _ := s.Leadership("cluster-00001")
	if c.Deleted != nil || c.Revision != m.index || l.Phase != pgctl.Unknown || l.Leader == "" || len(l.History) != 2 {
		t.Fatalf("%+v %+v", c, l)
	}
	events := s.Events(EventFilter{})
	if last := events[len(events)-1]; last.Kind != "store.restored" || len(events) != 3 {
		t.Fatalf("%+v", events)
	}
	for _, topic := range []Topic{ClusterTopic("cluster-00001"), HostTopic("host-3"), ClusterTopic("never"), SettingsTopic} {
		if s.Changed(topic) != m.index {
			t.Fatalf("%s was not touched", topic)
		}
	}
	if left := slices.Collect(rows[chunk](s.txn, restoresTable, "id_prefix", "")); len(left) != 0 {
		t.Fatal("staged parts are left")
	}
	if m.derived.total != 3 || m.derived.freePort(5432, 5999) != 5433 {
		t.Fatalf("derived: %d, %d", m.derived.total, m.derived.freePort(5432, 5999))
	}
}

// FuzzApply: whatever bytes are in the log, the FSM survives, and its state can be saved and loaded.
func FuzzApply(f *testing.F) {
	for _, e := range randomEntries(f, rand.New(rand.NewPCG(1, 1)), 20) {
		f.Add(e)
	}
	unit, err := encodeUnit(testTime, []Command{restoreBegin{"R"}, restoreChunk{chunk{0, []byte("x"), "R"}}, restoreCommit{"R", 1}})
	must(f, err)
	f.Add(encodeEntry([]*pending{{unit: unit}}))
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, entry []byte) {
		m := newMachine(t)
		m.must(largeCluster(1)...)
		m.Apply(&raft.Log{Index: 2, Data: entry})
		if units, err := decodeEntry(entry); err != nil || len(units) == 0 {
			m.Apply(&raft.Log{Index: 2, Data: encodeEntry([]*pending{{unit: entry}})}) // as a unit, too
		}
		before := bytesOf(t, m.state())
		must(t, m.Restore(nopCloser{bytes.NewReader(before)}))
		if !bytes.Equal(before, bytesOf(t, m.state())) {
			t.Fatal("a loaded snapshot differs from the saved one")
		}
	})
}
