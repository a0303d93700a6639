package explore

import "github.com/pgctl/pgctl/internal/planted"

// The bounds of any world. Everything in a state is a small number, so that it is copied, compared and
// hashed as it lies in memory.
const (
	maxNodes  = 4
	maxLog    = 8  // records
	maxEpochs = 8  // above the highest
	maxLines  = 6  // timelines
	maxAcked  = 4  // commits that clients saw
	maxConns  = 16 // from every node to every node
)

// life is one life of one data directory: the first ones are 1, 2, …, one for each node; the next
// generation follows. 0 is none.
type life uint8

// lives is a set of them.
type lives uint8

func (l life) set() lives { return 1 << (l - 1) }

func (s lives) has(l life) bool { return l != 0 && s&l.set() != 0 }

func (s lives) count() uint8 {
	n := uint8(0)
	for ; s != 0; s &= s - 1 {
		n++
	}
	return n
}

// rule is a pgctl.Rule.
type rule struct {
	leader   life
	standbys lives
	lost     lives
	acks     uint8
	version  uint8
}

// names is a value of synchronous_standby_names: so many of the lives under an epoch's names.
type names uint16

// The names that mean something else.
const (
	namesEmpty  names = 0      // commits wait for nobody
	namesNobody names = 0xffff // commits wait for one who does not exist
)

func namesOf(epoch, acks uint8, members lives) names {
	return names(epoch)<<12 | names(acks)<<8 | names(members)
}

func (n names) epoch() uint8   { return uint8(n >> 12) }
func (n names) acks() uint8    { return uint8(n>>8) & 15 }
func (n names) members() lives { return lives(n) }

// counts says whether answers under an epoch's name of a life count.
func (n names) counts(l life, epoch uint8) bool {
	return n != namesEmpty && n != namesNobody && named(epoch, n.epoch()) && n.members().has(l)
}

// named says whether a member's name is one of an epoch.
func named(has, epoch uint8) bool { return has == epoch || planted.NameWithoutEpoch.On() }

// The states of a server.
const (
	down uint8 = iota
	standby
	primary
)

// The stages of a confirmation (steps 2 to 4 of a rule change).
const (
	idle    uint8 = iota
	begun         // what is to be confirmed is known, nothing is written
	waiting       // names that nobody fulfils are written: commits have to be seen waiting first
	written       // new sessions show the names
	probed        // a record was flushed that members have to answer
)

// node is a host with one instance.
type node struct {
	names   names // in the server's files, and as new sessions show them
	opNames names
	older   names // planted: what was written before, or not fsynced
	log     [maxLog]record

	life    life
	end     uint8 // of the log
	flushed uint8 // of that, what survives a power loss
	run     uint8
	data    bool // there is a directory
	unmade  bool // there has not been one of this life yet
	leads   bool // of the directory: it has no standby.signal

	// what the agent keeps of the life, durably
	pledge      uint8 // nothing is acknowledged to leaders of older epochs
	mark        uint8 // the highest timeline that it was ordered to be on
	ruleEpoch   uint8 // the rule written last
	ruleVersion uint8
	promoted    uint8 // the epoch of its last promotion
	promotedAt  uint8 // the end of its first record
	rewinding   uint8 // the epoch of the source of a rewind that has not ended
	claim       uint8 // the end that a half-rewound log seems to have

	seen uint8 // the epoch that its agent has acted on: from then on it knows of no older one

	// the server
	upNode  uint8 // from which node it streams, plus 1, as configured
	upEpoch uint8 // under which epoch's name
	waits   bool  // the checkpointer's flag: commits wait
	open    bool  // clients are let in
	closed  uint8 // up to here nobody waits for commits any more: their sessions are gone
	release uint8 // up to here commits were acknowledged

	// the agent's memory
	op             uint8 // stage of the confirmation under way
	opEpoch        uint8
	opVersion      uint8
	opJoint        lives
	opProbe        uint8
	confirmEpoch   uint8
	confirmVersion uint8
	unsure         bool  // planted: it restarted and has not read to the end of its log
	restored       uint8 // planted: the upstream that a restart brings back
	restoredEpoch  uint8
}

// conn is a replication connection as its upstream has it.
type conn struct {
	names    names // the WAL sender's own copy
	life     life
	epoch    uint8 // of its name, 0 with life 0: there is no sender
	reported uint8 // the receiver's last word
	taken    uint8 // what the sender knows of it
	ghost    uint8 // planted: a second connection of the same member
	receives bool  // the receiver is there
	known    bool  // the sender has heard it
	stuck    bool  // the receiver's log left the sender's: nothing will be appended
	before   bool  // it may go by names older than the probe's
	fresh    bool  // it answered the probe
}

// line is a pgctl.TimelineRecord. Its number is its place, plus 1, in state.lines.
type line struct {
	number uint8
	epoch  uint8
	leader life
	parent uint8
	left   uint8
	state  uint8
}

// What became of a timeline.
const (
	given uint8 = iota
	settled
	failed
)

// The phases that occur.
const (
	steady uint8 = iota
	recruiting
	promoting
)

// plan is a switchover under way.
type plan struct {
	from, to life
	on       bool
	stopped  bool
	released bool
	lossy    bool
}

// store is a pgctl.Leadership.
type store struct {
	rule, next, joint rule
	lines             [maxLines]line
	plan              plan
	epoch             uint8
	phase             uint8
	leader            life
	steadyEpoch       uint8
	pending           bool // there is a next rule
	late              bool // planted: the history is completed later
}

// acked is a commit that a client saw succeed. No record stands twice in one world.
type acked struct {
	record record
	at     uint8
}

// state is everything at one moment.
type state struct {
	nodes [maxNodes]node
	conns [maxConns]conn // from up*maxNodes+down
	store store

	// what only the oracle knows
	acked   [maxAcked]acked
	by      [maxEpochs]life // who acknowledged in an epoch
	leaders [maxEpochs]life // whom the store ever let lead
	ruled   [maxEpochs]bool // and whether it was steady

	heard  lives // whose pledge of this epoch was heard
	used   [faults]uint8
	halted bool // the old leader stopped since this epoch began
	bad    wrong
}

// The things that happen only so often in a world.
const (
	writes uint8 = iota
	crashes
	disks
	cuts
	strays
	changes
	plans
	losses
	faults
)

func (s *state) conn(up, down int) *conn { return &s.conns[up*maxNodes+down] }

// nodeOf finds the node that has a life now, or -1.
func (s *state) nodeOf(l life) int {
	for i := range s.nodes {
		if l != 0 && s.nodes[i].life == l {
			return i
		}
	}
	return -1
}

// receiver is the upstream that a node's WAL receiver is connected to, or -1.
func (s *state) receiver(n int) int {
	for up := range maxNodes {
		if s.conn(up, n).receives {
			return up
		}
	}
	return -1
}

// inForce is the rule that the leader's names follow.
func (s *store) inForce() rule {
	if s.pending {
		return s.next
	}
	return s.rule
}

// binding is the rule that a recruitment has to satisfy.
func (s *store) binding() rule {
	if s.pending {
		return s.joint
	}
	return s.rule
}

// line finds the entry of a timeline.
func (s *store) line(number uint8) *line {
	for i := range s.lines {
		if number != 0 && s.lines[i].number == number {
			return &s.lines[i]
		}
	}
	return nil
}

// last is the entry that was made last.
func (s *store) last() *line {
	at := 0
	for i := range s.lines {
		if s.lines[i].number != 0 {
			at = i
		}
	}
	return &s.lines[at]
}

// chosen says whether somebody was chosen since the last steady epoch.
func (s *store) chosen() bool {
	for i := range s.lines {
		if s.lines[i].number != 0 && s.lines[i].epoch > s.steadyEpoch {
			return true
		}
	}
	return false
}
