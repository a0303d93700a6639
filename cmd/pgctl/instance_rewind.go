package main

import (
	"context"
	"errors"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
)

// rewind makes the log a point of the source's history. It is noted before, since an interrupted one
// ruins the directory.
func (s *localServer) rewind(ctx context.Context, task node.Task) error {
	source := task.View.Source
	if s.rewindingFor() != task.Epoch {
		if err := s.pg.ForgetRewound(); err != nil {
			return err
		}
	}
	if err := s.noteLocal(func(l *ha.Local) { l.Rewinding, l.Rewound, l.Pledge = task.Epoch, false, max(l.Pledge, task.Epoch) }); err != nil {
		return err
	}
	if _, err := s.pg.Stop(ctx, ha.StopFailover); err != nil {
		return err
	}
	if err := s.pg.ForgetPosition(); err != nil { // it will lose some of its log, as it should
		return err
	}
	s.mu.Lock()
	s.posture.Names, s.posture.Upstream, s.posture.Open, s.posture.Promoted = config.Nobody, nil, false, nil
	s.posture.Started, s.stopped, s.confirmed = false, nil, nil
	left := s.posture
	s.mu.Unlock()
	if err := s.save("posture.json", left); err != nil {
		return err
	}
	s.files.Lock() // upkeep that began before must not write into what is being rewound
	defer s.files.Unlock()
	s.mu.Lock()
	spec := s.cluster.Spec
	if s.accepted != nil {
		spec = *s.accepted
	}
	s.mu.Unlock()
	files, err := s.render(spec)
	if err != nil {
		return err
	}
	err = s.pg.Rewind(ctx, s.pg.Upstream(source.Address, source.Port, "pgctl-rewind"), files)
	if errors.Is(err, control.ErrCopyNeeded) {
		return node.CopyNeeded{Err: err}
	}
	if err != nil {
		return err
	}
	if err := s.noteLocal(func(l *ha.Local) { l.Rewound, l.Mark = true, max(l.Mark, source.Timeline) }); err != nil {
		return err
	}
	return s.pg.ForgetRewound()
}

// rewindingFor is the epoch of a rewind that was begun and not noted as done.
func (s *localServer) rewindingFor() pgctl.Epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.local.Rewound {
		return 0
	}
	return s.local.Rewinding
}
