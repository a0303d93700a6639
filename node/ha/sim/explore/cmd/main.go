// Command cmd searches small worlds of the failover protocol exhaustively: make explore.
package main

import (
	"fmt"
	"os"

	"github.com/pgctl/pgctl/node/ha/sim/explore"
)

func main() {
	worlds, states, complete, violations := 0, 0, 0, 0
	for _, c := range explore.Worlds() {
		r := explore.Search(c)
		fmt.Println(r)
		worlds, states = worlds+1, states+r.States
		if r.Complete {
			complete++
		}
		if r.Violation != "" {
			violations++
		}
		for _, line := range r.History {
			fmt.Println("   ", line)
		}
	}
	fmt.Printf("%d worlds, %d of them completely, %d states, %d violations\n", worlds, complete, states, violations)
	if violations > 0 {
		os.Exit(1)
	}
}
