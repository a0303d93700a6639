package main

import (
	"context"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node"
	"github.com/pgctl/pgctl/node/ha"
	"github.com/pgctl/pgctl/provision/guard"
)

// The settings of guard and watchdog.
const (
	guardOff      = "off"
	guardAuto     = "auto"
	guardRequired = "required"
)

// guarding is what the instances of a host need of its guard.
type guarding struct {
	deadlines *guard.Deadlines
	guard     string // off, auto or required
	watchdog  string // likewise
}

// newGuarding makes the daemon's side; nil where no guard is wanted.
func newGuarding(config DaemonConfig) *guarding {
	if config.Guard == guardOff {
		return nil
	}
	return &guarding{guard.NewDeadlines(guardFile(config), bootID(), bootTime), config.Guard, config.Watchdog}
}

// required says whether a leader by lease may serve only while a guard would stop it.
func (g *guarding) required() bool {
	return g != nil && (g.guard == guardRequired || g.watchdog == guardRequired)
}

// trouble says why nobody would kill an instance at its deadline, or "".
func (g *guarding) trouble(armed bool) string {
	if err := g.deadlines.Answers(); err != nil {
		return message(err)
	}
	if g.watchdog != guardRequired {
		return ""
	}
	switch state := g.deadlines.Watchdog(); {
	case state == guard.WatchdogOff:
		return "the guard was started without the watchdog that is required"
	case state == guard.WatchdogMissing, armed && state != guard.WatchdogArmed:
		return "the watchdog device that is required cannot be armed"
	}
	return ""
}

// observeGuard looks whether the guard has a deadline for this instance's postmaster, and would act on it.
func (s *localServer) observeGuard(o *node.Observed) {
	g := s.around.guarding
	if g == nil {
		return
	}
	slot := g.deadlines.Look(s.self.Life)
	pid, started, _, running := s.pg.Processes.Find(s.pg.PGData())
	seen := &ha.GuardState{Required: g.required(), Armed: slot.Armed}
	seen.Stale = slot.Armed && running && (slot.Postmaster != pid || slot.Started != started)
	now := s.around.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen.Trouble = g.trouble(seen.Armed); seen.Trouble == "" {
		s.guardedAt = now
	} else if s.guardedAt == 0 {
		s.guardedAt = now // it had no time to answer yet
	}
	seen.Silent = now - s.guardedAt
	o.Guard = seen
}

// arm gives the guard the deadline of the lease by which this instance leads.
func (s *localServer) arm(task node.Task) error {
	g := s.around.guarding
	if g == nil || task.Until == (pgctl.Instant{}) {
		return nil
	}
	pid, started, _, running := s.pg.Processes.Find(s.pg.PGData())
	if !running {
		return pgctl.Errorf(pgctl.CodeUnavailable, "%s does not run", s.self.Name)
	}
	return g.deadlines.Arm(guard.Instance{
		Name: s.self.Name, Cluster: s.self.Cluster, Life: s.self.Life, Directory: s.pg.PGData(), Postmaster: pid, Started: started,
	}, task.Epoch, task.Until)
}

// disarm takes the deadline back, and says if the guard acted on it.
func (s *localServer) disarm() error {
	g := s.around.guarding
	if g == nil {
		return nil
	}
	slot := g.deadlines.Look(s.self.Life)
	if err := g.deadlines.Disarm(s.self.Life); err != nil {
		return err
	}
	if slot.Armed && slot.Killed > 0 {
		s.note(pgctl.Alarm, "guard.killed", "the guard killed %s (%d processes): its lease was over, and its daemon had not stopped it",
			s.self.Name, slot.Killed)
	}
	return nil
}

// releaseEarly takes the deadline back before a stop that may last longer than the lease, once nobody is
// left to whom anything could be acknowledged: a planned stop writes its last checkpoint, which a kill would
// cut off.
func (s *localServer) releaseEarly(ctx context.Context, task node.Task) {
	if g := s.around.guarding; g == nil || task.Budget <= ha.LeaseTime || !g.deadlines.Look(s.self.Life).Armed {
		return
	}
	closing, cancel := context.WithTimeout(ctx, ha.LeaseTime/2)
	defer cancel()
	err := s.shut(closing)
	if err == nil {
		err = s.disarm()
	}
	if err != nil {
		s.log.Warn("the stop has to end with the lease, or the guard ends it", "error", err)
	}
}

// NoteListed notes durably which leader will ask this member before it goes on by itself.
func (s *localServer) NoteListed(_ context.Context, leader pgctl.Life) error {
	return s.noteLocal(func(l *ha.Local) { l.Listed = leader })
}

// moveDeadline tells the guard of a renewal.
func (d *daemon) moveDeadline(life pgctl.Life, epoch pgctl.Epoch, until pgctl.Instant) {
	if err := d.guarding.deadlines.Extend(life, epoch, until); err != nil {
		d.log.Warn("the guard was not told that a lease was renewed", "life", life, "error", err)
	}
}

// checkGuard holds what the settings of guard and watchdog may be.
func (c *DaemonConfig) checkGuard() error {
	for _, setting := range []struct{ key, value string }{{"guard", c.Guard}, {"watchdog", c.Watchdog}} {
		switch setting.value {
		case guardOff, guardAuto, guardRequired:
		default:
			return invalid(setting.key, "%q is none of off, auto, required", setting.value)
		}
	}
	switch {
	case c.Guard == guardOff && c.Watchdog != guardOff:
		return invalid("watchdog", "the guard feeds it, and guard is off").WithHint(`guard = "auto"`)
	case c.Watchdog != guardOff && (len(c.WatchdogDevice) == 0 || c.WatchdogDevice[0] != '/'):
		return invalid("watchdog_device", "%q is not an absolute path", c.WatchdogDevice)
	}
	return nil
}
