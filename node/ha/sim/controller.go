package sim

import (
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// controller is what runs on the server that believes to lead: as node's, it makes a View, decides,
// checks, and proposes.
type controller struct {
	term     uint64 // the daemon's generation, and how often it was elected
	memory   *ha.Memory
	started  time.Duration // punctual
	granted  time.Duration // punctual: the last lease
	busy     bool
	proposal proposal
	request  *ha.Request
	asked    time.Duration // when the request came
	ask      [8]bool       // hosts that are to prove the leader
	waiting  string        // as it was told
	last     string        // why the last decision was none
}

// lead makes a server believe that it leads.
func (x *host) lead(now time.Duration) {
	x.leads = true
	x.hearing.Restart()
	term := x.controller.term + 1
	x.controller = controller{term: term, memory: ha.NewMemory(x.hearing.Punctual()), started: x.hearing.Punctual()}
}

// The reasons for a look.
const (
	tickRegular = 0
	tickFailed  = 1 // a proposal is known to have failed
	tickNews    = 2
)

func (w *World) onTick(s int, why int32, mark uint64) {
	x := &w.hosts[s]
	if why == tickRegular {
		if mark != x.generation {
			return
		}
		w.after(ha.Tick, evTick, s, tickRegular, mark)
		x.hearing.Tick(w.clock(s))
	} else if mark != x.controller.term {
		return
	}
	c := &x.controller
	if why == tickFailed {
		c.busy = false
	}
	if !x.leads || c.busy {
		return
	}
	if c.request != nil && w.now-c.asked > 15*time.Second {
		c.request = nil
	}
	w.consider(s)
}

// consider is one decision.
func (w *World) consider(s int) {
	x := &w.hosts[s]
	c := &x.controller
	now := w.current(s)
	acks := w.Acks
	if w.Lease {
		acks = 0
	}
	v := ha.View{
		Declared:   ha.Declared{Acks: acks, Strict: w.Strict, Instances: w.Instances},
		Leadership: now.leadership, Request: c.request, LeaseAge: x.hearing.Punctual() - max(c.granted, c.started),
		Members: slices.Grow(w.seen[:0], len(now.instances))[:len(now.instances)],
	}
	w.seen = v.Members
	for i, instance := range now.instances {
		report, age := x.hearing.Report(instance.Host, instance.Name, c.started)
		v.Members[i] = ha.Member{Instance: instance.Name, Host: instance.Host, Life: instance.Life, Report: report, Age: age}
		v.Members[i].Tags.NoFailover = w.Barred == i+1
	}
	c.memory.Complete(&v, x.hearing.Punctual(), x.hearing.Began())
	d := ha.Decide(v)
	w.Tally.Decisions++
	if d.Next == nil && (d.Answer != nil || d.Done) {
		w.answer(s, d)
	}
	if err := ha.Check(v, d); err != nil {
		w.violate("Check refuses a decision: %v", err)
		return
	}
	for _, life := range d.Ask {
		if h := now.hostOf(life); h >= 0 {
			c.ask[h] = true
		}
	}
	c.memory.Remember(v, d)
	c.last = d.Waiting
	if w.talks && d.Waiting != c.waiting {
		c.waiting = d.Waiting
		w.say(s, "waits: %s", d.Waiting)
	}
	if d.Next == nil && len(d.Replace) == 0 {
		return
	}
	if w.talks {
		for _, e := range d.Events {
			w.say(s, "decides: %s: %s", e.Kind, e.Message)
		}
	}
	if d.Next != nil && (d.Answer != nil || d.Done) {
		w.answer(s, d)
	}
	if d.Next != nil {
		w.judgePromotion(&v, d.Next)
		if w.Watch != nil {
			w.Watch(v, d)
		}
	}
	c.busy, c.proposal = true, proposal{next: d.Next, from: now.leadership, replace: d.Replace}
	w.after(w.soon(), evCommit, s, 0, c.term)
}

func (w *World) answer(s int, d ha.Decision) {
	c := &w.hosts[s].controller
	if c.request == nil {
		return
	}
	c.request = nil
	switch {
	case d.Answer != nil:
		w.count("request refused")
		if w.talks {
			w.say(s, "refuses the request: %v", d.Answer)
		}
	default:
		w.count("request taken up")
	}
}

// phaseOf names what a change of leadership is, for the tally.
func phaseOf(old, next pgctl.Leadership) string {
	switch {
	case next.Phase == old.Phase && next.Epoch == old.Epoch:
		return ""
	case old.Phase == pgctl.Recruiting && next.Phase == pgctl.Steady:
		return "resumed"
	}
	return string(next.Phase)
}
