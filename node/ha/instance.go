package ha

import (
	"time"

	"github.com/pgctl/pgctl"
)

// InstanceView is everything on which Act decides about one instance of the own host.
type InstanceView struct {
	Self       pgctl.Instance   `json:"self"`
	Leadership pgctl.Leadership `json:"leadership"`
	Members    []pgctl.Instance `json:"members"` // of the cluster, this one included
	Local      Local            `json:"local"`
	Server     Server           `json:"server"`
	Source     *Source          `json:"source,omitempty"` // of the leader of this epoch; nil: not heard yet
	StoreAge   time.Duration    `json:"storeAge"`         // since a server of the store was heard
	Unacked    time.Duration    `json:"unacked"`          // for how long too few members have streamed for a leader's commits
	Lease      time.Duration    `json:"lease"`            // that is left of the lease; only counts for a leader of a lease cluster
	Held       bool             `json:"held,omitempty"`   // a lease was held since the cluster went by leases, and may be over
}

// Local is what an agent keeps of one life on disk, beside the data directory. It is written, with
// fsync, before whatever it announces is done.
type Local struct {
	Format    int            `json:"format"` // 1
	Cluster   string         `json:"cluster"`
	Instance  string         `json:"instance"`
	Life      pgctl.Life     `json:"life"`
	SystemID  string         `json:"systemID,omitempty"`
	Pledge    pgctl.Epoch    `json:"pledge,omitempty"`    // nothing is acknowledged to leaders of older epochs
	Mark      pgctl.Timeline `json:"mark,omitempty"`      // the highest timeline that it was ordered to be on
	Rule      *RuleMark      `json:"rule,omitempty"`      // the names last written, of a leader
	Rewinding pgctl.Epoch    `json:"rewinding,omitempty"` // of the source of a rewind that has not finished
	Rewound   bool           `json:"rewound,omitempty"`   // the rewind is done; to be consistent it still needs the source's log
	Restarted uint64         `json:"restarted,omitempty"` // the last ordered restart that was carried out
	Listed    pgctl.Life     `json:"listed,omitempty"`    // the leader that said it would ask this life before it goes on by itself
}

// RuleMark says which names a leader wrote last; it never writes older ones.
type RuleMark struct {
	Epoch   pgctl.Epoch `json:"epoch"`
	Version uint64      `json:"version"`
}

// Older says whether m is of an earlier epoch, or of an earlier version within one.
func (m RuleMark) Older(than RuleMark) bool {
	return m.Epoch < than.Epoch || m.Epoch == than.Epoch && m.Version < than.Version
}

// Server is what was observed of the instance's PostgreSQL server and data directory.
type Server struct {
	Directory Directory        `json:"directory"`
	Trouble   string           `json:"trouble,omitempty"` // why the directory cannot be used: foreign, another life's, behind
	Busy      string           `json:"busy,omitempty"`    // slow work under way
	State     State            `json:"state"`
	Crashed   bool             `json:"crashed,omitempty"` // it went without being told to
	DownFor   time.Duration    `json:"downFor,omitempty"`
	Handed    pgctl.Epoch      `json:"handed,omitempty"` // it stopped in order for this epoch's leader
	Signal    bool             `json:"signal,omitempty"` // standby.signal is there
	Primary   bool             `json:"primary,omitempty"`
	Open      bool             `json:"open,omitempty"`
	Timeline  pgctl.Timeline   `json:"timeline,omitempty"` // of its log; of the control file while it is down
	History   pgctl.LogHistory `json:"history,omitempty"`
	Position  pgctl.Position   `json:"position"` // the honest end of its log; unknown until it can be said
	Replayed  pgctl.LSN        `json:"replayed"`
	AtEnd     bool             `json:"atEnd,omitempty"`     // of a standby: everything local is replayed
	Receiver  string           `json:"receiver,omitempty"`  // the name of a running WAL receiver
	Upstream  string           `json:"upstream,omitempty"`  // the configured name
	Address   string           `json:"address,omitempty"`   // the configured upstream
	Delayed   bool             `json:"delayed,omitempty"`   // it replays later, as declared
	Waiting   time.Duration    `json:"waiting,omitempty"`   // age of the oldest commit that waits
	Confirmed *Confirmation    `json:"confirmed,omitempty"` // by this postmaster
	Slots     []string         `json:"slots,omitempty"`
	Promoted  *Promotion       `json:"promoted,omitempty"` // the last one that was carried out and noted
	Guard     *GuardState      `json:"guard,omitempty"`    // nil: none is wanted
}

// Directory is the state of a life's data directory.
type Directory string

// The states of a data directory.
const (
	NoDirectory    Directory = "none"
	ReadyDirectory Directory = "ready"
)

// Source is what a leader's agent says of its data, for those who are to follow it.
type Source struct {
	Life       pgctl.Life       `json:"life"`
	Epoch      pgctl.Epoch      `json:"epoch"`
	SystemID   string           `json:"systemID"`
	Timeline   pgctl.Timeline   `json:"timeline"`
	History    pgctl.LogHistory `json:"history,omitempty"`
	End        pgctl.LSN        `json:"end"`
	Oldest     pgctl.LSN        `json:"oldest,omitempty"` // it has its log from here on
	Checkpoint pgctl.Timeline   `json:"checkpoint"`       // timeline of its last checkpoint: a rewind waits for it
	Address    string           `json:"address"`
	Via        string           `json:"via,omitempty"` // who is streamed from, or copied, instead: another standby of the leader
	Port       int              `json:"port"`
	Streaming  []pgctl.Life     `json:"streaming,omitempty"` // who streams from it under this epoch's name
}

// From is the address to stream from.
func (s Source) From() string {
	if s.Via != "" {
		return s.Via
	}
	return s.Address
}

// Action is what a Step does.
type Action string

// The actions. Each is safe to repeat after a crash in its middle.
const (
	Initialize Action = "initialize" // make the first data directory of a cluster
	CopyData   Action = "copy"       // make the data directory from the leader's
	Start      Action = "start"      // closed and without upstream; Standby says as what
	Stop       Action = "stop"       // within Budget
	Detach     Action = "detach"     // no upstream any more, on disk and running
	PledgeTo   Action = "pledge"     // note durably that no older epoch is acknowledged
	Follow     Action = "follow"     // stream from Source under the epoch's name
	Rewind     Action = "rewind"     // make the log a point of Source's history
	Promote    Action = "promote"    // closed, to Timeline
	MakeSlots  Action = "slots"      // for every other member
	Confirm    Action = "confirm"    // steps 2 to 4 of a rule change
	Open       Action = "open"       // let clients in
	Close      Action = "close"      // keep clients out
	Restart    Action = "restart"    // of a standby, or of a single instance, in place; noted first
	Reload     Action = "reload"     // its files are read again
	Checkpoint Action = "checkpoint" // before a switchover, so that its stop is short
	Arm        Action = "arm"        // let the guard stop it at the end of its lease
	Disarm     Action = "disarm"     // take that deadline back
)

// Step is one thing for the agent to do.
type Step struct {
	Do       Action         `json:"do"`
	Standby  bool           `json:"standby,omitempty"`
	Upstream bool           `json:"upstream,omitempty"` // of Start: it streams from Source at once
	Budget   time.Duration  `json:"budget,omitempty"`
	Epoch    pgctl.Epoch    `json:"epoch,omitempty"`
	Timeline pgctl.Timeline `json:"timeline,omitempty"`
	Rule     *pgctl.Rule    `json:"rule,omitempty"`
	Joint    *pgctl.Rule    `json:"joint,omitempty"`
	Asks     bool           `json:"asks,omitempty"` // only after a linearizable read says that the epoch is still the store's
	Slots    []string       `json:"slots,omitempty"`
	Why      string         `json:"why"`
}
