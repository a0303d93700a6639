// Package server answers the REST API of pgctl. It sees the replicated state, the servers and Postgres
// only through the interfaces of this file's neighbour, which the daemon hands over.
package server
