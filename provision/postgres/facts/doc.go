// Package facts holds what PostgreSQL really does: the experiments that the failover protocol rests on,
// as tests against real servers of every version that is here. It has no code of its own.
//
// P1 to P11 are the numbers that docs/failover.md refers to. Each test says in its name and comment what
// is true, and makes it happen. A version that does something else has that written into the test as its
// own expectation (differs), so that a release which changes a fact is noticed before users are.
// `make facts` ends with a table of versions and facts.
//
// Servers run on Unix sockets in a folder of the test's own, with WAL segments of 1 MB, which only makes
// it faster. A hung process is one that was sent SIGSTOP. Where a version comes without pg_receivewal and
// its like, the test speaks the replication protocol itself.
package facts
