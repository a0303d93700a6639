package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// Options is all that the API needs. Every field is required.
type Options struct {
	Host    string // name of this daemon
	Version string // of pgctl
	Log     *slog.Logger
	// Allows says whether the bearer of a verified certificate may have an access other than AccessPublic.
	Allows func(*x509.Certificate, Access) bool

	State     Reader
	Waiter    Waiter
	Clusters  Writer
	Settings  SettingWriter
	Manifests Manifests
	Operator  Operator
	Passwords Passwords
	Live      Live
	Servers   Servers
	Snapshots Snapshots
}

// Reader gives pictures of the replicated state. Its methods are called with every request and must
// not block unless a consistent picture is asked for.
type Reader interface {
	// Index is that of the newest change that State would show, and how long ago this daemon last heard
	// that nothing is newer.
	Index() (index uint64, age time.Duration)
	// Changed is the index at which what discovery says of a cluster may have changed last: the cluster
	// itself, or any host.
	Changed(cluster string) uint64
	// State is a picture of one moment. A consistent one has everything that was committed before the
	// call; it can fail with pgctl.CodeUnavailable.
	State(ctx context.Context, consistent bool) (State, error)
}

// State is one unchanging picture of the replicated state. What it returns must not be modified.
type State interface {
	Declarations
	Assignments
	Records
	// Index of the picture, and how old it is; 0 when it was read consistently.
	Index() (uint64, time.Duration)
}

// Declarations are the clusters of a picture, deleted ones included.
type Declarations interface {
	Cluster(name string) (*pgctl.Cluster, bool)
	Clusters() iter.Seq[*pgctl.Cluster]                  // by name
	Leadership(cluster string) (*pgctl.Leadership, bool) // none until an instance was assigned
}

// Assignments are the hosts of a picture and what they carry.
type Assignments interface {
	Instances(cluster string) []*pgctl.Instance // by ordinal; of all clusters when cluster is empty
	Hosts() []*pgctl.Host                       // by name
	Host(name string) (*pgctl.Host, bool)
}

// Records are the event log and the operator configuration of a picture.
type Records interface {
	// Events newer than index after, oldest first, at most limit: the oldest of them when after is not 0,
	// the newest otherwise. Events of one index are not cut apart: the answer may be longer for them. Of one
	// cluster, or of all when cluster is empty.
	Events(after uint64, cluster string, limit int) []pgctl.Event
	Setting(key string) (value []byte, revision uint64, found bool)
	Settings() []api.SettingEntry // sorted by key
}

// Waiter blocks until something about a cluster (about anything when cluster is empty; events count) is
// newer than index, or ctx ends; it returns ctx's error then.
type Waiter interface {
	Wait(ctx context.Context, cluster string, index uint64) error
}

// Writer changes declarations. Every method returns the index of the change; those that find the state
// changed meanwhile fail with pgctl.CodeConflict.
type Writer interface {
	// PutCluster creates a cluster (Revision 0) or replaces the one of that revision.
	PutCluster(ctx context.Context, cluster pgctl.Cluster) (uint64, error)
	// DeleteCluster stops it and keeps its data for a time.
	DeleteCluster(ctx context.Context, name string, keep time.Duration) (uint64, error)
	Undelete(ctx context.Context, name string) (uint64, error)
}

// SettingWriter changes the operator configuration. revision is that of the value to be replaced, 0 for
// a new one, nil for whatever there is.
type SettingWriter interface {
	PutSetting(ctx context.Context, key string, value json.RawMessage, revision *uint64) (uint64, error)
}

// Manifests reads and compares declarations.
type Manifests interface {
	// Parse reads one or more documents, YAML or JSON; name is the file's, for messages.
	Parse(name string, body []byte) ([]Document, error)
	// Plan checks a wanted cluster against the state (versions and parameters that exist, hosts enough) and
	// says what would change. current is nil for a new cluster.
	Plan(ctx context.Context, state State, current, wanted *pgctl.Cluster) (Plan, error)
	// Encode writes a declaration as a manifest, YAML.
	Encode(cluster *pgctl.Cluster) ([]byte, error)
}

// Document is a cluster that a manifest declares.
type Document struct {
	Cluster  pgctl.Cluster
	Warnings []string // fields that were read and mean nothing here
}

// Plan is what a declaration would change; nothing when Changes is empty.
type Plan struct {
	Changes  []api.Change
	Warnings []string
}

// Operator is what people order. The methods return when the order is committed, not when it is done.
type Operator interface {
	Switchover(ctx context.Context, cluster, to string) (uint64, error) // to empty: the best standby
	Failover(ctx context.Context, cluster string, move api.Move) (uint64, error)
	Order(ctx context.Context, cluster string, order api.Order) (uint64, error)
	// View is the struct that leadership is decided on at present.
	View(ctx context.Context, cluster string) (json.RawMessage, error)
}

// Passwords shows and changes those of the roles that pgctl manages. Rotate returns the new one when it
// is committed; Postgres takes it shortly after.
type Passwords interface {
	Password(ctx context.Context, cluster, user string) (string, error)
	Rotate(ctx context.Context, cluster, user string) (string, uint64, error)
}

// Live is what heartbeats say. Daemons that get none return nothing.
type Live interface {
	Instances(cluster string) []api.Live
	Hosts() map[string]time.Duration // since the last heartbeat of each host that was heard
}

// Servers lists the Raft group.
type Servers interface {
	Servers(ctx context.Context) ([]api.Server, error)
}

// Snapshots of the whole replicated state. Restore makes the leadership of every cluster unknown.
type Snapshots interface {
	Save(ctx context.Context, to io.Writer) error
	Restore(ctx context.Context, from io.Reader) error
}
