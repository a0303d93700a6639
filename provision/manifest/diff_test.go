package manifest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgctl/pgctl"
	"pgregory.net/rapid"
)

// clusters draws clusters that a manifest can declare.
func clusters() *rapid.Generator[pgctl.Cluster] {
	word := rapid.StringMatching(`[a-z][a-z0-9]{0,8}`)
	line := rapid.OneOf(
		rapid.SampledFrom([]string{
			"on", "yes", "1e3", "0x1F", "~", "null", " x ", "a: b",
			"- a", "#", "'", "\"", "*a", "1:20", ".5", "<<",
		}),
		rapid.StringMatching(`[^\x00-\x1f\x7f-\x9f]{0,12}`),
		rapid.StringOf(rapid.RuneFrom([]rune("ab :#'\"\\\t{}[],&*!|>%@`é\u2028\ufeff😀"))),
	)
	text := func(s string) string { return strings.ToValidUTF8(s, "") }
	lines := rapid.Map(line, text)
	maybe := func(m map[string]string) map[string]string {
		if len(m) == 0 {
			return nil
		}
		return m
	}
	return rapid.Custom(func(t *rapid.T) pgctl.Cluster {
		c := pgctl.Cluster{
			Name:        word.Draw(t, "name"),
			Namespace:   rapid.SampledFrom([]string{"", "a", "1-2"}).Draw(t, "namespace"),
			Team:        rapid.SampledFrom([]string{"", "acid", "007", "1e3"}).Draw(t, "team"),
			Labels:      maybe(rapid.MapOfN(word, lines, 0, 2).Draw(t, "labels")),
			Annotations: maybe(rapid.MapOfN(word, rapid.Map(rapid.String(), annotation), 0, 2).Draw(t, "annotations")),
		}
		s := &c.Spec
		s.Version = rapid.IntRange(15, 18).Draw(t, "version")
		s.Instances = rapid.IntRange(0, 9).Draw(t, "instances")
		s.Parameters = maybe(rapid.MapOfN(word, lines, 0, 3).Draw(t, "parameters"))
		if rapid.Bool().Draw(t, "initdb") {
			s.InitDB = map[string]string{"encoding": "UTF8"}
		}
		if rapid.Bool().Draw(t, "hba") {
			s.HBA = []string{"hostssl all all 0.0.0.0/0 scram-sha-256", "local all all peer # " + word.Draw(t, "comment")}
		}
		if rapid.Bool().Draw(t, "users") {
			s.Users = map[string][]string{"owner": {"LOGIN", "SUPERUSER"}, "other": nil}
			s.Databases = map[string]string{word.Draw(t, "database"): "owner"}
			s.AllowedSources = []string{"10.0.0.0/8", "fd00::/8"}
		}
		s.VolumeSize = rapid.SampledFrom([]string{"", "1Gi", "1.5T", "1000"}).Draw(t, "volume")
		s.Durability.Mode = rapid.SampledFrom([]pgctl.Mode{pgctl.Quorum, pgctl.Lease}).Draw(t, "mode")
		s.Durability.MaximumLag = rapid.Int64Range(0, 1<<50).Draw(t, "lag")
		if s.Durability.Mode == pgctl.Quorum {
			s.Durability.SyncNodes = rapid.IntRange(0, 8).Draw(t, "nodes")
			s.Durability.Strict = rapid.Bool().Draw(t, "strict")
		}
		if rapid.Bool().Draw(t, "placement") {
			s.Placement.DataCenters = []string{"b", "a"}
			s.Placement.HostLabels = map[string]string{"ssd": lines.Draw(t, "label")}
		}
		return c
	})
}

// annotation keeps what a YAML file can hold: some characters cannot stand in it even escaped.
func annotation(s string) string {
	return strings.Map(func(c rune) rune {
		if c == 0 || c == '\ufffd' {
			return -1
		}
		return c
	}, s)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := clusters().Draw(t, "cluster")
		again(t, &c)
		if changes := Diff(&c, &c, nil); len(changes) > 0 {
			t.Fatalf("differs from itself: %v", changes)
		}
	})
}

func TestDiffSeesEveryDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := clusters().Draw(t, "a"), clusters().Draw(t, "b")
		textA, _ := Encode(&a)
		textB, _ := Encode(&b)
		changes := Diff(&a, &b, nil)
		if (string(textA) == string(textB)) != (len(changes) == 0) {
			t.Fatalf("changes %v between\n%s\nand\n%s", changes, textA, textB)
		}
		if back := Diff(&b, &a, nil); len(back) != len(changes) {
			t.Fatalf("%d changes there, %d back", len(changes), len(back))
		}
	})
}

func TestDiff(t *testing.T) {
	base := pgctl.Cluster{Name: "shop", Team: "a", Spec: pgctl.ClusterSpec{
		Version: 16, Instances: 2, VolumeSize: "10Gi",
		Parameters: map[string]string{"work_mem": "1MB", "shared_buffers": "1GB", "my.secret_key": "hush-1"},
		HBA:        []string{"host all all all ldap ldapbindpasswd=hush-2 ldapserver=x", "local all all peer"},
		Users:      map[string][]string{"owner": {"CREATEDB"}, "old": nil},
		Databases:  map[string]string{"shop": "owner", "olddb": "owner"},
		Durability: pgctl.Durability{Mode: pgctl.Quorum},
	}}
	cases := []struct {
		name   string
		change func(c *pgctl.Cluster)
		want   []string
	}{
		{"nothing", func(*pgctl.Cluster) {}, nil},
		{"labels", func(c *pgctl.Cluster) { c.Labels = map[string]string{"a": ""}; c.Team = "" }, []string{
			`metadata.labels.a: "" -> "\"\"" none`, `spec.teamId: "a" -> "" none`,
		}},
		{"grow", func(c *pgctl.Cluster) { c.Spec.Instances = 3 }, []string{
			`spec.numberOfInstances: "2" -> "3" add instance`,
		}},
		{"shrink", func(c *pgctl.Cluster) { c.Spec.Instances = 1 }, []string{
			`spec.numberOfInstances: "2" -> "1" remove instance`,
		}},
		{"stop", func(c *pgctl.Cluster) { c.Spec.Instances = 0 }, []string{`spec.numberOfInstances: "2" -> "0" stop`}},
		{"upgrade", func(c *pgctl.Cluster) { c.Spec.Version = 17 }, []string{
			`spec.postgresql.version: "16" -> "17" refused (upgrades to another major version are not supported yet; ` +
				`make a new cluster and move the data)`,
		}},
		{"downgrade", func(c *pgctl.Cluster) { c.Spec.Version = 15 }, []string{
			`spec.postgresql.version: "16" -> "15" refused (data cannot go back to an older major version; ` +
				`make a new cluster and move the data)`,
		}},
		{"parameters", func(c *pgctl.Cluster) {
			c.Spec.Parameters = map[string]string{"work_mem": "2MB", "my.secret_key": "hush-3", "jit": "off"}
		}, []string{
			`spec.postgresql.parameters.jit: "" -> "off" reload`,
			`spec.postgresql.parameters.my.secret_key: "(hidden)" -> "(hidden)" reload`,
			`spec.postgresql.parameters.shared_buffers: "1GB" -> "" restart`,
			`spec.postgresql.parameters.work_mem: "1MB" -> "2MB" reload`,
		}},
		{"hba", func(c *pgctl.Cluster) {
			c.Spec.HBA = []string{"local all all peer", `host all all all ldap ldapbindpasswd="hush 4"`}
			c.Spec.AllowedSources = []string{"10.0.0.0/8"}
		}, []string{
			`spec.allowedSourceRanges: "" -> "10.0.0.0/8" reload`,
			`spec.patroni.pg_hba: "host all all all ldap ldapbindpasswd=(hidden) ldapserver=x" -> ` +
				`"host all all all ldap ldapbindpasswd=(hidden)" reload`,
		}},
		{"initdb", func(c *pgctl.Cluster) { c.Spec.InitDB = map[string]string{"locale": "C"} }, []string{
			`spec.patroni.initdb.locale: "" -> "C" refused (it holds when the data is made; ` +
				`make a new cluster and move the data)`,
		}},
		{"roles", func(c *pgctl.Cluster) {
			c.Spec.Users = map[string][]string{"owner": {"LOGIN"}, "new": nil}
			c.Spec.Databases = map[string]string{"shop": "new", "newdb": "new"}
		}, []string{
			`spec.databases.newdb: "" -> "new" sql`,
			`spec.databases.olddb: "owner" -> "" none (the database stays; drop it by hand)`,
			`spec.databases.shop: "owner" -> "new" sql`,
			`spec.users.new: "" -> "\"\"" sql`,
			`spec.users.old: "\"\"" -> "" none (the role stays; drop it by hand)`,
			`spec.users.owner: "CREATEDB" -> "LOGIN" sql`,
		}},
		{"volume shrinks", func(c *pgctl.Cluster) { c.Spec.VolumeSize = "10G" }, []string{
			`spec.volume.size: "10Gi" -> "10G" refused (a volume can only grow)`,
		}},
		{"volume grows", func(c *pgctl.Cluster) { c.Spec.VolumeSize = "0.1Ti" }, []string{
			`spec.volume.size: "10Gi" -> "0.1Ti" none (recorded only; pgctl uses the disks that the host has)`,
		}},
		{"durability", func(c *pgctl.Cluster) {
			c.Spec.Durability = pgctl.Durability{Mode: pgctl.Lease, SyncNodes: 1, Strict: true, MaximumLag: 7}
		}, []string{
			`spec.patroni.maximum_lag_on_failover: "" -> "7" none`,
			`spec.pgctl.durability.mode: "quorum" -> "lease" commit rule (once its leader holds a lease, commits wait for nobody, and a failover may lose the last of them)`,
			`spec.pgctl.durability.strict: "false" -> "true" commit rule`,
			`spec.pgctl.durability.syncNodes: "half the instances" -> "1" commit rule`,
		}},
		{"placement", func(c *pgctl.Cluster) { c.Spec.Placement.DataCenters = []string{"a", "b"} }, []string{
			`spec.pgctl.placement.dataCenters: "" -> "a, b" none (instances that are placed stay where they are)`,
		}},
		{"name", func(c *pgctl.Cluster) { c.Name = "other" }, []string{
			`metadata.name: "shop" -> "other" refused (a cluster cannot be renamed)`,
		}},
	}
	restarts := func(version int, parameter string) bool { return version == 16 && parameter == "shared_buffers" }
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			changed := base
			c.change(&changed)
			check(t, Diff(&base, &changed, restarts), c.want)
		})
	}
	stopped := base
	stopped.Spec.Instances = 0
	check(t, Diff(&stopped, &base, restarts), []string{`spec.numberOfInstances: "0" -> "2" start`})
	check(t, Diff(nil, &base, nil), []string{`metadata.name: "" -> "shop" create`})
	check(t, Diff(&base, nil, nil), []string{`metadata.name: "shop" -> "" delete`})
	check(t, Diff(nil, nil, nil), nil)
}

func check(t *testing.T, changes []Change, want []string) {
	t.Helper()
	var got []string
	for _, c := range changes {
		text := fmt.Sprintf("%s: %q -> %q %s", c.Path, c.Old, c.New, c.Effect)
		if c.Why != "" {
			text += " (" + c.Why + ")"
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(strings.Join(got, ""), "hush") {
		t.Error("a secret shows")
	}
}
