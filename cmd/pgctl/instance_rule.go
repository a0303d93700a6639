package main

import (
	"context"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/sync"
)

// confirm carries out steps 2 to 4 of a rule change. It never writes names older than the last ones.
func (s *localServer) confirm(ctx context.Context, task node.Task) error {
	mark := ha.RuleMark{Epoch: task.Epoch, Version: task.Rule.Version}
	s.mu.Lock()
	written, names, lax := s.local.Rule, s.posture.Names, s.posture.Lax
	s.mu.Unlock()
	if written != nil && mark.Older(*written) {
		return pgctl.Errorf(pgctl.CodeConflict, "rule %d of epoch %d is older than what was written last", mark.Version, mark.Epoch)
	}
	members := make([]string, len(task.Rule.Standbys))
	for i, life := range task.Rule.Standbys {
		members[i] = life.MemberName(task.Epoch)
	}
	wanted := config.SyncNames(task.Rule.Acks, members)
	if task.Rule.Acks > len(members) {
		wanted = config.Nobody // after a loss: nobody is left who could acknowledge
	}
	seen, err := s.pg.Observe(ctx)
	if err != nil {
		return err
	}
	_, err = sync.Confirm(ctx, s.pg, sync.Change{
		Names: wanted, Acks: task.Rule.Acks, Members: members, Joint: task.Joint.Standbys,
		FromNobody: (names == "" || lax) && wanted != "", ToNobody: names != "" && wanted == "",
		Set: func(ctx context.Context, names string) error {
			if err := s.noteLocal(func(l *ha.Local) { l.Rule = &mark }); err != nil {
				return err
			}
			return s.assume(ctx, func(p *posture) { p.Lax, p.Names = p.Lax || p.Names == "" || names == "", names })
		},
	})
	if err == nil && wanted != "" { // commits were seen to wait, if there was doubt
		err = s.assume(ctx, func(p *posture) { p.Lax = false })
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed, s.pid = &ha.Confirmation{Epoch: task.Epoch, Version: task.Rule.Version}, seen.PID
	return nil
}

// open lets clients in. When nobody has to acknowledge, the store is asked first whether this epoch is
// still its own: nothing else would stop a deposed leader.
func (s *localServer) open(ctx context.Context, task node.Task) error {
	if task.Asks {
		if err := s.around.confirmEpoch(ctx, s.self.Cluster, s.self.Life, task.Epoch); err != nil {
			return err
		}
	}
	if task.View.Leadership.Mode == pgctl.Lease {
		if err := s.arm(task); err != nil && s.around.guarding.required() {
			return err
		} else if err != nil {
			s.log.Warn("the guard was not given a deadline; it is tried again", "error", err)
		}
	}
	return s.assume(ctx, func(p *posture) { p.Open = true })
}
