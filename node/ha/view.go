// Package ha decides about leadership. Decide, on the Raft leader, turns a View of one cluster into
// the leadership to commit next; Check holds that against the invariants before it is committed; Act,
// on every host, turns an InstanceView into the steps its agent takes. All three are pure: no clock,
// no goroutine, no I/O. The protocol is docs/failover.md.
package ha

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
)

// View is everything on which Decide decides about one cluster. It is plain JSON, so that any View of
// production can be replayed as a test.
type View struct {
	Declared   Declared         `json:"declared"`
	Leadership pgctl.Leadership `json:"leadership"`
	Members    []Member         `json:"members"` // the assigned instances, by name
	Request    *Request         `json:"request,omitempty"`
	PhaseAge   time.Duration    `json:"phaseAge"`           // for how long this observer has seen this epoch and phase
	Crashes    int              `json:"crashes"`            // of the cluster's leaders within CrashMemory, this one included
	WaitTold   bool             `json:"waitTold,omitempty"` // that commits wait was said, and they still do
	LeaseAge   time.Duration    `json:"leaseAge"`           // since the last renewal was granted, or this observer's election
}

// Declared is what the declaration says about leadership.
type Declared struct {
	Acks       int        `json:"acks"`                 // standbys that a commit should wait for
	Strict     bool       `json:"strict,omitempty"`     // never lower that number
	Across     bool       `json:"across,omitempty"`     // standbys in other data centers than the leader's, half of them, rounded up
	Mode       pgctl.Mode `json:"mode,omitempty"`       // "": the one that it has
	Instances  int        `json:"instances"`            // 0: the cluster is stopped
	MaximumLag int64      `json:"maximumLag,omitempty"` // bytes; lease clusters only
}

// Request is what an operator asked for; the observer forgets it when it was answered.
type Request struct {
	To       pgctl.Life       `json:"to,omitempty"` // none: whoever is best
	Failover bool             `json:"failover,omitempty"`
	Lossy    bool             `json:"lossy,omitempty"`    // acknowledged commits may be lost
	OldDead  bool             `json:"oldDead,omitempty"`  // of a lossy one: people know that the old leader runs no more
	Pause    *bool            `json:"pause,omitempty"`    // no automatic change of leadership from now on, or again
	Why      string           `json:"why,omitempty"`      // of a switchover that no operator ordered
	Schedule *pgctl.Scheduled `json:"schedule,omitempty"` // to be submitted later; a zero one takes back what is scheduled
}

// An order is what a Request may carry besides a change of leadership: it only changes the state.
func (r *Request) order() bool { return r.Pause != nil || r.Schedule != nil }

// Member is one assigned instance as the observer knows it. Ages count only the observer's punctual
// time: its own pauses are nobody's silence.
type Member struct {
	Instance   string        `json:"instance"`
	Host       string        `json:"host"`
	DataCenter string        `json:"dataCenter,omitempty"`
	Life       pgctl.Life    `json:"life"`
	Leaving    bool          `json:"leaving,omitempty"`   // to be removed: not to be in any rule
	Tags       pgctl.Tags    `json:"tags,omitzero"`       // what its declaration says of it
	Report     Report        `json:"report"`              // the last one; empty when never heard
	Age        time.Duration `json:"age"`                 // since the last heartbeat
	Detect     time.Duration `json:"detect,omitempty"`    // silence that means failure; 0: DetectLeast
	Streaming  time.Duration `json:"streaming,omitempty"` // for how long it has streamed well in this epoch
	Stalled    time.Duration `json:"stalled,omitempty"`   // for how long its flush position stood still while owed WAL
	Idle       time.Duration `json:"idle,omitempty"`      // since its Report.Progress last moved
	Removals   int           `json:"removals,omitempty"`  // from the rule within RemovalMemory
}

// State is what an instance's server is doing.
type State string

// The states.
const (
	Absent   State = "absent"   // no data directory of this life
	Making   State = "making"   // initdb, copy or rewind under way
	Down     State = "down"     // not running
	Starting State = "starting" // recovering, not yet answering
	Running  State = "running"
)

// Report is what an agent says of its instance in each heartbeat.
type Report struct {
	Instance  string         `json:"instance"`
	Life      pgctl.Life     `json:"life,omitempty"`
	SystemID  string         `json:"systemID,omitempty"`
	State     State          `json:"state"`
	Detail    string         `json:"detail,omitempty"`   // for people: what it does, or why it cannot
	Failed    string         `json:"failed,omitempty"`   // why this instance cannot lead now: postmaster gone, disk full, …
	DiskFull  bool           `json:"diskFull,omitempty"` // of its data: nothing can be written
	Mute      bool           `json:"mute,omitempty"`     // it took sessions, and does not answer
	Frozen    bool           `json:"frozen,omitempty"`   // its postmaster was stopped by a signal
	StoreAge  time.Duration  `json:"storeAge,omitempty"` // how long ago its host knew the state of the store to be current
	LifeLost  string         `json:"lifeLost,omitempty"` // why this directory cannot go on: a copy is needed
	Primary   bool           `json:"primary,omitempty"`
	Open      bool           `json:"open,omitempty"` // clients are let in
	Epoch     pgctl.Epoch    `json:"epoch"`          // that the agent acted on
	End       pgctl.Position `json:"end"`            // written and flushed, or received and flushed
	Replayed  pgctl.LSN      `json:"replayed"`
	Parent    pgctl.Switch   `json:"parent"`              // of its timeline, from its own history file
	Upstream  string         `json:"upstream,omitempty"`  // the name under which it streams; "" when it does not
	LeaderEnd pgctl.LSN      `json:"leaderEnd,omitempty"` // the leader's end of log as it last heard of it
	ProofAge  time.Duration  `json:"proofAge"`            // since its server last proved its health
	Progress  uint64         `json:"progress"`            // moves with whatever it is doing
	Version   string         `json:"version,omitempty"`   // of the server, "15.18"

	Promised  pgctl.Epoch   `json:"promised,omitempty"` // the highest epoch that it durably pledged to or led
	Pledge    *Pledge       `json:"pledge,omitempty"`
	StoppedAt *Stopped      `json:"stoppedAt,omitempty"`
	Senders   []Sender      `json:"senders,omitempty"` // of a leader: who streams from it
	Promoted  *Promotion    `json:"promoted,omitempty"`
	Confirmed *Confirmation `json:"confirmed,omitempty"`
	Probe     *Probe        `json:"probe,omitempty"`
	Waiting   time.Duration `json:"waiting,omitempty"`        // of a leader: age of the oldest commit that waits
	Pending   []string      `json:"pendingRestart,omitempty"` // settings that wait for a restart
	InPlace   bool          `json:"inPlace,omitempty"`        // what is pending only a restart in place brings about, also of a leader
	Restarted uint64        `json:"restarted,omitempty"`      // the last ordered restart that was carried out
	Applied   uint64        `json:"applied,omitempty"`        // revision of the declaration that its server has taken over

	Leased    bool          `json:"leased,omitempty"`    // its lease holds
	Guarded   bool          `json:"guarded,omitempty"`   // a guard is wanted
	Armed     bool          `json:"armed,omitempty"`     // a guard that answers would stop it at the end of its lease
	Unguarded string        `json:"unguarded,omitempty"` // of a leader by lease: why nobody would
	Listed    pgctl.Life    `json:"listed,omitempty"`    // the leader that said it would ask this member before it goes on by itself
	Vouched   time.Duration `json:"vouched,omitempty"`   // since it last let a leader go on, or its agent started
}

// Pledge says that nothing will be acknowledged to a leader of an older epoch.
type Pledge struct {
	Epoch    pgctl.Epoch    `json:"epoch"`
	Position pgctl.Position `json:"position"`          // the end of its log, from the data alone
	Foreign  bool           `json:"foreign,omitempty"` // its timeline was never given out to it
}

// Stopped says where a leader that was asked to stop ended.
type Stopped struct {
	Epoch pgctl.Epoch    `json:"epoch"`
	At    pgctl.Position `json:"at"`
}

// Sender is one member that streams from a leader, as the leader sees it.
type Sender struct {
	Life      pgctl.Life  `json:"life"`
	Epoch     pgctl.Epoch `json:"epoch"`
	Streaming bool        `json:"streaming"` // caught up, not a backup
	Flushed   pgctl.LSN   `json:"flushed"`
}

// Promotion says that the ordered promotion is done.
type Promotion struct {
	Epoch    pgctl.Epoch    `json:"epoch"`
	Timeline pgctl.Timeline `json:"timeline"`
	Record   pgctl.LSN      `json:"record"` // the end of its first record on the new timeline
}

// Confirmation says that steps 2 to 4 of a rule change are done.
type Confirmation struct {
	Epoch   pgctl.Epoch `json:"epoch"`
	Version uint64      `json:"version"`
}

// Probe is what a member found out about the leader by itself.
type Probe struct {
	Leader   pgctl.Life    `json:"leader"`
	Epoch    pgctl.Epoch   `json:"epoch"`
	Progress bool          `json:"progress"` // a record was written there and arrived here, and it is open
	Answered bool          `json:"answered"` // any answer of a living server
	Refused  bool          `json:"refused"`  // its host answers, nothing listens
	Closed   bool          `json:"closed"`   // it answers, and lets no clients in
	Age      time.Duration `json:"age"`
}

// barred says why a member may not lead, whatever its log has, or "".
func (m *Member) barred() string {
	switch {
	case m.Tags.NoFailover:
		return "its declaration says noFailover"
	case m.Tags.Delay > 0:
		return "it replays with a delay"
	case m.Report.DiskFull:
		return "its disk is full"
	}
	return ""
}

// idler says why no commit may wait for a member, or "".
func (m *Member) idler() string {
	switch {
	case m.Tags.NoSync:
		return "its declaration says noSync"
	case m.Tags.Delay > 0:
		return "it replays with a delay"
	case m.Tags.From != "":
		return "it follows " + m.Tags.From
	case m.Report.DiskFull:
		return "its disk is full"
	}
	return ""
}

// backlog says that a member has too much left to replay to lead, or to be waited for, or "". The bytes are
// what a server replays in a few seconds at most.
func (m *Member) backlog() string {
	const most = 64 << 20
	if m.Report.Replayed > 0 && m.Report.Replayed+most < m.Report.End.LSN {
		return "it has more than 64 MB left to replay"
	}
	return ""
}

// fresh says whether the member's host is in contact.
func (m *Member) fresh() bool { return m.heard() && m.Age <= Fresh }

// heard says whether there is a report of the assigned life.
func (m *Member) heard() bool { return m.Report.Life == m.Life && m.Life != "" }

func (m *Member) detect() time.Duration { return max(m.Detect, DetectLeast) }

// dead says whether a standby has been silent, or not running, for too long to be waited for.
func (m *Member) dead() bool {
	if !m.heard() { // a newly elected observer has to listen first
		return m.Idle > StandbyTimeout
	}
	return m.Age > StandbyTimeout || m.Report.LifeLost != "" || m.Report.State == Absent ||
		m.Report.State == Down && m.Idle > StandbyTimeout
}

// lost says whether a member's life cannot go on, or was counted as lost already: even if it streams, no
// rule may name it again.
func (v *View) lost(m *Member) bool {
	return m.Report.LifeLost != "" || m.Report.State == Absent || slices.Contains(Binding(&v.Leadership).Lost, m.Life)
}

// usable says whether a life is assigned and, as far as is known, has its data.
func (v *View) usable(life pgctl.Life) bool {
	m := v.member(life)
	return m != nil && (!m.heard() || !v.lost(m))
}

// member finds a life among the assigned instances.
func (v *View) member(life pgctl.Life) *Member {
	for i := range v.Members {
		if v.Members[i].Life == life && life != "" {
			return &v.Members[i]
		}
	}
	return nil
}

// nameOf is how people know a life.
func (v *View) nameOf(life pgctl.Life) string {
	if m := v.member(life); m != nil {
		return m.Instance
	}
	return "an instance that is gone (life " + string(life) + ")"
}

// sender finds a member among those who stream from the leader in this epoch.
func (v *View) sender(leader *Member, life pgctl.Life) (Sender, bool) {
	for _, s := range leader.Report.Senders {
		if s.Life == life && s.Epoch == v.Leadership.Epoch && s.Streaming {
			return s, true
		}
	}
	return Sender{}, false
}
