package explore

import "github.com/pgctl/pgctl/internal/planted"

// faultSteps are what happens to a world from outside, as often as the configuration says.
func (e *engine) faultSteps(s *state) {
	for i := range e.Nodes {
		n := &s.nodes[i]
		if n.data && n.run != down && s.used[crashes] < e.Crashes {
			t := *s
			t.used[crashes]++
			t.crash(e, i)
			e.add(&t, step{do: crashed, a: uint8(i)})
		}
		if n.data && s.used[disks] < e.Disks {
			t := *s
			t.used[disks]++
			t.ruin(e, i)
			e.add(&t, step{do: diskLost, a: uint8(i)})
		}
		if n.run == primary && n.open && n.waits && s.store.phase == promoting && planted.OlderSessionsLeft.On() {
			t := *s
			t.acknowledge(i, n.end)
			e.add(&t, step{do: cancels, a: uint8(i)})
		}
		if n.run == standby && s.used[strays] < e.Strays && n.end < maxLog && max(n.timeline(n.end), n.mark) < 7 {
			t := *s
			t.used[strays]++
			m := &t.nodes[i]
			if planted.StrayOpen.On() {
				m.names, m.waits = namesEmpty, false
			}
			for k := range e.Nodes {
				t.conn(k, i).receives = false
			}
			m.upNode, m.upEpoch = 0, 0
			m.becomePrimary(max(n.timeline(n.end), n.mark) + 1) // a history file that it has is skipped (P3)
			e.add(&t, step{do: strayPromotes, a: uint8(i)})
		}
	}
}
