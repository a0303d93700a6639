package raftstore

import (
	"context"

	"github.com/hashicorp/go-memdb"
	"github.com/pgctl/pgctl"
)

// Topic is something that can be waited for: a cluster, a host, a kind of thing, or everything.
type Topic string

// The topics that are not about one cluster or host.
const (
	Everything    Topic = "*"        // every entry, also one that changed nothing
	HostsTopic    Topic = "hosts"    // a host was put or removed
	ClustersTopic Topic = "clusters" // a cluster was declared, deleted or purged
	SettingsTopic Topic = "settings"
	EventsTopic   Topic = "events"

	topicGone     Topic = "gone"     // the last time that a topic was forgotten
	topicRestored Topic = "restored" // the last restore: everything changed
)

// ClusterTopic is everything about one cluster: declaration, leadership, instances, secrets, events.
func ClusterTopic(name string) Topic { return Topic("cluster/" + name) }

// HostTopic is everything that concerns the agent of one host: the host, its assignments, and all
// about the clusters that these belong to, except their events.
func HostTopic(name string) Topic { return Topic("host/" + name) }

// touched is when a topic changed last.
type touched struct {
	Topic Topic  `json:"topic"`
	Index uint64 `json:"index"`
}

var touchesTable = newTable("touches", func(t *touched) string { return string(t.Topic) })

// Changed is the index at which a topic changed last. For one that is not there (never was, or is
// gone) it is when any topic went last.
func (s *State) Changed(topic Topic) uint64 {
	if topic == Everything {
		return s.index
	}
	at := uint64(0)
	if row := get[touched](s.txn, touchesTable, string(topic)); row != nil {
		at = row.Index
	} else if gone := get[touched](s.txn, touchesTable, string(topicGone)); gone != nil {
		at = gone.Index
	}
	if restored := get[touched](s.txn, touchesTable, string(topicRestored)); restored != nil {
		at = max(at, restored.Index)
	}
	return at
}

// watch adds what closes when the topic changes.
func (s *State) watch(topic Topic, set memdb.WatchSet) {
	if topic == Everything {
		set.Add(s.next)
		return
	}
	set.Add(s.replaced)
	for _, t := range []Topic{topic, topicRestored} {
		if changed, _, err := s.txn.FirstWatch(touchesTable.name, "id", string(t)); err == nil {
			set.Add(changed)
		}
	}
}

// Wait returns the state as soon as one of the topics changed after index; only changes of these
// topics wake it. When the context ends first, it returns the newest state with the context's error.
func (s *Store) Wait(ctx context.Context, index uint64, topics ...Topic) (*State, error) {
	for {
		state, set := s.State(), memdb.NewWatchSet()
		for _, t := range topics {
			if state.Changed(t) > index {
				return state, nil
			}
			state.watch(t, set)
		}
		set.Add(s.ctx.Done())
		if err := set.WatchCtx(ctx); err != nil {
			return s.State(), err
		}
		if s.ctx.Err() != nil {
			return s.State(), pgctl.Errorf(pgctl.CodeUnavailable, "the store is closed")
		}
	}
}
