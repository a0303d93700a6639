package ha_test

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// drawView draws a View that could be met: a leadership that obeys its own rules, and members that
// say anything.
func drawView(t *rapid.T) ha.View {
	n := rapid.IntRange(1, 4).Draw(t, "instances")
	names := everybody[:n]
	l := drawLeadership(t, names)
	v := ha.View{
		Leadership: l,
		Declared: ha.Declared{
			Acks: rapid.IntRange(0, n-1).Draw(t, "declared acks"), Strict: rapid.Bool().Draw(t, "strict"),
			Instances: n, MaximumLag: rapid.Int64Range(0, 300).Draw(t, "lag"),
		},
		PhaseAge: drawAge(t, "phase age"), LeaseAge: drawAge(t, "lease age"), Crashes: rapid.IntRange(0, 2).Draw(t, "crashes"),
	}
	if l.Mode == pgctl.Lease {
		v.Declared.Acks = 0
	}
	for _, name := range names {
		v.Members = append(v.Members, drawMember(t, name, l, names))
	}
	if rapid.IntRange(0, 4).Draw(t, "request") == 0 {
		v.Request = &ha.Request{
			To: rapid.SampledFrom(slices.Concat(names, []pgctl.Life{"", life("z")})).Draw(t, "to"), Failover: rapid.Bool().Draw(t, "failover"),
			Lossy: rapid.Bool().Draw(t, "lossy"),
		}
	}
	return v
}

func drawAge(t *rapid.T, name string) time.Duration {
	ages := []time.Duration{0, 100, 500, 700, 1100, 1300, 2100, 5600, 11000, 60000}
	return rapid.SampledFrom(ages).Draw(t, name) * time.Millisecond
}

func drawSubset(t *rapid.T, name string, of []pgctl.Life) (some []pgctl.Life) {
	for _, l := range of {
		if rapid.Bool().Draw(t, name+" "+letters(l)) {
			some = append(some, l)
		}
	}
	return some
}

// drawAsked draws a rule that may be asked for.
func drawAsked(t *rapid.T, name string, leader pgctl.Life, of []pgctl.Life, version uint64) pgctl.Rule {
	others := slices.DeleteFunc(slices.Clone(of), func(l pgctl.Life) bool { return l == leader })
	r := pgctl.Rule{Leader: leader, Standbys: drawSubset(t, name, others), Version: version}
	if len(r.Standbys) > 0 {
		r.Acks = rapid.IntRange(1, len(r.Standbys)).Draw(t, name+" acks")
	}
	return r
}

func drawLeadership(t *rapid.T, names []pgctl.Life) pgctl.Leadership {
	phases := []pgctl.Phase{pgctl.Steady, pgctl.Recruiting, pgctl.Recruiting, pgctl.Promoting, pgctl.Unknown}
	l := pgctl.Leadership{
		Cluster: "shop", Mode: rapid.SampledFrom([]pgctl.Mode{pgctl.Quorum, pgctl.Quorum, pgctl.Lease}).Draw(t, "mode"),
		Epoch: 5, SteadyEpoch: 4, Phase: rapid.SampledFrom(phases).Draw(t, "phase"), SystemID: "7",
		Paused: rapid.Bool().Draw(t, "paused"), Serving: rapid.Bool().Draw(t, "serving"),
		History: []pgctl.TimelineRecord{{Timeline: 1, Epoch: 1, Leader: names[0], State: pgctl.TimelineSteady}},
	}
	old := rapid.SampledFrom(names).Draw(t, "rule's leader")
	l.Rule = drawAsked(t, "rule", old, names, 8)
	if l.Mode == pgctl.Lease {
		l.Rule.Standbys, l.Rule.Acks = nil, 0
	} else if rapid.Bool().Draw(t, "pending") {
		next := drawAsked(t, "next", old, names, 9)
		joint := ha.Joint(l.Rule, next)
		l.NextRule, l.Joint = &next, &joint
	}
	if rapid.IntRange(0, 3).Draw(t, "failed before") == 0 && l.Phase != pgctl.Steady {
		l.History = append(l.History, pgctl.TimelineRecord{
			Timeline: 2, Epoch: 5, Leader: rapid.SampledFrom(names).Draw(t, "failed"), Parent: 1, State: pgctl.TimelineFailed,
		})
		l.Epoch = 6
	}
	switch l.Phase {
	case pgctl.Steady:
		l.Leader, l.SteadyEpoch = old, l.Epoch
	case pgctl.Unknown:
		l.Leader = old
	case pgctl.Promoting:
		l.Leader = rapid.SampledFrom(names).Draw(t, "chosen")
		l.History = append(l.History, pgctl.TimelineRecord{Timeline: 3, Epoch: l.Epoch, Leader: l.Leader, Parent: 1, State: pgctl.TimelineGiven})
	case pgctl.Recruiting:
		drawPlanned(t, &l, names)
	}
	return l
}

func drawPlanned(t *rapid.T, l *pgctl.Leadership, names []pgctl.Life) {
	if rapid.IntRange(0, 2).Draw(t, "planned") > 0 {
		return
	}
	l.Planned = &pgctl.Planned{From: l.Rule.Leader, To: rapid.SampledFrom(names).Draw(t, "planned to"), Within: ha.SwitchoverWithin}
	l.Planned.Released, l.Planned.Lossy = rapid.Bool().Draw(t, "released"), rapid.Bool().Draw(t, "planned lossy")
	if l.Planned.Released && rapid.Bool().Draw(t, "stopped") {
		l.Planned.StoppedAt = pgctl.Position{Timeline: 1, LSN: 0x500}
	}
}

func drawPosition(t *rapid.T, name string) pgctl.Position {
	return pgctl.Position{
		Timeline: rapid.SampledFrom([]pgctl.Timeline{0, 1, 1, 1, 2, 3, 4}).Draw(t, name+" timeline"),
		LSN:      rapid.SampledFrom([]pgctl.LSN{0, 0x480, 0x500, 0x600}).Draw(t, name+" LSN"),
	}
}

func drawMember(t *rapid.T, name pgctl.Life, l pgctl.Leadership, names []pgctl.Life) ha.Member {
	n := letters(name) + " "
	m := ha.Member{
		Instance: "shop-" + letters(name), Host: "host-" + letters(name), Life: name, Leaving: rapid.IntRange(0, 7).Draw(t, n+"leaving") == 0,
		Age: drawAge(t, n+"age"), Idle: drawAge(t, n+"idle"), Stalled: drawAge(t, n+"stalled"), Streaming: drawAge(t, n+"streaming"),
		Removals: rapid.IntRange(0, 9).Draw(t, n+"removals"),
	}
	if rapid.IntRange(0, 5).Draw(t, n+"heard") == 0 {
		return m
	}
	states := []ha.State{ha.Running, ha.Running, ha.Running, ha.Absent, ha.Making, ha.Down, ha.Starting}
	m.Report = ha.Report{
		Instance: m.Instance, Life: name, SystemID: rapid.SampledFrom([]string{"7", "7", "7", "8"}).Draw(t, n+"system"),
		State: rapid.SampledFrom(states).Draw(t, n+"state"), Primary: rapid.Bool().Draw(t, n+"primary"), Open: rapid.Bool().Draw(t, n+"open"),
		Epoch: l.Epoch, End: drawPosition(t, n+"end"), Parent: pgctl.Switch{Timeline: 1, End: 0x500}, ProofAge: drawAge(t, n+"proof"),
		Waiting: drawAge(t, n+"waiting"), LeaderEnd: drawPosition(t, n+"leader end").LSN,
	}
	drawClaims(t, n, &m.Report, l, names)
	return m
}

// drawClaims adds what a report may say beyond the state of its server.
func drawClaims(t *rapid.T, n string, r *ha.Report, l pgctl.Leadership, names []pgctl.Life) {
	claims := func(what string, rare int) bool { return rapid.IntRange(0, rare).Draw(t, n+what) == 0 }
	if claims("failed", 5) {
		r.Failed = "disk full"
	}
	if claims("lost", 7) {
		r.LifeLost = "behind"
	}
	if claims("pledge", 1) {
		r.Pledge = &ha.Pledge{Epoch: l.Epoch - pgctl.Epoch(rapid.IntRange(0, 1).Draw(t, n+"pledged")), Position: drawPosition(t, n+"position")}
		r.Pledge.Foreign = claims("foreign", 5)
	}
	if claims("promoted", 1) {
		r.Promoted = &ha.Promotion{Epoch: l.Epoch, Timeline: 3, Record: 0x600}
	}
	if claims("confirmed", 1) {
		r.Confirmed = &ha.Confirmation{Epoch: l.Epoch, Version: rapid.Uint64Range(7, 9).Draw(t, n+"version")}
	}
	if claims("stop", 2) {
		r.StoppedAt = &ha.Stopped{Epoch: l.Epoch, At: pgctl.Position{Timeline: 1, LSN: 0x500}}
	}
	if claims("probe", 2) {
		r.Probe = &ha.Probe{Leader: l.Leader, Epoch: l.Epoch, Progress: claims("sees", 1), Answered: claims("answer", 1), Refused: claims("refused", 1)}
	}
	for _, name := range drawSubset(t, n+"sender", names) {
		r.Senders = append(r.Senders, ha.Sender{Life: name, Epoch: l.Epoch, Streaming: true, Flushed: drawPosition(t, n+"flushed").LSN})
	}
}
