package raftstore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
)

func TestPutCluster(t *testing.T) {
	m := newMachine(t)
	m.must(PutCluster{
		Cluster: pgctl.Cluster{Name: "shop", Port: 99, Team: "a"}, Expect: ptr(uint64(0)),
		Secrets: []pgctl.Secret{{Cluster: "shop", User: "app", Ciphertext: []byte("x")}},
	})
	c, ok := m.state().Cluster("shop")
	if !ok || c.Port != 5432 || c.Revision != 1 || c.Team != "a" {
		t.Fatalf("%+v", c)
	}
	m.fails(pgctl.CodeConflict, "revision", PutCluster{Cluster: pgctl.Cluster{Name: "shop"}, Expect: ptr(uint64(0))})
	m.fails(pgctl.CodeConflict, "revision", PutCluster{Cluster: pgctl.Cluster{Name: "shop"}, Expect: ptr(uint64(9))})
	m.fails(pgctl.CodeNotFound, "", PutCluster{Cluster: pgctl.Cluster{Name: "none"}, Expect: ptr(uint64(9))})
	m.fails(pgctl.CodeInvalid, "name", named("../shop"))
	m.fails(pgctl.CodeInvalid, "name", named(strings.Repeat("x", 64)))
	m.fails(pgctl.CodeInvalid, "secrets", PutCluster{
		Cluster: pgctl.Cluster{Name: "shop"}, Secrets: []pgctl.Secret{{Cluster: "other", User: "a", Ciphertext: []byte("x")}},
	})
	m.must(PutCluster{
		Cluster: pgctl.Cluster{Name: "shop", Team: "b"}, Expect: ptr(uint64(1)),
		Secrets: []pgctl.Secret{{Cluster: "shop", User: "app", Ciphertext: []byte("y")}},
	})
	c, _ = m.state().Cluster("shop")
	if c.Port != 5432 || c.Revision != m.index || c.Team != "b" {
		t.Fatalf("%+v", c)
	}
	if s, _ := m.state().Secret("shop", "app"); string(s.Ciphertext) != "x" {
		t.Fatalf("secret replaced: %q", s.Ciphertext)
	}
	if _, ok := m.state().Leadership("shop"); ok {
		t.Fatal("a leadership was made")
	}
}

func TestPortsAreTheLowestFree(t *testing.T) {
	m := newMachine(t)
	m.must(PutSetting{Key: settingPortFirst, Value: "6000"}, PutSetting{Key: settingPortLast, Value: "6002"})
	m.must(named("a"), named("b"))
	m.must(named("c"))
	m.fails(pgctl.CodeConflict, "", named("d"))
	m.must(DeleteCluster{Name: "b"})
	m.fails(pgctl.CodeConflict, "", named("d")) // kept as long as it can come back
	m.must(PurgeCluster{Name: "b"})
	m.must(named("d"))
	if d, _ := m.state().Cluster("d"); d.Port != 6001 {
		t.Fatalf("port %d", d.Port)
	}
	for _, bad := range []string{"x", "80", "70000", ""} {
		m.fails(pgctl.CodeInvalid, settingPortFirst, PutSetting{Key: settingPortFirst, Value: bad})
	}
}

func TestDeleteUndeletePurge(t *testing.T) {
	m := newMachine(t)
	m.fails(pgctl.CodeNotFound, "", DeleteCluster{Name: "shop"})
	m.must(largeCluster(1)...)
	name := "cluster-00001"
	m.fails(pgctl.CodeRefused, "", PurgeCluster{Name: name})
	m.fails(pgctl.CodeConflict, "", UndeleteCluster{Name: name})
	m.fails(pgctl.CodeConflict, "revision", DeleteCluster{Name: name, Expect: ptr(uint64(77))})
	m.fails(pgctl.CodeInvalid, "keep", DeleteCluster{Name: name, Keep: -1})
	m.must(DeleteCluster{Name: name, Keep: time.Hour})
	c, _ := m.state().Cluster(name)
	if c.Deleted == nil || c.Deleted.Keep != time.Hour || !c.Deleted.At.Equal(testTime) {
		t.Fatalf("%+v", c.Deleted)
	}
	m.fails(pgctl.CodeConflict, "", DeleteCluster{Name: name})
	m.fails(pgctl.CodeConflict, "", named(name))
	m.must(UndeleteCluster{Name: name})
	m.must(DeleteCluster{Name: name})
	m.must(PurgeCluster{Name: name})
	s := m.state()
	_, cluster := s.Cluster(name)
	_, leadership := s.Leadership(name)
	if cluster || leadership || len(slices.Collect(s.Instances(name))) > 0 || len(slices.Collect(s.Secrets(name))) > 0 {
		t.Fatal("something is left")
	}
}

func TestHosts(t *testing.T) {
	m := newMachine(t)
	m.fails(pgctl.CodeInvalid, "name", PutHost{pgctl.Host{Name: "a/b"}})
	m.must(PutHost{pgctl.Host{Name: "h1", DataCenter: "a"}})
	m.must(named("shop"), SetInstances{Cluster: "shop", Put: []pgctl.Instance{{Name: "shop-0", Cluster: "shop", Host: "h1"}}})
	m.fails(pgctl.CodeConflict, "", RemoveHost{"h1"})
	m.must(SetInstances{Cluster: "shop", Remove: []string{"shop-0"}})
	m.must(RemoveHost{"h1"})
	m.fails(pgctl.CodeNotFound, "", RemoveHost{"h1"})
	if got := slices.Collect(m.state().Hosts()); len(got) != 0 {
		t.Fatalf("%v", got)
	}
}

func TestInstances(t *testing.T) {
	m := newMachine(t)
	i := pgctl.Instance{Name: "shop-0", Cluster: "shop", Host: "h1"}
	m.fails(pgctl.CodeNotFound, "", SetInstances{Cluster: "shop", Put: []pgctl.Instance{i}})
	m.must(named("shop"), named("shop-2"))
	m.must(SetInstances{Cluster: "shop", Put: []pgctl.Instance{i}})
	m.fails(pgctl.CodeConflict, "revision", SetInstances{Cluster: "shop", Put: []pgctl.Instance{i}})
	m.fails(pgctl.CodeInvalid, "put", SetInstances{Cluster: "shop-2", Put: []pgctl.Instance{i}})
	m.fails(pgctl.CodeNotFound, "remove", SetInstances{Cluster: "shop", Remove: []string{"shop-9"}})
	// All or nothing: the first is fine, the second expects what is not.
	ok := pgctl.Instance{Name: "shop-1", Cluster: "shop", Host: "h2"}
	m.fails(pgctl.CodeConflict, "", SetInstances{Cluster: "shop", Put: []pgctl.Instance{ok, i}})
	if _, found := m.state().Instance("shop-1"); found {
		t.Fatal("half a command was applied")
	}
	i, _ = m.state().Instance("shop-0")
	i.Host = "h2"
	m.must(SetInstances{Cluster: "shop", Put: []pgctl.Instance{i, ok}})
	if got := slices.Collect(m.state().InstancesOf("h2")); len(got) != 2 || got[0].Name != "shop-0" {
		t.Fatalf("%+v", got)
	}
	if got := slices.Collect(m.state().InstancesOf("h1")); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
}

func TestSecrets(t *testing.T) {
	m := newMachine(t)
	secret := func(text string) []pgctl.Secret {
		return []pgctl.Secret{{Cluster: "shop", User: "app", Ciphertext: []byte(text)}}
	}
	m.fails(pgctl.CodeNotFound, "", PutSecrets{Secrets: secret("1")})
	m.must(named("shop"))
	m.fails(pgctl.CodeInvalid, "ciphertext", PutSecrets{Secrets: secret("")})
	for _, step := range []struct {
		put     string
		replace bool
		want    string
	}{{"1", false, "1"}, {"2", false, "1"}, {"3", true, "3"}} {
		m.must(PutSecrets{Secrets: secret(step.put), Replace: step.replace})
		if s, _ := m.state().Secret("shop", "app"); string(s.Ciphertext) != step.want {
			t.Fatalf("%+v: %q", step, s.Ciphertext)
		}
	}
}

func TestSettings(t *testing.T) {
	m := newMachine(t)
	m.must(PutSetting{Key: "a.b", Value: "1", Expect: ptr(uint64(0))})
	m.fails(pgctl.CodeConflict, "revision", PutSetting{Key: "a.b", Value: "2", Expect: ptr(uint64(0))})
	m.must(PutSetting{Key: "a.b", Value: "3", Expect: ptr(uint64(1))})
	m.fails(pgctl.CodeInvalid, "key", PutSetting{Key: strings.Repeat("k", 129)})
	m.fails(pgctl.CodeInvalid, "big", PutSetting{Key: "big", Value: strings.Repeat("v", 64<<10+1)})
	m.fails(pgctl.CodeInvalid, "bytes", PutSetting{Key: "bytes", Value: "\xff"})
	if s, ok := m.state().Setting("a.b"); !ok || s.Value != "3" || s.Revision != m.index {
		t.Fatalf("%+v", s)
	}
	m.fails(pgctl.CodeInvalid, "")
	var many []Command
	for i := range 20 {
		many = append(many, PutSetting{Key: fmt.Sprint("k", i), Value: strings.Repeat("v", 60<<10)})
	}
	m.fails(pgctl.CodeInvalid, "", many...)
}

func TestEventsAreBounded(t *testing.T) {
	m := newMachine(t)
	event := func(cluster string, n int) RecordEvents {
		return RecordEvents{[]pgctl.Event{{Cluster: cluster, Kind: "test", Message: fmt.Sprint(n)}}}
	}
	m.fails(pgctl.CodeInvalid, "events", RecordEvents{[]pgctl.Event{{Cluster: "shop"}}})
	for i := 0; i < maxClusterEvents+20; i += 60 {
		var batch []Command
		for n := i; n < i+60; n++ {
			batch = append(batch, event("shop", n), event("shop-2", n))
		}
		m.must(batch...)
	}
	got := m.state().Events(EventFilter{Cluster: "shop"})
	if len(got) != maxClusterEvents || got[0].Message != "20" || got[0].Cluster != "shop" || !got[0].At.Equal(testTime) {
		t.Fatalf("%d events from %+v", len(got), got[0])
	}
	for i := 0; i < maxEvents; i += 500 {
		var batch []pgctl.Event
		for n := range 500 {
			batch = append(batch, pgctl.Event{Kind: "test", Message: fmt.Sprint(i + n)})
		}
		m.must(RecordEvents{batch})
	}
	got = m.state().Events(EventFilter{})
	if len(got) != maxEvents || got[0].Message != "0" || got[0].Cluster != "" || got[len(got)-1].Seq != 500 {
		t.Fatalf("%d events from %+v", len(got), got[0])
	}
	if len(m.derived.events) != 1 || m.derived.total != maxEvents {
		t.Fatalf("counted %v, %d", m.derived.events, m.derived.total)
	}
}

func TestEventsFilter(t *testing.T) {
	m := newMachine(t)
	for range 5 {
		m.must(RecordEvents{[]pgctl.Event{{Cluster: "a", Kind: "k"}, {Cluster: "b", Kind: "k"}, {Cluster: "a", Kind: "k"}}})
	}
	for _, c := range []struct {
		filter EventFilter
		want   []uint64
	}{
		{EventFilter{Cluster: "a", Limit: 2}, []uint64{5, 5}},
		{EventFilter{Limit: 4}, []uint64{4, 4, 4, 5, 5, 5}},
		{EventFilter{Cluster: "a", AfterIndex: 2, Limit: 1}, []uint64{3, 3}},
		{EventFilter{AfterIndex: 4}, []uint64{5, 5, 5}},
		{EventFilter{Cluster: "b", AfterIndex: 3}, []uint64{4, 5}},
		{EventFilter{AfterIndex: 5}, nil},
		{EventFilter{Cluster: "c"}, nil},
	} {
		var got []uint64
		for _, e := range m.state().Events(c.filter) {
			got = append(got, e.Index)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.filter, got, c.want)
		}
	}
}

// TestLearnedAboutHosts: a host that records itself anew, after an upgrade say, takes back nothing.
func TestLearnedAboutHosts(t *testing.T) {
	m := newMachine(t)
	m.fails(pgctl.CodeNotFound, "", LearnHost{Name: "one", Detect: time.Second})
	m.must(PutHost{Host: pgctl.Host{Name: "one", Detect: time.Hour}})
	if h, _ := m.state().Host("one"); h.Detect != 0 {
		t.Fatalf("a host says itself what its silence means: %s", h.Detect)
	}
	m.fails(pgctl.CodeInvalid, "detect", LearnHost{Name: "one", Detect: -1})
	m.must(LearnHost{Name: "one", Detect: 3 * time.Second})
	m.must(PutHost{Host: pgctl.Host{Name: "one", Address: "10.0.0.1"}})
	if h, _ := m.state().Host("one"); h.Detect != 3*time.Second || h.Learned.IsZero() || h.Address != "10.0.0.1" {
		t.Fatalf("%+v", h)
	}
}
