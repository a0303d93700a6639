//go:build mutations

package main

import (
	"fmt"

	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha/sim/explore"
)

// states are how many of each small world are searched: some seconds.
const states = 150_000

// search looks at all histories of small worlds, the shortest first.
func search(planted.Bug) (string, bool) {
	violation, seen, history := explore.Find(states)
	return fmt.Sprintf("%d states, shortest history %d steps (%.90s…)", seen, len(history), violation), history != nil
}
