package ha_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pgctl/pgctl/node/ha"
)

// TestSilencesAreLearned: what a host's stun teaches, and what its restart, its pause or an election do not.
func TestSilencesAreLearned(t *testing.T) {
	h := ha.NewHearing()
	clock := time.Hour
	pass := func(d time.Duration) {
		for range d / ha.Tick {
			clock += ha.Tick
			h.Tick(clock)
		}
	}
	h.Tick(clock)
	h.Hear("one", 10, nil)
	pass(300 * time.Millisecond)
	h.Hear("one", 11, nil)
	if got := h.Silences(); len(got) != 0 {
		t.Errorf("a beat in time: %v", got)
	}
	pass(2 * time.Second)
	h.Hear("one", 12, nil)
	if got := h.Silences()["one"]; got.Length != 2*time.Second || got.Alive {
		t.Errorf("a stun: %+v", got)
	}
	pass(3 * time.Second)
	h.Hear("one", 22, nil)
	if got := h.Silences()["one"]; got.Length != 3*time.Second || !got.Alive {
		t.Errorf("a cut: %+v", got)
	}
	pass(3 * time.Second)
	h.Hear("one", 1, nil)
	if got := h.Silences(); len(got) != 0 {
		t.Errorf("a restarted daemon: %v", got)
	}
	pass(500 * time.Millisecond)
	clock += 5 * time.Second // the observer itself stood still
	h.Tick(clock)
	h.Hear("one", 2, nil)
	if got := h.Silences(); len(got) != 0 {
		t.Errorf("the observer's own pause: %v", got)
	}
}

// TestLearnedPatienceIsBounded: never below the least, never above the most, never less than before but by
// forgetting, and nothing is learned from a host that was really still.
func TestLearnedPatienceIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := func(what string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, what))
		}
		before := min(length("detect"), ha.DetectMost)
		s := ha.Silence{Length: length("silence"), Alive: rapid.Bool().Draw(t, "alive")}
		moved := rapid.Bool().Draw(t, "moved")
		after, falsely := ha.Learn(before, s, moved)
		if after < ha.DetectLeast || after > ha.DetectMost || after < before || falsely != (moved && s.Alive) {
			t.Fatalf("%s after %+v, moved %v: %s, falsely %v", before, s, moved, after, falsely)
		}
		if moved && !s.Alive && after != max(before, ha.DetectLeast) {
			t.Fatal("it learned from a host that was still")
		}
		if left := ha.Forget(after); left > after || left < ha.DetectLeast {
			t.Fatalf("forgot %s of %s", left, after)
		}
	})
}
