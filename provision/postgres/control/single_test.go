package control_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
	"github.com/pgctl/pgctl/provision/postgres/roles"
)

// One instance, with every installed version: made, started, changed, found again, stopped.
func TestSingleInstance(t *testing.T) {
	for _, v := range versions(t) {
		t.Run(v.Version, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, v)
			n := c.node(1)
			madeAnew(t, n)
			c.lead(n)
			o := n.until("rest", running)
			if o.InRecovery || o.Timeline != 1 || !o.End.Known() || o.SyncNames != "" || o.SystemID == "" {
				t.Errorf("a new primary: %+v", o)
			}
			lsn, err := n.FlushedProbe(c.ctx)
			if err != nil || lsn <= o.End.LSN {
				t.Errorf("probe at %s, %v: the log ended at %s before", lsn, err, o.End)
			}
			if h := n.HealthProbe(c.ctx); !h.Session || !h.Replication || !h.Disk || len(h.Errors) > 0 {
				t.Errorf("health: %+v", h)
			}
			if err := n.Init(c.ctx, nil); err != nil {
				t.Errorf("made twice: %v", err)
			}
			refusesBadLines(t, n)
			stripsAlterSystem(t, n)
			opens(t, n)
			closes(t, n)
			survivesTheDaemon(t, n)
			if clean, err := n.Stop(c.ctx, time.Minute); err != nil || !clean {
				t.Errorf("stopped in order: %v, %v", clean, err)
			}
			if h := n.HealthProbe(c.ctx); h.Session || h.Replication || !h.Disk {
				t.Errorf("health of what is stopped: %+v", h)
			}
			readsControlData(t, n)
		})
	}
}

func refusesBadLines(t *testing.T, n *node) {
	t.Helper()
	good := n.files()
	for name, bad := range map[string]config.Files{
		"work_mem":   {Conf: good.Conf + "work_mem = '64MX'\n", HBA: good.HBA, Ident: good.Ident},
		"no_such":    {Conf: good.Conf + "no_such = 1\n", HBA: good.HBA, Ident: good.Ident},
		"line":       {Conf: good.Conf, HBA: good.HBA + "hostssl all all nonsense/99 trust\n", Ident: good.Ident},
		"pg_hba.con": {Conf: good.Conf, HBA: good.HBA + "nonsense\n", Ident: good.Ident},
	} {
		_, err := n.WriteFiles(n.c.ctx, bad)
		if pgctl.CodeOf(err) != pgctl.CodeInvalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if changed, err := n.WriteFiles(n.c.ctx, good); changed || err != nil {
			t.Errorf("%s: a refused file was put in place (%v)", name, err)
		}
	}
	errs := n.CheckParameters(n.c.ctx, map[string]string{"work_mem": "64MX", "wal_level": "logical"})
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "work_mem") {
		t.Errorf("parameters: %v", errs)
	}
}

// Guarded settings are stripped, others stay; where ALTER SYSTEM is refused, the file is written by hand.
func stripsAlterSystem(t *testing.T, n *node) {
	t.Helper()
	auto := filepath.Join(n.PGData(), "postgresql.auto.conf")
	text := "# comment\nsynchronous_standby_names = '*'\n  Fsync = off\nwork_mem = '5MB'\nssl_ciphers = 'x'\n"
	n.must(os.WriteFile(auto, []byte(text), 0o600))
	n.must(n.Reload(n.c.ctx))
	for range 1000 {
		if problems, err := n.AuditSettings(n.c.ctx); err == nil && len(problems) > 1 {
			break
		}
	}
	problems, err := n.AuditSettings(n.c.ctx)
	if err != nil || !strings.Contains(strings.Join(problems, "\n"), "synchronous_standby_names = * comes from") {
		t.Errorf("audit: %q, %v", problems, err)
	}
	if changed, err := n.WriteFiles(n.c.ctx, n.files()); !changed || err != nil {
		t.Errorf("stripped: %v, %v", changed, err)
	}
	kept, err := os.ReadFile(auto)
	n.must(err)
	if string(kept) != "# comment\nwork_mem = '5MB'\n" {
		t.Errorf("left in postgresql.auto.conf: %q", kept)
	}
	n.must(n.Reload(n.c.ctx))
	n.until("the names of our file", func(o control.Observation) bool { return o.SyncNames == "" })
	if problems, err := n.AuditSettings(n.c.ctx); err != nil || len(problems) > 0 {
		t.Errorf("audit afterwards: %q, %v", problems, err)
	}
}

func opens(t *testing.T, n *node) {
	t.Helper()
	ctx := n.c.ctx
	conn, err := n.Connect(ctx, "postgres")
	n.must(err)
	defer conn.Close(ctx)
	spec := roles.Spec{
		Users:     map[string][]string{`o"wner`: {"CREATEDB"}, "app": nil, "locked": {"nologin"}},
		Passwords: map[string]string{"app": "geheim's"},
		Databases: map[string]string{`sh"op`: `o"wner`},
	}
	did, err := roles.Apply(ctx, conn, spec)
	want := []string{
		"role app created", "role locked created", `role o"wner created`, `database sh"op created, owner o"wner`,
	}
	if err != nil || !slices.Equal(did, want) {
		t.Errorf("first: %q, %v", did, err)
	}
	if did, err = roles.Apply(ctx, conn, spec); err != nil || len(did) > 0 {
		t.Errorf("again: %q, %v", did, err)
	}
	spec.Users["app"], spec.Passwords["app"], spec.Databases[`sh"op`] = []string{"CREATEROLE"}, "neu", "app"
	want = []string{"role app: CREATEROLE", "role app: password set", `database sh"op: owner app instead of o"wner`}
	if did, err = roles.Apply(ctx, conn, spec); err != nil || !slices.Equal(did, want) {
		t.Errorf("changed: %q, %v", did, err)
	}
	if err := n.client("app", "neu"); err == nil || !strings.Contains(err.Error(), "28000") {
		t.Errorf("a client of a closed instance: %v", err)
	}
	n.seen(t, false)
	n.conf.Open = true
	n.apply()
	n.seen(t, true)
	if err := n.client("app", "neu"); err != nil {
		t.Errorf("a client of an open instance: %v", err)
	}
	if err := n.client("app", "geheim's"); err == nil {
		t.Error("the old password works")
	}
	if err := n.client("pgctl", "x"); err == nil || !strings.Contains(err.Error(), "28000") {
		t.Errorf("as pgctl over the network: %v", err)
	}
	log, err := os.ReadFile(n.ServerLog())
	n.must(err)
	if strings.Contains(string(log), "geheim") {
		t.Error("a password is in the server's log")
	}
}

// seen holds what a member sees of a leader: also whether it lets clients in, whatever its commits wait for.
func (n *node) seen(t *testing.T, open bool) {
	t.Helper()
	if p := n.ProbeLeader(n.c.ctx, n.Upstream("127.0.0.1", n.Port, "")); !p.Answered || p.Open != open || p.Closed == open || p.Written == 0 {
		t.Errorf("a member sees %+v", p)
	}
}

// Closed again, the sessions of others are ended, ours stay.
func closes(t *testing.T, n *node) {
	t.Helper()
	ctx := n.c.ctx
	conn, err := n.connect("app", "neu")
	n.must(err)
	defer conn.Close(ctx)
	n.conf.Open = false
	n.apply()
	if err := n.client("app", "neu"); err == nil {
		t.Error("closed, and lets a client in")
	}
	if left, err := n.TerminateSessions(ctx); err != nil || left != 0 {
		t.Errorf("%d sessions are left, %v", left, err)
	}
	if _, err := conn.Exec(ctx, "select 1"); err == nil {
		t.Error("the older session is alive")
	}
	if _, err := n.FlushedProbe(ctx); err != nil {
		t.Errorf("our own session was ended: %v", err)
	}
}

// Another object, as after a restart of the daemon, finds the same server; killed, it starts again.
func survivesTheDaemon(t *testing.T, n *node) {
	t.Helper()
	ctx := n.c.ctx
	before := n.until("rest", running)
	n.must(n.Close())
	again, err := control.New(n.Options)
	n.must(err)
	n.must(again.Start(ctx))
	o, err := again.Observe(ctx)
	if err != nil || o.PID != before.PID {
		t.Errorf("found %+v, %v instead of pid %d", o, err, before.PID)
	}
	n.must(again.KillAll(ctx))
	if o, err := again.Observe(ctx); err != nil || o.State != control.Down {
		t.Errorf("killed: %+v, %v", o, err)
	}
	n.must(again.Close())
	if o := n.start(); o.PID == before.PID || o.InRecovery {
		t.Errorf("started again: %+v", o)
	}
}

func TestForeignIsRefused(t *testing.T) {
	c := newCluster(t, versions(t)[0])
	n := c.node(1)
	marker := filepath.Join(n.PGData(), "pgctl.life")
	n.must(os.MkdirAll(filepath.Join(n.PGData(), "global"), 0o700))
	n.must(os.WriteFile(filepath.Join(n.PGData(), "global", "pg_control"), []byte("12345678rest"), 0o600))
	const id = "4050765991979987505" // of these eight bytes
	refused := func(what string) {
		t.Helper()
		for name, err := range map[string]error{
			"Start": n.Start(c.ctx), "Init": n.Init(c.ctx, nil), "SetStandby": n.SetStandby(true),
			"BaseBackup": n.BaseBackup(c.ctx, config.Upstream{}, "", nil),
			"Rewind":     n.Rewind(c.ctx, config.Upstream{}, config.Files{}),
		} {
			if pgctl.CodeOf(err) != pgctl.CodeRefused {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
	}
	refused("no marker")
	mine := `{"version":1,"life":"life0001","instance":"shop-1","cluster":"shop","systemID":"` + id + `"}`
	for what, text := range map[string]string{
		"other life":   strings.Replace(mine, "life0001", "life0009", 1),
		"other system": strings.Replace(mine, id, "1", 1),
		"nonsense":     "{",
	} {
		n.must(os.WriteFile(marker, []byte(text), 0o600))
		refused(what)
	}
	n.must(os.WriteFile(marker, []byte(mine), 0o600))
	if ok, err := n.Exists(id); !ok || err != nil {
		t.Errorf("ours: %v, %v", ok, err)
	}
	if _, err := n.Exists("1"); pgctl.CodeOf(err) != pgctl.CodeRefused {
		t.Errorf("the cluster has another system identifier: %v", err)
	}
	n.must(os.WriteFile(filepath.Join(n.Folder(), "rewinding"), nil, 0o600))
	if _, err := n.Exists(""); pgctl.CodeOf(err) != pgctl.CodeRefused {
		t.Errorf("half rewound: %v", err)
	}
}

// What a crash left halfway is made anew, what is not ours stays.
func madeAnew(t *testing.T, n *node) {
	t.Helper()
	ctx, fresh := n.c.ctx, n.PGData()+".new"
	n.must(os.Mkdir(fresh, 0o700))
	n.must(os.WriteFile(filepath.Join(fresh, "precious"), nil, 0o600))
	if err := n.Init(ctx, nil); pgctl.CodeOf(err) != pgctl.CodeRefused {
		t.Errorf("a folder of somebody else: %v", err)
	}
	n.must(os.WriteFile(fresh+".ours", nil, 0o600))
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := n.Init(canceled, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := n.Init(ctx, map[string]string{"auth": "trust"}); pgctl.CodeOf(err) != pgctl.CodeInvalid {
		t.Errorf("an option that would open the instance: %v", err)
	}
	n.must(n.Init(ctx, map[string]string{"encoding": "UTF8", "wal-segsize": "1"}))
	if ok, err := n.Exists(""); !ok || err != nil {
		t.Errorf("made: %v, %v", ok, err)
	}
	if err := n.Start(ctx); pgctl.CodeOf(err) != pgctl.CodeConflict {
		t.Errorf("started without our configuration: %v", err)
	}
}
