package raftstore

import "time"

// Purged says durably that a cluster is gone for good: hosts may remove its data. It names the data by
// system identifier, so that neither a later cluster of the same name is meant nor one that the store
// does not know for another reason, as after a restore.
type Purged struct {
	SystemID string    `json:"systemID"`
	Cluster  string    `json:"cluster"`
	At       time.Time `json:"at"`
}

// purgedTable keeps its rows: a host may come back years later. One is some hundred bytes.
var purgedTable = newTable("purged", func(p *Purged) string { return p.SystemID })

// IsPurged says whether data of a cluster with a system identifier may be removed: it was purged, and
// no cluster has that data now.
func (s *State) IsPurged(cluster, systemID string) bool {
	p, purged := value[Purged](s.txn, purgedTable, systemID)
	l, led := s.Leadership(cluster)
	return systemID != "" && purged && p.Cluster == cluster && !(led && l.SystemID == systemID)
}
