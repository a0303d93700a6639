package ha_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

var update = flag.Bool("update", false, "write what decide and act answer into the scripts")

// TestScripts replays the incidents in testdata. A line is a command; lines that begin with "> " are
// the answer that is expected of the decide, commit or act above them (go test -update writes them).
// Lives are written by letter (a is aaaaaaaa), positions as timeline@hexadecimal LSN, words of a text
// with underscores. In the order in which an incident needs them:
//
//	declare acks=1 instances=3 [strict] [lag=BYTES]
//	lead epoch=1 phase=steady leader=a rule=1:bc [lost=d] version=3 [next=2:bc] [joint=1:bc]
//	     [steady=EPOCH] [mode=lease] [paused] [serving] [system=ID]   the leadership, history forgotten
//	timeline 2 failed b epoch=2 parent=1@500      an entry of its history
//	planned from=a to=b within=10s [stopped=1@500] [released] [lossy] | planned none
//	phase 3s | leased 2s | crashes 2 | told       what the observer remembers
//	request switchover b [rolling] | request failover b [lossy [dead]] | request none
//	a: age=0.1s state=running primary …           what is known of a member, added to what is known
//	     already; -word takes back a flag; "a: none" makes it never heard, "drop a" unassigned
//	decide                                        prints the decision; Check must pass it
//	commit                                        makes the decided leadership the View's, phase age 0
//
//	self b [wanted=stopped]                       whose agent acts
//	local pledge=2 [mark=1] [rewinding=1] | server state=running … | source a epoch=2 … | source none
//	store 6s | lease 2s | unacked 6s              ages that the agent knows
//	act                                           prints the steps
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			after := replay(t, string(before))
			switch {
			case after == string(before):
			case *update:
				if err := os.WriteFile(file, []byte(after), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("%s", difference(string(before), after))
			}
		})
	}
}

// replay runs a script and returns it with the answers that were given.
func replay(t *testing.T, text string) string {
	s := &script{t: t}
	s.reset()
	var out []string
	for number, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, "> ") {
			continue
		}
		s.number = number + 1
		out = append(out, line)
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		for _, answer := range s.run(words[0], words[1:]) {
			out = append(out, "> "+answer)
		}
	}
	return strings.Join(out, "\n") + "\n"
}

func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "first difference at line " + fmtInt(i+1) + "\nwant: " + a[i] + "\ngot:  " + b[i]
		}
	}
	return "one ends where the other goes on"
}

// script is the state of a script being replayed.
type script struct {
	t       *testing.T
	number  int // of the line
	view    ha.View
	act     ha.InstanceView
	decided ha.Decision
}

// reset begins an incident: members a, b and c are well and nothing is declared.
func (s *script) reset() {
	s.view = ha.View{PhaseAge: time.Minute, LeaseAge: time.Minute}
	s.act = ha.InstanceView{}
	s.decided = ha.Decision{}
}

func (s *script) fatal(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("line %d: "+format, append([]any{s.number}, args...)...)
}

// run carries out one command and returns what it prints.
func (s *script) run(command string, words []string) []string {
	if name, ok := strings.CutSuffix(command, ":"); ok {
		s.tell(name, words)
		return nil
	}
	switch command {
	case "incident":
		s.reset()
	case "declare":
		s.view.Declared = ha.Declared{}
		s.set(words, declaredWords(&s.view.Declared))
	case "lead":
		s.view.Leadership = pgctl.Leadership{Cluster: "shop", Mode: pgctl.Quorum, Serving: true, SystemID: "7"}
		s.set(words, leadershipWords(&s.view.Leadership))
		s.settle()
	case "timeline":
		s.timeline(words)
	case "planned":
		s.view.Leadership.Planned = nil
		if words[0] != "none" {
			s.view.Leadership.Planned = &pgctl.Planned{}
			s.set(words, plannedWords(s.view.Leadership.Planned))
		}
	case "phase":
		s.view.PhaseAge = duration(words[0])
	case "leased":
		s.view.LeaseAge = duration(words[0])
	case "told":
		s.view.WaitTold = true
	case "crashes":
		s.view.Crashes = int(number(words[0]))
	case "request":
		s.request(words)
	case "drop":
		s.drop(words[0])
	case "decide":
		return s.decide()
	case "commit":
		return s.commit()
	default:
		return s.runAct(command, words)
	}
	return nil
}

// settle fills in what a leadership in a script leaves out.
func (s *script) settle() {
	l := &s.view.Leadership
	if l.Rule.Leader == "" {
		l.Rule.Leader = l.Leader
	}
	for _, r := range []*pgctl.Rule{l.NextRule, l.Joint} {
		if r != nil {
			r.Leader = l.Rule.Leader
		}
	}
	if l.NextRule != nil {
		l.NextRule.Version = l.Rule.Version + 1
	}
	if l.NextRule != nil && l.Joint == nil {
		joint := ha.Joint(l.Rule, *l.NextRule)
		l.Joint = &joint
	}
	if l.SteadyEpoch == 0 && l.Phase == pgctl.Steady {
		l.SteadyEpoch = l.Epoch
	}
}

func (s *script) runAct(command string, words []string) []string {
	switch command {
	case "self":
		s.act = ha.InstanceView{
			Self:   pgctl.Instance{Name: "shop-" + words[0], Life: life(words[0]), Wanted: pgctl.WantRunning},
			Server: ha.Server{Directory: ha.ReadyDirectory},
		}
		s.set(words[1:], settings{"wanted": func(v string) { s.act.Self.Wanted = pgctl.WantedState(v) }})
	case "local":
		s.set(words, localWords(&s.act.Local))
	case "server":
		s.set(words, serverWords(&s.act.Server))
	case "source":
		s.act.Source = nil
		if words[0] != "none" {
			s.act.Source = &ha.Source{Life: life(words[0]), Address: "host-" + words[0]}
			s.set(words[1:], sourceWords(s.act.Source))
		}
	case "store":
		s.act.StoreAge = duration(words[0])
	case "unacked":
		s.act.Unacked = duration(words[0])
	case "lease":
		s.act.Lease = duration(words[0])
	case "act":
		return s.steps()
	default:
		s.fatal("there is no command %q", command)
	}
	return nil
}

func (s *script) timeline(words []string) {
	r := pgctl.TimelineRecord{
		Timeline: pgctl.Timeline(number(words[0])), State: pgctl.TimelineState(words[1]), Leader: life(words[2]),
		Epoch: s.view.Leadership.Epoch,
	}
	s.set(words[3:], settings{
		"epoch":  func(v string) { r.Epoch = pgctl.Epoch(number(v)) },
		"parent": func(v string) { p := position(v); r.Parent, r.Switch = p.Timeline, p.LSN },
	})
	s.view.Leadership.History = append(s.view.Leadership.History, r)
}

func (s *script) request(words []string) {
	s.view.Request = nil
	if words[0] == "none" {
		return
	}
	s.view.Request = &ha.Request{Failover: words[0] == "failover"}
	switch words[0] {
	case "pause", "resume":
		pause := words[0] == "pause"
		s.view.Request.Pause = &pause
	case "schedule":
		s.view.Request.Schedule = &pgctl.Scheduled{Do: pgctl.TaskSwitchover, At: time.Unix(1800000000, 0)}
	case "cancel":
		s.view.Request.Schedule = &pgctl.Scheduled{}
	}
	for _, w := range words[1:] {
		switch w {
		case "lossy":
			s.view.Request.Lossy = true
		case "rolling":
			s.view.Request.Why = "the rolling restart goes on with a switchover"
		case "dead":
			s.view.Request.OldDead = true
		default:
			s.view.Request.To = life(w)
		}
	}
}

// tell adds to what is known of a member; the first word about it makes it known and well.
func (s *script) tell(name string, words []string) {
	m := s.member(name)
	if len(words) == 1 && words[0] == "none" {
		*m = ha.Member{Instance: m.Instance, Host: m.Host, Life: m.Life, Age: time.Minute, Idle: time.Minute}
		return
	}
	s.set(words, memberWords(m, s.view.Leadership.Leader, s.view.Leadership.Epoch))
}

func (s *script) member(name string) *ha.Member {
	for i := range s.view.Members {
		if s.view.Members[i].Life == life(name) {
			return &s.view.Members[i]
		}
	}
	s.view.Members = append(s.view.Members, ha.Member{
		Instance: "shop-" + name, Host: "host-" + name, Life: life(name), Age: 100 * time.Millisecond,
		Report: ha.Report{
			Instance: "shop-" + name, Life: life(name), SystemID: "7", State: ha.Running,
			Epoch: s.view.Leadership.Epoch, ProofAge: 500 * time.Millisecond,
		},
	})
	return &s.view.Members[len(s.view.Members)-1]
}

func (s *script) drop(name string) {
	kept := s.view.Members[:0]
	for _, m := range s.view.Members {
		if m.Life != life(name) {
			kept = append(kept, m)
		}
	}
	s.view.Members = kept
}

// decide prints a decision, and holds it to what every decision must be.
func (s *script) decide() []string {
	s.decided = ha.Decide(s.view)
	if err := ha.Check(s.view, s.decided); err != nil {
		s.fatal("%v", err)
	}
	return describe(s.view, s.decided)
}

// commit applies the decision as the store and the agents' next heartbeats do.
func (s *script) commit() []string {
	if s.decided.Next == nil {
		return []string{"NOTHING WAS DECIDED"}
	}
	before := s.view.Leadership
	s.view.Leadership = *s.decided.Next
	if before.Epoch != s.view.Leadership.Epoch || before.Phase != s.view.Leadership.Phase {
		s.view.PhaseAge = 0
	}
	if s.decided.Done || s.decided.Answer != nil {
		s.view.Request = nil
	}
	s.decided = ha.Decision{}
	for i := range s.view.Members {
		if m := &s.view.Members[i]; m.Age <= ha.Fresh {
			m.Report.Epoch = s.view.Leadership.Epoch
		}
	}
	return nil
}

func (s *script) steps() []string {
	s.act.Leadership = s.view.Leadership
	s.act.Members = nil
	for _, m := range s.view.Members {
		s.act.Members = append(s.act.Members, pgctl.Instance{Name: m.Instance, Host: m.Host, Life: m.Life, Wanted: pgctl.WantRunning})
	}
	steps := ha.Act(s.act)
	if len(steps) == 0 {
		return []string{"nothing to do"}
	}
	var lines []string
	for _, step := range steps {
		lines = append(lines, describeStep(step))
	}
	return lines
}
