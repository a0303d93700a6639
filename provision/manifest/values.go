package manifest

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/pgctl/pgctl"
	"go.yaml.in/yaml/v3"
)

// versions are the PostgreSQL major versions that a manifest may ask for.
var versions = []string{"15", "16", "17", "18"}

// maxMetadata bounds labels and annotations together, in bytes: they live in the replicated state.
const maxMetadata = 64 << 10

func (r *reader) name(p *place) {
	if s, ok := r.text(p); ok && r.matches(p, s, clusterNames) {
		r.cluster.Name = s
	}
}

func (r *reader) namespace(p *place) {
	if s, ok := r.text(p); ok && r.matches(p, s, dnsLabels) {
		r.cluster.Namespace = s
	}
}

func (r *reader) team(p *place) {
	if s, ok := r.scalar(p); ok && r.matches(p, s, plainNames) {
		r.cluster.Team = s
	}
}

func (r *reader) labels(p *place) { r.cluster.Labels = r.metadata(p) }

// lastApplied is where kubectl keeps the whole manifest a second time.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func (r *reader) annotations(p *place) {
	m := r.metadata(p)
	delete(m, lastApplied)
	if len(m) > 0 {
		r.cluster.Annotations = m
	}
}

// metadata reads labels or annotations. Their values may have several lines.
func (r *reader) metadata(p *place) map[string]string {
	size := 0
	var m map[string]string
	for _, c := range r.mapping(p) {
		if c.node.Kind != yaml.ScalarNode || isNull(c.node) || c.node.ShortTag() == "!!binary" {
			r.wrongType(c, "a string or a number")
			continue
		}
		if c.name == "" || strings.ContainsFunc(c.name, isControl) || strings.ContainsRune(c.node.Value, 0) {
			r.invalid(c, "needs a name, and text without control characters")
			continue
		}
		if c.name != lastApplied {
			size += len(c.name) + len(c.node.Value)
		}
		put(&m, c.name, c.node.Value)
	}
	if size > maxMetadata {
		r.invalid(p, "is %d bytes in all; the most is %d", size, maxMetadata)
	}
	return m
}

func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

func (r *reader) instances(p *place) {
	if n, ok := r.integer(p, 0, 9); ok {
		r.cluster.Spec.Instances = int(n)
	}
}

func (r *reader) version(p *place) {
	s, ok := r.scalar(p)
	if !ok {
		return
	}
	if i := slices.Index(versions, s); i >= 0 {
		r.cluster.Spec.Version = 15 + i
		return
	}
	e := pgctl.Errorf(pgctl.CodeInvalid, "PostgreSQL %s is not supported", shortened(s)).
		WithHint("write one of %s", strings.Join(versions, ", "))
	if major, _, minor := strings.Cut(s, "."); minor && slices.Contains(versions, major) {
		e = e.WithHint("write the major version only, %q; the minor one is what the host has", major)
	}
	r.problem(p, e)
}

func (r *reader) parameters(p *place) {
	for _, c := range r.mapping(p) {
		if isNull(c.node) {
			r.problem(c, pgctl.Errorf(pgctl.CodeInvalid, "has no value").WithHint(`write "" for an empty one, or remove it`))
			continue
		}
		if s, ok := r.scalar(c); ok && r.matches(c, c.name, parameterNames) {
			put(&r.cluster.Spec.Parameters, c.name, s)
		}
	}
}

// initdbOptions are those that choose what the data is like. The others (where it lies, who may log
// in, whether it is written through) are pgctl's.
var initdbOptions = []string{
	"builtin-locale", "encoding", "icu-locale", "icu-rules", "lc-collate", "lc-ctype", "lc-monetary",
	"lc-numeric", "lc-time", "locale", "locale-provider", "text-search-config", "wal-segsize",
}

func (r *reader) initdb(p *place) {
	for _, c := range r.mapping(p) {
		s, ok := r.scalar(c)
		switch {
		case !ok:
		case c.name == "data-checksums":
			if !slices.Contains([]string{"true", "on", ""}, strings.ToLower(s)) {
				r.problem(c, pgctl.Errorf(pgctl.CodeRefused, "cannot be switched off").
					WithHint("pgctl always makes data directories with checksums; remove it"))
			}
		case slices.Contains(initdbOptions, c.name) && s != "":
			put(&r.cluster.Spec.InitDB, c.name, s)
		case s == "":
			r.invalid(c, "needs a value")
		default:
			e := pgctl.Errorf(pgctl.CodeRefused, "is not an option of initdb that a manifest may set").
				WithHint("known: data-checksums, %s", strings.Join(initdbOptions, ", "))
			if near := nearest(c.name, initdbOptions); near != "" {
				e = e.WithHint("did you mean %s?", near)
			}
			r.problem(c, e)
		}
	}
}

func (r *reader) maximumLag(p *place) {
	if n, ok := r.integer(p, 0, 1<<50); ok {
		r.cluster.Spec.Durability.MaximumLag = n
	}
}

func (r *reader) volumeSize(p *place) {
	s, ok := r.scalar(p)
	if !ok {
		return
	}
	if _, ok := volumeBytes(s); !ok {
		r.problem(p, pgctl.Errorf(pgctl.CodeInvalid, "%q is not a size", shortened(s)).
			WithHint("write it like 10Gi or 500M"))
		return
	}
	r.cluster.Spec.VolumeSize = s
}

// userFlags are what a role can be, each with its opposite by a NO in front.
var userFlags = []string{"SUPERUSER", "INHERIT", "LOGIN", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS"}

func (r *reader) users(p *place) {
	for _, c := range r.mapping(p) {
		if r.matches(c, c.name, roleNames) {
			r.reserved(c, reservedRole(c.name))
		}
		var flags []string
		if !isNull(c.node) {
			flags = r.flags(c)
		}
		put(&r.cluster.Spec.Users, c.name, flags)
	}
}

// flags reads the flags of one user; in upper case, sorted and each once, so that equal roles look equal.
func (r *reader) flags(p *place) []string {
	all := slices.Clone(userFlags)
	for _, f := range userFlags {
		all = append(all, "NO"+f)
	}
	var flags []string
	for _, c := range r.list(p) {
		s, ok := r.text(c)
		flag := strings.ToUpper(s)
		switch {
		case !ok || slices.Contains(flags, flag):
		case !slices.Contains(all, flag):
			e := pgctl.Errorf(pgctl.CodeInvalid, "%q is not a flag of a role", shortened(s)).
				WithHint("known: %s, each also with NO in front", strings.Join(userFlags, ", "))
			if near := nearest(s, all); near != "" {
				e = e.WithHint("did you mean %s?", near)
			}
			r.problem(c, e)
		case slices.Contains(flags, "NO"+flag) || slices.Contains(flags, strings.TrimPrefix(flag, "NO")):
			r.invalid(c, "%s contradicts another flag of this role", flag)
		default:
			flags = append(flags, flag)
		}
	}
	slices.Sort(flags)
	return flags
}

func (r *reader) databases(p *place) {
	for _, c := range r.mapping(p) {
		if r.matches(c, c.name, databaseNames) {
			r.reserved(c, reservedDatabase(c.name))
		}
		owner, ok := r.text(c)
		if ok && owner == "" {
			r.invalid(c, "needs an owner, one of spec.users")
		} else if ok {
			put(&r.cluster.Spec.Databases, c.name, owner)
		}
	}
}

func (r *reader) reserved(p *place, why string) {
	if why != "" {
		r.problem(p, pgctl.Errorf(pgctl.CodeRefused, "%q is reserved", shortened(p.name)).WithHint("%s", why))
	}
}

func (r *reader) allowedSources(p *place) {
	for _, c := range r.list(p) {
		s, ok := r.text(c)
		if !ok {
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			e := pgctl.Errorf(pgctl.CodeInvalid, "%q is not a network", shortened(s)).
				WithHint("write it like 10.1.0.0/16 or fd00::/8")
			if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
				e = e.WithHint("write %s for this one address", netip.PrefixFrom(addr, addr.BitLen()))
			}
			r.problem(c, e)
			continue
		}
		if masked := prefix.Masked(); masked != prefix {
			r.warn(c, "means the network "+masked.String())
		}
		network := prefix.Masked().String()
		if sources := &r.cluster.Spec.AllowedSources; !slices.Contains(*sources, network) {
			*sources = append(*sources, network)
		}
	}
}

// env refuses what configures archives and copies of data; the rest is for a container we do not run.
func (r *reader) env(p *place) {
	for _, c := range r.list(p) {
		at, name := c, ""
		if c.node.Kind == yaml.MappingNode {
			for _, v := range r.mapping(c) {
				if v.name == "name" && v.node.Kind == yaml.ScalarNode {
					at, name = v, v.node.Value
				}
			}
		}
		for _, prefix := range []string{"WAL", "AWS_", "USE_WALG", "BACKUP_", "CLONE_", "STANDBY_"} {
			if strings.HasPrefix(name, prefix) {
				r.problem(at, pgctl.Errorf(pgctl.CodeRefused, "%s is not supported yet", shortened(name)).
					WithHint("archives and backups are not made from it; remove it to go on without"))
				break
			}
		}
	}
	r.warn(p, "has no effect: there is no Spilo here that would read it")
}

func (r *reader) dataCenters(p *place) {
	for _, c := range r.list(p) {
		if s, ok := r.text(c); ok && r.matches(c, s, plainNames) {
			list := &r.cluster.Spec.Placement.DataCenters
			*list = append(*list, s)
		}
	}
}

func (r *reader) hostLabels(p *place) {
	for _, c := range r.mapping(p) {
		if s, ok := r.scalar(c); ok && r.matches(c, c.name, labelNames) {
			put(&r.cluster.Spec.Placement.HostLabels, c.name, s)
		}
	}
}

func (r *reader) synchronousMode(p *place)   { set(&r.patroni.sync, p, r.boolean) }
func (r *reader) synchronousStrict(p *place) { set(&r.patroni.strict, p, r.boolean) }
func (r *reader) synchronousCount(p *place)  { set(&r.patroni.nodes, p, r.count) }
func (r *reader) syncNodes(p *place)         { set(&r.own.nodes, p, r.count) }
func (r *reader) strict(p *place)            { set(&r.own.strict, p, r.boolean) }
func (r *reader) acrossDataCenters(p *place) { set(&r.own.across, p, r.boolean) }
func (r *reader) mode(p *place)              { set(&r.own.mode, p, r.modeName) }

func set[V any](to **V, p *place, read func(*place) (V, bool)) {
	if v, ok := read(p); ok {
		*to = &v
	}
}

func (r *reader) count(p *place) (int, bool) {
	n, ok := r.integer(p, 1, 8)
	return int(n), ok
}

var modes = map[string]pgctl.Mode{string(pgctl.Quorum): pgctl.Quorum, string(pgctl.Lease): pgctl.Lease}

func (r *reader) modeName(p *place) (pgctl.Mode, bool) {
	s, ok := r.text(p)
	if !ok {
		return "", false
	}
	mode, known := modes[s]
	if !known {
		r.invalid(p, "must be %s, not %q", strings.Join(slices.Sorted(maps.Keys(modes)), " or "), shortened(s))
	}
	return mode, known
}
