package explore

import (
	"cmp"
	"hash/maphash"
	"slices"
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/node/ha/sim"
)

// TestWalksAgree: every change of a leadership that walks decide through the functions that ship is a step
// that the searched world takes, in the same view. Otherwise the search would look at another protocol.
func TestWalksAgree(t *testing.T) {
	const walks = 1000
	held := map[deed]int{}
	unheld := map[string]int{}
	for seed := uint64(1); seed <= walks && !t.Failed(); seed++ {
		o := sim.Draw(seed)
		if o.Instances > maxNodes {
			continue
		}
		e := newEngine(Config{
			Nodes: o.Instances, Acks: o.Acks, Strict: o.Strict, Epochs: 100, Changes: 1, Plans: 1, Losses: 1,
		}, maphash.MakeSeed())
		o.Watch = func(v ha.View, d ha.Decision) {
			p := &projection{engine: e}
			how, why := p.agrees(v, *d.Next)
			switch {
			case why != "":
				unheld[why]++
			case how == nil:
				t.Errorf("seed %d: no step leads from\n%+v to\n%+v\nviewed as %+v", seed, p.state.store, p.store(*d.Next), v.Members)
			default:
				for _, do := range how {
					held[do]++
				}
			}
		}
		sim.Walk(o)
	}
	for do, n := range held {
		t.Logf("%7d %s", n, step{do: do}.text())
	}
	t.Log("not held against it:", unheld)
	for _, do := range []deed{recruits, resumes, chooses, settles, startsOver, switches, stopHeard, asks, confirms, loses} {
		if held[do] == 0 {
			t.Errorf("no walk took the step %q", step{do: do}.text())
		}
	}
}

// projection makes a small state of a view. Positions and timelines get small numbers that keep their order.
type projection struct {
	*engine
	state     state
	lives     []pgctl.Life
	positions []pgctl.LSN
	timelines []pgctl.Timeline
	epoch     pgctl.Epoch // that is 1
}

// agrees finds the steps that lead to the next leadership, or says why that cannot be told.
func (p *projection) agrees(v ha.View, next pgctl.Leadership) (how []deed, why string) {
	l := v.Leadership
	switch {
	case l.Mode != pgctl.Quorum || next.Mode != pgctl.Quorum:
		return nil, "leases are not searched"
	case l.Phase == pgctl.Bootstrapping || l.Phase == pgctl.Unknown || next.Phase == pgctl.Unknown:
		return nil, "the phase is not searched"
	}
	if why := p.measure(v, next); why != "" {
		return nil, why
	}
	p.state.store = p.store(l)
	for i, m := range v.Members {
		p.node(i, m, v)
		if k := next.Planned; k != nil && k.Lossy && m.Life == k.From {
			p.state.nodes[i].run = down // as people know
		}
	}
	wanted := p.store(next)
	if wanted == p.state.store {
		return []deed{begin}, "" // nothing that is searched changes
	}
	return p.steps(&p.state, wanted, 3), ""
}

// steps are at most so many that lead to a store.
func (p *projection) steps(s *state, wanted store, most int) []deed {
	p.out = nil
	p.elections(s)
	p.ruleSteps(s)
	found := p.out
	for i := range found {
		if plain(found[i].state.store) == plain(wanted) {
			return []deed{found[i].step.do}
		}
	}
	for i := range found {
		if found[i].step.do == loses && most > 1 {
			if how := p.steps(&found[i].state, wanted, most-1); how != nil {
				return append([]deed{loses}, how...)
			}
		}
	}
	return nil
}

// plain leaves out what a step of the search may say in other numbers: versions only have to grow.
func plain(s store) store {
	s.rule.version, s.next.version, s.joint.version = 0, 0, 0
	for i := range s.lines {
		if s.lines[i].epoch <= s.steadyEpoch { // long ago
			s.lines[i].epoch = 0
		}
	}
	return s
}

// measure finds the small numbers.
func (p *projection) measure(v ha.View, next pgctl.Leadership) string {
	l := v.Leadership
	p.epoch = max(l.SteadyEpoch, 1) - 1
	for _, m := range v.Members {
		p.lives = append(p.lives, m.Life)
	}
	for _, k := range []*pgctl.Leadership{&l, &next} {
		for _, r := range []*pgctl.Rule{&k.Rule, k.NextRule, k.Joint} {
			if r != nil {
				p.lives = append(p.lives, slices.Concat([]pgctl.Life{r.Leader}, r.Standbys, r.Lost)...)
			}
		}
		for _, r := range k.History {
			p.timelines = append(p.timelines, r.Timeline, r.Parent)
			p.positions = append(p.positions, r.Switch)
			p.lives = append(p.lives, r.Leader)
		}
		if k.Planned != nil {
			p.lives = append(p.lives, k.Planned.From, k.Planned.To)
		}
	}
	for _, m := range v.Members {
		r := m.Report
		p.positions = append(p.positions, r.Parent.End)
		p.timelines = append(p.timelines, r.Parent.Timeline, r.End.Timeline)
		if r.Pledge != nil {
			p.positions = append(p.positions, r.Pledge.Position.LSN)
			p.timelines = append(p.timelines, r.Pledge.Position.Timeline)
		}
		if r.Promoted != nil {
			p.positions = append(p.positions, r.Promoted.Record)
		}
	}
	seen := map[pgctl.Life]bool{"": true}
	p.lives = slices.DeleteFunc(p.lives, func(l pgctl.Life) bool { twice := seen[l]; seen[l] = true; return twice })
	p.positions, p.timelines = ranked(p.positions), ranked(p.timelines)
	switch {
	case len(p.lives) > 8:
		return "more than eight lives"
	case len(p.positions) > maxLog || len(p.timelines) > 7:
		return "more positions than a small log has"
	case len(l.History) >= maxLines:
		return "more timelines than a small history has"
	}
	return ""
}

func ranked[T cmp.Ordered](list []T) []T {
	var zero T
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(x T) bool { return x == zero })
}

func (p *projection) life(l pgctl.Life) life { return life(slices.Index(p.lives, l) + 1) }

func (p *projection) set(list []pgctl.Life) (s lives) {
	for _, l := range list {
		s |= p.life(l).set()
	}
	return s
}

func (p *projection) at(l pgctl.LSN) uint8 { return uint8(slices.Index(p.positions, l) + 1) }

func (p *projection) number(t pgctl.Timeline) uint8 { return uint8(slices.Index(p.timelines, t) + 1) }

func (p *projection) rule(r *pgctl.Rule) rule {
	if r == nil {
		return rule{}
	}
	return rule{leader: p.life(r.Leader), standbys: p.set(r.Standbys), lost: p.set(r.Lost), acks: uint8(r.Acks), version: uint8(r.Version)}
}

// store is a leadership in small numbers.
func (p *projection) store(l pgctl.Leadership) store {
	s := store{
		rule: p.rule(&l.Rule), next: p.rule(l.NextRule), joint: p.rule(l.Joint), pending: l.NextRule != nil,
		epoch: uint8(l.Epoch - p.epoch), steadyEpoch: uint8(l.SteadyEpoch - p.epoch), leader: p.life(l.Leader),
		phase: map[pgctl.Phase]uint8{pgctl.Steady: steady, pgctl.Recruiting: recruiting, pgctl.Promoting: promoting}[l.Phase],
	}
	if k := l.Planned; k != nil {
		s.plan = plan{on: true, from: p.life(k.From), to: p.life(k.To), released: k.Released, stopped: k.StoppedAt.Known(), lossy: k.Lossy}
	}
	for i, r := range l.History {
		if i == maxLines {
			break
		}
		s.lines[i] = line{
			number: p.number(r.Timeline), leader: p.life(r.Leader), parent: p.number(r.Parent), left: p.at(r.Switch),
			state: map[pgctl.TimelineState]uint8{pgctl.TimelineGiven: given, pgctl.TimelineSteady: settled, pgctl.TimelineFailed: failed}[r.State],
		}
		if r.Epoch > p.epoch {
			s.lines[i].epoch = uint8(r.Epoch - p.epoch)
		}
	}
	return s
}

// node is a member as it was reported.
func (p *projection) node(i int, m ha.Member, v ha.View) {
	n, r := &p.state.nodes[i], m.Report
	*n = node{life: p.life(m.Life), data: r.Life == m.Life && r.LifeLost == "" && r.State != ha.Absent, mark: 7}
	if r.Life != m.Life {
		n.data = true // it was not heard yet
		return
	}
	position := r.End
	n.run = standby
	if r.Pledge != nil {
		position, n.pledge = r.Pledge.Position, uint8(r.Pledge.Epoch-p.epoch)
		if r.Pledge.Foreign {
			n.mark = 0
		}
		if r.Pledge.Epoch == v.Leadership.Epoch && position.Known() && r.State != ha.Making {
			p.state.heard |= n.life.set()
		}
	}
	switch {
	case r.State == ha.Down:
		n.run = down
	case r.Primary:
		n.run = primary
	}
	end := p.at(position.LSN)
	if end == 0 {
		end = p.at(r.Parent.End) + 1 // where exactly matters to nobody
	}
	for k := range min(end, maxLog) {
		timeline := p.number(position.Timeline)
		if k < p.at(r.Parent.End) {
			timeline = p.number(r.Parent.Timeline)
		}
		n.append(newRecord(timeline, 0, false))
	}
	p.leader(i, m, v)
}

// leader adds what only a leader reports.
func (p *projection) leader(i int, m ha.Member, v ha.View) {
	n, r := &p.state.nodes[i], m.Report
	if k := v.Leadership.Planned; k != nil && k.From == m.Life && r.StoppedAt != nil && r.StoppedAt.Epoch == v.Leadership.Epoch {
		p.state.halted = true
	}
	if r.Promoted != nil && r.Promoted.Epoch == v.Leadership.Epoch {
		n.promoted, n.promotedAt = uint8(r.Promoted.Epoch-p.epoch), p.at(r.Promoted.Record)
	}
	if c := r.Confirmed; c != nil && c.Epoch > p.epoch {
		n.confirmEpoch, n.confirmVersion = uint8(c.Epoch-p.epoch), uint8(c.Version)
	}
	for _, k := range r.Senders {
		down := slices.IndexFunc(v.Members, func(o ha.Member) bool { return o.Life == k.Life })
		if down < 0 || k.Epoch <= p.epoch || !k.Streaming {
			continue
		}
		c := p.state.conn(i, down)
		*c = conn{life: p.life(k.Life), epoch: uint8(k.Epoch - p.epoch), known: true, receives: true}
		if r.Promoted != nil && k.Flushed >= r.Promoted.Record {
			c.taken = maxLog
		}
	}
}
