// Package sync proves on a leader that a change of the commit rule is in force: that every process of
// the server that takes acknowledgements follows the new names, and that what was acknowledged under
// the old rule is on the members of the new one. These are steps 2 to 4 of "Changing the rule" of the
// failover protocol.
package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
)

// Leader is what Confirm needs of the instance; control.Instance has it.
type Leader interface {
	Show(ctx context.Context, setting string) (string, error)
	FlushedProbe(ctx context.Context) (pgctl.LSN, error)
	Observe(ctx context.Context) (control.Observation, error)
	TerminateSender(ctx context.Context, s control.Sender) (bool, error)
	StartWaiter(ctx context.Context) (*control.Waiter, error)
}

// Change is a new value of synchronous_standby_names to be proven.
type Change struct {
	Names   string       // config.SyncNames of the new rule
	Acks    int          // of the new rule
	Members []string     // names of the new rule's standbys, Life.MemberName(epoch)
	Joint   []pgctl.Life // standbys of the joint rule
	// FromNobody: commits waited for nobody before; ToNobody: they will.
	FromNobody, ToNobody bool
	// Set writes the names into the instance's files, durably and never an older version, and reloads.
	Set func(ctx context.Context, names string) error
}

const (
	// stubborn is how long a WAL sender may neither follow the new names nor answer.
	stubborn = time.Second
	poll     = 5 * time.Millisecond
)

// Confirm sets the names and returns the position that proves them, or an error when the context ends
// before; then it can be run again, from the start. The proof holds for the lives that are not lost
// when it returns.
func Confirm(ctx context.Context, leader Leader, c Change) (pgctl.LSN, error) {
	if err := c.set(ctx, leader); err != nil {
		return 0, err
	}
	seen, err := leader.Observe(ctx)
	if err != nil {
		return 0, err
	}
	older := map[sender]bool{} // those that may have started with other names
	for _, s := range seen.Senders {
		older[sender{s.PID, s.Started}] = true
	}
	probe, err := leader.FlushedProbe(ctx)
	if err != nil {
		return 0, err
	}
	patience := time.After(stubborn)
	var impatient bool
	for {
		seen, err := leader.Observe(ctx)
		if err != nil && ctx.Err() == nil {
			return 0, err
		}
		follow, missing := c.judge(seen.Senders, older, probe)
		if err == nil && len(follow) == 0 && missing == 0 {
			return probe, nil
		}
		for _, s := range follow {
			if impatient || s.Impostor() {
				if _, err := leader.TerminateSender(ctx, s); err != nil {
					return 0, err
				}
			}
		}
		select {
		case <-ctx.Done():
			return 0, unconfirmed(follow, missing, probe)
		case <-patience:
			impatient = true
		case <-time.After(poll):
		}
	}
}

// sender names a WAL sender process.
type sender struct {
	pid     int
	started string
}

// judge returns the WAL senders that may still go by the old names, or are no members under a member's
// name, and how many members are missing that have flushed the probe.
func (c Change) judge(
	senders []control.Sender, older map[sender]bool, probe pgctl.LSN,
) (follow []control.Sender, missing int) {
	flushed := map[pgctl.Life]bool{}
	for _, s := range senders {
		life, _, named := pgctl.ParseMemberName(s.Name)
		if !named || s.State == "backup" {
			continue
		}
		wanted := 0
		if c.Acks > 0 && slices.Contains(c.Members, s.Name) {
			wanted = 1
		}
		// A sender that still catches up takes no acknowledgements before it has read its configuration
		// again; but others go by the priority that it shows.
		answered := s.State != "streaming" && s.State != "stopping" || s.Write >= probe
		stale := slices.Contains(c.Joint, life) && older[sender{s.PID, s.Started}] && (s.Priority != wanted || !answered)
		if stale || wanted > 0 && s.Impostor() {
			follow = append(follow, s)
		}
		if _, _, member := s.Member(); member && wanted > 0 && s.State == "streaming" && s.Flush >= probe {
			flushed[life] = true
		}
	}
	return follow, max(0, c.Acks-len(flushed))
}

func unconfirmed(follow []control.Sender, missing int, probe pgctl.LSN) error {
	var why []string
	if missing > 0 {
		why = append(why, fmt.Sprintf("%d more members must have flushed %s", missing, probe))
	}
	for _, s := range follow {
		why = append(why, fmt.Sprintf("the WAL sender of %s (pid %d) does not follow", s.Name, s.PID))
	}
	return pgctl.Errorf(pgctl.CodeUnavailable, "the commit rule is not confirmed: %s", strings.Join(why, "; "))
}

// set has the names shown by a new session. Between nobody and somebody waiting the checkpointer must
// follow too, which only a commit that waits, and one that is released, can show.
func (c Change) set(ctx context.Context, leader Leader) (err error) {
	if !c.FromNobody && !c.ToNobody {
		return c.show(ctx, leader, c.Names)
	}
	if err := c.show(ctx, leader, config.Nobody); err != nil {
		return err
	}
	w, err := leader.StartWaiter(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if w != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	w, err = seenWaiting(ctx, leader, w)
	if err != nil {
		return err
	}
	if err := c.show(ctx, leader, c.Names); err != nil || c.FromNobody {
		return err
	}
	return until(ctx, "a waiting commit is not released", func() (bool, error) { return w.Returned() })
}

// seenWaiting returns a waiter that was seen waiting: one that returned before the checkpointer knew
// that commits wait is replaced.
func seenWaiting(ctx context.Context, leader Leader, w *control.Waiter) (*control.Waiter, error) {
	err := until(ctx, "commits do not wait", func() (bool, error) {
		waits, err := w.Waits(ctx)
		if waits || err != nil {
			return waits, err
		}
		returned, err := w.Returned()
		if !returned || err != nil {
			return false, err
		}
		if err := w.Close(); err != nil {
			return false, err
		}
		w, err = leader.StartWaiter(ctx)
		return false, err
	})
	return w, err
}

// show sets a value and waits until a new session shows it.
func (c Change) show(ctx context.Context, leader Leader, names string) error {
	if err := c.Set(ctx, names); err != nil {
		return err
	}
	return until(ctx, "the server does not show the new synchronous_standby_names", func() (bool, error) {
		shown, err := leader.Show(ctx, "synchronous_standby_names")
		return shown == names, err
	})
}

func until(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return pgctl.Errorf(pgctl.CodeUnavailable, "%s: %v", what, ctx.Err())
		case <-time.After(poll):
		}
	}
}
