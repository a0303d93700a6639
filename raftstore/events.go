package raftstore

import "github.com/pgctl/pgctl"

// How many events are kept; the oldest go first.
const (
	maxEvents        = 10_000
	maxClusterEvents = 1_000
	maxEventText     = 8 << 10 // bytes of a message
)

var eventsTable = newTable("events",
	func(e *pgctl.Event) string { return eventKey(e.Index, e.Seq) },
	index[pgctl.Event]{"cluster", func(e *pgctl.Event) string {
		if e.Cluster == "" {
			return ""
		}
		return e.Cluster + "\x00" + eventKey(e.Index, e.Seq)
	}})

// RecordEvents adds to the event log. Index and Seq are given by the store, At where it is zero.
type RecordEvents struct {
	Events []pgctl.Event `json:"events"`
}

func (RecordEvents) kind() string { return "events.record" }

func (c RecordEvents) check() error {
	for _, e := range c.Events {
		if e.Cluster != "" {
			if err := checkName("cluster", e.Cluster, maxClusterName); err != nil {
				return err
			}
		}
		if e.Kind == "" || len(e.Kind) > maxHostName || len(e.Message) > maxEventText {
			return pgctl.Errorf(pgctl.CodeInvalid, "an event has a kind of 1 to %d bytes and a message of at most %d",
				maxHostName, maxEventText).At("events")
		}
	}
	return nil
}

func (c RecordEvents) apply(t *tx) error {
	for _, e := range c.Events {
		t.seq++
		e.Index, e.Seq = t.index, t.seq
		if e.At.IsZero() {
			e.At = t.at
		}
		t.put(eventsTable, &e)
		t.touch(EventsTopic)
		if e.Cluster != "" {
			t.touch(ClusterTopic(e.Cluster))
			t.trimEvents(t.derived.events[e.Cluster]-maxClusterEvents, "cluster_prefix", e.Cluster+"\x00")
		}
		t.trimEvents(t.derived.total-maxEvents, "id_prefix", "")
	}
	return nil
}

// trimEvents drops the oldest n of the events that an index finds.
func (t *tx) trimEvents(n int, index, key string) {
	if n <= 0 {
		return
	}
	for e := range rows[pgctl.Event](t.txn, eventsTable, index, key) {
		t.drop(eventsTable, e)
		if n--; n == 0 {
			return
		}
	}
}
