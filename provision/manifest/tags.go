package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
)

// maxDelay bounds replayDelay: what is not replayed yet has to be kept.
const maxDelay = 7 * 24 * time.Hour

// tagFields are the fields of one entry of spec.pgctl.instances.
var tagFields = map[string]func(*reader, *place, *pgctl.Tags){
	"noFailover":    func(r *reader, p *place, t *pgctl.Tags) { t.NoFailover, _ = r.boolean(p) },
	"noSync":        func(r *reader, p *place, t *pgctl.Tags) { t.NoSync, _ = r.boolean(p) },
	"noLoadBalance": func(r *reader, p *place, t *pgctl.Tags) { t.NoLoadBalance, _ = r.boolean(p) },
	"cloneFrom":     func(r *reader, p *place, t *pgctl.Tags) { t.CloneFrom, _ = r.boolean(p) },
	"replicateFrom": func(r *reader, p *place, t *pgctl.Tags) { t.From, _ = r.text(p) },
	"failoverPriority": func(r *reader, p *place, t *pgctl.Tags) {
		n, _ := r.integer(p, -100, 100)
		t.Priority = int(n)
	},
	"replayDelay": func(r *reader, p *place, t *pgctl.Tags) {
		s, ok := r.text(p)
		d, err := time.ParseDuration(s)
		switch {
		case !ok:
		case err != nil:
			r.problem(p, pgctl.Errorf(pgctl.CodeInvalid, "%q is not a duration", shortened(s)).WithHint("write it like 30m or 1h"))
		case d < time.Second || d > maxDelay:
			r.invalid(p, "must be between 1s and %s", maxDelay)
		default:
			t.Delay = d
		}
	},
}

// tags reads what is said of single instances.
func (r *reader) tags(p *place) {
	for _, entry := range r.mapping(p) {
		var t pgctl.Tags
		for _, c := range r.mapping(entry) {
			read, known := tagFields[c.name]
			switch {
			case known:
				read(r, c, &t)
			default:
				names := slices.Sorted(maps.Keys(tagFields))
				e := pgctl.Errorf(pgctl.CodeInvalid, "is not a known field").WithHint("known here: %s", strings.Join(names, ", "))
				if near := nearest(c.name, names); near != "" {
					e = e.WithHint("did you mean %s?", near)
				}
				r.problem(c, e)
			}
		}
		if t != (pgctl.Tags{}) {
			put(&r.cluster.Spec.Tags, entry.name, t)
		}
	}
}

// checkTags holds what is said of instances against the cluster: that they exist, follow each other without
// a loop, and that somebody may lead.
func (r *reader) checkTags() {
	const path = "spec.pgctl.instances"
	c := r.cluster
	mayLead := c.Spec.Instances
	for _, name := range slices.Sorted(maps.Keys(c.Spec.Tags)) {
		t, at := c.Spec.Tags[name], path+"."+name
		ordinal, ours := strings.CutPrefix(name, c.Name+"-")
		if n, err := strconv.Atoi(ordinal); !ours || err != nil || n < 0 || n > 99 || strconv.Itoa(n) != ordinal {
			r.file.add(r.lineOf(at), at, pgctl.Errorf(pgctl.CodeInvalid, "is no instance of %s", c.Name).
				WithHint("instances are named %s-0, %s-1 …", c.Name, c.Name))
			continue
		}
		if t.NoFailover || t.Delay > 0 {
			mayLead--
		}
		if why := upstreamProblem(&c, name); why != "" {
			r.file.add(r.lineOf(at+".replicateFrom"), at+".replicateFrom", pgctl.Errorf(pgctl.CodeInvalid, "%s", why))
		}
	}
	if mayLead <= 0 && c.Spec.Instances > 0 {
		r.invalid(r.at(path), "leaves nobody that may lead: noFailover and replayDelay are for standbys")
	}
}

// upstreamProblem says why an instance cannot follow the one that it names, or "".
func upstreamProblem(c *pgctl.Cluster, name string) string {
	seen := map[string]bool{name: true}
	for at := c.Spec.Tags[name].From; at != ""; at = c.Spec.Tags[at].From {
		switch {
		case !strings.HasPrefix(at, c.Name+"-"):
			return fmt.Sprintf("%q is no instance of %s", shortened(at), c.Name)
		case seen[at]:
			return "instances that follow each other in a circle follow nobody"
		}
		seen[at] = true
	}
	return ""
}

// encodedTags is an entry as Encode writes it.
type encodedTags struct {
	NoFailover    bool   `yaml:"noFailover,omitempty"`
	Priority      int    `yaml:"failoverPriority,omitempty"`
	NoSync        bool   `yaml:"noSync,omitempty"`
	NoLoadBalance bool   `yaml:"noLoadBalance,omitempty"`
	CloneFrom     bool   `yaml:"cloneFrom,omitempty"`
	From          string `yaml:"replicateFrom,omitempty"`
	Delay         string `yaml:"replayDelay,omitempty"`
}

func encodeTags(tags map[string]pgctl.Tags) map[string]encodedTags {
	out := map[string]encodedTags{}
	for name, t := range tags {
		e := encodedTags{NoFailover: t.NoFailover, Priority: t.Priority, NoSync: t.NoSync, NoLoadBalance: t.NoLoadBalance, CloneFrom: t.CloneFrom, From: t.From}
		if t.Delay > 0 {
			e.Delay = t.Delay.String()
		}
		out[name] = e
	}
	return out
}

// tags compares what is said of single instances.
func (d *differ) tags(old, new map[string]pgctl.Tags) {
	type texts = map[string]string
	split := func(all map[string]pgctl.Tags) texts {
		out := texts{}
		for name, t := range all {
			for field, value := range map[string]any{
				"noFailover": t.NoFailover, "failoverPriority": t.Priority, "noSync": t.NoSync, "noLoadBalance": t.NoLoadBalance,
				"cloneFrom": t.CloneFrom, "replicateFrom": t.From, "replayDelay": t.Delay,
			} {
				if text := fmt.Sprint(value); text != "false" && text != "0" && text != "" && text != "0s" {
					out[name+"."+field] = text
				}
			}
		}
		return out
	}
	d.each("spec.pgctl.instances", split(old), split(new), func(key, _, _ string) (Effect, string) {
		switch _, field, _ := strings.Cut(key, "."); field {
		case "noSync", "replicateFrom":
			return EffectCommitRule, ""
		case "replayDelay":
			return EffectCommitRule, "a standby that replays later neither leads nor acknowledges"
		}
		return EffectNone, ""
	})
}
