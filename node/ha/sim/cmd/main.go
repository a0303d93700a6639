// Command cmd runs random walks of the failover simulator: make sim SEEDS=n [FROM=seed]. It ends with one
// line of results, and with status 1 when something was violated.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pgctl/pgctl/node/ha/sim"
)

func main() {
	seeds := flag.Uint64("seeds", 2000, "how many walks")
	from := flag.Uint64("from", 1, "the first seed")
	trace := flag.Bool("trace", false, "print the history of the first seed")
	first := flag.Bool("first", false, "end with the first failing seed")
	step := flag.Uint64("step", 1, "between two seeds; every twelfth is a calm walk")
	keep := flag.Int("keep", 3, "print so many failing seeds' histories")
	flag.Parse()
	if *trace {
		fmt.Println(tell(*from))
		return
	}
	began := processorTime()
	total, failed := run(*from, *seeds, *step, *first)
	for i, seed := range failed {
		if i >= *keep {
			break
		}
		fmt.Printf("seed %d:\n%s\n", seed, tell(seed))
	}
	fmt.Printf("failed seeds: %v\n", failed)
	fmt.Printf("%s, %.1f ms a walk\n", &total, float64((processorTime()-began).Microseconds())/1000/float64(max(1, total.Walks)))
	if len(failed) > 0 {
		os.Exit(1)
	}
}

// run walks all seeds, one after the other on each processor.
func run(from, seeds, step uint64, first bool) (sim.Tally, []uint64) {
	var mu sync.Mutex
	var failed []uint64
	var next atomic.Uint64
	total := sim.NewTally()
	var working sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		working.Go(func() {
			mine := sim.NewTally()
			for i := next.Add(1); i <= seeds; i = next.Add(1) {
				w := sim.Walk(sim.Draw(from + (i-1)*step))
				mine.Add(&w.Tally)
				if w.Violation() != "" {
					mu.Lock()
					failed = append(failed, from+(i-1)*step)
					if first {
						next.Store(seeds)
					}
					mu.Unlock()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total.Add(&mine)
		})
	}
	working.Wait()
	return total, failed
}

// tell walks a seed again and returns what happened.
func tell(seed uint64) string {
	o := sim.Draw(seed)
	o.Trace = true
	w := sim.Walk(o)
	text := fmt.Sprintf("%+v\n", o)
	for _, line := range w.History() {
		text += line + "\n"
	}
	for _, line := range w.Dump() {
		text += line + "\n"
	}
	return text + w.Violation()
}

// processorTime is what this process has used: others may keep the machine busy.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
