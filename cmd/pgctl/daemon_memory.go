package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// garbagePercent is how much garbage the heap may hold before it is collected, in percent of what is alive: 32 MB,
// so that a daemon with little to remember spends no time on collecting, and one that remembers 10,000 clusters does
// not need twice the memory. Between 40 % and 200 %.
func garbagePercent(alive uint64) int {
	const enough = 32 << 20
	return int(min(200, max(40, enough*100/max(1, alive))))
}

// boundGarbage keeps the garbage in bounds as the state grows, and gives back at once what loading it has left.
// What the environment variable GOGC says stays.
func boundGarbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for percent := 0; ; {
		metrics.Read(alive)
		if now := garbagePercent(alive[0].Value.Uint64()); now != percent {
			percent = now
			debug.SetGCPercent(percent)
			debug.FreeOSMemory()
		}
		if sleep(ctx, time.Minute) != nil {
			return
		}
	}
}
