package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
)

// result is one run.
type result struct {
	gap    time.Duration // without an acknowledged row
	began  time.Time     // when that was
	rows   int
	rest   time.Duration // the part of the gap that no change of leadership accounts for: the client's, mostly
	took   pgctl.Took    // what the cluster says about the change; zero when the leader stayed
	leader string
}

const heading = "run       gap   noticed recruited  promoted    opened      rest   rows  leader"

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

func (r result) row(n int) string {
	return fmt.Sprintf("%3d  %8s  %8s  %8s  %8s  %8s  %8s  %5d  %s", n, ms(r.gap),
		ms(r.took.Noticed), ms(r.took.Recruited), ms(r.took.Promoted), ms(r.took.Opened), ms(r.rest), r.rows, r.leader)
}

// summary is the line for a table: medians of the parts, and the worst gap.
func summary(name string, all []result) string {
	middle := func(part func(result) time.Duration) time.Duration {
		values := make([]time.Duration, len(all))
		for i, r := range all {
			values[i] = part(r)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	worst := slices.MaxFunc(all, func(a, b result) int { return int(a.gap - b.gap) })
	return fmt.Sprintf("%s: %d runs, median %s, worst %s; medians: noticed %s, recruited %s, promoted %s, opened %s, rest %s; nothing lost, never two writers",
		name, len(all), ms(middle(func(r result) time.Duration { return r.gap })), ms(worst.gap),
		ms(middle(func(r result) time.Duration { return r.took.Noticed })), ms(middle(func(r result) time.Duration { return r.took.Recruited })),
		ms(middle(func(r result) time.Duration { return r.took.Promoted })), ms(middle(func(r result) time.Duration { return r.took.Opened })),
		ms(middle(func(r result) time.Duration { return r.rest })))
}
