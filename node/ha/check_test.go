package ha_test

import (
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// plant is a wrong decision: a good one with one mistake, or a View in which it is wrong.
type plant struct {
	name  string
	spoil func(v *ha.View, next *pgctl.Leadership)
}

// scene runs commands of the script language and returns the View that they make.
func scene(t *testing.T, commands ...[]string) ha.View {
	s := &script{t: t}
	s.reset()
	for _, c := range commands {
		s.run(c[0], c[1:])
	}
	return s.view
}

// holdPlants requires that Check passes the decision, and refuses it with each mistake.
func holdPlants(t *testing.T, view func() ha.View, plants []plant) {
	t.Helper()
	v := view()
	d := ha.Decide(v)
	if err := ha.Check(v, d); err != nil || d.Next == nil {
		t.Fatalf("the good decision: %v, %v", describe(v, d), err)
	}
	for _, p := range plants {
		v := view()
		d := ha.Decide(v)
		p.spoil(&v, d.Next)
		if ha.Check(v, d) == nil {
			t.Errorf("Check passes a decision with this mistake: %s", p.name)
		}
	}
}

func TestCheckCatchesWrongChoices(t *testing.T) {
	recruited := func() ha.View {
		return scene(t,
			[]string{"declare", "acks=1", "instances=3"},
			[]string{"lead", "epoch=2", "phase=recruiting", "of=a", "rule=1:bc", "next=1:b", "version=3", "steady=1"},
			[]string{"timeline", "1", "steady", "a", "epoch=1"},
			[]string{"a:", "age=3s"}, []string{"b:", "pledge=2:1@500"}, []string{"c:", "pledge=2:1@480"})
	}
	holdPlants(t, recruited, []plant{
		{"one recruit too few", func(v *ha.View, _ *pgctl.Leadership) { v.Members[2].Report.Pledge = nil }},
		{"a recruit that is silent", func(v *ha.View, _ *pgctl.Leadership) { v.Members[2].Age = ha.StandbyTimeout }},
		{"a recruit of an older epoch", func(v *ha.View, _ *pgctl.Leadership) { v.Members[2].Report.Pledge.Epoch = 1 }},
		{"a foreign recruit", func(v *ha.View, _ *pgctl.Leadership) { v.Members[2].Report.Pledge.Foreign = true }},
		{"not the furthest", func(_ *ha.View, l *pgctl.Leadership) { l.Leader = life("c") }},
		{"chosen without a pledge", func(_ *ha.View, l *pgctl.Leadership) { l.Leader = life("a") }},
		{"the pending change forgotten", func(_ *ha.View, l *pgctl.Leadership) { l.NextRule, l.Joint = nil, nil }},
		{"half of the pending change forgotten", func(_ *ha.View, l *pgctl.Leadership) { l.Joint = nil }},
		{"Acks raised, so that fewer are enough", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Acks = 2 }},
		{"a standby forgotten", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Standbys = lives("b") }},
		{"the joint without a standby", func(_ *ha.View, l *pgctl.Leadership) { l.Joint.Standbys = lives("b") }},
		{"the joint waits for more", func(_ *ha.View, l *pgctl.Leadership) { l.Joint.Acks = 2 }},
		{"the rule of another leader", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Leader = life("b") }},
		{"a timeline number given twice", func(_ *ha.View, l *pgctl.Leadership) { l.History[1].Timeline = 1 }},
		{"no timeline number", func(_ *ha.View, l *pgctl.Leadership) { l.History = nil }},
		{"the history of another", func(_ *ha.View, l *pgctl.Leadership) { l.History[0].Leader = life("b") }},
		{"an older epoch", func(_ *ha.View, l *pgctl.Leadership) { l.Epoch = 1 }},
		{"an epoch too far", func(_ *ha.View, l *pgctl.Leadership) { l.Epoch = 4 }},
		{"an older version", func(_ *ha.View, l *pgctl.Leadership) { l.NextRule.Version = 3 }},
		{"steady at once", func(_ *ha.View, l *pgctl.Leadership) { l.Phase = pgctl.Steady }},
		{"other data", func(_ *ha.View, l *pgctl.Leadership) { l.SystemID = "8" }},
		{"another mode", func(_ *ha.View, l *pgctl.Leadership) { l.Mode = pgctl.Lease }},
		{"a steady epoch invented", func(_ *ha.View, l *pgctl.Leadership) { l.SteadyEpoch = 2 }},
	})
}

func TestCheckCatchesWrongSteadiness(t *testing.T) {
	promoted := func() ha.View {
		return scene(t,
			[]string{"declare", "acks=1", "instances=3", "strict"},
			[]string{"lead", "epoch=2", "phase=promoting", "leader=b", "of=a", "rule=1:bc", "version=3", "steady=1"},
			[]string{"timeline", "1", "steady", "a", "epoch=1"}, []string{"timeline", "2", "given", "b", "epoch=2", "parent=1@0"},
			[]string{"a:", "age=3s"}, []string{"c:"}, []string{"b:", "promoted=2:2@600", "parent=1@500", "senders=c@2:600"})
	}
	holdPlants(t, promoted, []plant{
		{"nobody proved it", func(v *ha.View, _ *pgctl.Leadership) { v.Members[2].Report.Senders = nil }},
		{"proved under another epoch's name", func(v *ha.View, _ *pgctl.Leadership) { v.Members[2].Report.Senders[0].Epoch = 1 }},
		{"not flushed", func(v *ha.View, _ *pgctl.Leadership) { v.Members[2].Report.Senders[0].Flushed-- }},
		{"promoted in another epoch", func(v *ha.View, _ *pgctl.Leadership) { v.Members[2].Report.Promoted.Epoch = 1 }},
		{"Acks lowered although strict", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Acks, l.Rule.Standbys = 0, nil }},
		{"a member that proved nothing", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Standbys = lives("ac") }},
		{"itself as a standby", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Standbys = lives("bc") }},
		{"the rule of the old leader", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Leader = life("a") }},
		{"another leader than the one promoted", func(_ *ha.View, l *pgctl.Leadership) { l.Leader = life("c") }},
		{"more acknowledgements than standbys", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Acks = 2 }},
		{"an older version", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Version = 2 }},
		{"the next epoch at once", func(_ *ha.View, l *pgctl.Leadership) { l.Epoch, l.SteadyEpoch = 3, 3 }},
	})
}

func TestCheckCatchesWrongRules(t *testing.T) {
	changing := func() ha.View {
		return scene(t,
			[]string{"declare", "acks=1", "instances=3"},
			[]string{"lead", "epoch=1", "phase=steady", "leader=a", "rule=1:bc", "next=1:b", "version=3"},
			[]string{"a:", "primary", "open", "confirmed=1:4", "senders=b@1:500"}, []string{"b:"}, []string{"c:", "age=3s"})
	}
	holdPlants(t, changing, []plant{
		{"not confirmed", func(v *ha.View, _ *pgctl.Leadership) { v.Members[0].Report.Confirmed = nil }},
		{"an older version confirmed", func(v *ha.View, _ *pgctl.Leadership) { v.Members[0].Report.Confirmed.Version = 3 }},
		{"confirmed in another epoch", func(v *ha.View, _ *pgctl.Leadership) { v.Members[0].Report.Confirmed.Epoch = 2 }},
		{"another rule than the confirmed one", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Standbys = lives("c") }},
		{"an older rule", func(_ *ha.View, l *pgctl.Leadership) { l.Rule.Version = 3 }},
		{"another leader", func(_ *ha.View, l *pgctl.Leadership) { l.Leader = life("b") }},
		{"the next epoch while steady", func(_ *ha.View, l *pgctl.Leadership) { l.Epoch = 2 }},
	})
	strict := func() ha.View {
		return scene(t,
			[]string{"declare", "acks=1", "instances=4", "strict"},
			[]string{"lead", "epoch=1", "phase=steady", "leader=a", "rule=1:bc", "version=3"},
			[]string{"a:", "primary", "open", "senders=b@1:500"}, []string{"b:"}, []string{"c:", "age=3s"})
	}
	holdPlants(t, strict, []plant{
		{"Acks lowered although strict", func(_ *ha.View, l *pgctl.Leadership) {
			l.NextRule.Acks, l.NextRule.Standbys, l.Joint.Acks = 0, nil, 0
		}},
		{"steps without the store", func(_ *ha.View, l *pgctl.Leadership) { l.Rule, l.NextRule, l.Joint = *l.NextRule, nil, nil }},
		{"a joint that waits for more than the old rule", func(_ *ha.View, l *pgctl.Leadership) { l.Joint.Acks = 2 }},
		{"a joint without the one who leaves", func(_ *ha.View, l *pgctl.Leadership) { l.Joint.Standbys = lives("b") }},
	})
	resuming := func() ha.View {
		return scene(t,
			[]string{"declare", "acks=1", "instances=3"},
			[]string{"lead", "epoch=2", "phase=recruiting", "of=a", "rule=1:bc", "next=1:b", "version=3", "steady=1"},
			[]string{"timeline", "1", "steady", "a", "epoch=1"},
			[]string{"a:", "primary", "open"}, []string{"b:"}, []string{"c:"})
	}
	holdPlants(t, resuming, []plant{
		{"resuming clears the joint", func(_ *ha.View, l *pgctl.Leadership) { l.NextRule, l.Joint = nil, nil }},
		{"resumed although somebody was chosen", func(v *ha.View, l *pgctl.Leadership) {
			chosen := pgctl.TimelineRecord{Timeline: 2, Epoch: 2, Leader: life("b"), State: pgctl.TimelineFailed}
			v.Leadership.History = append(v.Leadership.History, chosen)
			l.History = append(l.History, chosen)
		}},
		{"another resumes", func(_ *ha.View, l *pgctl.Leadership) { l.Leader = life("b") }},
		{"a lost life forgotten", func(v *ha.View, _ *pgctl.Leadership) { v.Leadership.Joint.Lost = lives("d") }},
	})
}
