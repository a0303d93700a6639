package control

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/pgctl/pgctl"
)

// Promote promotes a standby to exactly this timeline, by filling the numbers before it, and returns
// when it is no longer in recovery. Nothing when it is there already; CodeConflict when the number
// cannot be had, or another one was taken. Replay of what was received comes first: see ReplayUnblock.
func (i *Instance) Promote(ctx context.Context, to pgctl.Timeline) error {
	recovering, at, err := i.recovery(ctx)
	if err != nil {
		return err
	}
	if !recovering {
		return i.took(at, to)
	}
	if at >= to {
		return pgctl.Errorf(pgctl.CodeConflict, "%s is on timeline %d already, and cannot be promoted to %d",
			i.Name, at, to).WithHint("order a higher timeline")
	}
	if err := i.pad(at, to); err != nil {
		return err
	}
	if err := i.exec(ctx, "select pg_promote(false)"); err != nil {
		return fmt.Errorf("promote %s: %w", i.Name, err)
	}
	err = i.wait(ctx, func() (bool, error) {
		recovering, at, err = i.recovery(ctx)
		return err == nil && !recovering, err
	})
	if err != nil {
		return fmt.Errorf("promote %s: %w", i.Name, err)
	}
	return i.took(at, to)
}

func (i *Instance) took(at, to pgctl.Timeline) error {
	if at == to {
		return nil
	}
	return pgctl.Errorf(pgctl.CodeConflict, "%s is a primary on timeline %d, not on %d", i.Name, at, to)
}

func (i *Instance) recovery(ctx context.Context) (recovering bool, at pgctl.Timeline, err error) {
	err = i.session(ctx, func(ctx context.Context, c *pgx.Conn) error {
		if err := c.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&recovering); err != nil {
			return err
		}
		_, at, _, err = identify(ctx, c)
		return err
	})
	return recovering, at, err
}
