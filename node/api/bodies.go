package api

import (
	"encoding/json"

	"github.com/pgctl/pgctl"
)

// Clusters is the answer to GET /v1/clusters.
type Clusters struct {
	Meta
	Clusters []ClusterSummary `json:"clusters"` // sorted by name
}

// ClusterSummary is one line of the list.
type ClusterSummary struct {
	Name      string   `json:"name"`
	Team      string   `json:"team,omitempty"`
	Version   int      `json:"version"`
	Instances int      `json:"instances"` // as declared
	Port      int      `json:"port"`
	Leader    string   `json:"leader,omitempty"` // instance that may lead; empty while there is none
	Health    Level    `json:"health"`
	Summary   string   `json:"summary"` // one sentence
	Hosts     []string `json:"hosts"`   // sorted
	Deleted   bool     `json:"deleted,omitempty"`
}

// ClusterDetail is the answer to GET and PUT /v1/clusters/{name}.
type ClusterDetail struct {
	Meta
	Cluster    pgctl.Cluster     `json:"cluster"`
	Leadership *pgctl.Leadership `json:"leadership,omitempty"`
	Instances  []InstanceDetail  `json:"instances"` // by ordinal
	Manifest   string            `json:"manifest"`  // the declaration as a manifest, YAML
}

// InstanceDetail is an assignment and what was last heard of it.
type InstanceDetail struct {
	pgctl.Instance
	DataCenter string `json:"dataCenter,omitempty"`
	Live       *Live  `json:"live,omitempty"` // nothing was heard of it when missing
}

// Changed is the answer to whatever changes the state and has nothing more to say.
type Changed struct {
	Meta
	Message string `json:"message"`
}

// ApplyResult is the answer to POST /v1/apply.
type ApplyResult struct {
	Meta
	DryRun   bool          `json:"dryRun"`
	Clusters []ClusterPlan `json:"clusters"` // in the order of the manifest
}

// ClusterPlan is what applying a manifest does, or did, to one cluster.
type ClusterPlan struct {
	Name     string   `json:"name"`
	Action   Action   `json:"action"`
	Changes  []Change `json:"changes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Revision uint64   `json:"revision,omitempty"` // after it was applied; of the present state in a dry run
}

// Action is what happens to a cluster as a whole.
type Action string

// The actions.
const (
	ActionCreate Action = "create"
	ActionChange Action = "change"
	ActionNone   Action = "none" // the cluster already is as the manifest says
)

// Change is one difference between the cluster that is and the one that the manifest asks for.
type Change struct {
	Path   string `json:"path"` // in the manifest: "spec.postgresql.parameters.work_mem"
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Effect Effect `json:"effect"`
	Why    string `json:"why,omitempty"` // what may surprise
}

// Effect is what a change does to those who are connected.
type Effect string

// The effects.
const (
	EffectNone       Effect = "none" // recorded; nothing runs
	EffectCreate     Effect = "create"
	EffectReload     Effect = "reload"      // servers read their files again; sessions go on
	EffectSQL        Effect = "sql"         // roles and databases are created or altered
	EffectCommitRule Effect = "commit rule" // commits wait for others than before
	EffectAdd        Effect = "add instance"
	EffectStart      Effect = "start"           // of a cluster that had 0 instances
	EffectRestart    Effect = "restart"         // standbys one by one, then a switchover
	EffectRemove     Effect = "remove instance" // if it leads, a switchover first
	EffectStop       Effect = "stop"            // the cluster stops
)

// Disruptive says whether somebody who is connected notices: then people are asked first.
func (e Effect) Disruptive() bool {
	return e == EffectRestart || e == EffectRemove || e == EffectStop
}

// Move is the body of POST /v1/clusters/{name}/switchover and /failover.
type Move struct {
	To            string `json:"to,omitempty"`            // an instance; empty in a switchover: the best one
	AllowDataLoss bool   `json:"allowDataLoss,omitempty"` // failover only

	OldLeaderIsDead bool `json:"oldLeaderIsDead,omitempty"` // with AllowDataLoss only: people know that it runs no more
}

// Password is the answer to GET and POST /v1/clusters/{name}/users/{user}/password.
type Password struct {
	Meta
	Cluster  string `json:"cluster"`
	User     string `json:"user"`
	Password string `json:"password"`
}

// Hosts is the answer to GET /v1/hosts.
type Hosts struct {
	Meta
	Hosts []HostDetail `json:"hosts"` // sorted by name
}

// HostDetail is a host, what it carries, and when it was last heard.
type HostDetail struct {
	pgctl.Host
	Instances []string `json:"instances,omitempty"` // sorted
	HeardMs   *int64   `json:"heardMs,omitempty"`   // since its last heartbeat; missing when there was none
}

// Servers is the answer to GET /v1/servers.
type Servers struct {
	Meta
	Servers []Server `json:"servers"` // sorted by name
}

// Server is a member of the Raft group as the answering daemon sees it.
type Server struct {
	Name       string `json:"name"`
	DataCenter string `json:"dataCenter,omitempty"`
	Address    string `json:"address"`
	Role       string `json:"role"`            // leader, follower or candidate
	Index      uint64 `json:"index,omitempty"` // last one it is known to have
	HeardMs    *int64 `json:"heardMs,omitempty"`
}

// Events is the answer to GET /v1/events; the stream has one pgctl.Event a line instead.
type Events struct {
	Meta
	Events []pgctl.Event `json:"events"` // oldest first
}

// Setting is the answer to GET and PUT /v1/settings/{key}, and the body of PUT: one value of the
// operator configuration.
type Setting struct {
	Meta
	Key      string          `json:"key"`
	Value    json.RawMessage `json:"value"`
	Revision uint64          `json:"revision"` // of the last change; pass it as ?revision= to PUT
}

// Settings is the answer to GET /v1/settings.
type Settings struct {
	Meta
	Settings []SettingEntry `json:"settings"` // sorted by key
}

// SettingEntry is one of them.
type SettingEntry struct {
	Key      string          `json:"key"`
	Value    json.RawMessage `json:"value"`
	Revision uint64          `json:"revision"`
}

// Version is the answer to GET /v1/version.
type Version struct {
	Meta
	Version string `json:"version"`
	Go      string `json:"go"`
	Host    string `json:"host"`
}

// Alive is the answer to GET /v1/health: the daemon answers, which says nothing about clusters.
type Alive struct {
	Meta
	Status string `json:"status"` // "ok"
	Host   string `json:"host"`
}

// Live is what an instance's agent said in its last heartbeat.
type Live struct {
	Instance  string         `json:"instance"`
	Host      string         `json:"host"`
	Life      pgctl.Life     `json:"life"`
	Role      Role           `json:"role"`
	State     RunState       `json:"state"`
	Open      bool           `json:"open"` // lets clients in
	Timeline  pgctl.Timeline `json:"timeline"`
	LSN       pgctl.LSN      `json:"lsn"`                 // flushed: written by a primary, received by a standby
	LagBytes  *int64         `json:"lagBytes,omitempty"`  // behind the leader; missing when unknown
	Streaming bool           `json:"streaming"`           // a standby receives from the leader
	Doing     string         `json:"doing,omitempty"`     // slow work under way, with its progress
	Problem   string         `json:"problem,omitempty"`   // what the agent cannot put right by itself
	Pending   []string       `json:"pending,omitempty"`   // settings that wait for a restart
	Restarted uint64         `json:"restarted,omitempty"` // the last ordered restart that was carried out
	Applied   uint64         `json:"applied,omitempty"`   // revision of the declaration that it has taken over
	Armed     bool           `json:"armed,omitempty"`     // a guard would stop it at the end of its lease
	Unguarded string         `json:"unguarded,omitempty"` // of a leader by lease: why nobody would
	AgeMs     int64          `json:"ageMs"`               // since the heartbeat
}

// Role is what a Postgres server is at present.
type Role string

// The roles.
const (
	RolePrimary Role = "primary"
	RoleStandby Role = "standby"
	RoleUnknown Role = "" // it does not run
)

// RunState is how far an instance has come.
type RunState string

// The states of an instance.
const (
	StateRunning  RunState = "running"
	StateStarting RunState = "starting"
	StateStopped  RunState = "stopped"
	StateCreating RunState = "creating" // initdb, base backup or rewind
	StateFailed   RunState = "failed"
)
