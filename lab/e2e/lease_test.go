package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgctl/pgctl/node/api"
)

// process reads which process a host's daemon or guard is.
func process(t *testing.T, host, kind string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(world.dir, host, kind+".pid"))
	var id struct {
		PID int `json:"pid"`
	}
	if err == nil {
		err = json.Unmarshal(text, &id)
	}
	if err != nil || id.PID <= 0 {
		t.Fatalf("the %s of %s: %v %s", kind, host, err, text)
	}
	return id.PID
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("signal %v to process %d: %v", s, pid, err)
	}
}

// freeze stops the daemons of hosts in the middle of whatever they do, and lets them go on at the end of the
// test if it did not.
func freeze(t *testing.T, hosts ...string) (thaw func()) {
	t.Helper()
	var pids []int
	for _, host := range hosts {
		pids = append(pids, process(t, host, "daemon"))
	}
	var once sync.Once
	thaw = func() {
		once.Do(func() {
			for _, pid := range pids {
				_ = syscall.Kill(pid, syscall.SIGCONT) // it may have been killed since
			}
		})
	}
	t.Cleanup(thaw)
	for _, pid := range pids {
		signal(t, pid, syscall.SIGSTOP)
	}
	return thaw
}

// watcher is an outside client of every single instance: it writes to each of them all the time, and
// remembers when each acknowledged.
type watcher struct {
	stop    context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	tenures map[string][]span // by instance; a new one after each pause of a second
}

type span struct{ firstGot, lastSent, lastGot time.Time }

func watch(t *testing.T, cluster string) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{stop: cancel, tenures: map[string][]span{}}
	u, err := url.Parse(dsn(t, cluster))
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = "sslmode=require&connect_timeout=2"
	detail := get[api.ClusterDetail](t, "show", cluster)
	addresses := map[string]string{}
	for _, h := range get[[]api.HostDetail](t, "hosts") {
		addresses[h.Name] = h.Address
	}
	for _, i := range detail.Instances {
		own := *u
		own.Host = fmt.Sprintf("%s:%d", addresses[i.Host], detail.Cluster.Port)
		w.running.Go(func() { w.write(ctx, i.Name, own.String()) })
	}
	t.Cleanup(w.end)
	return w
}

func (w *watcher) end() {
	w.stop()
	w.running.Wait()
}

// write tries one instance again and again; a standby refuses.
func (w *watcher) write(ctx context.Context, name, dsn string) {
	for ctx.Err() == nil {
		conn, err := pgx.Connect(ctx, dsn)
		for err == nil {
			sent := time.Now()
			limited, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err = conn.Exec(limited, "CREATE TABLE IF NOT EXISTS watched (at timestamptz); INSERT INTO watched VALUES (now())")
			cancel()
			if err == nil {
				w.note(name, sent, time.Now())
				time.Sleep(5 * time.Millisecond)
			}
		}
		if conn != nil {
			_ = conn.Close(context.Background()) // it is broken, or a standby's
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *watcher) note(name string, sent, got time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.tenures[name]
	if n := len(all); n == 0 || sent.Sub(all[n-1].lastGot) > time.Second {
		all = append(all, span{firstGot: got})
	}
	last := &all[len(all)-1]
	last.lastSent, last.lastGot = sent, got
	w.tenures[name] = all
}

// acknowledged says when an instance acknowledged last; the zero time for never.
func (w *watcher) acknowledged(name string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if all := w.tenures[name]; len(all) > 0 {
		return all[len(all)-1].lastGot
	}
	return time.Time{}
}

// overlaps are pairs of instances that wrote side by side.
func (w *watcher) overlaps() (found []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for a, spans := range w.tenures {
		for b, others := range w.tenures {
			for _, s := range spans {
				for _, o := range others {
					if a != b && s.lastSent.After(o.firstGot) && s.firstGot.Before(o.lastSent) {
						found = append(found, fmt.Sprintf("%s and %s for %s", a, b, s.lastSent.Sub(o.firstGot)))
					}
				}
			}
		}
	}
	return found
}

func async(name string, instances int, more ...string) string {
	return manifest(name, instances, "pgctl: {durability: {mode: lease}"+strings.Join(append([]string{""}, more...), ", ")+"}")
}

// armed waits until the leader is watched by its guard.
func armed(t *testing.T, cluster string) {
	t.Helper()
	eventually(t, "the leader is armed", func() (bool, string) {
		detail := get[api.ClusterDetail](t, "show", cluster)
		for _, i := range detail.Instances {
			if detail.Leadership != nil && i.Life == detail.Leadership.Leader && i.Live != nil {
				return i.Live.Armed && i.Live.Open, i.Live.Unguarded
			}
		}
		return false, "it is not heard of"
	})
}

// The daemon of a lease cluster's leader hangs: its guard kills the leader when its lease is over, another
// one takes over, and the two never write side by side. When the daemon goes on it finds a standby's work.
func TestGuardKillsForAHungDaemon(t *testing.T) {
	apply(t, async("hung", 3))
	well(t, "hung", 0)
	armed(t, "hung")
	w := watch(t, "hung")
	old, host := leader(t, "hung")
	eventually(t, "the leader acknowledges", func() (bool, string) { return !w.acknowledged(old).IsZero(), "" })
	began := time.Now()
	thaw := freeze(t, host)
	const lease = 5 * time.Second
	eventually(t, "another one acknowledges", func() (bool, string) {
		for _, i := range []string{"hung-0", "hung-1", "hung-2"} {
			if i != old && w.acknowledged(i).After(began) {
				return true, ""
			}
		}
		return false, "nobody does"
	})
	last, gap := w.acknowledged(old).Sub(began), time.Since(began)
	if last > lease+time.Second {
		t.Errorf("%s acknowledged for %s after its daemon hung; its lease is %s", old, last, lease)
	}
	t.Logf("the daemon hung; %s acknowledged for another %s, the next leader after %s", old, last.Round(time.Millisecond), gap.Round(time.Millisecond))
	thaw()
	well(t, "hung", 0)
	w.end()
	if found := w.overlaps(); len(found) > 0 {
		t.Errorf("they wrote side by side: %v", found)
	}
	if events := do(t, "events", "hung"); !strings.Contains(events, "the guard killed "+old) {
		t.Errorf("no event says so:\n%s", events)
	}
	do(t, "delete", "hung", "--yes", "hung")
}

// A guard that is stopped and started again touches nothing; status says so while it is away.
func TestGuardIsUpgraded(t *testing.T) {
	apply(t, async("calm", 2))
	well(t, "calm", 0)
	armed(t, "calm")
	w := write(t, "calm")
	more(t, w)
	old, host := leader(t, "calm")
	signal(t, process(t, host, "guard"), syscall.SIGTERM)
	eventually(t, "status says that no guard watches", func() (bool, string) {
		status := get[api.Status](t, "status", "calm")
		return strings.Contains(fmt.Sprint(status.Problems), "no guard watches the leader"), fmt.Sprintf("%+v", status)
	})
	do(t, "dev", "start", host)
	armed(t, "calm")
	well(t, "calm", 0)
	more(t, w)
	if now, _ := leader(t, "calm"); now != old {
		t.Errorf("%s leads instead of %s", now, old)
	}
	nothingLost(t, w)
	do(t, "delete", "calm", "--yes", "calm")
}

// Without a majority of the servers a leader by lease goes on for as long as all its members agree; when one
// of them does not answer it stops in time.
func TestFailsafe(t *testing.T) {
	apply(t, async("safe", 2, "placement: {dataCenters: [a]}")) // dev-1 and dev-4, of which the latter is no server
	well(t, "safe", 0)
	armed(t, "safe")
	old, host := leader(t, "safe")
	other := "dev-4"
	if host == other {
		other = "dev-1"
	}
	if hosts := []string{hostOf(t, "safe", "safe-0"), hostOf(t, "safe", "safe-1")}; !slices.Contains(hosts, "dev-1") || !slices.Contains(hosts, "dev-4") {
		t.Fatalf("on %v", hosts)
	}
	w := watch(t, "safe")
	eventually(t, "the leader acknowledges", func() (bool, string) { return !w.acknowledged(old).IsZero(), "" })
	thaw := freeze(t, "dev-2", "dev-3")
	began := time.Now()
	eventually(t, "two leases are over", func() (bool, string) {
		if silent := time.Since(w.acknowledged(old)); silent > 3*time.Second {
			t.Fatalf("%s stopped %s after the servers, although its member agrees", old, time.Since(began)-silent)
		}
		return time.Since(began) > 12*time.Second, ""
	})
	last := freeze(t, other)
	began = time.Now()
	eventually(t, "it stops", func() (bool, string) {
		return time.Since(w.acknowledged(old)) > 3*time.Second, "it acknowledges"
	})
	if held := w.acknowledged(old).Sub(began); held > 6*time.Second {
		t.Errorf("%s acknowledged for %s although a member did not answer", old, held)
	} else {
		t.Logf("%s acknowledged for %s without an answer of its member", old, held.Round(time.Millisecond))
	}
	last()
	thaw()
	well(t, "safe", 0)
	w.end()
	if found := w.overlaps(); len(found) > 0 {
		t.Errorf("they wrote side by side: %v", found)
	}
	do(t, "delete", "safe", "--yes", "safe")
}

// Every guard of the playground is the real program: what it holds in memory is small, and locked.
func TestGuardIsSmall(t *testing.T) {
	for _, host := range []string{"dev-1", "dev-2", "dev-3", "dev-4"} {
		proc := fmt.Sprintf("/proc/%d/", process(t, host, "guard"))
		kilobytes := func(file, key string) (sum int) {
			text, err := os.ReadFile(proc + file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				var n int
				if rest, ok := strings.CutPrefix(line, key+":"); ok {
					if _, err := fmt.Sscan(rest, &n); err != nil {
						t.Fatal(err)
					}
					sum += n
				}
			}
			return sum
		}
		resident, covered := kilobytes("status", "VmRSS"), kilobytes("status", "VmLck")
		own, locked := kilobytes("smaps", "Pss"), kilobytes("smaps", "Locked") // pages that the guards share count in parts
		t.Logf("%s: %d kB resident; of its share of %d kB, %d kB are locked; %d kB of addresses are covered", host, resident, own, locked, covered)
		if resident > 12<<10 {
			t.Errorf("the guard of %s has %d kB resident, 12 MB are allowed", host, resident)
		}
		if os.Geteuid() != 0 {
			t.Skip("needs root, or CAP_IPC_LOCK, to lock memory")
		}
		if covered == 0 || locked*100 < own*95 {
			t.Errorf("only %d of %d kB are locked", locked, own)
		}
	}
}
