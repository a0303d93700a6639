//go:build mutations

package main

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha/sim"
)

// walks takes random walks, one on each processor at a time, until one finds something. What is found must be
// gone without the bug: a violation of the protocol itself is nothing that a bug was found by. It is counted.
func walks(most uint64, violated *int) func(planted.Bug) (string, bool) {
	return func(bug planted.Bug) (string, bool) {
		s := hunt{bug: bug, most: most}
		var working sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			working.Go(s.walk)
		}
		working.Wait()
		if s.shortest == nil {
			return "", false
		}
		planted.Sow("")
		if w := sim.Walk(sim.DrawFor(bug, s.seed)); w.Violation() != "" {
			*violated++
			fmt.Printf("%s: the PROTOCOL is violated by seed %d also without it: %s\n", bug, s.seed, w.Violation())
			return "", false
		}
		return fmt.Sprintf("%d seeds, shortest history %d steps (seed %d: %.90s…)", s.next, s.shortest.Tally.Events, s.seed, s.shortest.Violation()), true
	}
}

// hunt is the search of walks for one bug.
type hunt struct {
	bug  planted.Bug
	most uint64

	mu       sync.Mutex
	next     uint64 // seed
	shortest *sim.World
	seed     uint64 // of the shortest
}

func (s *hunt) walk() {
	for seed, going := s.draw(); going; seed, going = s.draw() {
		w := sim.Walk(sim.DrawFor(s.bug, seed))
		if w.Violation() == "" {
			continue
		}
		s.mu.Lock()
		if s.shortest == nil || w.Tally.Events < s.shortest.Tally.Events {
			s.shortest, s.seed = w, seed
		}
		s.mu.Unlock()
	}
}

func (s *hunt) draw() (seed uint64, going bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shortest != nil || s.next >= s.most {
		return 0, false
	}
	s.next++
	return s.next, true
}
