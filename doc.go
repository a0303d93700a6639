// Package pgctl is the vocabulary of the product: clusters, hosts, instances, leadership, positions
// in the write-ahead log, instants, events and errors. It holds nouns only, imports nothing but the
// standard library, and does no I/O, so that every other package can speak in its terms.
//
// docs/DESIGN.md says where everything else lives and who may import whom.
package pgctl
