package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// host is a machine: a daemon, one instance, perhaps a vote in the group.
type host struct {
	number     int
	name       string
	instance   string
	up         bool
	daemon     bool          // its process is there
	frozen     time.Duration // the machine stands still until then
	hung       time.Duration // the daemon does
	stalled    time.Duration // the disk does not flush until then
	generation uint64        // of the daemon's process

	seen    int           // the version of the state that is known here
	contact time.Duration // when a server was last heard
	ready   bool          // the daemon knows what was committed before it started
	agent   agent
	beats   uint64

	leads      bool // as a server: believes that it leads the group
	hearing    ha.Hearing
	heardBeat  [8]uint64 // per host: beats come in order or not at all
	controller controller

	drift int               // of its clock, in thousandths
	sent  [64]time.Duration // when beats were sent, by number
	lease lease
	guard guard

	disk disk
	pg   postgres
}

// disk is what an agent keeps of its life, durably.
type disk struct {
	local   ha.Local
	posture posture
	noted   int // a position up to which the log was held once
}

// posture is how the instance is to be configured: on disk before it is in force.
type posture struct {
	names     int
	former    int  // the names before the last change
	lax       bool // commits were not seen to wait since the names were empty
	upstream  target
	open      bool
	replayNow bool
	started   bool // it was started and not told to stop since
	promoted  *ha.Promotion
}

func (p posture) render() settings {
	return settings{names: p.names, upstream: p.upstream, open: p.open, replayNow: p.replayNow}
}

// render writes the files of a posture.
func (w *World) render(h int) settings {
	s := w.hosts[h].disk.posture.render()
	if planted.PledgeUndone.On() && !s.upstream.set {
		s.upstream = w.hosts[h].pg.files.upstream
	}
	return s
}

// namesClosed are the names of everybody who is no open leader.
func namesClosed() int {
	if planted.StrayOpen.On() {
		return namesEmpty
	}
	return namesNobody
}

// named is the epoch in a member's name.
func named(epoch pgctl.Epoch) pgctl.Epoch {
	if planted.NameWithoutEpoch.On() {
		return 0
	}
	return epoch
}

// epochOf is the epoch in the name of a connection, as the agent of its sender's host reads it.
func (w *World) epochOf(h int, c *conn) pgctl.Epoch {
	if planted.NameWithoutEpoch.On() {
		return w.current(h).leadership.Epoch
	}
	return c.epoch
}

func newHost(n int) host {
	return host{number: n, name: fmt.Sprintf("host-%d", n), instance: fmt.Sprintf("%s-%d", cluster, n), pg: postgres{state: ha.Down}}
}

func (w *World) newLife(h int) pgctl.Life {
	w.lives++
	return pgctl.Life(fmt.Sprintf("%c%07d", 'a'+h, w.lives))
}

// founded makes the instance's data part of a cluster that has one record.
func (x *host) founded(i pgctl.Instance, first record, leads bool) {
	x.disk.local = ha.Local{Format: 1, Cluster: cluster, Instance: i.Name, Life: i.Life, SystemID: systemID, Mark: 1}
	x.disk.posture = posture{names: namesNobody}
	p := &x.pg
	p.exists, p.life, p.signal, p.clean, p.checkpoint = true, i.Life, !leads, true, 1
	p.log.append(first)
	p.flushed, p.replayed = 1, 1
	p.files = x.disk.posture.render()
}

// boot starts a machine; its daemon comes with it.
func (w *World) boot(h int) {
	x := &w.hosts[h]
	x.up, x.frozen, x.stalled = true, 0, 0
	w.drift(h)
	w.startDaemon(h)
}

// startDaemon starts the daemon's process, which remembers only what is on disk.
func (w *World) startDaemon(h int) {
	x := &w.hosts[h]
	if !x.up || x.daemon {
		return
	}
	x.generation++
	x.daemon, x.ready, x.hung, x.leads, x.beats = true, false, 0, false, 0
	x.agent, x.hearing, x.controller = agent{}, ha.NewHearing(), controller{}
	x.contact = w.now
	x.seen = max(0, x.seen-w.n(8)) // what it holds is read again, and may be older than what it knew
	if planted.PledgeForgotten.On() {
		x.disk.local.Pledge = 0
	}
	w.after(w.soon(), evSync, h, 0, x.generation)
	w.after(w.soon(), evBeat, h, 0, x.generation)
	w.after(w.soon(), evProve, h, 0, x.generation)
	w.after(w.soon(), evDaemon, h, 0, x.generation)
	if w.Lease {
		w.after(w.soon(), evGrant, h, 0, x.generation)
		w.after(w.soon(), evVouch, h, 0, x.generation)
	}
	if h < servers {
		w.after(w.soon(), evTick, h, 0, x.generation)
	}
}

// endDaemon kills the daemon's process. PostgreSQL goes on.
func (w *World) endDaemon(h int) {
	x := &w.hosts[h]
	x.daemon, x.leads = false, false
	x.generation++
	if w.raft.leader == h {
		w.raft.leader = -1
	}
}

// powerOff ends everything on a machine at once.
func (w *World) powerOff(h int) {
	w.endDaemon(h)
	if s := &w.hosts[h].disk.posture; planted.NamesNotDurable.On() {
		s.names = s.former
	}
	w.hosts[h].up, w.hosts[h].lease, w.hosts[h].guard = false, lease{}, guard{}
	w.down(h, false, true)
}

// onDaemon: the daemon waits until it knows everything that was committed before it started.
func (w *World) onDaemon(h int) {
	x := &w.hosts[h]
	if !w.linearize(h) && !unread() {
		w.after(50*time.Millisecond, evDaemon, h, 0, x.generation)
		return
	}
	x.ready = true
	w.manage(h)
}

// unread says whether a daemon begins with whatever it holds.
func unread() bool {
	return planted.PledgeForgotten.On() || planted.PledgeFollowsOlder.On() || planted.OlderVersionApplied.On()
}

// manage keeps an agent for the life that is assigned to this host.
func (w *World) manage(h int) {
	x := &w.hosts[h]
	if !x.daemon || !x.ready || h >= w.Instances {
		return
	}
	i := w.raft.versions[x.seen].instances[h]
	if x.agent.employed && x.agent.self.Life == i.Life {
		return
	}
	x.agent = agent{employed: true, self: i, proven: w.now, turn: x.agent.turn, vouching: vouching{at: w.lastVouch(h)}}
	if x.pg.life != i.Life || x.disk.local.Life != "" && x.disk.local.Life != i.Life {
		w.setAside(h, i.Life)
	}
	w.wake(h, w.soon())
}

// setAside stops what runs of a former life and keeps it where nobody starts it.
func (w *World) setAside(h int, life pgctl.Life) {
	x := &w.hosts[h]
	if x.pg.state != ha.Down {
		w.down(h, false, false)
	}
	if x.pg.exists {
		w.count("directory kept aside")
	}
	x.pg = postgres{state: ha.Down, life: life}
	x.disk = disk{posture: posture{names: namesNobody}}
}

// current is a host's picture of the state.
func (w *World) current(h int) *state { return &w.raft.versions[w.hosts[h].seen] }

// members are the instances as an agent sees them.
func (s *state) life(h int) pgctl.Life {
	if h >= len(s.instances) {
		return ""
	}
	return s.instances[h].Life
}

// hostOf finds the host of a life in the present assignments, or -1.
func (s *state) hostOf(life pgctl.Life) int {
	return slices.IndexFunc(s.instances, func(i pgctl.Instance) bool { return i.Life == life && life != "" })
}
