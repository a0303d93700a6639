package explore

import (
	"fmt"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// What is decided by code that ships is asked of it with values of its own types. The answers are kept:
// few different questions are asked in a search.

// lifeNames are the lives as pgctl.Life.
var lifeNames = [...]pgctl.Life{"", "alpha001", "bravo002", "charl003", "delta004", "echo0005", "foxtr006", "golf0007", "hotel008"}

func (s lives) list() []pgctl.Life {
	var list []pgctl.Life
	for l := life(1); l <= 8; l++ {
		if s.has(l) {
			list = append(list, lifeNames[l])
		}
	}
	return list
}

func setOf(list []pgctl.Life) lives {
	var s lives
	for _, name := range list {
		for l, known := range lifeNames {
			if known == name {
				s |= life(l).set()
			}
		}
	}
	return s
}

func (r rule) pgctl() pgctl.Rule {
	return pgctl.Rule{
		Leader: lifeNames[r.leader], Standbys: r.standbys.list(), Lost: r.lost.list(), Acks: int(r.acks), Version: uint64(r.version),
	}
}

// ruleOf is the reverse; the leader is the one that asked.
func ruleOf(r pgctl.Rule, leader life) rule {
	return rule{leader: leader, standbys: setOf(r.Standbys), lost: setOf(r.Lost), acks: uint8(r.Acks), version: uint8(r.Version)}
}

// recruitment is a question to ha.Enough.
type recruitment struct {
	rule     rule
	recruits lives
}

func (e *engine) enough(r rule, recruits lives) bool {
	r.version = 0
	key := recruitment{r, recruits}
	if enough, known := e.recruited[key]; known {
		return enough
	}
	set := ha.Lives{}
	for _, name := range recruits.list() {
		set[name] = true
	}
	enough := ha.Enough(r.pgctl(), set)
	e.recruited[key] = enough
	return enough
}

func joint(a, b rule) rule { return ruleOf(ha.Joint(a.pgctl(), b.pgctl()), a.leader) }

// change is a question to ha.Target.
type change struct {
	from   rule
	wanted lives
}

// target is the next step from a rule towards those wanted, with version 0; it is the rule itself where
// there is none.
func (e *engine) target(from rule, wanted lives) rule {
	from.version = 0
	key := change{from, wanted}
	if to, known := e.targets[key]; known {
		return to
	}
	to, acks := from, e.Acks
	if !e.Strict {
		acks = min(acks, int(wanted.count()))
	}
	if target, changes := ha.Target(from.pgctl(), wanted.list(), acks, e.Strict); changes {
		to = ruleOf(target, from.leader)
	}
	e.targets[key] = to
	return to
}

// leadership is the store as the Leadership that it stands for.
func (s *store) leadership() pgctl.Leadership {
	l := pgctl.Leadership{
		Cluster: "small", Mode: pgctl.Quorum, Epoch: pgctl.Epoch(s.epoch), Leader: lifeNames[s.leader],
		Phase:       [...]pgctl.Phase{steady: pgctl.Steady, recruiting: pgctl.Recruiting, promoting: pgctl.Promoting}[s.phase],
		SteadyEpoch: pgctl.Epoch(s.steadyEpoch), Serving: true, Rule: s.rule.pgctl(), SystemID: "1",
	}
	if s.pending {
		next, joint := s.next.pgctl(), s.joint.pgctl()
		l.NextRule, l.Joint = &next, &joint
	}
	if p := s.plan; p.on {
		l.Planned = &pgctl.Planned{
			From: lifeNames[p.from], To: lifeNames[p.to], Within: ha.SwitchoverWithin, Released: p.released, Lossy: p.lossy,
		}
	}
	for _, r := range s.lines {
		if r.number == 0 {
			break
		}
		l.History = append(l.History, pgctl.TimelineRecord{
			Timeline: pgctl.Timeline(r.number), Epoch: pgctl.Epoch(r.epoch), Leader: lifeNames[r.leader], Parent: pgctl.Timeline(r.parent),
			Switch: pgctl.LSN(r.left), State: [...]pgctl.TimelineState{pgctl.TimelineGiven, pgctl.TimelineSteady, pgctl.TimelineFailed}[r.state],
		})
	}
	return l
}

// standing is a question to ha.Rank.
type standing struct {
	lines                       [maxLines]line
	timeline, end, parent, left uint8
}

// rank is where the log of a node counts in an election.
func (e *engine) rank(s *store, n *node) pgctl.Position {
	timeline, end := n.position()
	parent, left := n.parent()
	key := standing{s.lines, timeline, end, parent, left}
	if p, known := e.ranks[key]; known {
		return p
	}
	l := s.leadership()
	own := pgctl.Position{Timeline: pgctl.Timeline(timeline), LSN: pgctl.LSN(end)}
	p := ha.Rank(&l, own, pgctl.Switch{Timeline: pgctl.Timeline(parent), End: pgctl.LSN(left)})
	e.ranks[key] = p
	return p
}

// commit is a question to the store's own checks.
type commit struct{ before, after store }

// accepted says why the store, or ha.Check of what is the same for every view, would refuse a change of
// the leadership, or "".
func (e *engine) accepted(before, after *store) string {
	key := commit{*before, *after}
	if why, known := e.commits[key]; known {
		return why
	}
	old, next := before.leadership(), after.leadership()
	why := ""
	if err := next.Check(); err != nil {
		why = fmt.Sprint(err)
	} else if err := old.CheckSuccessor(&next); err != nil {
		why = fmt.Sprint(err)
	}
	e.commits[key] = why
	return why
}
