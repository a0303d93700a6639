//go:build mutations

// Command mutations plants one bug after the other into the failover protocol and has it looked for: make
// mutations. It prints one line each, and ends with status 1 when one was not found.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha/sim"
)

// driver looks for the bug that is planted.
type driver struct {
	name string
	find func(planted.Bug) (how string, found bool)
}

func main() {
	only := flag.String("only", "", "bugs whose text contains this")
	seeds := flag.Uint64("seeds", 8000, "walks for one bug, at most")
	quick := flag.Bool("quick", false, "only those that walks find within seconds")
	trace := flag.Uint64("trace", 0, "print the history of this seed for the first such bug, and no more")
	healthy := flag.Bool("healthy", false, "with -trace: without the bug")
	flag.Parse()
	violated := 0
	drivers := []driver{{"walks", walks(*seeds, &violated)}, {"exhaustive search", search}, {"a script", scripts}}
	bugs, missed, began := planted.All, 0, time.Now()
	if *quick {
		bugs, drivers = shallow, drivers[:1]
	}
	for _, bug := range bugs {
		switch chosen := strings.Contains(string(bug), *only); {
		case chosen && *trace > 0:
			tell(bug, *trace, *healthy)
			return
		case chosen && !look(bug, drivers):
			missed++
		}
	}
	fmt.Printf("%d bugs, %d not found, %s\n", len(bugs), missed, time.Since(began).Round(time.Second))
	if missed+violated > 0 {
		os.Exit(1)
	}
}

// absent are bugs of a part of the protocol that pgctl does not have, so that nothing can be planted.
var absent = map[planted.Bug]string{
	planted.CatchUpUncompared: "a candidate never catches up: it is chosen only if it has everything",
}

// look asks one driver after the other.
func look(bug planted.Bug, drivers []driver) bool {
	if why := absent[bug]; why != "" {
		fmt.Printf("%s: NOT PLANTED: %s\n", bug, why)
		return true
	}
	defer planted.Sow("")
	began := time.Now()
	for _, d := range drivers {
		planted.Sow(bug)
		if how, found := d.find(bug); found {
			fmt.Printf("%s: found by %s after %s (%s)\n", bug, d.name, how, time.Since(began).Round(10*time.Millisecond))
			return true
		}
	}
	fmt.Printf("%s: NOT FOUND\n", bug)
	return false
}

// tell prints the history of a seed, with the bug or without it.
func tell(bug planted.Bug, seed uint64, healthy bool) {
	if !healthy {
		planted.Sow(bug)
	}
	o := sim.DrawFor(bug, seed)
	o.Trace = true
	w := sim.Walk(o)
	fmt.Printf("%+v\n%s\n%s\n%s\n", o, strings.Join(w.History(), "\n"), strings.Join(w.Dump(), "\n"), w.Violation())
}
