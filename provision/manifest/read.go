package manifest

import (
	"maps"
	"slices"
	"strings"

	"github.com/pgctl/pgctl"
	"go.yaml.in/yaml/v3"
)

// reader reads one document into a cluster.
type reader struct {
	file     *file
	cluster  pgctl.Cluster
	warnings []Warning
	lines    map[string]int // path → line, of everything read
	noPooler bool           // enableConnectionPooler: false, which switches a described pooler off
	patroni  durability     // what patroni.synchronous_* say
	own      durability     // what spec.pgctl.durability says
}

// durability is what one of the two places that may speak of it says; nil is nothing.
type durability struct {
	sync   *bool // patroni's synchronous_mode
	mode   *pgctl.Mode
	nodes  *int
	strict *bool
	across *bool // ours only
}

func (r *reader) problem(p *place, e *pgctl.Error) { r.file.add(p.line, p.path(), e) }

func (r *reader) invalid(p *place, format string, args ...any) {
	r.problem(p, pgctl.Errorf(pgctl.CodeInvalid, format, args...))
}

func (r *reader) warn(p *place, message string) {
	r.warnings = append(r.warnings, Warning{Path: p.path(), Line: p.line, Message: message})
}

// lineOf is where a path stands, or else the nearest thing above it.
func (r *reader) lineOf(path string) int {
	for {
		line, ok := r.lines[path]
		if ok || path == "" {
			return line
		}
		path, _ = splitPath(path)
	}
}

// at is a place that was read before.
func (r *reader) at(path string) *place {
	return &place{parent: &place{}, name: path, line: r.lineOf(path)}
}

func (r *reader) read(top *place) {
	r.lines[""] = top.line
	children, ok := r.children(top, yaml.MappingNode)
	if !ok || !r.ours(top, children) {
		return
	}
	r.section(top, "")
	r.required()
	r.finish()
}

// ours says whether the document is a declaration of a cluster at all: if not, one problem is enough.
func (r *reader) ours(top *place, children []*place) bool {
	before := len(r.file.problems)
	found := map[string]bool{}
	for _, c := range children {
		switch found[c.name] = true; c.name {
		case "apiVersion":
			r.apiVersion(c)
		case "kind":
			r.kind(c)
		}
	}
	for _, name := range []string{"apiVersion", "kind"} {
		if !found[name] {
			r.file.add(top.line, name, pgctl.Errorf(pgctl.CodeInvalid, "is missing").
				WithHint("a manifest begins with apiVersion: acid.zalan.do/v1 and kind: postgresql"))
		}
	}
	return len(r.file.problems) == before
}

func (r *reader) apiVersion(p *place) {
	if p.node.Value != "acid.zalan.do/v1" {
		r.invalid(p, "must be acid.zalan.do/v1, not %q", shortened(p.node.Value))
	}
}

func (r *reader) kind(p *place) {
	if p.node.Value != "postgresql" && p.node.Value != "Postgresql" {
		r.problem(p, pgctl.Errorf(pgctl.CodeInvalid, "must be postgresql, not %q", shortened(p.node.Value)).
			WithHint("keep objects of other kinds in other files"))
	}
}

// section reads the fields of a section as the table says.
func (r *reader) section(p *place, path string) {
	children := r.mapping(p)
	for _, c := range children {
		if c.name == "enableConnectionPooler" {
			r.noPooler = !isSet(c.node)
		}
	}
	for _, c := range children {
		f, known := schema[path][c.name]
		switch {
		case !known:
			r.unknown(c, path)
		case isNull(c.node): // as Kubernetes has it: the same as not there
			delete(r.lines, c.path())
		case f.treatment == section:
			r.section(c, f.path)
		case f.treatment == used:
			f.read(r, c)
		case !isSet(c.node) && !f.evenEmpty:
		case f.treatment == refused && (f.live == nil || f.live(r)):
			r.problem(c, pgctl.Errorf(pgctl.CodeRefused, "is not supported: %s", f.note).
				WithHint("remove it to go on without"))
		default:
			r.warn(c, "has no effect: "+f.note)
		}
	}
}

func (r *reader) poolerOn() bool { return !r.noPooler }

func (r *reader) unknown(p *place, section string) {
	e := pgctl.Errorf(pgctl.CodeInvalid, "is not a known field")
	siblings := slices.Sorted(maps.Keys(schema[section]))
	if near := nearest(p.name, siblings); near != "" {
		r.problem(p, e.WithHint("did you mean %s?", near))
		return
	}
	for _, f := range fields {
		if _, name := splitPath(f.path); name == p.name {
			r.problem(p, e.WithHint("it belongs at %s", f.path))
			return
		}
	}
	if len(siblings) <= 8 {
		e = e.WithHint("known here: %s", strings.Join(siblings, ", "))
	}
	r.problem(p, e)
}

func (r *reader) required() {
	for _, path := range []string{"metadata.name", "spec.numberOfInstances", "spec.postgresql.version"} {
		if _, ok := r.lines[path]; !ok {
			r.file.add(r.lineOf(path), path, pgctl.Errorf(pgctl.CodeInvalid, "is missing").
				WithHint("every cluster needs metadata.name, spec.numberOfInstances and spec.postgresql.version"))
		}
	}
}

// finish checks what more than one field has a part in.
func (r *reader) finish() {
	r.durability()
	r.owners()
	r.checkTags()
	c := &r.cluster.Spec
	if len(c.HBA) > 0 && len(c.AllowedSources) > 0 {
		r.warn(r.at("spec.allowedSourceRanges"), "has no effect beside spec.patroni.pg_hba, which says it line by line")
	}
	if r.file.options.CheckParameters == nil || c.Version == 0 || len(c.Parameters) == 0 {
		return
	}
	const above = "spec.postgresql.parameters"
	for _, e := range r.file.options.CheckParameters(c.Version, c.Parameters) {
		path := above + "." + strings.TrimPrefix(e.Field, above+".")
		line, ok := r.lines[path]
		if !ok {
			line = r.lineOf(above)
		}
		r.file.add(line, path, &e)
	}
}

// durability joins what patroni.synchronous_* and spec.pgctl.durability say; ours wins.
func (r *reader) durability() {
	d := &r.cluster.Spec.Durability
	d.Mode = pgctl.Quorum
	if sync := r.patroni.sync; sync != nil && r.own.mode == nil && !*sync {
		d.Mode = pgctl.Lease
		r.warn(r.at("spec.patroni.synchronous_mode"), "false means lease mode: commits wait for no standby, and a "+
			"failover may lose the last of them; remove the line for quorum mode, which loses none")
	}
	if r.own.mode != nil {
		d.Mode = *r.own.mode
		if sync := r.patroni.sync; sync != nil && *sync != (d.Mode == pgctl.Quorum) {
			r.warn(r.at("spec.patroni.synchronous_mode"), "has no effect: spec.pgctl.durability.mode says "+string(d.Mode))
		}
	}
	if d.Mode == pgctl.Lease {
		const waits = "is for quorum mode only; in lease mode commits wait for nobody"
		if r.own.nodes != nil {
			r.invalid(r.at("spec.pgctl.durability.syncNodes"), waits)
		}
		if r.own.strict != nil && *r.own.strict {
			r.invalid(r.at("spec.pgctl.durability.strict"), waits)
		}
		if r.own.across != nil && *r.own.across {
			r.invalid(r.at("spec.pgctl.durability.acrossDataCenters"), waits)
		}
		return
	}
	for _, said := range []durability{r.patroni, r.own} {
		if said.nodes != nil {
			d.SyncNodes = *said.nodes
		}
		if said.strict != nil {
			d.Strict = *said.strict
		}
	}
	d.AcrossDataCenters = r.own.across != nil && *r.own.across
	if d.AcrossDataCenters && d.SyncNodes > 0 {
		r.warn(r.at("spec.pgctl.durability.acrossDataCenters"), "decides how many are waited for: half of the standbys in other data "+
			"centers, rounded up; syncNodes counts only when there are none")
	}
	if n := r.cluster.Spec.Instances; d.SyncNodes >= n && n > 1 {
		path := "spec.pgctl.durability.syncNodes"
		if r.own.nodes == nil {
			path = "spec.patroni.synchronous_node_count"
		}
		r.warn(r.at(path), "is more than the standbys there are: commits wait for all of them")
	}
	if d.MaximumLag > 0 {
		r.warn(r.at("spec.patroni.maximum_lag_on_failover"),
			"has no effect in quorum mode: no failover may lose an acknowledged commit")
	}
}

// owners checks that the owners of databases are there to own them.
func (r *reader) owners() {
	users := slices.Sorted(maps.Keys(r.cluster.Spec.Users))
	for _, name := range slices.Sorted(maps.Keys(r.cluster.Spec.Databases)) {
		if len(r.file.problems) >= maxProblems {
			return
		}
		owner := r.cluster.Spec.Databases[name]
		if _, ok := r.cluster.Spec.Users[owner]; ok {
			continue
		}
		e := pgctl.Errorf(pgctl.CodeInvalid, "its owner %q is not among spec.users", owner)
		if near := nearest(owner, users); near != "" {
			e = e.WithHint("did you mean %s?", near)
		} else {
			e = e.WithHint("add it there: %s: []", owner)
		}
		path := "spec.databases." + name
		r.file.add(r.lineOf(path), path, e)
	}
}
