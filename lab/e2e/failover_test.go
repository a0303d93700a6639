package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pgctl/pgctl/node/api"
)

// The main job: lose the leader's host, keep every acknowledged row, write on, take the host back.
func TestHostOfLeaderDies(t *testing.T) {
	apply(t, manifest("shop", 3))
	well(t, "shop", 2)
	w := write(t, "shop")
	for range 2 {
		old, host := leader(t, "shop")
		more(t, w)
		do(t, "dev", "kill", host)
		more(t, w)
		if now, _ := leader(t, "shop"); now == old {
			t.Fatalf("%s still leads", old)
		}
		do(t, "dev", "start", host)
		well(t, "shop", 2)
	}
	nothingLost(t, w)
}

// A crash of Postgres alone hands over too; the second one within ten minutes is restarted in place.
func TestPostmasterDies(t *testing.T) {
	apply(t, manifest("crash", 3))
	well(t, "crash", 2)
	w := write(t, "crash")
	first, _ := leader(t, "crash")
	killPostmaster(t, "crash", first)
	more(t, w)
	second, _ := leader(t, "crash")
	if second == first {
		t.Errorf("%s was restarted, although a standby could take over at once", first)
	}
	well(t, "crash", 2)
	killPostmaster(t, "crash", second)
	more(t, w)
	if third, _ := leader(t, "crash"); third != second {
		t.Errorf("the second crash moved the leader from %s to %s", second, third)
	}
	well(t, "crash", 2)
	nothingLost(t, w)
	do(t, "delete", "crash", "--yes", "crash")
}

func TestSwitchover(t *testing.T) {
	apply(t, manifest("planned", 3))
	well(t, "planned", 2)
	w := write(t, "planned")
	more(t, w)
	old, _ := leader(t, "planned")
	for _, to := range []string{"planned-0", "planned-1", "planned-2", old} {
		if now, _ := leader(t, "planned"); now == to {
			continue
		}
		do(t, "switchover", "planned", "--to", to, "--wait")
		if now, _ := leader(t, "planned"); now != to {
			t.Errorf("%s leads instead of %s", now, to)
		}
		more(t, w)
		well(t, "planned", 2)
	}
	nothingLost(t, w)
	if out := refused(t, "", "switchover", "planned", "--to", old); !strings.Contains(out, "leader already") {
		t.Errorf("switchover to the leader: %s", out)
	}
	if out := refused(t, "", "switchover", "planed"); !strings.Contains(out, "planned") {
		t.Errorf("a wrong name suggests nothing: %s", out)
	}
	do(t, "delete", "planned", "--yes", "planned")
}

// Of two instances the standby dies: commits go on after the rule was shrunk. Then the leader, which
// alone has what was acknowledged since, dies: the standby that comes back must not lead.
func TestLastOneHasEverything(t *testing.T) {
	apply(t, manifest("pair", 2))
	well(t, "pair", 1)
	w := write(t, "pair")
	more(t, w)
	lead, leadHost := leader(t, "pair")
	standby := "pair-0"
	if lead == standby {
		standby = "pair-1"
	}
	standbyHost := hostOf(t, "pair", standby)
	do(t, "dev", "kill", standbyHost)
	more(t, w)
	do(t, "dev", "kill", leadHost)
	do(t, "dev", "start", standbyHost)
	eventually(t, "the cluster waits and says for whom", func() (bool, string) {
		status := get[api.Status](t, "status", "pair")
		return status.Health == api.LevelDown && strings.Contains(fmt.Sprint(status.Problems), lead), fmt.Sprintf("%+v", status)
	})
	if now, _ := leader(t, "pair"); now == standby {
		t.Fatal("an instance leads that lacks acknowledged rows")
	}
	if out := refused(t, "", "failover", "pair", "--to", standby); !strings.Contains(out, "allow-data-loss") && !strings.Contains(out, "known to have failed") {
		t.Errorf("failover that would lose data: %s", out)
	}
	eventually(t, "who accepts loss is asked whether the old leader is dead", func() (bool, string) {
		out, err := try("", "failover", "pair", "--to", standby, "--allow-data-loss")
		return err != nil && strings.Contains(out, "--old-leader-is-dead"), out
	})
	do(t, "dev", "start", leadHost)
	more(t, w)
	well(t, "pair", 1)
	nothingLost(t, w)
	do(t, "delete", "pair", "--yes", "pair")
}

// An asynchronous cluster is protected by its leader's lease.
func TestLeaseCluster(t *testing.T) {
	apply(t, manifest("async", 2, "pgctl: {durability: {mode: lease}}"))
	well(t, "async", 0)
	w := write(t, "async")
	more(t, w)
	old, host := leader(t, "async")
	do(t, "dev", "kill", host)
	more(t, w)
	if now, _ := leader(t, "async"); now == old {
		t.Errorf("%s still leads", old)
	}
	do(t, "dev", "start", host)
	well(t, "async", 0)
	w.Stop() // what was not replicated when the leader died may be lost: chosen so
	do(t, "delete", "async", "--yes", "async")
}

// killPostmaster kills one postmaster, as the kernel's out-of-memory killer would.
func killPostmaster(t *testing.T, cluster, instance string) {
	t.Helper()
	found, err := exec.Command("sh", "-c", "ls -d "+world.dir+"/*/data/instances/"+instance+"/????????/pgdata/postmaster.pid").Output()
	if err != nil {
		t.Fatalf("no postmaster of %s in %s: %v", instance, cluster, err)
	}
	text, err := os.ReadFile(strings.TrimSpace(string(found)))
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(text), "\n")
	if out, err := exec.Command("kill", "-KILL", pid).CombinedOutput(); err != nil {
		t.Fatalf("kill: %v %s", err, out)
	}
}
