package node

import (
	"context"
	"errors"
	"time"

	"github.com/pgctl/pgctl/node/ha"
)

// What Prove found besides a sign of life or its absence; they wrap the error that says so.
var (
	ErrDiskFull = errors.New("the disk of its data is full")
	ErrFrozen   = errors.New("its postmaster was stopped by a signal")
)

const (
	proveEvery  = time.Second
	proveWithin = 3 * time.Second
)

// prove keeps the age of the server's last proof of health. A server that starts or recovers owes none: its
// progress is watched instead.
func (a *agent) prove(ctx context.Context) {
	for pause(ctx, a.node.until(proveEvery), nil) {
		a.mu.Lock()
		owes := a.observed.State == ha.Running || a.observed.Mute
		a.mu.Unlock()
		if !owes {
			a.found(nil, false)
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, proveWithin)
		err := a.server.Prove(bounded)
		cancel()
		a.found(err, true)
	}
}

// found notes what a proof showed; asked is false when none was owed.
func (a *agent) found(err error, asked bool) {
	full, frozen := errors.Is(err, ErrDiskFull), errors.Is(err, ErrFrozen)
	a.mu.Lock()
	news := full != a.full || frozen != a.frozen
	a.full, a.frozen = full, frozen
	if asked && (err == nil || full) { // a server without room lives
		a.proven = a.node.Clock()
	}
	a.mu.Unlock()
	if news {
		poke(a.wake)
	}
}

// lookAtLeader looks at the leader as a member when a server asks for it, beside the proofs of the own
// server: one that hangs must not keep anybody from vouching for the leader.
func (a *agent) lookAtLeader(ctx context.Context) {
	for pause(ctx, time.Minute, a.ask) {
		if a.node.wasAsked(a.self.Cluster) {
			a.probeLeader(ctx)
		}
	}
}
