package control

import (
	"context"
	"strings"

	"github.com/pgctl/pgctl"
)

// EnsureSlots makes physical slots for other lives, which keep WAL from now on, and makes those anew
// that were lost to max_slot_wal_keep_size. Slots that nobody asks for stay: see DropSlot.
func (i *Instance) EnsureSlots(ctx context.Context, lives []pgctl.Life) error {
	for _, life := range lives {
		if err := checkLife(life); err != nil {
			return err
		}
		err := i.exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots
			where slot_name = $1 and wal_status = 'lost' and active_pid is null`, life.Slot())
		if err != nil {
			return err
		}
		err = i.exec(ctx, `select pg_create_physical_replication_slot($1, true)
			where not exists (select from pg_replication_slots where slot_name = $1)`, life.Slot())
		if err != nil {
			return err
		}
	}
	return nil
}

func checkLife(life pgctl.Life) error {
	if !life.Valid() {
		return pgctl.Errorf(pgctl.CodeInvalid, "%q is not a life", life)
	}
	return nil
}

// Slots maps the lives that have a slot here to where its WAL is kept from; 0 for a lost one.
func (i *Instance) Slots(ctx context.Context) (map[pgctl.Life]pgctl.LSN, error) {
	rows, err := i.strings(ctx, `select slot_name || ' ' || coalesce(restart_lsn, '0/0') from pg_replication_slots
		where slot_type = 'physical' and slot_name ~ '^pgctl_[a-z0-9]{8}$'`)
	if err != nil {
		return nil, err
	}
	slots := map[pgctl.Life]pgctl.LSN{}
	for _, row := range rows {
		name, text, _ := strings.Cut(strings.TrimPrefix(row, "pgctl_"), " ")
		lsn, err := pgctl.ParseLSN(text)
		if err != nil {
			return nil, err
		}
		slots[pgctl.Life(name)] = lsn
	}
	return slots, nil
}

// AdvanceSlot moves the slot of a life forward to where that life is elsewhere; nothing when it is
// further already, in use, or not there. On a standby it goes no further than replay.
func (i *Instance) AdvanceSlot(ctx context.Context, life pgctl.Life, to pgctl.LSN) error {
	return i.exec(ctx, `select pg_replication_slot_advance(slot_name, least($2::pg_lsn, e)) from pg_replication_slots,
		(select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end e) x
		where slot_name = $1 and active_pid is null and wal_status <> 'lost' and restart_lsn < least($2::pg_lsn, e)`,
		life.Slot(), to.String())
}

// DropSlot removes the slot of a life that is no more; nothing when it is not there.
func (i *Instance) DropSlot(ctx context.Context, life pgctl.Life) error {
	return i.exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots
		where slot_name = $1`, life.Slot())
}
