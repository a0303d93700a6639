package raftstore

import (
	"strings"

	"github.com/pgctl/pgctl"
)

var instancesTable = newTable("instances",
	func(i *pgctl.Instance) string { return instanceKey(i.Cluster, i.Name) },
	index[pgctl.Instance]{"host", func(i *pgctl.Instance) string { return i.Host }})

// instanceKey keeps the instances of a cluster together.
func instanceKey(cluster, name string) string { return cluster + "\x00" + name }

// clusterOf is the cluster in an instance's name.
func clusterOf(instance string) string {
	return instance[:max(strings.LastIndexByte(instance, '-'), 0)]
}

// SetInstances changes the assignments of a cluster, all of them or none.
type SetInstances struct {
	Cluster string           `json:"cluster"`
	Put     []pgctl.Instance `json:"put,omitempty"`    // Revision: the expected one; 0: must not exist
	Remove  []string         `json:"remove,omitempty"` // names
}

func (SetInstances) kind() string { return "instances.set" }

func (c SetInstances) check() error {
	if err := checkName("cluster", c.Cluster, maxClusterName); err != nil {
		return err
	}
	for _, i := range c.Put {
		if err := checkName("name", i.Name, maxHostName); err != nil {
			return err
		}
		if i.Cluster != c.Cluster || clusterOf(i.Name) != c.Cluster {
			return pgctl.Errorf(pgctl.CodeInvalid, "instance %s of cluster %.80q does not belong to %s", i.Name, i.Cluster,
				c.Cluster).At("put")
		}
		if err := checkName("host", i.Host, maxHostName); err != nil {
			return err
		}
	}
	return nil
}

func (c SetInstances) apply(t *tx) error {
	if _, err := findCluster(t, c.Cluster); err != nil {
		return err
	}
	for _, name := range c.Remove {
		old := find[pgctl.Instance](t, instancesTable, instanceKey(c.Cluster, name))
		if old == nil {
			return pgctl.Errorf(pgctl.CodeNotFound, "there is no instance %s", name).At("remove")
		}
		t.drop(instancesTable, old)
		t.touch(HostTopic(old.Host))
	}
	for _, next := range c.Put {
		revision := uint64(0)
		if old := find[pgctl.Instance](t, instancesTable, instanceKey(c.Cluster, next.Name)); old != nil {
			revision = old.Revision
			t.touch(HostTopic(old.Host))
		}
		if err := expectRevision("instance "+next.Name, &next.Revision, revision); err != nil {
			return err
		}
		next.Revision = t.index
		t.put(instancesTable, &next)
	}
	t.touchCluster(c.Cluster)
	return nil
}
