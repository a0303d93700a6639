package raftstore

import "github.com/pgctl/pgctl"

const maxHostName = 128

var hostsTable = newTable("hosts", func(h *pgctl.Host) string { return h.Name })

// PutHost records what a host is.
type PutHost struct {
	Host pgctl.Host `json:"host"`
}

func (PutHost) kind() string { return "host.put" }

func (c PutHost) check() error { return checkName("name", c.Host.Name, maxHostName) }

func (c PutHost) apply(t *tx) error {
	next := c.Host
	next.Revision = t.index
	t.put(hostsTable, &next)
	t.touch(HostsTopic)
	t.touch(HostTopic(next.Name))
	return nil
}

// RemoveHost forgets a host, once no instance is assigned to it.
type RemoveHost struct {
	Name string `json:"name"`
}

func (RemoveHost) kind() string { return "host.remove" }

func (c RemoveHost) check() error { return checkName("name", c.Name, maxHostName) }

func (c RemoveHost) apply(t *tx) error {
	old := find[pgctl.Host](t, hostsTable, c.Name)
	if old == nil {
		return pgctl.Errorf(pgctl.CodeNotFound, "there is no host %s", c.Name)
	}
	for i := range rows[pgctl.Instance](t.txn, instancesTable, "host", c.Name) {
		return pgctl.Errorf(pgctl.CodeConflict, "host %s still carries instance %s", c.Name, i.Name).
			WithHint("move its instances first")
	}
	t.drop(hostsTable, old)
	t.touch(HostsTopic)
	t.forget(HostTopic(c.Name))
	return nil
}
