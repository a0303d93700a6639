package raftstore

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/pgctl/pgctl"
)

// BenchmarkApply measures changes of 256 bytes a second, three servers with TLS in one process.
func BenchmarkApply(b *testing.B) {
	for _, at := range []string{"leader", "follower"} {
		for _, concurrency := range []int{1, 64, 256, 1000} {
			b.Run(fmt.Sprintf("%s-%d", at, concurrency), func(b *testing.B) {
				g := newGroup(b, 3, nil)
				s := g.stores[g.leader()]
				if at == "follower" {
					s = g.stores[g.follower()]
				}
				value := strings.Repeat("x", 256)
				apply(b, s, PutSetting{Key: "warm", Value: value})
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range concurrency {
					wg.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							key := fmt.Sprintf("key-%d", i%1000)
							_, err := s.Apply(context.Background(), PutSetting{Key: key, Value: value})
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
			})
		}
	}
}

// largeState fills a machine with clusters of three instances and a leadership each.
func largeState(t testing.TB, clusters int) *machine {
	m := newMachine(t)
	m.must(PutSetting{Key: settingPortFirst, Value: "2000"}, PutSetting{Key: settingPortLast, Value: "65000"})
	for h := range 1000 {
		m.must(PutHost{pgctl.Host{Name: fmt.Sprintf("host-%d", h), DataCenter: "a", Address: "10.0.0.1", API: "10.0.0.1:7432"}})
	}
	for i := range clusters {
		m.must(largeCluster(i)...)
	}
	return m
}

func largeCluster(i int) []Command {
	name := fmt.Sprintf("cluster-%05d", i)
	lives := []pgctl.Life{
		pgctl.Life(fmt.Sprintf("a%07d", i)), pgctl.Life(fmt.Sprintf("b%07d", i)), pgctl.Life(fmt.Sprintf("c%07d", i)),
	}
	var instances []pgctl.Instance
	for n, life := range lives {
		instances = append(instances, pgctl.Instance{
			Name: fmt.Sprintf("%s-%d", name, n), Cluster: name, Ordinal: n, Host: fmt.Sprintf("host-%d", (i*3+n)%1000),
			Life: life, Wanted: pgctl.WantRunning,
		})
	}
	return []Command{
		PutCluster{
			Cluster: pgctl.Cluster{
				Name: name, Namespace: "prod", Team: "team", Labels: map[string]string{"app": name, "tier": "gold"},
				Spec: pgctl.ClusterSpec{
					Version: 17, Instances: 3, Parameters: map[string]string{"max_connections": "200", "shared_buffers": "1GB"},
					Users: map[string][]string{"app": {"LOGIN"}}, Databases: map[string]string{"app": "app"},
					VolumeSize: "10Gi", Durability: pgctl.Durability{Mode: pgctl.Quorum},
				},
			},
			Secrets: []pgctl.Secret{{Cluster: name, User: "app", Ciphertext: bytes.Repeat([]byte{7}, 230)}},
		},
		SetInstances{Cluster: name, Put: instances},
		SetLeadership{Next: pgctl.Leadership{
			Cluster: name, Mode: pgctl.Quorum, Epoch: 3, Phase: pgctl.Steady, Leader: lives[0], SteadyEpoch: 3, Serving: true,
			Rule: pgctl.Rule{Leader: lives[0], Standbys: lives[1:], Acks: 1, Version: 4}, SystemID: "7300000000000000000",
			History: []pgctl.TimelineRecord{
				{Timeline: 1, Epoch: 1, Leader: lives[1], State: pgctl.TimelineSteady, Why: "bootstrap", At: testTime},
				{
					Timeline: 2, Epoch: 3, Leader: lives[0], Parent: 1, Switch: 1 << 30, State: pgctl.TimelineSteady,
					Why: "the leader's host was silent", At: testTime,
				},
			},
		}},
	}
}

// Benchmark10000Clusters reports what a state of 10,000 clusters costs: memory, a snapshot, a restart.
func Benchmark10000Clusters(b *testing.B) {
	before := heap()
	m := largeState(b, 10_000)
	m.recent.clear(m.index)
	size := heap() - before
	var file bytes.Buffer
	for b.Loop() {
		file.Reset()
		start := time.Now()
		must(b, writeSnapshot(&file, m.state(), tables))
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "snapshot-ms")
		start = time.Now()
		_, _, _, err := loadSnapshot(bytes.NewReader(file.Bytes()))
		must(b, err)
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "load-ms")
	}
	b.ReportMetric(float64(size)/(1<<20), "heap-MB")
	b.ReportMetric(float64(file.Len())/(1<<20), "snapshot-MB")

	g := newGroup(b, 1, nil)
	s := g.stores[g.leader()]
	apply(b, s, PutSetting{Key: settingPortFirst, Value: "2000"}, PutSetting{Key: settingPortLast, Value: "65000"})
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := w; i < 10_000; i += 50 {
				_, err := s.Apply(context.Background(), largeCluster(i)...)
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, how := range []string{"log", "snapshot"} {
		if how == "snapshot" {
			if err := s.raft.Snapshot().Error(); err != nil && err != raft.ErrNothingNewToSnapshot {
				b.Fatal(err)
			}
		}
		g.stop(0)
		start := time.Now()
		g.start(0)
		s = g.stores[g.leader()]
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "restart-from-"+how+"-ms")
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
