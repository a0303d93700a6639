package rollout

import "testing"

func TestDecide(t *testing.T) {
	well := func(name string, leader, pending bool) Member {
		return Member{Instance: name, Leader: leader, Well: true, Pending: pending}
	}
	lowered := well("a", true, true)
	lowered.InPlace = true
	ill, busy := well("c", false, true), well("c", false, true)
	ill.Well, busy.Restarting = false, true
	for _, c := range []struct {
		story   string
		members []Member
		want    Next
	}{
		{"nothing waits", []Member{well("a", true, false), well("b", false, false)}, Next{}},
		{"standbys first", []Member{well("a", true, true), well("b", false, true), well("c", false, true)}, Next{Restart, "b"}},
		{"one at a time", []Member{well("a", true, true), well("b", false, true), busy}, Next{}},
		{"not while one is ill", []Member{well("a", true, true), well("b", false, true), ill}, Next{}},
		{"then the leader hands over", []Member{well("a", true, true), well("b", false, false)}, Next{Switchover, "a"}},
		{"what standbys must not have lower is lowered on the leader first", []Member{lowered, well("b", false, false)}, Next{Restart, "a"}},
		{"a single instance restarts in place", []Member{well("a", true, true)}, Next{Restart, "a"}},
		{"nobody leads", []Member{well("b", false, true)}, Next{}},
	} {
		if got := Decide(c.members); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.story, got, c.want)
		}
	}
}
