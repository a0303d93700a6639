package pgctl

import "time"

// Follows says whether the instance is one for which no commit waits: it would delay, or acknowledges nothing.
func (t Tags) Follows() bool { return t.NoSync || t.Delay > 0 || t.From != "" }

// Acks is how many standbys a commit should wait for, wherever they are.
func (s *ClusterSpec) Acks() int {
	n := s.Instances
	for _, t := range s.Tags {
		if t.Follows() {
			n--
		}
	}
	return s.Durability.Acks(n)
}

// Tags are what a declaration says of one instance. The zero value says nothing.
type Tags struct {
	NoFailover    bool          `json:"noFailover,omitempty"`    // it never leads
	Priority      int           `json:"priority,omitempty"`      // among equals the highest leads
	NoSync        bool          `json:"noSync,omitempty"`        // no commit waits for it
	NoLoadBalance bool          `json:"noLoadBalance,omitempty"` // reads are not sent to it
	CloneFrom     bool          `json:"cloneFrom,omitempty"`     // new instances are copied from it, if it is well
	From          string        `json:"from,omitempty"`          // the instance that it follows instead of the leader
	Delay         time.Duration `json:"delay,omitempty"`         // by which it replays later
}
