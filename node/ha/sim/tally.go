package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl/node/ha"
)

// Tally is what walks covered: a fault that never met an election was not tested.
type Tally struct {
	Walks, Events, Decisions, Acked, Elections, Violations int

	Steps      map[ha.Action]int
	Phases     map[string]int
	Faults     [faults]int
	InElection [faults]int
	Counts     map[string]int
	Slowest    time.Duration // from healing to writing
	Healing    time.Duration // in all
}

// NewTally counts nothing yet.
func NewTally() Tally {
	return Tally{Steps: map[ha.Action]int{}, Phases: map[string]int{}, Counts: map[string]int{}}
}

// Healed notes how long a cluster took to write again.
func (t *Tally) Healed(after time.Duration) {
	t.Slowest = max(t.Slowest, after)
	t.Healing += after
}

// Add counts another tally in.
func (t *Tally) Add(o *Tally) {
	t.Walks += o.Walks
	t.Events += o.Events
	t.Decisions += o.Decisions
	t.Acked += o.Acked
	t.Elections += o.Elections
	t.Violations += o.Violations
	t.Slowest = max(t.Slowest, o.Slowest)
	t.Healing += o.Healing
	for i := range t.Faults {
		t.Faults[i] += o.Faults[i]
		t.InElection[i] += o.InElection[i]
	}
	for k, n := range o.Steps {
		t.Steps[k] += n
	}
	for k, n := range o.Phases {
		t.Phases[k] += n
	}
	for k, n := range o.Counts {
		t.Counts[k] += n
	}
}

// String is the coverage, one kind a line, and the result last.
func (t *Tally) String() string {
	var b strings.Builder
	b.WriteString("faults (in elections):")
	for f, n := range t.Faults {
		fmt.Fprintf(&b, " %s %d (%d),", Fault(f), n, t.InElection[f])
	}
	b.WriteString("\nsteps:")
	for _, k := range slices.Sorted(maps.Keys(t.Steps)) {
		fmt.Fprintf(&b, " %s %d,", k, t.Steps[k])
	}
	b.WriteString("\nphases:")
	for _, k := range slices.Sorted(maps.Keys(t.Phases)) {
		fmt.Fprintf(&b, " %s %d,", k, t.Phases[k])
	}
	b.WriteString("\nalso:")
	for _, k := range slices.Sorted(maps.Keys(t.Counts)) {
		fmt.Fprintf(&b, " %s %d,", k, t.Counts[k])
	}
	fmt.Fprintf(&b, "\nafter healing: %s to write again on average, %s at most\n",
		(t.Healing / time.Duration(max(1, t.Walks))).Round(time.Millisecond), t.Slowest.Round(time.Millisecond))
	fmt.Fprintf(&b, "%d seeds, %d steps, %d acknowledged commits, %d elections, %d violations",
		t.Walks, t.Events, t.Acked, t.Elections, t.Violations)
	return b.String()
}
