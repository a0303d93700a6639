// Package explore searches small worlds of the failover protocol exhaustively: every order in which the
// protocol's steps and a few faults can happen, breadth-first, so that a violation comes with its shortest
// history. See DESIGN.md.
package explore
