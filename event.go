package pgctl

import "time"

// Severity of an event.
type Severity string

// The severities: things that go as they should, things to look at, things that hurt.
const (
	Info    Severity = "info"
	Warning Severity = "warning"
	Alarm   Severity = "error"
)

// Event is one entry of the bounded event log: what happened to whom, and why. The wall clock dates
// it for people; nothing decides on that.
type Event struct {
	Index    uint64    `json:"index"` // of the store when it was written; unique together with Seq
	Seq      int       `json:"seq"`   // order within one index
	At       time.Time `json:"at"`
	Severity Severity  `json:"severity"`
	Cluster  string    `json:"cluster,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Host     string    `json:"host,omitempty"`
	Epoch    Epoch     `json:"epoch,omitempty"`
	Kind     string    `json:"kind"` // short and stable ("leader.failed"), for filters
	Message  string    `json:"message"`
}
