// Package api holds what the REST API of pgctl says: the bodies of requests and answers, the judgement of
// a cluster's health, and connection strings. The handlers are in server, the typed client in client;
// openapi.yaml in server describes the same for others, and a test holds the two together.
//
// Bodies are JSON. Lengths of time are milliseconds in fields that end in Ms, positions in the log are
// PostgreSQL's notation ("16/B374D848"), and times of day are RFC 3339.
package api

// Prefix of every path of this version of the API.
const Prefix = "/v1"

// The headers that every answer carries.
const (
	HeaderIndex = "Pgctl-Index"  // of the state that the answer was made from
	HeaderAge   = "Pgctl-Age-Ms" // how old that state may be; 0 for linearizable answers
)

// Meta says which state an answer was made from. It stands in every answer's body.
type Meta struct {
	Index uint64 `json:"index"` // of the state; pass it as ?index= to wait for something newer
	AgeMs int64  `json:"ageMs"` // how long ago the answering daemon last heard from the servers
}
