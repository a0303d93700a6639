package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgctl/pgctl"
)

// Effect is what carrying out a change does to a cluster.
type Effect string

// The effects. Whatever is refused keeps the whole declaration from being applied.
const (
	EffectNone           Effect = "none"            // recorded; nothing runs
	EffectCreate         Effect = "create"          // a new cluster
	EffectDelete         Effect = "delete"          // the cluster is stopped; its data is kept for a time
	EffectReload         Effect = "reload"          // servers read their files again; sessions go on
	EffectRestart        Effect = "restart"         // servers restart one by one, standbys first
	EffectAddInstance    Effect = "add instance"    // placed on a host and copied
	EffectRemoveInstance Effect = "remove instance" // its data is kept aside for a time
	EffectStart          Effect = "start"           // of a cluster with 0 instances
	EffectStop           Effect = "stop"            // 0 instances: stopped, its data stays
	EffectSQL            Effect = "sql"             // roles and databases are created or altered
	EffectCommitRule     Effect = "commit rule"     // commits wait for others than before
	EffectRefused        Effect = "refused"         // Why says what stands against it
)

// Change is one difference between two declarations. Old is "" for what is added, New for what is removed.
type Change struct {
	Path   string `json:"path"`
	Old    string `json:"old,omitempty"`
	New    string `json:"new,omitempty"`
	Effect Effect `json:"effect"`
	Why    string `json:"why,omitempty"` // of a refusal, or what may surprise
}

// Diff lists the changes from one declaration to another, ordered by path; old is nil for a cluster that
// is new, new for one that goes. restarts says whether a server parameter takes a restart; with nil every
// one is taken to. Values that look like secrets are not shown.
func Diff(old, new *pgctl.Cluster, restarts func(version int, parameter string) bool) []Change {
	switch {
	case old == nil && new == nil:
		return nil
	case old == nil:
		return []Change{{Path: "metadata.name", New: new.Name, Effect: EffectCreate}}
	case new == nil:
		return []Change{{Path: "metadata.name", Old: old.Name, Effect: EffectDelete}}
	}
	d := &differ{}
	o, n := &old.Spec, &new.Spec
	d.single("metadata.name", old.Name, new.Name, EffectRefused, "a cluster cannot be renamed")
	d.single("metadata.namespace", old.Namespace, new.Namespace, EffectNone, "")
	d.each("metadata.labels", old.Labels, new.Labels, always(EffectNone, ""))
	d.each("metadata.annotations", old.Annotations, new.Annotations, always(EffectNone, ""))
	d.single("spec.teamId", old.Team, new.Team, EffectNone, "")
	d.instances(o.Instances, n.Instances)
	d.version(o.Version, n.Version)
	d.each("spec.postgresql.parameters", o.Parameters, n.Parameters, func(name, _, _ string) (Effect, string) {
		if restarts == nil || restarts(o.Version, name) {
			return EffectRestart, ""
		}
		return EffectReload, ""
	})
	d.each("spec.patroni.initdb", o.InitDB, n.InitDB,
		always(EffectRefused, "it holds when the data is made; make a new cluster and move the data"))
	d.hba(o.HBA, n.HBA)
	d.single("spec.allowedSourceRanges", strings.Join(o.AllowedSources, ", "), strings.Join(n.AllowedSources, ", "),
		EffectReload, "")
	d.each("spec.users", flagTexts(o.Users), flagTexts(n.Users), sqlUnlessGone("the role stays; drop it by hand"))
	d.each("spec.databases", o.Databases, n.Databases, sqlUnlessGone("the database stays; drop it by hand"))
	d.volume(o.VolumeSize, n.VolumeSize)
	d.durability(o.Durability, n.Durability)
	d.tags(o.Tags, n.Tags)
	const stay = "instances that are placed stay where they are"
	d.single("spec.pgctl.placement.dataCenters", strings.Join(o.Placement.DataCenters, ", "),
		strings.Join(n.Placement.DataCenters, ", "), EffectNone, stay)
	d.each("spec.pgctl.placement.hostLabels", o.Placement.HostLabels, n.Placement.HostLabels,
		always(EffectNone, stay))
	slices.SortStableFunc(d.changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return d.changes
}

type differ struct{ changes []Change }

func (d *differ) single(path, old, new string, effect Effect, why string) {
	if old != new {
		d.changes = append(d.changes, Change{path, hidden(path, old), hidden(path, new), effect, why})
	}
}

// effectOf says what the change of one entry of a map does, and why.
type effectOf func(key, old, new string) (Effect, string)

// each compares two maps, entry by entry. An entry that is there with an empty value shows as "".
func (d *differ) each(path string, old, new map[string]string, effect effectOf) {
	union := maps.Clone(new)
	if union == nil {
		union = map[string]string{}
	}
	maps.Copy(union, old)
	for _, key := range slices.Sorted(maps.Keys(union)) {
		o, wasThere := old[key]
		n, isThere := new[key]
		if o == n && wasThere == isThere {
			continue
		}
		e, why := effect(key, shown(o, wasThere), shown(n, isThere))
		at := path + "." + key
		d.changes = append(d.changes, Change{at, hidden(at, shown(o, wasThere)), hidden(at, shown(n, isThere)), e, why})
	}
}

// shown tells an empty value from none.
func shown(value string, there bool) string {
	if there && value == "" {
		return `""`
	}
	return value
}

func always(e Effect, why string) effectOf {
	return func(string, string, string) (Effect, string) { return e, why }
}

func sqlUnlessGone(why string) effectOf {
	return func(_, _, new string) (Effect, string) {
		if new == "" {
			return EffectNone, why
		}
		return EffectSQL, ""
	}
}

func flagTexts(users map[string][]string) map[string]string {
	texts := make(map[string]string, len(users))
	for name, flags := range users {
		texts[name] = strings.Join(flags, ", ")
	}
	return texts
}

func (d *differ) instances(old, new int) {
	effect := EffectAddInstance
	switch {
	case new == 0:
		effect = EffectStop
	case old == 0:
		effect = EffectStart
	case new < old:
		effect = EffectRemoveInstance
	}
	d.single("spec.numberOfInstances", strconv.Itoa(old), strconv.Itoa(new), effect, "")
}

func (d *differ) version(old, new int) {
	why := "upgrades to another major version are not supported yet; make a new cluster and move the data"
	if new < old {
		why = "data cannot go back to an older major version; make a new cluster and move the data"
	}
	d.single("spec.postgresql.version", strconv.Itoa(old), strconv.Itoa(new), EffectRefused, why)
}

func (d *differ) volume(old, new string) {
	o, _ := volumeBytes(old)
	n, ok := volumeBytes(new)
	if ok && n < o {
		d.single("spec.volume.size", old, new, EffectRefused, "a volume can only grow")
		return
	}
	d.single("spec.volume.size", old, new, EffectNone, "recorded only; pgctl uses the disks that the host has")
}

func (d *differ) durability(old, new pgctl.Durability) {
	const path = "spec.pgctl.durability."
	why := "once its leader holds a lease, commits wait for nobody, and a failover may lose the last of them"
	if new.Mode == pgctl.Quorum {
		why = "commits wait as soon as standbys have joined"
	}
	d.single(path+"mode", string(old.Mode), string(new.Mode), EffectCommitRule, why)
	number := func(n int64, none string) string {
		if n == 0 {
			return none
		}
		return strconv.FormatInt(n, 10)
	}
	const half = "half the instances"
	d.single(path+"syncNodes", number(int64(old.SyncNodes), half), number(int64(new.SyncNodes), half),
		EffectCommitRule, "")
	d.single(path+"strict", fmt.Sprint(old.Strict), fmt.Sprint(new.Strict), EffectCommitRule, "")
	d.single(path+"acrossDataCenters", fmt.Sprint(old.AcrossDataCenters), fmt.Sprint(new.AcrossDataCenters), EffectCommitRule, "")
	d.single("spec.patroni.maximum_lag_on_failover", number(old.MaximumLag, ""), number(new.MaximumLag, ""),
		EffectNone, "")
}

// hba shows the lines that went and came; when only their order changed, all of them: the first match counts.
func (d *differ) hba(old, new []string) {
	if slices.Equal(old, new) {
		return
	}
	without := func(lines, others []string) []string {
		return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return slices.Contains(others, l) })
	}
	gone, come := without(old, new), without(new, old)
	if len(gone)+len(come) == 0 {
		gone, come = old, new
	}
	d.changes = append(d.changes, Change{
		Path: "spec.patroni.pg_hba", Effect: EffectReload,
		Old: hideOptions(strings.Join(gone, "\n")), New: hideOptions(strings.Join(come, "\n")),
	})
}

var (
	secretName   = regexp.MustCompile(`(?i)passw|passphrase|secret|token|credential|conninfo|(api|access|private)_?key`)
	secretOption = regexp.MustCompile(`(?i)(\w*(?:passw|secret)\w*=)("[^"]*"|\S+)`)
)

const hiddenValue = "(hidden)"

// hidden keeps values of settings whose names speak of secrets out of plans, logs and events.
func hidden(path, value string) string {
	_, name, _ := strings.Cut(path, ".parameters.")
	if value != "" && secretName.MatchString(name) {
		return hiddenValue
	}
	return value
}

// hideOptions does the same for options such as ldapbindpasswd=… and radiussecrets=….
func hideOptions(lines string) string {
	return secretOption.ReplaceAllString(lines, "${1}"+hiddenValue)
}
