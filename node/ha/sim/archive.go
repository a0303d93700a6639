package sim

import (
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
)

// archive copies the log of an open leader to where all can read it, a few records at a time. pgctl lets no
// standby restore from there; it is kept only for the bug that does.
func (w *World) archive(h int) {
	p := &w.hosts[h].pg
	if !planted.RestoreCommandOn.On() || !p.primary || !p.conf.open || w.n(3) > 0 {
		return
	}
	if w.archived == nil {
		w.archived = map[pgctl.Timeline][]record{}
	}
	w.archived[p.timeline()] = slices.Clone(p.log.records[:p.flushed])
}

// restore has a standby without receiver take what the archive has beyond the end of its own log.
func (w *World) restore(h int) bool {
	p := &w.hosts[h].pg
	end := p.log.end()
	for t := p.log.at(end); t <= p.log.at(end)+1; t++ {
		if a := w.archived[t]; len(a) > end && a[end-1] == p.log.records[end-1] {
			for _, r := range a[end:] {
				p.log.append(r)
			}
			p.flushed = p.log.end()
			w.count("restored from the archive")
			return true
		}
	}
	return false
}
