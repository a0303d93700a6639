package pgctl

import "time"

// Cluster is a declaration: what somebody wants, and what the store gave it (port, revision).
type Cluster struct {
	Name        string            `json:"name"` // unique in the installation
	Namespace   string            `json:"namespace,omitempty"`
	Team        string            `json:"team,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Spec        ClusterSpec       `json:"spec"`

	Port     int       `json:"port"`              // of Postgres on every host; given out by the store
	Revision uint64    `json:"revision"`          // the store index of the last change; for compare-and-set
	Deleted  *Deletion `json:"deleted,omitempty"` // set: stopped, and removed for good later
}

// Deletion is a delete that can still be taken back.
type Deletion struct {
	At   time.Time     `json:"at"`
	Keep time.Duration `json:"keep"` // how long the data folders stay
}

// ClusterSpec is the part of a declaration that users write.
type ClusterSpec struct {
	Version        int                 `json:"version"`   // PostgreSQL major version
	Instances      int                 `json:"instances"` // 0 stops the cluster and keeps its data
	Parameters     map[string]string   `json:"parameters,omitempty"`
	InitDB         map[string]string   `json:"initdb,omitempty"`         // options of initdb, without dashes
	HBA            []string            `json:"hba,omitempty"`            // replaces the default pg_hba lines for users
	AllowedSources []string            `json:"allowedSources,omitempty"` // CIDRs; empty: this machine and the hosts
	Users          map[string][]string `json:"users,omitempty"`          // role → flags (SUPERUSER, NOLOGIN …)
	Databases      map[string]string   `json:"databases,omitempty"`      // database → owner
	VolumeSize     string              `json:"volumeSize,omitempty"`
	Durability     Durability          `json:"durability"`
	Placement      Placement           `json:"placement"`
	Tags           map[string]Tags     `json:"tags,omitempty"` // by instance
}

// Durability says what a commit waits for and what automatic failover may risk.
type Durability struct {
	Mode       Mode  `json:"mode"`
	SyncNodes  int   `json:"syncNodes,omitempty"`  // standbys a commit waits for; 0: half the instances, rounded down
	Strict     bool  `json:"strict,omitempty"`     // wait rather than lower the number
	MaximumLag int64 `json:"maximumLag,omitempty"` // bytes; only in lease mode

	// AcrossDataCenters has commits wait for standbys in other data centers than the leader's.
	AcrossDataCenters bool `json:"acrossDataCenters,omitempty"`
}

// Acks is how many standbys a commit of a cluster of n instances waits for: half of them, rounded
// down, so that any minority may fail together with nothing lost and no waiting.
func (d Durability) Acks(n int) int {
	switch {
	case d.Mode == Lease || n <= 1:
		return 0
	case d.SyncNodes > 0:
		return min(d.SyncNodes, n-1)
	}
	return n / 2
}

// Placement restricts which hosts may carry instances.
type Placement struct {
	DataCenters []string          `json:"dataCenters,omitempty"`
	HostLabels  map[string]string `json:"hostLabels,omitempty"`
}

// Instance is an assignment: one PostgreSQL server of a cluster on a host. Its life names the data
// directory that belongs there; another life found on the host is kept aside, never used.
type Instance struct {
	Name     string      `json:"name"` // CLUSTER-N
	Cluster  string      `json:"cluster"`
	Ordinal  int         `json:"ordinal"`
	Host     string      `json:"host"`
	Life     Life        `json:"life"`
	Wanted   WantedState `json:"wanted"`
	Restart  uint64      `json:"restart,omitempty"` // grows when a restart is ordered
	Due      Due         `json:"due,omitempty"`     // a restart that an operator asked for and that is not ordered yet
	Reinit   bool        `json:"reinit,omitempty"`  // an operator wants it copied anew: rules let go of it first
	Revision uint64      `json:"revision"`
}

// WantedState is what an assignment asks of an instance.
type WantedState string

// The wanted states.
const (
	WantRunning WantedState = "running"
	WantStopped WantedState = "stopped" // numberOfInstances 0, or a deleted cluster: data stays
	WantRemoved WantedState = "removed" // data is kept beside until the deletion's time is over
)

// Secret is a password of a role, encrypted with a key that only servers hold.
type Secret struct {
	Cluster    string `json:"cluster"`
	User       string `json:"user"`
	Ciphertext []byte `json:"ciphertext"`
	Revision   uint64 `json:"revision"`
}
