package main

import (
	"context"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
)

// positionEvery is how often the end of the log is noted, as long as it moves: data that an older snapshot
// took the place of is found out if it lacks more than was written in about twice that time.
const positionEvery = 10 * time.Second

// position is what the upkeep remembers about the end of the log.
type position struct {
	looked time.Duration
	seen   pgctl.Position // where a record ended, or was about to begin, at the last look
	noted  pgctl.Position
}

// notePosition notes beside the data, from time to time, up to where it holds the log.
func (s *localServer) notePosition(ctx context.Context, task node.Task) error {
	now, p := s.around.clock(), &s.tended.position
	if now-p.looked < positionEvery {
		return nil
	}
	p.looked = now
	server := task.View.Server
	next, flushed := server.Replayed, server.Replayed // of a standby, which replays only what is flushed
	if server.Primary {
		var err error
		if next, flushed, err = s.pg.LogEnds(ctx); err != nil {
			return err
		}
	}
	before := p.seen
	p.seen = pgctl.Position{Timeline: server.Timeline, LSN: next}
	if before.Timeline != server.Timeline || before.LSN > flushed || before == p.noted {
		return nil // the next look is as good
	}
	if err := s.pg.NotePosition(before); err != nil {
		return err
	}
	p.noted = before
	return nil
}
