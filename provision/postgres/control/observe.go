package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
)

// Member is the life and epoch that the sender serves, if its name, role and slot are a member's.
func (s Sender) Member() (pgctl.Life, pgctl.Epoch, bool) {
	life, epoch, ok := pgctl.ParseMemberName(s.Name)
	return life, epoch, ok && s.Role == config.ReplicationRole && s.Slot == life.Slot()
}

// Impostor says whether it streams under a member's name without being one: it could acknowledge.
func (s Sender) Impostor() bool {
	_, _, named := pgctl.ParseMemberName(s.Name)
	_, _, member := s.Member()
	return named && !member && s.State == "streaming"
}

// answer is what observeSQL gives.
type answer struct {
	Recovery bool          `json:"recovery"`
	Receive  pgctl.LSN     `json:"receive"`
	Replay   pgctl.LSN     `json:"replay"`
	AtEnd    bool          `json:"at_end"`
	Paused   bool          `json:"paused"`
	Alone    bool          `json:"alone"`
	Segment  uint64        `json:"segment"`
	Receiver *Receiver     `json:"receiver"`
	Upstream string        `json:"upstream"`
	Slots    []string      `json:"slots"`
	Senders  []Sender      `json:"senders"`
	Waiters  int           `json:"waiters"`
	Oldest   time.Duration `json:"oldest"`
	Sessions int           `json:"sessions"`
	Names    string        `json:"names"`
	Config   string        `json:"config"`
	Archived string        `json:"archived"`
}

// What is observed is asked of the server's functions, never of views or catalogs: a plan over those alone
// takes no lock, so a session that locks pg_authid or pg_class does not make the instance look dead. Prepared
// once in a session it costs a tenth of what parsing and planning it each time does.
const activity = `pg_stat_get_activity(null)`

const sendersSQL = `select a.pid, extract(epoch from a.backend_start)::text started,
	pg_get_userbyid(a.usesysid) "role", a.application_name "name", coalesce(host(a.client_addr), '') addr,
	w.state, w.sync_priority priority, w.write_lsn "write", w.flush_lsn "flush",
	coalesce((select s.slot_name from pg_get_replication_slots() s where s.active_pid = a.pid), '') slot,
	coalesce((extract(epoch from clock_timestamp() - w.reply_time) * 1e9)::bigint, -1) reply
	from pg_stat_get_wal_senders() w join ` + activity + ` a on a.pid = w.pid
	where pg_get_userbyid(a.usesysid) <> 'pgctl'`

// others are sessions and workers in a database that are neither ours nor the members', and others'
// WAL senders.
const others = `pid <> pg_backend_pid() and pg_get_userbyid(usesysid) is distinct from 'pgctl'
	and pg_get_userbyid(usesysid) is distinct from 'pgctl_replication' and backend_type <> 'autovacuum worker'
	and (datid is not null or backend_type = 'walsender')`

const observeSQL = `with a as materialized (select * from ` + activity + `),
	s as materialized (select * from pg_get_replication_slots())
	select json_build_object(
	'recovery', pg_is_in_recovery(),
	'receive', case when pg_is_in_recovery() then pg_last_wal_receive_lsn() end,
	'replay', case when pg_is_in_recovery() then pg_last_wal_replay_lsn() end,
	'at_end', exists (select from a where backend_type = 'startup'
		and wait_event in ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval')),
	'paused', case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end,
	'alone', pg_is_in_recovery() and coalesce(current_setting('` + aloneSetting + `', true), '') = 'on',
	'segment', pg_size_bytes(current_setting('wal_segment_size')),
	'receiver', (select row_to_json(x) from (select pid, status, sender_host host, sender_port port,
		coalesce(substring(conninfo from 'application_name=''?([^ '']+)'), '') "name",
		received_tli timeline, latest_end_lsn latest_end from pg_stat_get_wal_receiver() where pid is not null) x),
	'upstream', coalesce(substring(current_setting('primary_conninfo') from 'application_name=''?([^ '']+)'), ''),
	'slots', (select coalesce(json_agg(slot_name order by slot_name), '[]') from s
		where slot_type = 'physical' and slot_name ~ '^pgctl_[a-z0-9]{8}$' and wal_status is distinct from 'lost'),
	'senders', (select coalesce(json_agg(x), '[]') from (` + sendersSQL + `) x),
	'waiters', (select count(*) from a where wait_event = 'SyncRep'),
	'oldest', (select coalesce(extract(epoch from max(clock_timestamp() - query_start)) * 1e9, 0)::bigint
		from a where wait_event = 'SyncRep'),
	'sessions', (select count(*) from a where ` + others + `),
	'names', current_setting('synchronous_standby_names'),
	'config', coalesce(current_setting('pgctl.config', true), ''),
	'archived', coalesce((pg_stat_get_archiver()).last_archived_wal, ''))::text`

// Observe looks once, within a second. An error means that the look failed, not that the instance has;
// the state of its processes is there even then.
func (i *Instance) Observe(ctx context.Context) (Observation, error) {
	o := Observation{State: Absent}
	if !exists(i.PGData()) {
		return o, nil
	}
	pid, _, status, running := i.Processes.Find(i.PGData())
	if !running {
		o.State = Down
		return o, nil
	}
	o.PID, o.State = pid, Starting
	switch status {
	case "stopping":
		o.State, o.Why = Stopping, "it is shutting down"
		return o, nil
	case "starting", "": // it would refuse the session, and say so in its log
		o.Why = "it is starting up or recovering"
		return o, nil
	}
	var tli pgctl.Timeline
	var lsn pgctl.LSN
	var s answer
	err := i.session(ctx, func(ctx context.Context, c *pgx.Conn) (err error) {
		if o.SystemID, tli, lsn, err = identify(ctx, c); err != nil {
			return err
		}
		if i.prepared != c {
			if _, err = c.Exec(ctx, "prepare pgctl_observe as "+observeSQL); err != nil {
				return err
			}
			i.prepared = c
		}
		var text string
		if err = c.QueryRow(ctx, "execute pgctl_observe").Scan(&text); err != nil {
			return err
		}
		s = answer{}
		return json.Unmarshal([]byte(text), &s)
	})
	if err != nil {
		if said, ok := serverSays(err); ok && said.Code == "57P03" { // starting up, or shutting down
			o.Why = said.Message
			return o, nil
		}
		o.Why = err.Error()
		return o, fmt.Errorf("observe %s: %w", i.Name, err)
	}
	return o, i.fill(&o, s, tli, lsn)
}

// fill completes an observation. The server's own answer (tli, lsn) is the end of replay, or of what
// was received on the same timeline; what was received on a later one is further.
func (i *Instance) fill(o *Observation, s answer, tli pgctl.Timeline, lsn pgctl.LSN) error {
	o.State, o.InRecovery, o.Timeline = Running, s.Recovery, tli
	o.End = pgctl.Position{Timeline: tli, LSN: lsn}
	if s.Recovery && s.Receive > lsn {
		received, err := i.receivedTimeline(s.Receive, s.Segment)
		if err != nil {
			return fmt.Errorf("observe %s: %w", i.Name, err)
		}
		if received > tli {
			o.End = pgctl.Position{Timeline: received, LSN: s.Receive}
		}
	}
	o.Replay, o.Receive, o.Streamed = s.Replay, s.Receive, s.Receive != 0
	o.AtEnd, o.Paused, o.Alone, o.Receiver = s.AtEnd, s.Paused, s.Alone, s.Receiver
	o.Upstream, o.Slots = s.Upstream, s.Slots
	o.Senders, o.Waiters, o.OldestWait = s.Senders, s.Waiters, s.Oldest
	o.Sessions, o.SyncNames, o.Config, o.Archived = s.Sessions, s.Names, s.Config, s.Archived
	return nil
}

// identify asks for the system identifier, and for the timeline and end of WAL: flushed on a primary,
// received or replayed on a standby.
func identify(ctx context.Context, c *pgx.Conn) (string, pgctl.Timeline, pgctl.LSN, error) {
	results, err := c.PgConn().Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return "", 0, 0, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 3 {
		return "", 0, 0, fmt.Errorf("IDENTIFY_SYSTEM: unexpected answer")
	}
	row := results[0].Rows[0]
	tli, err := strconv.ParseUint(string(row[1]), 10, 32)
	if err != nil {
		return "", 0, 0, fmt.Errorf("IDENTIFY_SYSTEM: %w", err)
	}
	lsn, err := pgctl.ParseLSN(string(row[2]))
	return string(row[0]), pgctl.Timeline(tli), lsn, err
}
