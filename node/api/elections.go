package api

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
)

// recruiting: nobody leads. Who must be there before somebody may?
func (j *judge) recruiting() {
	l := j.Leadership
	p := Problem{Level: LevelDown, What: "it has no leader", Why: "a new one is being elected"}
	if l.Planned != nil && !j.silent(l.Planned.To) {
		p.What, p.EndedBy = "a switchover to "+j.name(l.Planned.To)+" is under way", j.places(l.Planned.To)
	}
	if j.Blind {
		j.add(p)
		return
	}
	if why, ended := j.missing(j.heard("")); why != "" {
		p.What, p.Why, p.EndedBy = "it has no leader and cannot elect one", why, ended
		p.Do = j.bringBack(ended)
	}
	j.add(p)
}

// promoting: somebody was chosen and must prove that others follow.
func (j *judge) promoting() {
	i, ok := j.instance(j.Leadership.Leader)
	if !ok {
		j.add(Problem{Level: LevelDown, What: "the chosen leader has no instance"})
		return
	}
	rule := j.Leadership.Rule
	p := Problem{
		Level: LevelDown, What: i.Name + " is being promoted", Instance: i.Name, Host: i.Host,
		Why:     "it opens when " + acknowledgers(rule.Acks) + " with it",
		EndedBy: append(j.places(i.Life), j.others(i.Life)...),
	}
	if live := j.live[i.Life]; live.Doing != "" {
		p.Why = live.Doing
	}
	if text, bad := j.trouble(i); bad {
		p.Why, p.Do = text, "another one is chosen within seconds, if enough are there"
	}
	j.add(p)
}

// unknown: the store was restored and may be behind what really happened.
func (j *judge) unknown() {
	p := Problem{
		Level: LevelDown, What: "nobody knows who leads", EndedBy: j.others(""),
		Why: "the replicated state was restored or recovered, so it may be older than the data",
	}
	for _, life := range j.heard("") {
		if live := j.live[life]; live.Role == RolePrimary && live.Open {
			p.Level, p.Instance, p.Host = LevelDegraded, j.name(life), live.Host
			p.What = p.Instance + " serves, but its leadership is not confirmed"
			p.Do = fmt.Sprintf("it is confirmed by itself once its standbys answer, unless it knows of changes that the state does not; "+
				"then pgctl failover %s --to %s", j.Cluster.Name, p.Instance)
		}
	}
	if p.Level == LevelDown {
		p.Do = fmt.Sprintf("compare the positions in pgctl show %s, then pgctl failover %[1]s --to %s",
			j.Cluster.Name, j.furthest())
	}
	j.add(p)
}

// member looks at one instance that does not lead.
func (j *judge) member(i *pgctl.Instance) {
	if j.Blind {
		return
	}
	p := Problem{
		Level: LevelDegraded, Instance: i.Name, Host: i.Host, EndedBy: []Place{{Instance: i.Name, Host: i.Host}},
	}
	live := j.live[i.Life]
	text, bad := j.trouble(i)
	switch {
	case bad:
		p.What, p.Why = i.Name+" is no standby at present", text
		p.Do = "see pgctl events " + j.Cluster.Name
		if j.silent(i.Life) {
			p.Do = "start host " + i.Host + ", or pgctl on it"
		}
	case live.State == StateCreating || live.State == StateStarting:
		p.What, p.Why = i.Name+" is not ready yet", live.Doing
	case j.Leadership.Phase == pgctl.Steady && !live.Streaming && !j.silent(j.Leadership.Leader):
		p.What, p.Why = i.Name+" does not follow the leader", live.Doing
	default:
		return
	}
	j.add(p)
}

// trouble says what keeps an instance from working, as far as that is known.
func (j *judge) trouble(i *pgctl.Instance) (string, bool) {
	live, ok := j.live[i.Life]
	switch {
	case j.Blind:
		return "", false
	case !ok:
		return "nothing was heard of it yet from host " + i.Host, true
	case j.silent(i.Life):
		return fmt.Sprintf("host %s was last heard %s ago", i.Host,
			(time.Duration(live.AgeMs) * time.Millisecond).Truncate(time.Second)), true
	case live.Problem != "":
		return live.Problem, true
	case live.State == StateFailed || live.State == StateStopped:
		return "its Postgres is " + string(live.State), true
	}
	return "", false
}

// silent says whether nothing was heard of a life for too long.
func (j *judge) silent(life pgctl.Life) bool {
	live, ok := j.live[life]
	return !j.Blind && (!ok || time.Duration(live.AgeMs)*time.Millisecond > silence)
}

// heard are the lives that are in contact and have data, except one.
func (j *judge) heard(except pgctl.Life) []pgctl.Life {
	var out []pgctl.Life
	for _, i := range j.Instances {
		if i.Life != except && !j.silent(i.Life) && j.live[i.Life].State != StateCreating &&
			j.live[i.Life].State != StateFailed {
			out = append(out, i.Life)
		}
	}
	return out
}

// streaming are the standbys of a rule that receive from the leader.
func (j *judge) streaming(rule pgctl.Rule) []pgctl.Life {
	var out []pgctl.Life
	for _, life := range rule.Standbys {
		if !j.silent(life) && j.live[life].Streaming {
			out = append(out, life)
		}
	}
	return out
}

// missing says why those heard cannot elect a leader, and who would change that; "" when they can. It is
// the condition "Enough" of the failover protocol: the rule's leader, or so many of its standbys that
// the others can have acknowledged nothing.
func (j *judge) missing(heard []pgctl.Life) (string, []Place) {
	rule := j.Leadership.Rule
	if j.Leadership.Joint != nil {
		rule = *j.Leadership.Joint
	}
	if j.Leadership.Mode == pgctl.Lease || slices.Contains(heard, rule.Leader) {
		return "", nil
	}
	leader := "the last leader"
	if name := j.name(rule.Leader); name != "" {
		leader = name
	}
	if rule.Acks == 0 {
		return "only " + leader + " has every acknowledged commit", j.places(rule.Leader)
	}
	var present []pgctl.Life
	for _, life := range rule.Standbys {
		if slices.Contains(heard, life) {
			present = append(present, life)
		}
	}
	need := len(rule.Standbys) + len(rule.Lost) - rule.Acks + 1 - len(present)
	if need <= 0 {
		return "", nil
	}
	absent := without(rule.Standbys, present)
	if need > len(absent) {
		return "too many instances that may hold acknowledged commits are lost; only " + leader + " has them all",
			j.places(rule.Leader)
	}
	return fmt.Sprintf("acknowledged commits may be on instances that are not heard: needed are %s, or %d more of %s",
		leader, need, j.names(absent)), append(j.places(rule.Leader), j.placesOf(absent)...)
}

// successors says who would end the loss of a steady leader, and what to do.
func (j *judge) successors(leader *pgctl.Instance) ([]Place, string) {
	if why, ended := j.missing(j.heard(leader.Life)); why != "" {
		return append(j.places(leader.Life), without(ended, j.places(leader.Life))...), "no other can lead: " + why +
			"; " + j.bringBack(ended)
	}
	if j.Leadership.Paused {
		return j.places(leader.Life), "automatic failover is paused: pgctl failover " + j.Cluster.Name + " --to " +
			j.furthest()
	}
	return j.others(""), "wait: another instance is made the leader"
}

// bringBack is advice: start who is missing, or accept a loss.
func (j *judge) bringBack(places []Place) string {
	var hosts []string
	for _, p := range places {
		if !slices.Contains(hosts, p.Host) {
			hosts = append(hosts, p.Host)
		}
	}
	text := "start " + strings.Join(hosts, " or ")
	if len(hosts) == 0 {
		text = "no host has it any more"
	}
	return fmt.Sprintf("%s; if they are gone for good: pgctl failover %s --to %s --allow-data-loss",
		text, j.Cluster.Name, j.furthest())
}

// furthest is the instance in contact with the most data; "INSTANCE" when there is none.
func (j *judge) furthest() string {
	name, best := "INSTANCE", pgctl.Position{}
	for _, life := range j.heard("") {
		live := j.live[life]
		if at := (pgctl.Position{Timeline: live.Timeline, LSN: live.LSN}); at.Compare(best) > 0 {
			name, best = live.Instance, at
		}
	}
	return name
}

// instance finds the assignment of a life.
func (j *judge) instance(life pgctl.Life) (*pgctl.Instance, bool) {
	for _, i := range j.Instances {
		if i.Life == life && life != "" {
			return i, true
		}
	}
	return nil, false
}

// name is that of the instance with a life; "" when no instance has it.
func (j *judge) name(life pgctl.Life) string {
	if i, ok := j.instance(life); ok {
		return i.Name
	}
	return ""
}

// places says where a life is.
func (j *judge) places(life pgctl.Life) []Place { return j.placesOf([]pgctl.Life{life}) }

func (j *judge) placesOf(lives []pgctl.Life) []Place {
	var out []Place
	for _, life := range lives {
		if i, ok := j.instance(life); ok {
			out = append(out, Place{Instance: i.Name, Host: i.Host})
		}
	}
	return out
}

// others are the places of all instances but these.
func (j *judge) others(life pgctl.Life, more ...pgctl.Life) []Place {
	var lives []pgctl.Life
	for _, i := range j.Instances {
		if i.Wanted == pgctl.WantRunning {
			lives = append(lives, i.Life)
		}
	}
	return j.placesOf(without(lives, append(more, life)))
}

// without is a list less another.
func without[T comparable](list, less []T) []T {
	var out []T
	for _, v := range list {
		if !slices.Contains(less, v) {
			out = append(out, v)
		}
	}
	return out
}
