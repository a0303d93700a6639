package raftstore

import (
	"time"

	"github.com/pgctl/pgctl"
)

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
	next.Revision, next.Detect, next.Learned = t.index, 0, time.Time{}
	if old := find[pgctl.Host](t, hostsTable, next.Name); old != nil {
		next.Detect, next.Learned = old.Detect, old.Learned // of LearnHost alone
	}
	t.put(hostsTable, &next)
	t.touch(HostsTopic)
	t.touch(HostTopic(next.Name))
	return nil
}

// LearnHost records what silence of a host means its failure. The last one before wins: what it is based on
// is only a matter of patience.
type LearnHost struct {
	Name   string        `json:"name"`
	Detect time.Duration `json:"detect"`
	Events []pgctl.Event `json:"events,omitempty"`
}

func (LearnHost) kind() string { return "host.learn" }

func (c LearnHost) check() error {
	if c.Detect < 0 {
		return pgctl.Errorf(pgctl.CodeInvalid, "a host cannot have failed after %s", c.Detect).At("detect")
	}
	if err := checkName("name", c.Name, maxHostName); err != nil {
		return err
	}
	return RecordEvents{c.Events}.check()
}

func (c LearnHost) apply(t *tx) error {
	old := find[pgctl.Host](t, hostsTable, c.Name)
	if old == nil {
		return pgctl.Errorf(pgctl.CodeNotFound, "there is no host %s", c.Name)
	}
	next := *old
	next.Detect, next.Learned, next.Revision = c.Detect, t.at, t.index
	t.put(hostsTable, &next)
	t.touch(HostTopic(next.Name))
	return RecordEvents{c.Events}.apply(t)
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
