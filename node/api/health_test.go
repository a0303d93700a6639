package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// scene is a healthy cluster of three, whose first instance leads; tests break it.
func scene(n int) api.HealthView {
	v := api.HealthView{
		Cluster: &pgctl.Cluster{Name: "shop", Spec: pgctl.ClusterSpec{
			Version: 15, Instances: n, Durability: pgctl.Durability{Mode: pgctl.Quorum},
		}},
		Leadership: &pgctl.Leadership{
			Cluster: "shop", Mode: pgctl.Quorum, Epoch: 4, SteadyEpoch: 4, Phase: pgctl.Steady, Leader: life(1), Serving: true,
			Rule: pgctl.Rule{Leader: life(1), Acks: pgctl.Durability{}.Acks(n), Version: 3},
		},
	}
	for i := 1; i <= n; i++ {
		if i > 1 {
			v.Leadership.Rule.Standbys = append(v.Leadership.Rule.Standbys, life(i))
		}
		v.Instances = append(v.Instances, &pgctl.Instance{
			Name: fmt.Sprintf("shop-%d", i), Cluster: "shop", Ordinal: i, Host: fmt.Sprintf("db%d", i), Life: life(i),
			Wanted: pgctl.WantRunning,
		})
		role := api.RoleStandby
		if i == 1 {
			role = api.RolePrimary
		}
		v.Live = append(v.Live, api.Live{
			Instance: fmt.Sprintf("shop-%d", i), Host: fmt.Sprintf("db%d", i), Life: life(i), Role: role,
			State: api.StateRunning, Open: true, Timeline: 2, LSN: pgctl.LSN(1000 - i), Streaming: i > 1, AgeMs: 150,
		})
	}
	return v
}

func life(n int) pgctl.Life { return pgctl.Life(fmt.Sprintf("life000%d", n)) }

// silence makes hosts silent for nine seconds; what they said before stays.
func silence(v *api.HealthView, hosts ...int) {
	for _, n := range hosts {
		v.Live[n-1].AgeMs = 9000
	}
}

// stop stops every server.
func stop(v *api.HealthView) {
	for i := range v.Live {
		v.Live[i].State = api.StateStopped
	}
}

// recruit takes the leader away.
func recruit(v *api.HealthView) {
	v.Leadership.Phase, v.Leadership.Leader, v.Leadership.Epoch = pgctl.Recruiting, "", 5
	for i := range v.Live {
		v.Live[i].Streaming = false
	}
}

func TestHealth(t *testing.T) {
	for _, c := range []struct {
		name   string
		n      int
		change func(*api.HealthView)
		health api.Level
		has    []string // in the text of summary and problems
		ended  string   // by whom the first problem is ended
	}{
		{"well", 3, func(*api.HealthView) {}, api.LevelWell, []string{"shop-1 leads; a commit waits for 1 of 2 standbys"}, ""},
		{"one instance", 1, func(*api.HealthView) {}, api.LevelWell, []string{"shop-1 leads"}, ""},
		{"asynchronous", 2, func(v *api.HealthView) {
			v.Leadership.Mode, v.Cluster.Spec.Durability.Mode = pgctl.Lease, pgctl.Lease
			v.Leadership.Rule.Acks, v.Leadership.Rule.Standbys = 0, nil
		}, api.LevelWell, []string{"commits wait for nobody"}, ""},
		{"asynchronous, without a guard", 2, func(v *api.HealthView) {
			v.Leadership.Mode, v.Cluster.Spec.Durability.Mode = pgctl.Lease, pgctl.Lease
			v.Leadership.Rule.Acks, v.Leadership.Rule.Standbys = 0, nil
			v.Live[0].Unguarded = "the guard has been silent for 7s"
		}, api.LevelDegraded, []string{"no guard watches the leader shop-1", "silent for 7s", "start pgctl-guard on host db1"}, "shop-1 on host db1"},
		{"deleted", 3, func(v *api.HealthView) {
			v.Cluster.Deleted = &pgctl.Deletion{At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Keep: 24 * time.Hour}
			stop(v)
		}, api.LevelStopped, []string{"kept until 2026-01-02 00:00 UTC", "pgctl undelete shop"}, ""},
		{"being deleted", 3, func(v *api.HealthView) {
			v.Cluster.Deleted = &pgctl.Deletion{}
			silence(v, 1)
			v.Live[2].State = api.StateStopped
		}, api.LevelDegraded, []string{"shop-2 is being stopped"}, "shop-2 on host db2"},
		{"stopped", 3, func(v *api.HealthView) { v.Cluster.Spec.Instances = 0; stop(v) }, api.LevelStopped, []string{"numberOfInstances is 0"}, ""},
		{
			"nothing placed", 3, func(v *api.HealthView) { v.Leadership, v.Instances = nil, nil }, api.LevelDown,
			[]string{"no instance has a host yet", "pgctl events shop"},
			"",
		},
		{
			"some not placed", 3, func(v *api.HealthView) { v.Cluster.Spec.Instances = 4 }, api.LevelDegraded,
			[]string{"3 of 4 instances have a host"},
			"",
		},
		{"bootstrapping", 3, func(v *api.HealthView) {
			v.Leadership.Phase = pgctl.Bootstrapping
			v.Live[0].State, v.Live[0].Doing = api.StateCreating, "initdb"
		}, api.LevelDown, []string{"it is being created", "initdb"}, "shop-1 on host db1"},
		{"bootstrapping on a dead host", 3, func(v *api.HealthView) {
			v.Leadership.Phase = pgctl.Bootstrapping
			silence(v, 1)
		}, api.LevelDown, []string{"host db1 was last heard 9s ago"}, "shop-1 on host db1"},
		{
			"gathers members", 3, func(v *api.HealthView) { v.Leadership.Serving, v.Live[0].Open = false, false }, api.LevelDown,
			[]string{"waits for its members", "opens when 1 standby has caught up"},
			"shop-2 on host db2; shop-3 on host db3",
		},
		{
			"closed", 3, func(v *api.HealthView) { v.Live[0].Open = false }, api.LevelDown,
			[]string{"the leader shop-1 lets no clients in"},
			"shop-2 on host db2; shop-3 on host db3",
		},
		{
			"commits wait", 3, func(v *api.HealthView) { v.Live[1].Streaming, v.Live[2].Streaming = false, false }, api.LevelDown,
			[]string{"commits wait", "1 standby must acknowledge, and 0 of shop-2, shop-3 stream"},
			"shop-2 on host db2; shop-3 on host db3",
		},
		{
			"daemon of the leader dead", 3, func(v *api.HealthView) { silence(v, 1) }, api.LevelDegraded,
			[]string{"Postgres serves on", "start pgctl on host db1"},
			"shop-1 on host db1",
		},
		{
			"leader dead, just so", 3, func(v *api.HealthView) {
				silence(v, 1)
				v.Live[1].Streaming, v.Live[2].Streaming = false, false
			}, api.LevelDown,
			[]string{"the leader shop-1 does not serve", "wait: another instance is made the leader"},
			"shop-1 on host db1; shop-2 on host db2; shop-3 on host db3",
		},
		{
			"leader failed, paused", 3, func(v *api.HealthView) {
				v.Live[0].State, v.Leadership.Paused = api.StateFailed, true
			}, api.LevelDown,
			[]string{"its Postgres is failed", "pgctl failover shop --to shop-2", "automatic failover is paused"},
			"shop-1 on host db1",
		},
		{
			"leader and a standby dead", 3, func(v *api.HealthView) { silence(v, 1, 2); v.Live[2].Streaming = false }, api.LevelDown,
			[]string{"no other can lead: acknowledged commits may be on instances that are not heard: needed are shop-1, or 1 " +
				"more of shop-2", "start db1 or db2", "--to shop-3 --allow-data-loss"},
			"shop-1 on host db1; shop-2 on host db2",
		},
		{
			"leader's disk", 3, func(v *api.HealthView) { v.Live[0].Problem = "no space left on /var/lib/pgctl" }, api.LevelDown,
			[]string{"no space left on /var/lib/pgctl"},
			"shop-1 on host db1; shop-2 on host db2; shop-3 on host db3",
		},
		{
			"leader assigned nowhere", 3, func(v *api.HealthView) { v.Leadership.Leader = "nowhere1" }, api.LevelDown,
			[]string{"the leader has no instance"},
			"",
		},
		{
			"standby silent", 3, func(v *api.HealthView) { silence(v, 3) }, api.LevelDegraded,
			[]string{"shop-3 is no standby at present", "host db3 was last heard 9s ago", "start host db3"},
			"shop-3 on host db3",
		},
		{
			"standby never heard", 3, func(v *api.HealthView) { v.Live = v.Live[:2] }, api.LevelDegraded,
			[]string{"nothing was heard of it yet from host db3"},
			"shop-3 on host db3",
		},
		{"standby copies", 3, func(v *api.HealthView) {
			v.Live[2].State, v.Live[2].Doing, v.Live[2].Streaming = api.StateCreating, "base backup 43 %", false
		}, api.LevelDegraded, []string{"shop-3 is not ready yet", "base backup 43 %"}, "shop-3 on host db3"},
		{
			"standby does not follow", 3, func(v *api.HealthView) { v.Live[2].Streaming = false }, api.LevelDegraded,
			[]string{"shop-3 does not follow the leader"},
			"shop-3 on host db3",
		},
		{"alone", 2, func(v *api.HealthView) {
			v.Leadership.Rule.Acks, v.Leadership.Rule.Standbys = 0, nil
			silence(v, 2)
		}, api.LevelDegraded, []string{"commits are on the leader alone", "only shop-1 can lead"}, "shop-2 on host db2"},
		{
			"fewer than wanted", 5, func(v *api.HealthView) {
				v.Leadership.Rule.Acks, v.Leadership.Rule.Standbys = 1, []pgctl.Life{life(2)}
			}, api.LevelDegraded,
			[]string{"a commit waits for 1 standby instead of 2"},
			"shop-3 on host db3; shop-4 on host db4; shop-5 on host db5",
		},
		{
			"recruiting", 3, func(v *api.HealthView) { recruit(v); silence(v, 1) }, api.LevelDown,
			[]string{"it has no leader", "a new one is being elected"},
			"",
		},
		{
			"recruiting, too few", 3, func(v *api.HealthView) { recruit(v); silence(v, 1, 3) }, api.LevelDown,
			[]string{
				"cannot elect one", "needed are shop-1, or 1 more of shop-3", "start db1 or db3",
				"pgctl failover shop --to shop-2 --allow-data-loss",
			},
			"shop-1 on host db1; shop-3 on host db3",
		},
		{
			"recruiting, the leader alone is enough", 3, func(v *api.HealthView) { recruit(v); silence(v, 2, 3) }, api.LevelDown,
			[]string{"a new one is being elected"},
			"",
		},
		{
			"led alone and died", 2, func(v *api.HealthView) {
				v.Leadership.Rule.Acks, v.Leadership.Rule.Standbys = 0, nil
				recruit(v)
				silence(v, 1)
			}, api.LevelDown,
			[]string{"only shop-1 has every acknowledged commit", "start db1", "--to shop-2 --allow-data-loss"},
			"shop-1 on host db1",
		},
		{
			"a lost life counts", 3, func(v *api.HealthView) {
				recruit(v)
				silence(v, 1)
				v.Leadership.Rule.Standbys, v.Leadership.Rule.Lost = []pgctl.Life{life(2)}, []pgctl.Life{life(3)}
			}, api.LevelDown,
			[]string{"too many instances that may hold acknowledged commits are lost", "only shop-1"},
			"shop-1 on host db1",
		},
		{"the joint rule counts", 3, func(v *api.HealthView) {
			recruit(v)
			silence(v, 1, 3)
			joint := v.Leadership.Rule
			v.Leadership.Rule.Standbys = []pgctl.Life{life(2)}
			v.Leadership.Joint = &joint
		}, api.LevelDown, []string{"cannot elect one"}, "shop-1 on host db1; shop-3 on host db3"},
		{"a copy is no recruit", 3, func(v *api.HealthView) {
			recruit(v)
			silence(v, 1)
			v.Live[2].State = api.StateCreating
		}, api.LevelDown, []string{"cannot elect one"}, "shop-1 on host db1; shop-3 on host db3"},
		{"switchover", 3, func(v *api.HealthView) {
			recruit(v)
			v.Leadership.Planned = &pgctl.Planned{From: life(1), To: life(2)}
		}, api.LevelDown, []string{"a switchover to shop-2 is under way"}, "shop-2 on host db2"},
		{
			"promoting", 3, func(v *api.HealthView) {
				recruit(v)
				v.Leadership.Phase, v.Leadership.Leader = pgctl.Promoting, life(2)
			}, api.LevelDown,
			[]string{"shop-2 is being promoted", "1 standby has caught up with it"},
			"shop-2 on host db2; shop-1 on host db1; shop-3 on host db3",
		},
		{"promoting, and it dies", 3, func(v *api.HealthView) {
			recruit(v)
			v.Leadership.Phase, v.Leadership.Leader = pgctl.Promoting, life(2)
			silence(v, 2)
		}, api.LevelDown, []string{"another one is chosen within seconds"}, "shop-2 on host db2; shop-1 on host db1; shop-3 on host db3"},
		{
			"restored, and it serves on", 3, func(v *api.HealthView) { v.Leadership.Phase = pgctl.Unknown }, api.LevelDegraded,
			[]string{"shop-1 serves, but its leadership is not confirmed"},
			"shop-1 on host db1; shop-2 on host db2; shop-3 on host db3",
		},
		{
			"restored, nobody serves", 3, func(v *api.HealthView) {
				recruit(v)
				v.Leadership.Phase = pgctl.Unknown
				v.Live[0].Role = api.RoleStandby
				v.Live[1].LSN = 5000
			}, api.LevelDown,
			[]string{"nobody knows who leads", "pgctl failover shop --to shop-2"},
			"shop-1 on host db1; shop-2 on host db2; shop-3 on host db3",
		},
		{"paused", 3, func(v *api.HealthView) { v.Leadership.Paused = true }, api.LevelDegraded, []string{"failover is paused"}, ""},
		{"blind", 3, func(v *api.HealthView) { v.Blind, v.Live = true, nil }, api.LevelWell, []string{"hears no heartbeats"}, ""},
		{
			"blind, recruiting", 3, func(v *api.HealthView) { recruit(v); v.Blind, v.Live = true, nil }, api.LevelDown,
			[]string{"it has no leader"},
			"",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := scene(c.n)
			c.change(&v)
			got := api.Health(v)
			text := got.Summary + "\n" + describe(got.Problems)
			if got.Health != c.health {
				t.Errorf("%s, want %s\n%s", got.Health, c.health, text)
			}
			for _, part := range c.has {
				if !strings.Contains(text, part) {
					t.Errorf("missing: %s\n%s", part, text)
				}
			}
			if len(got.Problems) > 0 && places(got.Problems[0].EndedBy) != c.ended {
				t.Errorf("ended by %q, want %q", places(got.Problems[0].EndedBy), c.ended)
			}
		})
	}
}

func describe(problems []api.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%s: %s; why: %s; ended by: %s; do: %s\n", p.Level, p.What, p.Why, places(p.EndedBy), p.Do)
	}
	return b.String()
}

func places(list []api.Place) string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return strings.Join(out, "; ")
}

// TestHealthHolds: whatever is the case, the judgement is consistent, and the same when asked again.
func TestHealthHolds(t *testing.T) {
	phases := []pgctl.Phase{pgctl.Bootstrapping, pgctl.Steady, pgctl.Recruiting, pgctl.Promoting, pgctl.Unknown}
	states := []api.RunState{api.StateRunning, api.StateStarting, api.StateStopped, api.StateCreating, api.StateFailed}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "instances")
		v := scene(n)
		l := v.Leadership
		l.Phase = rapid.SampledFrom(phases).Draw(t, "phase")
		l.Leader = life(rapid.IntRange(0, n).Draw(t, "leader"))
		l.Serving, l.Paused, v.Blind = rapid.Bool().Draw(t, "s"), rapid.Bool().Draw(t, "p"), rapid.Bool().Draw(t, "b")
		l.Rule.Acks = rapid.IntRange(0, n-1).Draw(t, "acks")
		for i := range v.Live {
			v.Live[i].AgeMs = rapid.Int64Range(0, 5000).Draw(t, "age")
			v.Live[i].State = rapid.SampledFrom(states).Draw(t, "state")
			v.Live[i].Streaming, v.Live[i].Open = rapid.Bool().Draw(t, "streams"), rapid.Bool().Draw(t, "open")
		}
		v.Live = v.Live[:rapid.IntRange(0, n).Draw(t, "heard")]
		got, again := api.Health(v), api.Health(v)
		if describe(got.Problems) != describe(again.Problems) {
			t.Fatalf("asked again it says something else")
		}
		if (got.Health == api.LevelWell) != (len(got.Problems) == 0) || got.Summary == "" {
			t.Fatalf("%s with %d problems: %q", got.Health, len(got.Problems), got.Summary)
		}
		if l.Phase != pgctl.Steady && l.Phase != pgctl.Unknown && got.Health != api.LevelDown {
			t.Fatalf("%s while %s", got.Health, l.Phase)
		}
		for i, p := range got.Problems {
			if p.What == "" || i > 0 && p.Level.Worse(got.Problems[i-1].Level) {
				t.Fatalf("problem %d: %+v", i, p)
			}
		}
	})
}

func TestConnectionStrings(t *testing.T) {
	two := []api.Endpoint{{Address: "10.0.0.1", Port: 5432}, {Address: "fd00::2", Port: 5433}}
	got := api.ConnectionStrings(two, api.Target{User: "o'hara @x", Database: "a b/c", Replica: true})
	want := api.Strings{
		URI: "postgresql://o%27hara%20%40x@10.0.0.1:5432,[fd00::2]:5433/a%20b%2Fc?target_session_attrs=prefer-standby" +
			"&sslmode=require",
		Keywords: `host=10.0.0.1,fd00::2 port=5432,5433 user='o\'hara @x' dbname='a b/c' ` +
			"target_session_attrs=prefer-standby sslmode=require",
		JDBC: "jdbc:postgresql://10.0.0.1:5432,[fd00::2]:5433/a%20b%2Fc?targetServerType=preferSecondary" +
			"&sslmode=require&user=o%27hara%20%40x",
	}
	if got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if got := api.ConnectionStrings(nil, api.Target{}); got != (api.Strings{}) {
		t.Errorf("of nothing: %+v", got)
	}
	levels := []api.Level{api.LevelStopped, api.LevelDown, api.LevelWell, api.LevelDegraded}
	slices.SortFunc(levels, func(a, b api.Level) int {
		if a.Worse(b) {
			return -1
		}
		return 1
	})
	if levels[0] != api.LevelDown || levels[3] != api.LevelStopped {
		t.Errorf("%v", levels)
	}
}
