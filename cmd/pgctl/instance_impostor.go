package main

import (
	"context"

	"github.com/pgctl/pgctl"
)

// expel ends WAL senders that stream under a member's name without being it, with another role or without
// its slot: what they acknowledge nobody may count on. A tool that comes again is told of again.
func (s *localServer) expel(ctx context.Context) error {
	seen, err := s.pg.Observe(ctx)
	if err != nil {
		return err
	}
	for _, sender := range seen.Senders {
		if !sender.Impostor() {
			continue
		}
		if _, err := s.pg.TerminateSender(ctx, sender); err != nil {
			return err
		}
		s.note(pgctl.Warning, "sender.expelled", "somebody streamed as %s from %q with role %s: the name is a member's, so it was ended",
			sender.Name, sender.Address, sender.Role)
	}
	return nil
}
