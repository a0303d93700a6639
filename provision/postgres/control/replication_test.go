package control_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
	"github.com/pgctl/pgctl/provision/postgres/sync"
)

// Three instances: copied, streaming, the rule confirmed, promoted with a gap in the numbers, followed,
// the former leader rewound.
func TestReplication(t *testing.T) {
	for _, v := range versions(t) {
		if _, err := os.Stat(filepath.Join(v.Bin, "pg_rewind")); err != nil {
			continue // an installation of the server alone
		}
		t.Run(v.Version, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, v)
			a := c.node(1)
			c.lead(a)
			a.must(a.sql(c.ctx, "create table public.t (x int)"))
			b := c.standby(2, a, 1)
			d := c.standby(3, a, 1)
			confirms(t, a, b, d)
			slots(t, a, b)
			unblocks(t, a, b)
			pledges(t, a, b)
			promotes(t, a, b, d)
			rewinds(t, a, b)
		})
	}
}

// set writes names and reloads, as the agent does for Confirm.
func (n *node) set(ctx context.Context, names string) error {
	n.conf.SyncNames = names
	if _, err := n.WriteFiles(ctx, n.files()); err != nil {
		return err
	}
	return n.Reload(ctx)
}

func confirms(t *testing.T, a, b, d *node) {
	t.Helper()
	ctx := a.c.ctx
	lives := []pgctl.Life{b.Life, d.Life}
	members := []string{b.Life.MemberName(1), d.Life.MemberName(1)}
	both := sync.Change{
		Names: config.SyncNames(2, members), Acks: 2, Members: members, Joint: lives, FromNobody: true, Set: a.set,
	}
	confirm := func(c sync.Change) pgctl.LSN {
		t.Helper()
		p, err := sync.Confirm(ctx, a, c)
		if err != nil || p == 0 {
			t.Fatalf("%s: %s, %v", c.Names, p, err)
		}
		return p
	}
	confirm(both)
	b.until("have a member's sender", running)
	o := a.until("rest", func(o control.Observation) bool { return len(o.Senders) == 2 })
	for _, s := range o.Senders {
		if _, e, member := s.Member(); !member || e != 1 || s.Priority != 1 || s.Impostor() || s.Slot == "" {
			t.Errorf("sender %+v", s)
		}
	}
	// d is frozen: a change that needs both is not confirmed, one that needs b alone is, and d's sender,
	// which does not answer, is ended.
	freeze(t, d, true)
	one := sync.Change{Names: config.SyncNames(1, members[:1]), Acks: 1, Members: members[:1], Joint: lives, Set: a.set}
	both.FromNobody = false
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	if _, err := sync.Confirm(short, a, both); pgctl.CodeOf(err) != pgctl.CodeUnavailable {
		t.Errorf("confirmed without d: %v", err)
	}
	cancel()
	p := confirm(one)
	if o := b.until("rest", running); o.Receive < p {
		t.Errorf("confirmed at %s, b has %s", p, o.Receive)
	}
	freeze(t, d, false)
	d.until("stream again", func(o control.Observation) bool { return o.Receiver != nil && o.Receiver.Status == "streaming" })
	confirm(sync.Change{Names: "", Joint: lives[:1], ToNobody: true, Set: a.set})
	a.must(a.sql(ctx, "insert into public.t values (1)"))
	both.FromNobody = true
	confirm(both)
}

// freeze stops or continues the WAL receiver's process, which is the host's other end that hangs.
func freeze(t *testing.T, n *node, stop bool) {
	t.Helper()
	o := n.until("have a receiver", func(o control.Observation) bool { return o.Receiver != nil })
	p, err := os.FindProcess(o.Receiver.PID)
	if err == nil {
		err = p.Signal(map[bool]os.Signal{true: syscall.SIGSTOP, false: syscall.SIGCONT}[stop])
	}
	n.must(err)
}

func slots(t *testing.T, a, b *node) {
	t.Helper()
	ctx := a.c.ctx
	lives := []pgctl.Life{a.Life, "life0009"}
	b.must(b.EnsureSlots(ctx, lives))
	b.must(b.EnsureSlots(ctx, lives))
	before, err := b.Slots(ctx)
	b.must(err)
	lsn, err := a.FlushedProbe(ctx)
	a.must(err)
	b.until("replay the probe", func(o control.Observation) bool { return o.Replay >= lsn })
	b.must(b.AdvanceSlot(ctx, "life0009", lsn))
	b.must(b.AdvanceSlot(ctx, "life0009", lsn-1))
	after, err := b.Slots(ctx)
	if err != nil || after["life0009"] != lsn || after[a.Life] != before[a.Life] {
		t.Errorf("slots %v, before %v, wanted %s; %v", after, before, lsn, err)
	}
	b.must(b.DropSlot(ctx, "life0009"))
	b.must(b.DropSlot(ctx, "life0009"))
	if after, err = b.Slots(ctx); err != nil || len(after) != 1 {
		t.Errorf("slots %v, %v", after, err)
	}
	if err := b.EnsureSlots(ctx, []pgctl.Life{"No Life"}); err == nil {
		t.Error("a slot for what is no life")
	}
}

// A query on b keeps it from replaying what a has removed; it is ended.
func unblocks(t *testing.T, a, b *node) {
	t.Helper()
	ctx := a.c.ctx
	a.must(a.sql(ctx, "create role reader login superuser password 'x'"))
	a.must(a.sql(ctx, "create table public.v as select generate_series(1, 1000) x"))
	b.conf.Open = true
	b.apply()
	lsn, err := a.FlushedProbe(ctx)
	a.must(err)
	b.until("replay the table", func(o control.Observation) bool { return o.Replay >= lsn })
	conn, err := b.connect("reader", "x")
	b.must(err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "begin isolation level repeatable read; select count(*) from public.v")
	b.must(err)
	if n, err := b.ReplayUnblock(ctx); n != 0 || err != nil {
		t.Errorf("%d sessions ended, %v, though nothing was blocked", n, err)
	}
	a.must(a.sql(ctx, "delete from public.v"))
	a.must(a.sql(ctx, "vacuum public.v"))
	lsn, err = a.FlushedProbe(ctx)
	a.must(err)
	ended := 0
	b.until("replay what was removed", func(o control.Observation) bool {
		n, err := b.ReplayUnblock(ctx)
		b.must(err)
		ended += n
		return o.Replay >= lsn
	})
	if _, err := conn.Exec(ctx, "select 1"); err == nil || ended == 0 {
		t.Errorf("%d sessions ended; the blocking one: %v", ended, err)
	}
	b.conf.Open = false
	b.apply()
}

// b is cut off from a, also by a restart, and says how far it got; a waits for nobody any more.
func pledges(t *testing.T, a, b *node) {
	t.Helper()
	ctx := a.c.ctx
	b.conf.PrimaryConninfo, b.conf.ReplayNow = "", true
	b.apply()
	gone, err := b.TerminateReceiver(ctx)
	if err != nil || !gone {
		t.Errorf("receiver gone: %v, %v", gone, err)
	}
	if _, err := b.ReplayUnblock(ctx); err != nil {
		t.Error(err)
	}
	end := b.until("be at the end", func(o control.Observation) bool { return o.AtEnd && o.Receiver == nil }).End
	_, err = b.Stop(ctx, time.Minute)
	b.must(err)
	stray := filepath.Join(b.PGData(), "pg_wal", "00000003.history")
	b.must(os.WriteFile(stray, nil, 0o600))
	b.must(b.StartRecruit(ctx))
	if _, err := os.Stat(stray); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a history above the data's timeline is left: %v", err)
	}
	o := b.until("be at the end again", func(o control.Observation) bool { return o.AtEnd })
	if o.End != end || o.Streamed || !o.Alone {
		t.Errorf("recruited at %s instead of %s: %+v", o.End, end, o)
	}
	a.must(a.set(ctx, ""))
	a.must(a.sql(ctx, "insert into public.t values (2)")) // a diverges
}

func promotes(t *testing.T, a, b, d *node) {
	t.Helper()
	ctx := a.c.ctx
	if _, err := d.Stop(ctx, time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := a.Stop(ctx, 30*time.Millisecond); err != nil { // hardly time for anything
		t.Error(err)
	}
	b.must(b.Promote(ctx, 5))
	b.must(b.Promote(ctx, 5))
	if err := b.Promote(ctx, 6); pgctl.CodeOf(err) != pgctl.CodeConflict {
		t.Errorf("promoted twice: %v", err)
	}
	o := b.until("lead", func(o control.Observation) bool { return !o.InRecovery })
	h, err := b.History(5)
	if err != nil || o.Timeline != 5 || len(h) != 1 || h.Parent().Timeline != 1 || h.Parent().End == 0 {
		t.Errorf("history %v, %v; %+v", h, err, o)
	}
	if h, err := b.History(3); err != nil || len(h) != 0 {
		t.Errorf("placeholder: %v, %v", h, err)
	}
	if _, err := b.History(6); pgctl.CodeOf(err) != pgctl.CodeNotFound {
		t.Errorf("no such timeline: %v", err)
	}
	b.must(b.EnsureSlots(ctx, []pgctl.Life{a.Life, d.Life}))
	b.conf.SyncNames = ""
	b.apply()
	b.must(b.sql(ctx, "insert into public.t values (3)"))
	// d had the insertion of 2 as well if it streamed it; it is behind or beyond the switch.
	if _, err := d.WriteFiles(ctx, d.files()); err != nil {
		t.Error(err)
	}
}

func rewinds(t *testing.T, a, b *node) {
	t.Helper()
	ctx := a.c.ctx
	a.conf.SyncNames = config.Nobody
	a.conf.PrimaryConninfo = config.Conninfo(a.Upstream("127.0.0.1", b.Port, a.Life.MemberName(2)))
	a.conf.PrimarySlot = a.Life.Slot()
	source := a.Upstream("127.0.0.1", b.Port, "")
	if err := a.Rewind(ctx, a.Upstream("127.0.0.1", freePort(t), ""), a.files()); pgctl.CodeOf(err) != pgctl.CodeUnavailable {
		t.Errorf("from nobody: %v", err)
	}
	b.must(b.Checkpoint(ctx))
	a.must(a.Rewind(ctx, source, a.files()))
	a.must(a.Rewind(ctx, source, a.files())) // by somebody who was killed before the first one was noted
	a.must(a.ForgetRewound())
	a.start()
	a.until("follow", func(o control.Observation) bool {
		return o.InRecovery && o.Timeline == 5 && o.Receiver != nil && o.Receiver.Name == a.Life.MemberName(2)
	})
	p, err := b.FlushedProbe(ctx)
	b.must(err)
	o := a.until("have the probe", func(o control.Observation) bool { return o.Replay >= p })
	if o.End.Timeline != 5 || !o.Streamed || o.Receiver.Timeline != 5 || o.Alone {
		t.Errorf("follows: %+v", o)
	}
	if n := a.number("select count(*) from public.t where x = 2"); n != 0 {
		t.Error("the diverged row is still there")
	}
	if n := a.number("select count(*) from public.t where x = 3"); n != 1 {
		t.Error("the new leader's row is not there")
	}
	if read, err := a.HasRead(ctx); err != nil || !read {
		t.Errorf("has read its settings: %v, %v", read, err)
	}
	if pending, err := a.PendingRestart(ctx); err != nil || len(pending) > 0 {
		t.Errorf("pending %v, %v", pending, err)
	}
}
