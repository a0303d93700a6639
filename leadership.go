package pgctl

import (
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/pgctl/pgctl/internal/planted"
)

// Life is one life of one data directory: 8 characters (a–z, 0–9), drawn when the directory is made.
// Rules, pledges and orders name lives, so that a re-created instance never passes for its former self.
type Life string

var lifePattern = regexp.MustCompile(`^[a-z0-9]{8}$`)

// Valid says whether it has the form of a life.
func (l Life) Valid() bool { return lifePattern.MatchString(string(l)) }

// MemberName is the application_name under which a standby streams. It carries the epoch because the
// name is a statement: histories were compared with that epoch's leader.
func (l Life) MemberName(e Epoch) string {
	if planted.NameWithoutEpoch.On() {
		e = 0
	}
	return "pgctl." + string(l) + "@" + strconv.FormatUint(uint64(e), 10)
}

// Slot is the name of the life's physical replication slot on every other instance.
func (l Life) Slot() string { return "pgctl_" + string(l) }

var memberPattern = regexp.MustCompile(`^pgctl\.([a-z0-9]{8})@([0-9]{1,19})$`)

// ParseMemberName is the reverse of MemberName; false for names that are not ours.
func ParseMemberName(name string) (Life, Epoch, bool) {
	m := memberPattern.FindStringSubmatch(name)
	if m == nil {
		return "", 0, false
	}
	e, err := strconv.ParseUint(m[2], 10, 64)
	return Life(m[1]), Epoch(e), err == nil
}

// Epoch is one attempt at leadership. It grows by one and is committed before anybody acts on it.
type Epoch uint64

// Mode is what protects a cluster.
type Mode string

// The modes.
const (
	Quorum Mode = "quorum" // the commit rule: nobody acknowledges what a later leader could lack
	Lease  Mode = "lease"  // time: commits wait for nobody, the leader must renew
)

// Phase of a leadership.
type Phase string

// The phases, as in docs/failover.md.
const (
	Bootstrapping Phase = "bootstrapping" // the first leader's directory is being made
	Steady        Phase = "steady"        // the leader may acknowledge commits
	Recruiting    Phase = "recruiting"    // standbys pledge, so that the old leader cannot commit any more
	Promoting     Phase = "promoting"     // the chosen one is promoted, closed
	Unknown       Phase = "unknown"       // the store may be behind (recovery, restore): nothing automatic
)

// Rule is what a commit waits for: Acks of Standbys. Lost are lives that may have acknowledged under
// it and exist no more. Acks ≤ |Standbys| + |Lost|; as asked for, Acks ≤ |Standbys|, and 0 only
// without standbys.
type Rule struct {
	Leader   Life   `json:"leader"`
	Standbys []Life `json:"standbys,omitempty"` // sorted
	Acks     int    `json:"acks"`
	Lost     []Life `json:"lost,omitempty"` // sorted
	Version  uint64 `json:"version"`        // grows with every request and every loss
}

// Names says whether life is among the standbys.
func (r Rule) Names(life Life) bool { return slices.Contains(r.Standbys, life) }

// Planned is a switchover under way. Within is counted anew by every new Raft leader.
type Planned struct {
	From      Life          `json:"from"`
	To        Life          `json:"to,omitempty"`       // none: whoever is best
	Within    time.Duration `json:"within"`             // 0 for a failover by hand: From is not waited for
	StoppedAt Position      `json:"stoppedAt"`          // the end of From's log, once it has reported it
	Released  bool          `json:"released,omitempty"` // the members may pledge: From stopped, or Within is over
	Lossy     bool          `json:"lossy,omitempty"`    // an operator accepted the loss of acknowledged commits
}

// TimelineState is what became of a timeline number.
type TimelineState string

// The states of a timeline number.
const (
	TimelineGiven   TimelineState = "given"   // ordered; nothing on it was acknowledged
	TimelineSteady  TimelineState = "steady"  // its leader became steady
	TimelineFailed  TimelineState = "failed"  // its promotion did not become steady
	TimelineForeign TimelineState = "foreign" // somebody promoted by hand
)

// TimelineRecord is one entry of a cluster's history: written when the number is given out, completed
// when its leader is steady.
type TimelineRecord struct {
	Timeline Timeline      `json:"timeline"`
	Epoch    Epoch         `json:"epoch"`
	Leader   Life          `json:"leader"`
	Parent   Timeline      `json:"parent,omitempty"`
	Switch   LSN           `json:"switch,omitempty"` // where it left its parent; 0 until steady
	State    TimelineState `json:"state"`
	Why      string        `json:"why"`
	At       time.Time     `json:"at"`   // when the number was given out
	Took     Took          `json:"took"` // until its leader served
}

// Took says where the time of a change of leadership went, as the observer counts it: all zero while it is
// under way, Opened when the leader served.
type Took struct {
	Noticed   time.Duration `json:"noticed,omitempty"`   // from the last sign of the old leader to the election
	Recruited time.Duration `json:"recruited,omitempty"` // until one was chosen
	Promoted  time.Duration `json:"promoted,omitempty"`  // until it was proven to have followers
	Opened    time.Duration `json:"opened,omitempty"`    // until it let clients in
}

// Total is all of it.
func (t Took) Total() time.Duration { return t.Noticed + t.Recruited + t.Promoted + t.Opened }

// Leadership is the replicated state of one cluster's leadership. Everybody's orders are a pure
// function of it and of what they are themselves.
type Leadership struct {
	Cluster     string           `json:"cluster"`
	Mode        Mode             `json:"mode"`
	NextMode    Mode             `json:"nextMode,omitempty"` // a change under way: a leader that is to lead by a lease gets one first
	Paused      bool             `json:"paused,omitempty"`   // no automatic change of leadership
	Epoch       Epoch            `json:"epoch"`
	Phase       Phase            `json:"phase"`
	Leader      Life             `json:"leader,omitempty"`      // who may lead in this epoch; none while recruiting
	SteadyEpoch Epoch            `json:"steadyEpoch,omitempty"` // the epoch that Rule is of: the last steady one
	Serving     bool             `json:"serving,omitempty"`     // clients were let in once; a new cluster first gathers its members
	Rule        Rule             `json:"rule"`
	NextRule    *Rule            `json:"nextRule,omitempty"` // a change under way
	Joint       *Rule            `json:"joint,omitempty"`    // of Rule and every NextRule since Rule was confirmed
	Planned     *Planned         `json:"planned,omitempty"`
	Scheduled   *Scheduled       `json:"scheduled,omitempty"`
	Noticed     time.Duration    `json:"noticed,omitempty"` // how long the last leader's failure took to be noticed
	History     []TimelineRecord `json:"history,omitempty"` // oldest first
	SystemID    string           `json:"systemID,omitempty"`
	Revision    uint64           `json:"revision"` // the store index of the last change
}

// RuleInForce is the rule that the leader's names follow: the one asked for last.
func (l *Leadership) RuleInForce() Rule {
	if l.NextRule != nil {
		return *l.NextRule
	}
	return l.Rule
}

// ByLease says whether a leader is to hold a lease: in lease mode, and before a cluster changes to it.
func (l *Leadership) ByLease() bool { return l.Mode == Lease || l.NextMode == Lease }

// Record finds a timeline in the history.
func (l *Leadership) Record(t Timeline) (TimelineRecord, bool) {
	for _, r := range l.History {
		if r.Timeline == t {
			return r, true
		}
	}
	return TimelineRecord{}, false
}

// Chosen returns the life that was chosen to lead since the last steady epoch, if any: from then on
// the rule's old leader may not simply resume.
func (l *Leadership) Chosen() (Life, bool) {
	for _, r := range slices.Backward(l.History) {
		if r.Epoch > l.SteadyEpoch && r.State != TimelineForeign && !planted.ResumedAfterChoice.On() {
			return r.Leader, true
		}
	}
	return "", false
}
