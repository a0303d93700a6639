package ha_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// settings are the words that a command understands; a flag is set with "true", taken back with "".
type settings map[string]func(value string)

func (s *script) set(words []string, known settings) {
	s.t.Helper()
	for _, word := range words {
		key, value, has := strings.Cut(word, "=")
		if !has {
			value = "true"
		}
		if plain, off := strings.CutPrefix(key, "-"); off {
			key, value = plain, ""
		}
		if known[key] == nil {
			s.fatal("no word %q here", key)
		}
		known[key](value)
	}
}

func declaredWords(d *ha.Declared) settings {
	return settings{
		"acks": count(&d.Acks), "instances": count(&d.Instances), "strict": boolean(&d.Strict), "across": boolean(&d.Across),
		"mode": func(v string) { d.Mode = pgctl.Mode(v) },
		"lag":  func(v string) { d.MaximumLag = int64(number(v)) },
	}
}

func leadershipWords(l *pgctl.Leadership) settings {
	return settings{
		"epoch":  func(v string) { l.Epoch = pgctl.Epoch(number(v)) },
		"steady": func(v string) { l.SteadyEpoch = pgctl.Epoch(number(v)) },
		"phase":  func(v string) { l.Phase = pgctl.Phase(v) },
		"leader": func(v string) { l.Leader = life(v) },
		"of":     func(v string) { l.Rule.Leader = life(v) },
		"rule": func(v string) {
			v1 := l.Rule
			l.Rule = rule(v)
			l.Rule.Leader, l.Rule.Lost, l.Rule.Version = v1.Leader, v1.Lost, v1.Version
		},
		"lost":    func(v string) { l.Rule.Lost = lives(v) },
		"version": func(v string) { l.Rule.Version = uint64(number(v)) },
		"next":    func(v string) { r := rule(v); l.NextRule = &r },
		"joint":   func(v string) { r := rule(v); l.Joint = &r },
		"mode":    func(v string) { l.Mode = pgctl.Mode(v) },
		"changes": func(v string) { l.NextMode = pgctl.Mode(v) },
		"system":  text(&l.SystemID), "paused": boolean(&l.Paused), "serving": boolean(&l.Serving),
	}
}

func plannedWords(p *pgctl.Planned) settings {
	return settings{
		"from": func(v string) { p.From = life(v) }, "to": func(v string) { p.To = life(v) },
		"within": wait(&p.Within), "stopped": func(v string) { p.StoppedAt = position(v) },
		"released": boolean(&p.Released), "lossy": boolean(&p.Lossy),
	}
}

func memberWords(m *ha.Member, leader pgctl.Life, epoch pgctl.Epoch) settings {
	r := &m.Report
	known := settings{
		"age": wait(&m.Age), "detect": wait(&m.Detect), "streaming": wait(&m.Streaming), "stalled": wait(&m.Stalled), "idle": wait(&m.Idle),
		"removals": count(&m.Removals), "leaving": boolean(&m.Leaving), "dc": text(&m.DataCenter),
		"life": func(v string) { r.Life = life(v) }, "system": text(&r.SystemID),
		"state": func(v string) { r.State = ha.State(v) }, "failed": text(&r.Failed), "lost": text(&r.LifeLost),
		"detail": text(&r.Detail), "primary": boolean(&r.Primary), "open": boolean(&r.Open),
		"epoch": func(v string) { r.Epoch = pgctl.Epoch(number(v)) }, "end": func(v string) { r.End = position(v) },
		"promised": func(v string) { r.Promised = pgctl.Epoch(number(v)) },
		"replayed": lsn(&r.Replayed), "leaderend": lsn(&r.LeaderEnd), "parent": func(v string) { r.Parent = switchAt(v) },
		"leased": boolean(&r.Leased), "guarded": boolean(&r.Guarded), "armed": boolean(&r.Armed),
		"frozen": boolean(&r.Frozen), "mute": boolean(&r.Mute), "full": boolean(&r.DiskFull), "store": wait(&r.StoreAge), "nofailover": boolean(&m.Tags.NoFailover),
		"nosync": boolean(&m.Tags.NoSync), "priority": count(&m.Tags.Priority), "delay": wait(&m.Tags.Delay),
		"follows": text(&m.Tags.From),
		"proof":   wait(&r.ProofAge), "waiting": wait(&r.Waiting),
		"listed": func(v string) { r.Listed = life(v) }, "vouched": wait(&r.Vouched),
		"foreign": func(v string) { r.Pledge.Foreign = v != "" },
		"senders": func(v string) { r.Senders = senders(v) },
	}
	known["pledge"] = func(v string) {
		e, at := pair(v)
		r.Pledge, r.Promised, r.End, r.Replayed = &ha.Pledge{Epoch: e, Position: position(at)}, e, position(at), position(at).LSN
		if v == "" {
			r.Pledge = nil
		}
	}
	known["stopped"] = func(v string) { e, at := pair(v); r.StoppedAt = &ha.Stopped{Epoch: e, At: position(at)} }
	known["promoted"] = func(v string) {
		e, at := pair(v)
		r.Promoted = &ha.Promotion{Epoch: e, Timeline: position(at).Timeline, Record: position(at).LSN}
		r.Primary, r.End, r.Pledge = true, position(at), nil
	}
	known["confirmed"] = func(v string) {
		e, version := pair(v)
		r.Confirmed = &ha.Confirmation{Epoch: e, Version: uint64(number(version))}
	}
	known["probe"] = func(v string) {
		r.Probe = &ha.Probe{Leader: leader, Epoch: epoch, Progress: v == "progress", Answered: v == "answered", Refused: v == "refused"}
		if v == "closed" {
			r.Probe.Answered, r.Probe.Closed = true, true
		}
	}
	return known
}

func localWords(l *ha.Local) settings {
	return settings{
		"pledge":    func(v string) { l.Pledge = pgctl.Epoch(number(v)) },
		"mark":      func(v string) { l.Mark = pgctl.Timeline(number(v)) },
		"rewinding": func(v string) { l.Rewinding = pgctl.Epoch(number(v)) }, "rewound": boolean(&l.Rewound),
		"rule": func(v string) {
			e, version := pair(v)
			l.Rule = &ha.RuleMark{Epoch: e, Version: uint64(number(version))}
		},
	}
}

func serverWords(s *ha.Server) settings {
	name := func(to *string) func(string) {
		return func(v string) {
			*to = ""
			if who, e, ok := strings.Cut(v, "@"); ok {
				*to = life(who).MemberName(pgctl.Epoch(number(e)))
			}
		}
	}
	return settings{
		"directory": func(v string) { s.Directory = ha.Directory(v) }, "trouble": text(&s.Trouble), "busy": text(&s.Busy),
		"state": func(v string) { s.State = ha.State(v) }, "crashed": boolean(&s.Crashed), "downfor": wait(&s.DownFor),
		"handed": func(v string) { s.Handed = pgctl.Epoch(number(v)) },
		"signal": boolean(&s.Signal), "delayed": boolean(&s.Delayed), "primary": boolean(&s.Primary), "open": boolean(&s.Open), "atend": boolean(&s.AtEnd),
		"tl": func(v string) { s.Timeline = pgctl.Timeline(number(v)) },
		"at": func(v string) { s.Position = position(v); s.Timeline, s.Replayed = s.Position.Timeline, s.Position.LSN },
		"history": func(v string) {
			s.History = nil
			for part := range strings.SplitSeq(v, ",") {
				s.History = append(s.History, switchAt(part))
			}
		},
		"receiver": name(&s.Receiver), "upstream": name(&s.Upstream), "address": text(&s.Address), "waiting": wait(&s.Waiting),
		"guard": func(v string) { // armed, stale, required, or what the trouble is
			s.Guard = &ha.GuardState{}
			for _, word := range strings.Split(v, ",") {
				switch word {
				case "armed":
					s.Guard.Armed = true
				case "stale":
					s.Guard.Stale = true
				case "required":
					s.Guard.Required = true
				case "idle":
				default:
					s.Guard.Trouble = word
				}
			}
		},
		"slots": func(v string) {
			s.Slots = nil
			for _, l := range lives(v) {
				s.Slots = append(s.Slots, l.Slot())
			}
		},
		"confirmed": func(v string) {
			e, version := pair(v)
			s.Confirmed = &ha.Confirmation{Epoch: e, Version: uint64(number(version))}
			if v == "" {
				s.Confirmed = nil
			}
		},
		"promoted": func(v string) {
			e, at := pair(v)
			s.Promoted = &ha.Promotion{Epoch: e, Timeline: position(at).Timeline, Record: position(at).LSN}
		},
	}
}

func sourceWords(s *ha.Source) settings {
	return settings{
		"epoch":      func(v string) { s.Epoch = pgctl.Epoch(number(v)) },
		"end":        func(v string) { s.Timeline, s.End = position(v).Timeline, position(v).LSN; s.Checkpoint = s.Timeline },
		"oldest":     func(v string) { s.Oldest = position(v).LSN },
		"checkpoint": func(v string) { s.Checkpoint = pgctl.Timeline(number(v)) },
		"history": func(v string) {
			for part := range strings.SplitSeq(v, ",") {
				s.History = append(s.History, switchAt(part))
			}
		},
	}
}

func boolean(to *bool) func(string)       { return func(v string) { *to = v != "" } }
func count(to *int) func(string)          { return func(v string) { *to = int(number(v)) } }
func text(to *string) func(string)        { return func(v string) { *to = strings.ReplaceAll(v, "_", " ") } }
func wait(to *time.Duration) func(string) { return func(v string) { *to = duration(v) } }
func lsn(to *pgctl.LSN) func(string)      { return func(v string) { *to = hexLSN(v) } }

func life(letter string) pgctl.Life {
	if letter == "" || letter == "none" {
		return ""
	}
	return pgctl.Life(strings.Repeat(letter, 8))
}

func lives(letters string) (all []pgctl.Life) {
	for _, r := range letters {
		all = append(all, life(string(r)))
	}
	slices.Sort(all)
	return all
}

// letters is the reverse of lives.
func letters(all ...pgctl.Life) string {
	text := ""
	for _, l := range all {
		text += string(l[:min(1, len(l))])
	}
	return text
}

// rule reads "1:bc+d": one of b and c; d is lost.
func rule(text string) pgctl.Rule {
	acks, names, _ := strings.Cut(text, ":")
	names, lost, _ := strings.Cut(names, "+")
	return pgctl.Rule{Acks: int(number(acks)), Standbys: lives(names), Lost: lives(lost)}
}

func position(text string) pgctl.Position {
	timeline, at, _ := strings.Cut(text, "@")
	return pgctl.Position{Timeline: pgctl.Timeline(number(timeline)), LSN: hexLSN(at)}
}

func switchAt(text string) pgctl.Switch {
	p := position(text)
	return pgctl.Switch{Timeline: p.Timeline, End: p.LSN}
}

// senders reads "b@2:500,c@2:500": streaming under epoch 2, flushed to 0/500.
func senders(text string) (all []ha.Sender) {
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		who, rest, _ := strings.Cut(part, "@")
		e, at := pair(rest)
		all = append(all, ha.Sender{Life: life(who), Epoch: e, Streaming: true, Flushed: hexLSN(at)})
	}
	return all
}

// pair reads "2:rest": an epoch and what is said of it.
func pair(text string) (pgctl.Epoch, string) {
	e, rest, _ := strings.Cut(text, ":")
	return pgctl.Epoch(number(e)), rest
}

func hexLSN(text string) pgctl.LSN {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 16, 64)
	must(err)
	return pgctl.LSN(n)
}

func number(text string) uint64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	must(err)
	return n
}

func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	must(err)
	return d
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("a script is wrong: %v", err))
	}
}

func fmtInt(n int) string { return strconv.Itoa(n) }
