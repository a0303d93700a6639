package raftstore

import (
	"testing"

	"github.com/pgctl/pgctl"
)

func steady() pgctl.Leadership {
	return pgctl.Leadership{
		Cluster: "shop", Mode: pgctl.Quorum, Epoch: 2, Phase: pgctl.Steady, Leader: "aaaaaaaa", SteadyEpoch: 2,
		Rule: pgctl.Rule{Leader: "aaaaaaaa", Standbys: []pgctl.Life{"bbbbbbbb", "cccccccc"}, Acks: 1, Version: 5},
		History: []pgctl.TimelineRecord{
			{Timeline: 1, Epoch: 1, Leader: "bbbbbbbb"}, {Timeline: 2, Epoch: 2, Leader: "aaaaaaaa"},
		},
	}
}

func TestSetLeadershipCompares(t *testing.T) {
	m := newMachine(t)
	m.fails(pgctl.CodeNotFound, "", SetLeadership{Next: steady()})
	m.must(named("shop"))
	m.fails(pgctl.CodeConflict, "", SetLeadership{Expect: LeadershipExpectation{Revision: 3}, Next: steady()})
	m.must(SetLeadership{Next: steady(), Events: []pgctl.Event{{Cluster: "shop", Kind: "leader.steady"}}})
	m.fails(pgctl.CodeConflict, "", SetLeadership{Next: steady()})
	now, _ := m.state().Leadership("shop")
	if now.Revision != m.index-1 {
		t.Fatalf("revision %d", now.Revision)
	}
	for _, wrong := range []func(*LeadershipExpectation){
		func(e *LeadershipExpectation) { e.Epoch++ },
		func(e *LeadershipExpectation) { e.Phase = pgctl.Recruiting },
		func(e *LeadershipExpectation) { e.RuleVersion++ },
		func(e *LeadershipExpectation) { e.Revision-- },
	} {
		expect := ExpectLeadership(now)
		wrong(&expect)
		m.fails(pgctl.CodeConflict, "", SetLeadership{Expect: expect, Next: now})
	}
	m.must(SetLeadership{Expect: ExpectLeadership(now), Next: now})
	if events := m.state().Events(EventFilter{Cluster: "shop"}); len(events) != 1 {
		t.Fatalf("%v", events)
	}
}

func TestSetLeadershipRefusesWhatIsNeverRight(t *testing.T) {
	for name, c := range map[string]struct {
		field  string
		change func(*pgctl.Leadership)
	}{
		"epoch decreases":     {"epoch", func(l *pgctl.Leadership) { l.Epoch, l.SteadyEpoch = 1, 1 }},
		"epoch jumps":         {"epoch", func(l *pgctl.Leadership) { l.Epoch = 4 }},
		"no epoch":            {"epoch", func(l *pgctl.Leadership) { l.Epoch = 0 }},
		"steady epoch beyond": {"steadyEpoch", func(l *pgctl.Leadership) { l.SteadyEpoch = 3 }},
		"mode":                {"mode", func(l *pgctl.Leadership) { l.Mode = "x" }},
		"phase":               {"phase", func(l *pgctl.Leadership) { l.Phase = "x" }},
		"steady, no leader":   {"leader", func(l *pgctl.Leadership) { l.Leader = "" }},
		"recruiting, leader":  {"leader", func(l *pgctl.Leadership) { l.Phase = pgctl.Recruiting }},
		"rule version":        {"rule.version", func(l *pgctl.Leadership) { l.Rule.Version = 4 }},
		"too many acks":       {"rule", func(l *pgctl.Leadership) { l.Rule.Acks = 3 }},
		"negative acks":       {"rule", func(l *pgctl.Leadership) { l.Rule.Acks = -1 }},
		"no acks of standbys": {"rule", func(l *pgctl.Leadership) { l.Rule.Acks = 0 }},
		"standby twice":       {"rule", func(l *pgctl.Leadership) { l.Rule.Standbys = []pgctl.Life{"bbbbbbbb", "bbbbbbbb"} }},
		"leader as standby":   {"rule", func(l *pgctl.Leadership) { l.Rule.Standbys = []pgctl.Life{"aaaaaaaa"} }},
		"lost standby":        {"rule", func(l *pgctl.Leadership) { l.Rule.Lost = []pgctl.Life{"bbbbbbbb"} }},
		"next too many acks": {"nextRule", func(l *pgctl.Leadership) {
			l.NextRule = &pgctl.Rule{Leader: "aaaaaaaa", Acks: 1, Version: 6}
		}},
		"next names a lost": {"rule", func(l *pgctl.Leadership) {
			l.Rule.Standbys, l.Rule.Lost = []pgctl.Life{"bbbbbbbb"}, []pgctl.Life{"cccccccc"}
			l.NextRule = &pgctl.Rule{Leader: "aaaaaaaa", Standbys: []pgctl.Life{"cccccccc"}, Acks: 1, Version: 6}
		}},
		"timeline twice": {"history", func(l *pgctl.Leadership) {
			l.History = append(l.History[:2:2], pgctl.TimelineRecord{Timeline: 2, Epoch: 3, Leader: "bbbbbbbb"})
		}},
		"timeline of another": {"history", func(l *pgctl.Leadership) {
			l.History = []pgctl.TimelineRecord{{Timeline: 2, Epoch: 2, Leader: "bbbbbbbb"}}
		}},
		"timeline forgotten": {"history", func(l *pgctl.Leadership) { l.History = l.History[:1] }},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.must(named("shop"), SetLeadership{Next: steady()})
			now, _ := m.state().Leadership("shop")
			expect := ExpectLeadership(now)
			c.change(&now)
			m.fails(pgctl.CodeRefused, c.field, SetLeadership{Expect: expect, Next: now})
		})
	}
}

func TestSetLeadershipAllowsTheProtocol(t *testing.T) {
	m := newMachine(t)
	m.must(named("shop"), SetLeadership{Next: steady()})
	for _, change := range []func(*pgctl.Leadership){
		func(l *pgctl.Leadership) { // c is lost
			l.Rule.Standbys, l.Rule.Lost, l.Rule.Version = []pgctl.Life{"bbbbbbbb"}, []pgctl.Life{"cccccccc"}, 6
		},
		func(l *pgctl.Leadership) { // d joins
			l.NextRule = &pgctl.Rule{Leader: "aaaaaaaa", Standbys: []pgctl.Life{"bbbbbbbb", "dddddddd"}, Acks: 1, Version: 7}
			l.Joint = &pgctl.Rule{
				Leader: "aaaaaaaa", Standbys: []pgctl.Life{"bbbbbbbb", "dddddddd"}, Acks: 1, Lost: []pgctl.Life{"cccccccc"},
			}
		},
		func(l *pgctl.Leadership) { l.Rule, l.NextRule, l.Joint = *l.NextRule, nil, nil },
		func(l *pgctl.Leadership) { l.Epoch, l.Phase, l.Leader = 3, pgctl.Recruiting, "" },
		func(l *pgctl.Leadership) {
			l.Phase, l.Leader = pgctl.Promoting, "bbbbbbbb"
			l.History = append(l.History[:2:2], pgctl.TimelineRecord{Timeline: 3, Epoch: 3, Leader: "bbbbbbbb"})
		},
		func(l *pgctl.Leadership) {
			l.Phase, l.SteadyEpoch = pgctl.Steady, 3
			l.Rule = pgctl.Rule{Leader: "bbbbbbbb", Version: 8}
		},
		func(l *pgctl.Leadership) { l.Phase = pgctl.Unknown },
		func(l *pgctl.Leadership) { l.Phase, l.Epoch, l.Rule.Version = pgctl.Steady, 12, 40 },
	} {
		now, _ := m.state().Leadership("shop")
		expect := ExpectLeadership(now)
		change(&now)
		m.must(SetLeadership{Expect: expect, Next: now})
	}
}
