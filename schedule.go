package pgctl

import "time"

// Scheduled is an order that waits for its time. Whoever decides then submits it, nothing more: it can be
// refused as one that is given by hand.
type Scheduled struct {
	Do      Task      `json:"do"`
	To      Life      `json:"to,omitempty"` // of a switchover; none: whoever is best
	Rolling bool      `json:"rolling,omitempty"`
	Pending bool      `json:"pending,omitempty"`
	At      time.Time `json:"at"`
}

// Task is what can be scheduled.
type Task string

// The tasks.
const (
	TaskSwitchover Task = "switchover"
	TaskRestart    Task = "restart"
)

// Due says how a restart that was ordered is to be carried out.
type Due string

// The kinds of a restart.
const (
	DueInPlace Due = "in place" // where it is, also if it leads
	DueRolling Due = "rolling"  // if it leads, it hands over first
)
