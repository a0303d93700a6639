package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
)

const (
	cluster  = "shop"
	systemID = "7"
)

// state is one version of the replicated state. It is never changed.
type state struct {
	leadership pgctl.Leadership
	instances  []pgctl.Instance // by host
}

// raft is the group of servers as an abstraction: what is committed, and who leads. A server that was
// deposed may believe for a while that it still leads; what it proposes is not committed.
type raft struct {
	versions []state // by index
	leader   int     // -1: none
	term     uint64
	quiet    time.Duration // since when the leader had no majority
}

func (r *raft) commit(s state) {
	s.leadership.Revision = uint64(len(r.versions) + 1)
	r.versions = append(r.versions, s)
	if len(r.versions) == 1 {
		r.leader = -1
	}
}

// amend is a version in which the leadership did not change.
func (r *raft) amend(s state) { r.versions = append(r.versions, s) }

func (r *raft) last() int { return len(r.versions) - 1 }

// now is the committed state.
func (r *raft) now() *state { return &r.versions[len(r.versions)-1] }

// majority says whether a server speaks with most of the group.
func (w *World) majority(server int) bool {
	if !w.running(server) {
		return false
	}
	with := 0
	for s := range servers {
		if w.running(s) && w.reaches(s, server) && w.reaches(server, s) {
			with++
		}
	}
	return with > servers/2
}

// running says whether a host's daemon runs and is not frozen.
func (w *World) running(h int) bool {
	x := &w.hosts[h]
	return x.up && x.daemon && x.frozen <= w.now && x.hung <= w.now
}

// onRaft looks after the group and, since it comes every 100 ms, after what hangs.
func (w *World) onRaft() {
	r := &w.raft
	w.after(100*time.Millisecond, evRaft, 0, 0, 0)
	switch {
	case r.leader >= 0 && w.majority(r.leader):
		r.quiet = w.now
	case w.now-r.quiet > time.Duration(500+w.n(700))*time.Millisecond:
		able := make([]int, 0, servers)
		for s := range servers {
			if w.majority(s) {
				able = append(able, s)
			}
		}
		if len(able) > 0 {
			w.elect(able[w.n(len(able))])
		}
	}
	for s := range servers { // a leader without majority steps down, when it comes to notice
		if h := &w.hosts[s]; h.leads && r.leader != s && w.running(s) && w.n(8) == 0 {
			h.leads = false
			h.controller.busy, h.controller.request = false, nil
		}
	}
	for h := range w.hosts {
		if w.hosts[h].up && w.hosts[h].frozen <= w.now {
			w.finishStop(h)
		}
	}
	w.retransmit()
}

// retransmit lets connections carry what got lost, and those that are cut break at last.
func (w *World) retransmit() {
	for i := range w.conns {
		c := &w.conns[i]
		if !c.sending || !c.receiving {
			continue
		}
		through := w.reaches(int(c.up), int(c.down)) && w.reaches(int(c.down), int(c.up)) &&
			w.hosts[c.up].frozen <= w.now && w.hosts[c.down].frozen <= w.now
		switch {
		case through && (c.answered < w.hosts[c.up].pg.flushed || !c.streaming):
			w.stream(i)
		case !through && w.n(50) == 0:
			end := []int8{c.up, c.down}[w.n(2)]
			w.after(w.soon(), evBroken, int(end), int32(i), c.id)
		}
	}
}

// elect makes a server the leader. What is committed is in its log; it remembers nothing else.
func (w *World) elect(s int) {
	r := &w.raft
	if r.leader == s {
		return
	}
	w.say(s, "leads the Raft group")
	w.count("election of a server")
	r.leader, r.quiet = s, w.now
	r.term++
	h := &w.hosts[s]
	h.seen, h.contact = r.last(), w.now
	h.lead(w.now)
}

// onSync lets a host's copy of the state follow.
func (w *World) onSync(h int) {
	x := &w.hosts[h]
	w.after(time.Duration(150+w.n(200))*time.Millisecond, evSync, h, 0, x.generation)
	w.follow(h)
}

// follow brings the copy up to date from a server that can be reached, if one is.
func (w *World) follow(h int) bool {
	x := &w.hosts[h]
	newest := -1
	for s := range servers {
		if s != h && w.running(s) && w.reaches(h, s) && w.reaches(s, h) {
			newest = max(newest, w.hosts[s].seen)
		}
	}
	if h < servers && w.raft.leader == h && w.majority(h) {
		newest = w.raft.last()
	}
	if newest < 0 {
		return false
	}
	if h >= servers || w.majority(h) {
		x.contact = w.now
	}
	if newest > x.seen {
		x.seen = newest
		x.contact = w.now
		w.manage(h)
		w.wake(h, w.soon())
	}
	return true
}

// linearize brings the copy up to everything committed, if the group has a leader that can say so.
func (w *World) linearize(h int) bool {
	l := w.raft.leader
	if l < 0 || !w.majority(l) || !w.reaches(h, l) || !w.reaches(l, h) {
		return false
	}
	x := &w.hosts[h]
	x.seen, x.contact = w.raft.last(), w.now
	return true
}

// proposal is what a controller wants to have committed: a leadership, then new lives.
type proposal struct {
	next    *pgctl.Leadership
	from    pgctl.Leadership
	replace []pgctl.Life
}

// onCommit: the proposal of a server has travelled.
func (w *World) onCommit(s int) {
	c := &w.hosts[s].controller
	p := c.proposal
	if !w.running(s) || w.raft.leader != s || !w.majority(s) {
		w.after(time.Duration(500+w.n(4500))*time.Millisecond, evTick, s, 1, c.term)
		return
	}
	switch {
	case p.next != nil:
		w.commitLeadership(s, p)
		if p.replace != nil && w.n(8) > 0 { // else the proposer is gone before the second part
			p.next = nil
			c.proposal = p
			w.after(w.soon(), evCommit, s, 0, c.term)
			return
		}
	default:
		w.commitInstances(p.replace)
	}
	w.hosts[s].controller.busy = false
	w.after(time.Millisecond, evTick, s, 2, c.term)
}

func (w *World) commitLeadership(s int, p proposal) {
	now := w.raft.now()
	old := now.leadership
	stale := old.Epoch != p.from.Epoch || old.Phase != p.from.Phase || old.Revision != p.from.Revision ||
		old.RuleInForce().Version != p.from.RuleInForce().Version
	if stale {
		w.count("commit refused: stale")
		return
	}
	next := *p.next
	if err := next.Check(); err != nil {
		w.violate("the store refuses a decision: %v", err)
		return
	}
	if err := old.CheckSuccessor(&next); err != nil {
		w.violate("the store refuses a decision: %v", err)
		return
	}
	w.raft.commit(state{leadership: next, instances: now.instances})
	w.observeLeadership(old, next)
	w.spread(s)
}

// commitInstances gives lost instances new lives.
func (w *World) commitInstances(lost []pgctl.Life) {
	now := w.raft.now()
	instances := slices.Clone(now.instances)
	for i := range instances {
		if slices.Contains(lost, instances[i].Life) {
			instances[i].Life = w.newLife(i)
			w.say(i, "gets a new life %s", instances[i].Life)
			w.count("new life")
		}
	}
	w.raft.amend(state{leadership: now.leadership, instances: instances})
	w.spread(w.raft.leader)
}

// spread lets those who can hear of a new version do so soon.
func (w *World) spread(from int) {
	w.hosts[from].seen = w.raft.last()
	w.manage(from)
	w.wake(from, w.soon())
	for h := range w.hosts {
		if h != from && w.reaches(from, h) && w.n(10) > 0 {
			w.after(w.latency(), evSync, h, 1, w.hosts[h].generation)
		}
	}
}
