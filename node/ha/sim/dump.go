package sim

import (
	"fmt"

	"github.com/pgctl/pgctl/node/ha"
)

// Dump is the world as it is, one line a host and one a connection.
func (w *World) Dump() []string {
	now := w.raft.now()
	lines := []string{fmt.Sprintf("leadership %s epoch %d, leader %q, rule %s, planned %+v, version %d",
		now.leadership.Phase, now.leadership.Epoch, now.leadership.Leader, ruleText(now.leadership), now.leadership.Planned, w.raft.last())}
	for h := range w.hosts {
		x := &w.hosts[h]
		p, a := &x.pg, &x.agent
		line := fmt.Sprintf("host %d: up %v daemon %v ready %v sees %d", h, x.up, x.daemon, x.ready, x.seen)
		if h < w.Instances {
			line += fmt.Sprintf("; life %s data %v %s primary %v open %v at %s flushed %d replayed %d of %d, conf %+v alone %v receiver %d; pledge %d mark %d rewinding %d; does %q part %d, failed %q lost %q",
				now.life(h), p.exists, p.state, p.primary, p.conf.open, p.log.position(p.log.end()), p.flushed, p.replayed, p.log.end(), p.conf,
				p.alone, w.receiverOf(h), x.disk.local.Pledge, x.disk.local.Mark, x.disk.local.Rewinding, doing(a), a.op.part, a.problem, a.lost)
		}
		lines = append(lines, line)
	}
	for _, c := range w.conns {
		if c.sending || c.receiving {
			lines = append(lines, fmt.Sprintf("connection %d from %d to %d: %s@%d sending %v receiving %v streaming %v stuck %v flushed %d",
				c.id, c.up, c.down, c.life, c.epoch, c.sending, c.receiving, c.streaming, c.stuck, c.flushed))
		}
	}
	return lines
}

func doing(a *agent) ha.Action {
	if a.op.active {
		return a.op.step.Do
	}
	return ""
}
