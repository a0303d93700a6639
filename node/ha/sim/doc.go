// Package sim is a world in which the failover protocol runs: hosts, links, an abstract Raft group and
// a model of PostgreSQL, in virtual time, single-threaded and drawn from one seed. The decisions are
// those of the code that ships (ha.Decide, ha.Check, ha.Act and what goes with them); an oracle that
// knows every acknowledged commit holds the invariants of docs/failover.md. DESIGN.md says what is
// modelled and how to read a failing history.
package sim
