package pgctl

import "time"

// Host is a server that runs a pgctl daemon.
type Host struct {
	Name       string            `json:"name"`
	DataCenter string            `json:"dataCenter"`
	Labels     map[string]string `json:"labels,omitempty"`
	Address    string            `json:"address"`        // where its Postgres instances listen, an IP
	API        string            `json:"api"`            // host:port of the REST API
	Heartbeat  string            `json:"heartbeat"`      // host:port (UDP) where servers take heartbeats
	Raft       string            `json:"raft,omitempty"` // host:port of the Raft transport; servers only
	Server     bool              `json:"server"`         // holds a vote in the Raft group
	Version    string            `json:"version"`        // of pgctl
	Postgres   []PostgresVersion `json:"postgres,omitempty"`
	Detect     time.Duration     `json:"detect,omitempty"` // silence that means failure, as learned; 0: the least
	Learned    time.Time         `json:"learned"`          // when
	Revision   uint64            `json:"revision"`
}

// PostgresVersion is a PostgreSQL installation that a host has.
type PostgresVersion struct {
	Major   int    `json:"major"`
	Version string `json:"version"` // as the server prints it, "15.18"
	Bin     string `json:"bin"`     // the folder with postgres, initdb …
}
