package raftstore

import (
	"encoding/binary"
	"iter"
	"slices"

	"github.com/hashicorp/go-memdb"
	"github.com/pgctl/pgctl"
)

// State is the replicated state at one index. It never changes; reading it takes no lock. What its
// methods return shares maps and slices with it: copy before changing them.
type State struct {
	txn      *memdb.Txn
	index    uint64
	next     <-chan struct{} // closed by end, when there is a newer state
	end      func()
	replaced <-chan struct{} // closed when another database took this one's place
}

// rows iterates over the rows that an index finds, in the order of its keys.
func rows[T any](txn *memdb.Txn, tb *table, index, key string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		found, err := txn.Get(tb.name, index, key)
		if err != nil {
			return
		}
		for row := found.Next(); row != nil; row = found.Next() {
			if !yield(row.(*T)) {
				return
			}
		}
	}
}

func values[T any](pointers iter.Seq[*T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for p := range pointers {
			if !yield(*p) {
				return
			}
		}
	}
}

func value[T any](txn *memdb.Txn, tb *table, key string) (T, bool) {
	if row := get[T](txn, tb, key); row != nil {
		return *row, true
	}
	var none T
	return none, false
}

// Index is the Raft index of the last entry that is in this state; 0 for one that knows nothing yet.
func (s *State) Index() uint64 { return s.index }

// Cluster finds a declaration; false when there is none of that name.
func (s *State) Cluster(name string) (pgctl.Cluster, bool) {
	return value[pgctl.Cluster](s.txn, clustersTable, name)
}

// Clusters are all declarations, by name, deleted ones too.
func (s *State) Clusters() iter.Seq[pgctl.Cluster] {
	return values(rows[pgctl.Cluster](s.txn, clustersTable, "id_prefix", ""))
}

// Leadership finds a cluster's leadership; false as long as there is none.
func (s *State) Leadership(cluster string) (pgctl.Leadership, bool) {
	return value[pgctl.Leadership](s.txn, leadershipsTable, cluster)
}

// Leaderships are all of them, by cluster.
func (s *State) Leaderships() iter.Seq[pgctl.Leadership] {
	return values(rows[pgctl.Leadership](s.txn, leadershipsTable, "id_prefix", ""))
}

// Instance finds an assignment by the instance's name (CLUSTER-N).
func (s *State) Instance(name string) (pgctl.Instance, bool) {
	return value[pgctl.Instance](s.txn, instancesTable, instanceKey(clusterOf(name), name))
}

// Instances are the assignments of a cluster, by name.
func (s *State) Instances(cluster string) iter.Seq[pgctl.Instance] {
	return values(rows[pgctl.Instance](s.txn, instancesTable, "id_prefix", cluster+"\x00"))
}

// InstancesOf are the assignments of a host, by cluster and name.
func (s *State) InstancesOf(host string) iter.Seq[pgctl.Instance] {
	return values(rows[pgctl.Instance](s.txn, instancesTable, "host", host))
}

// Host finds a host.
func (s *State) Host(name string) (pgctl.Host, bool) {
	return value[pgctl.Host](s.txn, hostsTable, name)
}

// Hosts are all hosts, by name.
func (s *State) Hosts() iter.Seq[pgctl.Host] {
	return values(rows[pgctl.Host](s.txn, hostsTable, "id_prefix", ""))
}

// Setting finds an entry of the operator's configuration.
func (s *State) Setting(key string) (Setting, bool) {
	return value[Setting](s.txn, settingsTable, key)
}

// Settings are all of the operator's configuration, by key.
func (s *State) Settings() iter.Seq[Setting] {
	return values(rows[Setting](s.txn, settingsTable, "id_prefix", ""))
}

// Secret finds the encrypted password of a cluster's role; on an agent there is none.
func (s *State) Secret(cluster, user string) (pgctl.Secret, bool) {
	return value[pgctl.Secret](s.txn, secretsTable, secretKey(cluster, user))
}

// Secrets are the encrypted passwords of a cluster, by role; on an agent there are none.
func (s *State) Secrets(cluster string) iter.Seq[pgctl.Secret] {
	return values(rows[pgctl.Secret](s.txn, secretsTable, "id_prefix", cluster+"\x00"))
}

// EventFilter chooses events.
type EventFilter struct {
	Cluster    string // only of this cluster; "": all
	AfterIndex uint64 // only newer ones; 0: the newest
	Limit      int    // at most so many, but all of one index; 0: all
}

// Events are the chosen events, oldest first. With AfterIndex those that follow it, so that a reader
// goes on with the last one's index; without it the newest.
func (s *State) Events(f EventFilter) []pgctl.Event {
	var found memdb.ResultIterator
	var err error
	switch {
	case f.AfterIndex == 0 && f.Cluster == "":
		found, err = s.txn.GetReverse(eventsTable.name, "id_prefix", "")
	case f.AfterIndex == 0:
		found, err = s.txn.GetReverse(eventsTable.name, "cluster_prefix", f.Cluster+"\x00")
	case f.Cluster == "":
		found, err = s.txn.LowerBound(eventsTable.name, "id", eventKey(f.AfterIndex+1, 0))
	default:
		found, err = s.txn.LowerBound(eventsTable.name, "cluster", f.Cluster+"\x00"+eventKey(f.AfterIndex+1, 0))
	}
	if err != nil {
		return nil
	}
	var events []pgctl.Event
	for row := found.Next(); row != nil; row = found.Next() {
		e := row.(*pgctl.Event)
		last := len(events) - 1
		if f.Cluster != "" && e.Cluster != f.Cluster ||
			f.Limit > 0 && last+1 >= f.Limit && e.Index != events[last].Index {
			break
		}
		events = append(events, *e)
	}
	if f.AfterIndex == 0 {
		slices.Reverse(events)
	}
	return events
}

func eventKey(index uint64, seq int) string {
	key := binary.BigEndian.AppendUint64(make([]byte, 0, 12), index)
	return string(binary.BigEndian.AppendUint32(key, uint32(seq)))
}
