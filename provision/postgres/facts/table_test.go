package facts

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// table collects what every version did in every experiment, in the order of the tests.
type table struct {
	sync.Mutex
	rows []*row
}

var results table

// row is one fact: what was seen, by version, and notes with the versions that they are about.
type row struct {
	sync.Mutex
	fact  string
	seen  map[string]string
	notes map[string][]string
}

// enter is the row of a fact.
func (t *table) enter(fact string) *row {
	t.Lock()
	defer t.Unlock()
	for _, r := range t.rows {
		if r.fact == fact { // a test that is run more than once
			return r
		}
	}
	r := &row{fact: fact, seen: map[string]string{}, notes: map[string][]string{}}
	t.rows = append(t.rows, r)
	return r
}

// say enters an outcome, unless it is empty, and a note.
func (r *row) say(version, outcome, note string) {
	r.Lock()
	defer r.Unlock()
	if outcome != "" && r.seen[version] != failed {
		r.seen[version] = outcome
	}
	if !slices.Contains(r.notes[note], version) {
		r.notes[note] = append(r.notes[note], version)
	}
}

const failed = "FAILED"

// finish enters how the test of a version ended, where it did not say so itself.
func (r *row) finish(version string, t *testing.T) {
	r.Lock()
	defer r.Unlock()
	switch {
	case t.Failed():
		r.seen[version] = failed
	case r.seen[version] == "":
		r.seen[version] = "holds"
	}
}

// print writes versions beside facts, and then the notes.
func (t *table) print(w io.Writer) {
	t.Lock()
	defer t.Unlock()
	if len(t.rows) == 0 {
		return
	}
	slices.SortStableFunc(t.rows, func(a, b *row) int { return a.number() - b.number() })
	wide := 0
	for _, r := range t.rows {
		wide = max(wide, utf8.RuneCountInString(r.fact))
	}
	line := func(fact string, cell func(version string) string) {
		fmt.Fprintf(w, "%-*s", wide, fact)
		for _, v := range installed() {
			fmt.Fprintf(w, "  %-7s", cell(v.Version))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	line("PostgreSQL", func(version string) string { return version })
	for _, r := range t.rows {
		line(r.fact, func(version string) string { return r.seen[version] })
	}
	fmt.Fprintln(w)
	for _, r := range t.rows {
		for n, note := range r.sorted() {
			if n == 0 {
				fmt.Fprintln(w, r.fact)
			}
			fmt.Fprintf(w, "    %s: %s\n", strings.Join(r.notes[note], ", "), note)
		}
	}
}

// number is that of P1 to P11; what has none comes after those.
func (r *row) number() int {
	n := 0
	if _, err := fmt.Sscanf(r.fact, "P%d ", &n); err != nil {
		return 99
	}
	return n
}

// sorted are the notes, those of older versions first.
func (r *row) sorted() []string {
	var all []string
	for note, versions := range r.notes {
		slices.Sort(versions)
		all = append(all, note)
	}
	slices.SortFunc(all, func(a, b string) int { return slices.Compare(r.notes[a], r.notes[b]) })
	return all
}
