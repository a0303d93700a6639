package scenario

import (
	"context"
	"errors"

	"github.com/pgctl/pgctl/lab/hosts"
)

// What a comparison with other systems needs of a World: lab/compare plays its faults itself.

// Fresh makes a cluster in which nothing has happened yet, so that nothing is learned about it either: three
// instances on hosts that are no servers. The one before it is deleted. It returns when all is well.
func (w *World) Fresh(ctx context.Context) error { return w.declare(ctx, apart, 3) }

// Well waits until nothing is to be complained of, and commits wait for whom they should.
func (w *World) Well(ctx context.Context) error { return w.well(ctx) }

// DSN is how an application connects to the cluster.
func (w *World) DSN(ctx context.Context) (string, error) { return w.dsn(ctx) }

// RaftLeader is the host whose daemon leads the servers.
func (w *World) RaftLeader(ctx context.Context) (hosts.Host, error) { return w.raftLeader(ctx) }

// Leader is the host that carries the cluster's leader, and its data directory there, as a shell's pattern.
func (w *World) Leader(ctx context.Context) (hosts.Host, string, error) {
	s, err := w.look(ctx)
	if err == nil && s.leader.name == "" {
		err = errors.New("nobody leads")
	}
	return s.leader.host, "/var/lib/pgctl/instances/" + s.leader.name + "/*/pgdata", err
}

// Switchover orders that another instance leads, whichever the cluster chooses.
func (w *World) Switchover(ctx context.Context) error {
	_, err := w.api.Switchover(ctx, w.cluster, "")
	return err
}
