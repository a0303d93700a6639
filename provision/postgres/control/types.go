package control

import (
	"time"

	"github.com/pgctl/pgctl"
)

// State is what the processes and the connection of an instance say.
type State string

// The states of an instance.
const (
	Absent   State = "absent"   // there is no data directory
	Down     State = "down"     // there is one, and no postmaster
	Starting State = "starting" // a postmaster that does not take sessions yet, or not in time
	Running  State = "running"  // it takes sessions
	Stopping State = "stopping" // it is shutting down
)

// Observation is what one cheap look at an instance shows. Fields beyond State, PID are filled while
// it is Running only.
type Observation struct {
	State State
	PID   int // of the postmaster
	// Why says what the server answered when it is Starting or Stopping.
	Why string

	SystemID   string
	InRecovery bool
	// Timeline is the one that WAL is written to, or replayed from.
	Timeline pgctl.Timeline
	// End is the end of the log that the data holds durably: of flushed WAL on a primary; on a standby
	// of received or replayed WAL, whichever is further. On a standby it counts only if Streamed, or
	// AtEnd in two observations in a row: before, local WAL may not have been read to its end.
	End      pgctl.Position
	Replay   pgctl.LSN // standby: replayed up to here
	Receive  pgctl.LSN // standby: received and flushed since this postmaster started; 0 is unknown
	Streamed bool      // Receive is known: local WAL was read to its end and a receiver was started
	AtEnd    bool      // the startup process waits for more WAL than there is
	Paused   bool      // replay was paused
	Alone    bool      // started by StartRecruit: it follows nobody until it is started again
	Receiver *Receiver
	// Upstream is the application_name in primary_conninfo as it is in force, whatever the files say by now.
	Upstream string

	Senders    []Sender
	Slots      []string      // names of the physical slots of lives, but for lost ones
	Waiters    int           // commits that wait for acknowledgement
	OldestWait time.Duration // of the oldest of them
	Sessions   int           // sessions of others: not pgctl's, not the members'
	SyncNames  string        // synchronous_standby_names as this session sees it
	Config     string        // Files.Checksum in force
	Archived   string        // the segment archived last
}

// Receiver is a standby's WAL receiver.
type Receiver struct {
	PID       int            `json:"pid"`
	Status    string         `json:"status"`
	Name      string         `json:"name"` // its application_name
	Host      string         `json:"host"` // of the upstream
	Port      int            `json:"port"`
	Timeline  pgctl.Timeline `json:"timeline"`
	LatestEnd pgctl.LSN      `json:"latest_end"` // the last end of WAL that the upstream told
}

// Sender is a WAL sender. Two senders with equal PID and Started are the same process.
type Sender struct {
	PID      int           `json:"pid"`
	Started  string        `json:"started"`
	Role     string        `json:"role"`
	Name     string        `json:"name"`  // application_name
	Address  string        `json:"addr"`  // of the standby
	State    string        `json:"state"` // startup, catchup, streaming, backup, stopping
	Priority int           `json:"priority"`
	Write    pgctl.LSN     `json:"write"` // answered last; 0 when there was no answer
	Flush    pgctl.LSN     `json:"flush"`
	Slot     string        `json:"slot"`  // the replication slot it holds
	Reply    time.Duration `json:"reply"` // age of its last answer, in nanoseconds; -1 without one
}

// Health is what HealthProbe found. An answer of any kind, even an error of the server, is life.
type Health struct {
	Session     bool
	Replication bool
	Disk        bool
	Full        bool     // the disk has no room for a few bytes
	Frozen      bool     // the postmaster was stopped by a signal
	Errors      []string // of what did not answer, and what the server answered instead of yes
}

// ControlData is the part of pg_control that matters here.
type ControlData struct {
	SystemID    string
	State       string // "in production", "shut down", "shut down in recovery" …
	Timeline    pgctl.Timeline
	Checkpoint  pgctl.LSN
	Redo        pgctl.LSN
	MinRecovery pgctl.Position // end of the recovery that is needed at least; zero when none is
	// Leader is what the leader had of config.NotLower when it wrote what this standby replayed last.
	Leader map[string]int
}
