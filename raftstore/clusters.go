package raftstore

import (
	"strconv"
	"time"

	"github.com/pgctl/pgctl"
)

// The settings that bound the ports given out, and their defaults.
const (
	settingPortFirst = "postgres.port.first"
	settingPortLast  = "postgres.port.last"
	defaultPortFirst = 5432
	defaultPortLast  = 5999
	maxClusterName   = 63
)

var clustersTable = newTable("clusters", func(c *pgctl.Cluster) string { return c.Name })

// PutCluster declares a cluster or changes its declaration. A new one is given the lowest free
// Postgres port; Port, Revision and Deleted of the command's Cluster are ignored.
type PutCluster struct {
	Cluster pgctl.Cluster  `json:"cluster"`
	Expect  *uint64        `json:"expect,omitempty"`  // revision; 0: must not exist; nil: any
	Secrets []pgctl.Secret `json:"secrets,omitempty"` // of this cluster; added only where there is none
}

func (PutCluster) kind() string { return "cluster.put" }

func (c PutCluster) check() error {
	if err := checkName("name", c.Cluster.Name, maxClusterName); err != nil {
		return err
	}
	for _, s := range c.Secrets {
		if s.Cluster != c.Cluster.Name {
			return pgctl.Errorf(pgctl.CodeInvalid, "a secret of cluster %.80q does not belong here", s.Cluster).At("secrets")
		}
	}
	return PutSecrets{Secrets: c.Secrets}.check()
}

func (c PutCluster) apply(t *tx) error {
	next := c.Cluster
	old := find[pgctl.Cluster](t, clustersTable, next.Name)
	revision := uint64(0)
	if old != nil {
		revision = old.Revision
	}
	if err := expectRevision("cluster "+next.Name, c.Expect, revision); err != nil {
		return err
	}
	next.Revision, next.Deleted = t.index, nil
	switch {
	case old == nil:
		first := portSetting(t, settingPortFirst, defaultPortFirst)
		last := portSetting(t, settingPortLast, min(first+defaultPortLast-defaultPortFirst, 65535))
		if next.Port = t.derived.freePort(first, last); next.Port == 0 {
			return pgctl.Errorf(pgctl.CodeConflict, "every Postgres port from %d to %d is taken", first, last).
				WithHint("raise the setting %s, or delete clusters", settingPortLast)
		}
	case old.Deleted != nil:
		return pgctl.Errorf(pgctl.CodeConflict, "cluster %s is deleted; its data is still kept", next.Name).
			WithHint("undelete it first, or choose another name")
	default:
		next.Port = old.Port
	}
	t.put(clustersTable, &next)
	t.touch(ClustersTopic)
	t.touchCluster(next.Name)
	return PutSecrets{Secrets: c.Secrets}.apply(t)
}

func portSetting(t *tx, key string, fallback int) int {
	if s := find[Setting](t, settingsTable, key); s != nil {
		if port, err := strconv.Atoi(s.Value); err == nil {
			return port
		}
	}
	return fallback
}

// DeleteCluster marks a cluster as deleted: it is to be stopped, its data is kept for a while.
type DeleteCluster struct {
	Name   string        `json:"name"`
	Keep   time.Duration `json:"keep"`             // how long the data folders stay; not negative
	Expect *uint64       `json:"expect,omitempty"` // revision; nil: any
}

func (DeleteCluster) kind() string { return "cluster.delete" }

func (c DeleteCluster) check() error {
	if c.Keep < 0 {
		return pgctl.Errorf(pgctl.CodeInvalid, "data cannot be kept for %v", c.Keep).At("keep")
	}
	return checkName("name", c.Name, maxClusterName)
}

func (c DeleteCluster) apply(t *tx) error {
	old, err := findCluster(t, c.Name)
	if err != nil {
		return err
	}
	if err := expectRevision("cluster "+c.Name, c.Expect, old.Revision); err != nil {
		return err
	}
	if old.Deleted != nil {
		return pgctl.Errorf(pgctl.CodeConflict, "cluster %s is deleted already", c.Name)
	}
	next := *old
	next.Revision, next.Deleted = t.index, &pgctl.Deletion{At: t.at, Keep: c.Keep}
	t.putCluster(&next)
	return nil
}

func (t *tx) putCluster(c *pgctl.Cluster) {
	t.put(clustersTable, c)
	t.touch(ClustersTopic)
	t.touchCluster(c.Name)
}

// UndeleteCluster takes a deletion back, as long as the cluster is not purged.
type UndeleteCluster struct {
	Name string `json:"name"`
}

func (UndeleteCluster) kind() string { return "cluster.undelete" }

func (c UndeleteCluster) check() error { return checkName("name", c.Name, maxClusterName) }

func (c UndeleteCluster) apply(t *tx) error {
	old, err := findCluster(t, c.Name)
	if err != nil {
		return err
	}
	if old.Deleted == nil {
		return pgctl.Errorf(pgctl.CodeConflict, "cluster %s is not deleted", c.Name)
	}
	next := *old
	next.Revision, next.Deleted = t.index, nil
	t.putCluster(&next)
	return nil
}

// PurgeCluster removes a deleted cluster for good: declaration, leadership, assignments and secrets.
// Its port is free afterwards; its events stay, and a note that hosts may remove its data.
type PurgeCluster struct {
	Name string `json:"name"`
}

func (PurgeCluster) kind() string { return "cluster.purge" }

func (c PurgeCluster) check() error { return checkName("name", c.Name, maxClusterName) }

func (c PurgeCluster) apply(t *tx) error {
	old, err := findCluster(t, c.Name)
	if err != nil {
		return err
	}
	if old.Deleted == nil {
		return pgctl.Errorf(pgctl.CodeRefused, "cluster %s is not deleted", c.Name).WithHint("delete it first")
	}
	t.touchCluster(c.Name)
	t.drop(clustersTable, old)
	if l := find[pgctl.Leadership](t, leadershipsTable, c.Name); l != nil {
		if l.SystemID != "" {
			t.put(purgedTable, &Purged{SystemID: l.SystemID, Cluster: c.Name, At: t.at})
		}
		t.drop(leadershipsTable, l)
	}
	for i := range rows[pgctl.Instance](t.txn, instancesTable, "id_prefix", c.Name+"\x00") {
		t.drop(instancesTable, i)
	}
	for s := range rows[pgctl.Secret](t.txn, secretsTable, "id_prefix", c.Name+"\x00") {
		t.drop(secretsTable, s)
	}
	t.touch(ClustersTopic)
	t.forget(ClusterTopic(c.Name))
	return nil
}

func findCluster(t *tx, name string) (*pgctl.Cluster, error) {
	if c := find[pgctl.Cluster](t, clustersTable, name); c != nil {
		return c, nil
	}
	return nil, pgctl.Errorf(pgctl.CodeNotFound, "there is no cluster %s", name)
}
