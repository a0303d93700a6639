package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// TestHealthAsDeclared: whatever is not yet as declared makes a cluster degraded, and is said.
func TestHealthAsDeclared(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*api.HealthView)
		has    string
	}{
		"a standby outside the rule": {func(v *api.HealthView) {
			v.Leadership.Rule.Standbys = v.Leadership.Rule.Standbys[:1]
		}, "commits cannot wait for shop-3 yet; why: it has not streamed well for long enough; ended by: shop-3 on host db3"},
		"the same, blind": {func(v *api.HealthView) {
			v.Leadership.Rule.Standbys, v.Blind, v.Live = v.Leadership.Rule.Standbys[:1], true, nil
		}, "commits cannot wait for shop-3 yet"},
		"more acknowledgements than wanted": {func(v *api.HealthView) {
			v.Leadership.Rule.Acks = 2
		}, "a commit waits for 2 standbys instead of 1; why: the rule is being changed"},
		"a rule under way": {func(v *api.HealthView) {
			v.Leadership.NextRule = &pgctl.Rule{Leader: life(1), Standbys: v.Leadership.Rule.Standbys, Acks: 1, Version: 9}
		}, "what a commit waits for is being changed"},
		"another mode": {func(v *api.HealthView) { v.Cluster.Spec.Durability.Mode = pgctl.Lease }, "quorum mode instead of lease mode"},
		"one too many": {func(v *api.HealthView) { v.Cluster.Spec.Instances = 2 }, "it has 3 instances instead of 2"},
		"one leaves":   {func(v *api.HealthView) { v.Instances[2].Wanted = pgctl.WantRemoved }, "shop-3 is being removed"},
		"a standby waits for a restart": {func(v *api.HealthView) {
			v.Live[1].Pending = []string{"max_connections", "shared_buffers"}
		}, "shop-2 waits for a restart; why: it takes over max_connections, shared_buffers"},
		"the leader, paused": {func(v *api.HealthView) {
			v.Live[0].Pending, v.Leadership.Paused = []string{"shared_buffers"}, true
		}, "it is restarted when automatic failover is resumed"},
		"a new copy is ordered": {func(v *api.HealthView) { v.Instances[1].Reinit = true }, "shop-2 is to be copied anew; why: an operator ordered it"},
		"a restart is ordered":  {func(v *api.HealthView) { v.Instances[1].Due = pgctl.DueRolling }, "shop-2 is to restart; why: an operator ordered it"},
		"a restart under way":   {func(v *api.HealthView) { v.Instances[1].Restart = 2 }, "shop-2 restarts"},
		"behind the declaration": {func(v *api.HealthView) {
			v.Cluster.Revision = 7
			v.Live[0].Applied, v.Live[1].Applied, v.Live[2].Applied = 7, 8, 6
		}, "shop-3 has not taken over the declaration yet"},
	} {
		t.Run(name, func(t *testing.T) {
			v := scene(3)
			c.change(&v)
			got := api.Health(v)
			if text := describe(got.Problems); got.Health != api.LevelDegraded || !strings.Contains(text, c.has) {
				t.Errorf("%s, wanted degraded with %s\n%s", got.Health, c.has, text)
			}
		})
	}
}

// TestOutsideTheRuleByDeclaration: nothing is missing of a standby for which no commit is to wait.
func TestOutsideTheRuleByDeclaration(t *testing.T) {
	v := scene(3)
	v.Leadership.Rule.Standbys = v.Leadership.Rule.Standbys[:1]
	v.Cluster.Spec.Tags = map[string]pgctl.Tags{"shop-3": {NoSync: true}}
	if got := api.Health(v); got.Health != api.LevelWell {
		t.Errorf("%s: %s", got.Health, describe(got.Problems))
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "1w": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "90s": 90 * time.Second, "0s": 0,
	} {
		got, err := api.ParseDuration(text, "keep")
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := api.ParseDuration(api.FormatDuration(got), ""); err != nil || again != want {
			t.Errorf("%s back: %v, %v", api.FormatDuration(got), again, err)
		}
	}
	for _, text := range []string{"", "7", "-1d", "1d-12h", "-3h", "7days", "99999999d"} {
		if got, err := api.ParseDuration(text, "keep"); err == nil {
			t.Errorf("%q passes as %s", text, got)
		}
	}
}
