package api

import "github.com/pgctl/pgctl"

// Level is how well a cluster is.
type Level string

// The levels.
const (
	LevelWell     Level = "well"
	LevelDegraded Level = "degraded" // it works, with less redundancy or something to look at
	LevelDown     Level = "down"     // it cannot be written to
	LevelStopped  Level = "stopped"  // on purpose: no instances are wanted, or it is deleted
)

// Statuses is the answer to GET /v1/status.
type Statuses struct {
	Meta
	Clusters []ClusterStatus `json:"clusters"` // worst first, then by name
}

// Status is the answer to GET /v1/clusters/{name}/status.
type Status struct {
	Meta
	ClusterStatus
}

// ClusterStatus is the judgement of one cluster.
type ClusterStatus struct {
	Name     string      `json:"name"`
	Health   Level       `json:"health"`
	Summary  string      `json:"summary"` // one sentence
	Leader   string      `json:"leader,omitempty"`
	Epoch    pgctl.Epoch `json:"epoch,omitempty"`
	Phase    pgctl.Phase `json:"phase,omitempty"`
	Problems []Problem   `json:"problems"`        // worst first
	Blind    bool        `json:"blind,omitempty"` // the daemon hears no heartbeats: only the replicated state was judged
}

// Problem is one thing that is not well.
type Problem struct {
	Level    Level   `json:"level"` // what it makes of the cluster: degraded or down
	What     string  `json:"what"`
	Why      string  `json:"why,omitempty"`
	Instance string  `json:"instance,omitempty"` // where it is
	Host     string  `json:"host,omitempty"`
	EndedBy  []Place `json:"endedBy,omitempty"` // who would end it by coming back or by going on
	Do       string  `json:"do,omitempty"`      // what an operator can do
}

// Place is an instance on its host.
type Place struct {
	Instance string `json:"instance"`
	Host     string `json:"host"`
}

// String is "shop-1 on host db1".
func (p Place) String() string { return p.Instance + " on host " + p.Host }

// severity orders levels; higher is worse.
func (l Level) severity() int {
	switch l {
	case LevelDown:
		return 3
	case LevelDegraded:
		return 2
	case LevelWell:
		return 1
	}
	return 0
}

// Worse says whether l is a worse level than other.
func (l Level) Worse(other Level) bool { return l.severity() > other.severity() }
