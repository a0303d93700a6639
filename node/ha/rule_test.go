package ha_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// everybody is the small world of the rule properties; a leads.
var everybody = lives("abcdef")

// acknowledges is the model of a commit: the leader lets it succeed when Acks standbys, who may be
// lost by now, have flushed it and none of them had pledged before.
func acknowledges(rule pgctl.Rule, who map[pgctl.Life]bool) bool {
	n := 0
	for _, l := range slices.Concat(rule.Standbys, rule.Lost) {
		if who[l] {
			n++
		}
	}
	return n >= rule.Acks
}

// safe is what Enough claims, over all subsets: without the leader, no set of acknowledging instances
// avoids the recruits.
func safe(rule pgctl.Rule, recruits ha.Lives) bool {
	if recruits[rule.Leader] {
		return true
	}
	for bits := range 1 << len(everybody) {
		others := map[pgctl.Life]bool{}
		for i, l := range everybody {
			others[l] = bits>>i&1 == 1 && !recruits[l]
		}
		if acknowledges(rule, others) {
			return false
		}
	}
	return true
}

// drawRule draws a rule as it may stand: Acks ≤ |Standbys| + |Lost|, none of none.
func drawRule(t *rapid.T, name string) pgctl.Rule {
	r := pgctl.Rule{Leader: life("a"), Version: rapid.Uint64Range(1, 9).Draw(t, name+" version")}
	for _, l := range everybody[1:] {
		switch rapid.SampledFrom([]string{"no", "standby", "standby", "lost"}).Draw(t, name+" "+letters(l)) {
		case "standby":
			r.Standbys = append(r.Standbys, l)
		case "lost":
			r.Lost = append(r.Lost, l)
		}
	}
	if n := len(r.Standbys) + len(r.Lost); n > 0 {
		r.Acks = rapid.IntRange(1, n).Draw(t, name+" acks")
	}
	return r
}

func drawLives(t *rapid.T, name string) ha.Lives {
	set := ha.Lives{}
	for _, l := range everybody {
		if rapid.Bool().Draw(t, name+" "+letters(l)) {
			set[l] = true
		}
	}
	return set
}

func TestEnoughIsExactlySafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, recruits := drawRule(t, "rule"), drawLives(t, "recruit")
		for _, l := range rule.Lost {
			delete(recruits, l)
		}
		if got, want := ha.Enough(rule, recruits), safe(rule, recruits); got != want {
			t.Fatalf("Enough says %v of %v, all subsets say %v", got, recruits, want)
		}
	})
}

// TestJointGuardsBoth: whoever is enough for the joint is enough for either rule.
func TestJointGuardsBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, recruits := drawRule(t, "a"), drawRule(t, "b"), drawLives(t, "recruit")
		joint := ha.Joint(a, b)
		for _, l := range joint.Lost {
			delete(recruits, l)
		}
		if !ha.Enough(joint, recruits) {
			return
		}
		for _, rule := range []pgctl.Rule{a, b} {
			if !safe(rule, recruits) {
				t.Fatalf("%v is enough for %s but not safe for %s", recruits, ruleText(&joint), ruleText(&rule))
			}
		}
		if j := ha.Joint(b, a); j.Acks != joint.Acks || !slices.Equal(j.Standbys, joint.Standbys) || !slices.Equal(j.Lost, joint.Lost) {
			t.Fatal("the joint depends on the order")
		}
	})
}

// TestTargetWalks: every walk ends, each step is a rule that may be asked for and changes as little as
// possible, a strict one never lowers Acks below what is declared, and unless strictness forbids it
// the walk ends at the wanted rule.
func TestTargetWalks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := drawRule(t, "from")
		var wanted []pgctl.Life
		for _, l := range rule.Standbys {
			if rapid.Bool().Draw(t, "keep "+letters(l)) {
				wanted = append(wanted, l)
			}
		}
		for _, l := range everybody[1:] {
			if !rule.Names(l) && !slices.Contains(rule.Lost, l) && rapid.Bool().Draw(t, "add "+letters(l)) {
				wanted = append(wanted, l)
			}
		}
		slices.Sort(wanted)
		declared, strict := rapid.IntRange(1, 5).Draw(t, "acks"), rapid.Bool().Draw(t, "strict")
		acks := min(declared, len(wanted))
		if strict {
			acks = declared
		}
		for step := 0; ; step++ {
			next, change := ha.Target(rule, wanted, acks, strict)
			if !change {
				break
			}
			holdStep(t, rule, next, acks, strict)
			next.Version = rule.Version + 1
			if rule = next; step > 20 {
				t.Fatalf("the walk does not end: %s", ruleText(&rule))
			}
		}
		reachable := !strict || len(wanted) >= acks
		if reachable && (!slices.Equal(rule.Standbys, wanted) || rule.Acks != min(acks, len(wanted)) || len(rule.Lost) > 0) {
			t.Fatalf("the walk ends at %s, not at %d of {%s}", ruleText(&rule), acks, letters(wanted...))
		}
	})
}

func holdStep(t *rapid.T, from, to pgctl.Rule, acks int, strict bool) {
	if to.Acks > len(to.Standbys) || (to.Acks == 0) != (len(to.Standbys) == 0) || len(to.Lost) > 0 || to.Leader != from.Leader {
		t.Fatalf("%s leads to %s, which nobody may ask for", ruleText(&from), ruleText(&to))
	}
	if !slices.IsSorted(to.Standbys) {
		t.Fatalf("%s is not sorted", ruleText(&to))
	}
	if strict && to.Acks < min(from.Acks, acks) {
		t.Fatalf("a strict cluster goes from %s to %s", ruleText(&from), ruleText(&to))
	}
	moved := 0
	for _, l := range everybody {
		if from.Names(l) != to.Names(l) {
			moved++
		}
	}
	if moved > 1 && from.Acks <= len(from.Standbys) {
		t.Fatalf("%s leads to %s: more than one at once", ruleText(&from), ruleText(&to))
	}
}
