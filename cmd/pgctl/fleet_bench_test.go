package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/pki"
	"github.com/pgctl/pgctl/raftstore"
)

// BenchmarkDaemonWith10000Clusters reports what a whole daemon needs that leads the servers of an installation
// with 10,000 clusters: memory, processor, and the time from its start to its first answer. It uses the
// addresses of `pgctl dev`. The clusters' hosts do not exist: the
// controller sees 1,000 hosts that are all silent, which is more work than calm.
func BenchmarkDaemonWith10000Clusters(b *testing.B) {
	folder, err := os.MkdirTemp("", "pgctl-fleet-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil { // for the user that PostgreSQL would run as
		b.Fatal(err)
	}
	binary := filepath.Join(folder, "pgctl")
	run := func(args ...string) string {
		b.Helper()
		output, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			b.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, output)
		}
		return string(output)
	}
	run("go", "build", "-trimpath", "-o", binary, ".")
	place := filepath.Join(folder, "dev")
	run(binary, "dev", "up", "--hosts", "1", "--dir", place)
	run(binary, "dev", "down", "--dir", place)
	fillFleet(b, place, 10_000)
	for b.Loop() {
		start := time.Now()
		run(binary, "dev", "up", "--dir", place)
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ready-ms")
		pid := strings.TrimSpace(run("pgrep", "-f", "^"+regexp.QuoteMeta(binary)+" daemon"))
		before := cpuTicks(b, pid)
		const settle = 20 * time.Second
		time.Sleep(settle) // what is measured is what it costs to run that long
		b.ReportMetric(float64(cpuTicks(b, pid)-before)/100/settle.Seconds()*100, "cpu-%")
		b.ReportMetric(processMB(b, pid, "VmRSS"), "rss-MB")
		b.ReportMetric(processMB(b, pid, "RssAnon"), "rss-anonymous-MB") // the rest are pages of files, which the kernel may drop
		b.ReportMetric(processMB(b, pid, "VmHWM"), "peak-MB")
		run(binary, "dev", "down", "--dir", place)
	}
}

// fillFleet writes clusters of three instances into the store of a playground that is down.
func fillFleet(b *testing.B, place string, clusters int) {
	host := filepath.Join(place, "dev-1")
	identity, err := pki.Load(filepath.Join(place, "ca.pem"), filepath.Join(host, "host.pem"),
		filepath.Join(host, "host-key.pem"), time.Now())
	if err != nil {
		b.Fatal(err)
	}
	both := identity.ServerConfig()
	both.RootCAs, both.VerifyConnection = both.ClientCAs, identity.ClientConfig().VerifyConnection
	store, err := raftstore.Open(raftstore.Config{
		Dir: filepath.Join(host, "data", "raft"), Name: "dev-1", Listen: "127.0.0.1:7433", TLS: both,
	})
	if err != nil {
		b.Fatal(err)
	}
	apply := func(commands ...raftstore.Command) {
		if _, err := store.Apply(context.Background(), commands...); err != nil {
			b.Error(err)
		}
	}
	apply(raftstore.PutSetting{Key: "postgres.port.first", Value: "2000"}, raftstore.PutSetting{Key: "postgres.port.last", Value: "65000"})
	for h := range 1000 {
		apply(raftstore.PutHost{Host: pgctl.Host{
			Name: fmt.Sprintf("host-%d", h), DataCenter: "a", Address: "10.0.0.1", API: "10.0.0.1:7432",
		}})
	}
	var writers sync.WaitGroup
	for w := range 50 {
		writers.Go(func() {
			for i := w; i < clusters; i += 50 {
				apply(fleetCluster(i)...)
			}
		})
	}
	writers.Wait()
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
}

// fleetCluster is a declared cluster with a leader and two standbys.
func fleetCluster(i int) []raftstore.Command {
	name := fmt.Sprintf("cluster-%05d", i)
	lives, instances := []pgctl.Life{}, []pgctl.Instance{}
	for n := range 3 {
		lives = append(lives, pgctl.Life(fmt.Sprintf("%c%07d", 'a'+n, i)))
		instances = append(instances, pgctl.Instance{
			Name: fmt.Sprintf("%s-%d", name, n), Cluster: name, Ordinal: n, Host: fmt.Sprintf("host-%d", (i*3+n)%1000),
			Life: lives[n], Wanted: pgctl.WantRunning,
		})
	}
	return []raftstore.Command{
		raftstore.PutCluster{Cluster: pgctl.Cluster{
			Name: name, Namespace: "prod", Team: "team", Labels: map[string]string{"app": name, "tier": "gold"},
			Spec: pgctl.ClusterSpec{
				Version: 15, Instances: 3, Parameters: map[string]string{"max_connections": "200", "shared_buffers": "1GB"},
				Users: map[string][]string{"app": {"LOGIN"}}, Databases: map[string]string{"app": "app"},
				VolumeSize: "10Gi", Durability: pgctl.Durability{Mode: pgctl.Quorum},
			},
		}},
		raftstore.SetInstances{Cluster: name, Put: instances},
		raftstore.SetLeadership{Next: pgctl.Leadership{
			Cluster: name, Mode: pgctl.Quorum, Epoch: 3, Phase: pgctl.Steady, Leader: lives[0], SteadyEpoch: 3, Serving: true,
			Rule: pgctl.Rule{Leader: lives[0], Standbys: lives[1:], Acks: 1, Version: 4}, SystemID: "7300000000000000000",
			History: []pgctl.TimelineRecord{
				{Timeline: 1, Epoch: 3, Leader: lives[0], State: pgctl.TimelineSteady, Why: "the cluster was created", At: time.Now()},
			},
		}},
	}
}

// cpuTicks is the processor time of a process in hundredths of a second.
func cpuTicks(b *testing.B, pid string) (ticks int) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	for _, field := range strings.Fields(rest)[11:13] { // utime, stime; proc(5)
		n, _ := strconv.Atoi(field)
		ticks += n
	}
	return ticks
}

// processMB reads a size from /proc/PID/status.
func processMB(b *testing.B, pid, field string) float64 {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		b.Fatal(err)
	}
	found := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		b.Fatalf("/proc/%s/status has no %s", pid, field)
	}
	kb, _ := strconv.Atoi(string(found[1]))
	return float64(kb) / 1024
}
