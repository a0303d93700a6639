package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
	"github.com/pgctl/pgctl/provision/postgres/roles"
)

// tended is what the upkeep did last, so that it costs nothing while nothing changes.
type tended struct {
	declared  string // of the cluster's roles and databases, as applied
	audited   time.Duration
	advanced  time.Duration
	reported  string
	deviation string
	repaired  string

	repairedAt time.Duration
	position   position
}

const (
	auditEvery   = 5 * time.Second
	advanceEvery = 10 * time.Second
	repairQuiet  = 30 * time.Second // the same repair is reported again
)

// Tend does what is not about leadership: configuration, certificates, slots, roles and databases.
func (s *localServer) Tend(ctx context.Context, task node.Task) error {
	s.know(task)
	if err := s.configure(ctx); err != nil {
		return s.complain("instance.configuration", err)
	}
	now := s.around.clock()
	s.noteRepairs()
	s.mu.Lock()
	news := s.applied != task.Cluster.Revision || len(s.pending) > 0
	s.mu.Unlock()
	read := true
	if news || now-s.tended.audited >= auditEvery {
		s.tended.audited = now
		var err error
		if read, err = s.pg.HasRead(ctx); err == nil {
			err = s.audit(ctx)
		}
		if err == nil && !read { // it is about to, or was never told
			err = s.pg.Reload(ctx)
		}
		if err != nil {
			return err
		}
	}
	if err := s.notePosition(ctx, task); err != nil {
		return err
	}
	if err := s.expel(ctx); err != nil {
		return err
	}
	l := task.View.Leadership
	if primary := task.View.Server; primary.Primary && s.lastCheckpoint() != primary.Timeline {
		// Nobody can be rewound before the checkpoint shows the new timeline.
		if err := s.pg.Checkpoint(ctx); err != nil {
			return err
		}
	}
	if !task.View.Server.Primary {
		s.took(task, read)
		if s.electing() && !task.View.Server.AtEnd {
			return s.unblock(ctx)
		}
		if now-s.tended.advanced >= advanceEvery {
			s.tended.advanced = now
			return s.advanceSlots(ctx, task)
		}
		return nil
	}
	if !task.View.Server.Open || l.Leader != s.self.Life || l.Phase != pgctl.Steady {
		return nil
	}
	if err := s.declare(ctx, task); err != nil {
		return err
	}
	s.took(task, read)
	return nil
}

// noteRepairs reports what was put right in the files, once until it is something else.
func (s *localServer) noteRepairs() {
	s.mu.Lock()
	repaired := s.repaired
	s.repaired = nil
	s.mu.Unlock()
	for _, what := range repaired {
		if now := s.around.clock(); what != s.tended.repaired || now-s.tended.repairedAt > repairQuiet {
			s.tended.repaired, s.tended.repairedAt = what, now
			s.note(pgctl.Warning, "settings.guarded", "%s", what)
		}
	}
}

// took notes that everything a declaration asks of this server is done, or waits for a restart.
func (s *localServer) took(task node.Task, read bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if read && s.posture.Started {
		s.applied = task.Cluster.Revision
	}
}

// electing says whether replay is to wait for no query.
func (s *localServer) electing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posture.ReplayNow
}

func (s *localServer) lastCheckpoint() pgctl.Timeline {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled.Timeline
}

// audit reports guarded settings that somebody changed, after they were put right, and settings that
// wait for a restart.
func (s *localServer) audit(ctx context.Context) error {
	pending, err := s.pg.PendingRestart(ctx)
	if err != nil {
		return err
	}
	deviations, err := s.pg.AuditSettings(ctx)
	if err != nil {
		return err
	}
	lower := false
	if len(pending) > 0 {
		if lower, err = s.pg.PendingLower(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.pending, s.inPlace = pending, lower
	s.mu.Unlock()
	if text := strings.Join(deviations, "; "); text != "" && text != s.tended.deviation {
		s.note(pgctl.Warning, "settings.guarded", "settings that belong to pgctl were changed and are put right: %s", text)
		s.tended.deviation = text
	} else if text == "" {
		s.tended.deviation = ""
	}
	return nil
}

// declare makes the roles and databases of the declaration.
func (s *localServer) declare(ctx context.Context, task node.Task) error {
	passwords, err := s.around.passwords(ctx, s.self.Cluster)
	if err != nil {
		return err
	}
	delete(passwords, config.ReplicationRole)
	spec := task.Cluster.Spec
	declared := fmt.Sprint(spec.Users, spec.Databases, task.View.Leadership.Epoch)
	for _, user := range slices.Sorted(maps.Keys(passwords)) {
		declared += user + ":" + passwords[user] + "\n"
	}
	if declared == s.tended.declared {
		return nil
	}
	conn, err := s.pg.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	done, err := roles.Apply(ctx, conn, roles.Spec{Users: spec.Users, Passwords: passwords, Databases: spec.Databases})
	if closing := conn.Close(ctx); err == nil {
		err = closing
	}
	for _, what := range done {
		s.note(pgctl.Info, "declaration.applied", "%s", what)
	}
	if err != nil {
		return s.complain("declaration.failed", err)
	}
	s.tended.declared = declared
	return nil
}

// ensureReplication makes the role as which members stream, before any member can exist.
func (s *localServer) ensureReplication(ctx context.Context) error {
	passwords, err := s.around.passwords(ctx, s.self.Cluster)
	if err != nil {
		return err
	}
	conn, err := s.pg.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	if _, err = conn.Exec(ctx, "SET synchronous_commit = local"); err == nil {
		_, err = roles.EnsureReplication(ctx, conn, passwords[config.ReplicationRole])
	}
	if closing := conn.Close(ctx); err == nil {
		err = closing
	}
	return err
}

// makeSlots gives every other member its slot and drops those of lives that are gone.
func (s *localServer) makeSlots(ctx context.Context, task node.Task) error {
	var lives []pgctl.Life
	for _, m := range task.View.Members {
		if slices.Contains(task.Slots, m.Life.Slot()) {
			lives = append(lives, m.Life)
		}
	}
	if err := s.pg.EnsureSlots(ctx, lives); err != nil {
		return err
	}
	have, err := s.pg.Slots(ctx)
	if err != nil {
		return err
	}
	for life := range have {
		if !slices.Contains(lives, life) {
			if err := s.pg.DropSlot(ctx, life); err != nil {
				return err
			}
		}
	}
	return nil
}

// advanceSlots lets go of WAL that the other members have already, as far as this host hears of them.
func (s *localServer) advanceSlots(ctx context.Context, task node.Task) error {
	positions := s.around.positions()
	have, err := s.pg.Slots(ctx)
	if err != nil {
		return err
	}
	for life, kept := range have {
		if to := min(positions[life], task.View.Server.Replayed); to > kept && task.View.Server.Directory == ha.ReadyDirectory {
			if err := s.pg.AdvanceSlot(ctx, life, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// setAside stops whatever former lives of this instance still run here, and keeps their folders under
// a name that nobody starts.
func (s *localServer) setAside() error {
	parent := filepath.Dir(s.pg.Folder())
	entries, err := os.ReadDir(parent)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), ha.StopPlanned)
	defer cancel()
	for _, e := range entries {
		life := pgctl.Life(e.Name())
		if life == s.self.Life || !life.Valid() {
			continue
		}
		options := s.pg.Options
		options.Life = life
		former, err := control.New(options)
		if err != nil {
			return err
		}
		if !madeByUs(former) {
			return pgctl.Errorf(pgctl.CodeRefused, "%s stands where %s is to be, and pgctl did not make it", former.Folder(), s.self.Name).
				WithHint("it is left as it is; move it away")
		}
		was, known := readLocal(former.Folder())
		if l, led := s.around.leadership(s.self.Cluster); known && led && runsIn(former.Folder()) && newerThan(was, l) != "" {
			return pgctl.Errorf(pgctl.CodeRefused, "life %s of %s runs here, the store names life %s: %s", life, s.self.Name, s.self.Life, newerThan(was, l))
		}
		if _, err := former.Stop(ctx, ha.StopFailover); err != nil {
			return err
		}
		kept := filepath.Join(parent, fmt.Sprintf("%s.diverged-%d", life, was.Pledge))
		if err := os.Rename(filepath.Join(parent, e.Name()), kept); err != nil {
			return err
		}
		s.note(pgctl.Warning, "instance.kept", "a former data directory of %s is kept in %s", s.self.Name, kept)
	}
	return nil
}

// madeByUs says whether pgctl made a life's folder: it has files that are written before and after the data.
func madeByUs(i *control.Instance) bool {
	for _, path := range []string{filepath.Join(i.Folder(), "state.json"), i.Passfile()} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

// note records an event about this instance.
func (s *localServer) note(severity pgctl.Severity, kind, format string, args ...any) {
	s.around.note(pgctl.Event{
		Severity: severity, Cluster: s.self.Cluster, Instance: s.self.Name, Host: s.self.Host, Kind: kind,
		Message: fmt.Sprintf(format, args...),
	})
}

// complain records an error as an event, once until it changes.
func (s *localServer) complain(kind string, err error) error {
	if text := kind + err.Error(); text != s.tended.reported {
		s.tended.reported = text
		s.note(pgctl.Warning, kind, "%v", err)
	}
	return err
}
