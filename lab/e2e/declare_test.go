package e2e

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/lab/writer"
	"github.com/pgctl/pgctl/node/api"
)

// A cluster is changed in every way while an application writes: nothing is lost, and nothing stops that
// need not stop.
func TestRunningClusterChanges(t *testing.T) {
	apply(t, manifest("grow", 1))
	well(t, "grow", 0)
	first := write(t, "grow") // knows of one instance only
	more(t, first)
	apply(t, manifest("grow", 3))
	well(t, "grow", 2)
	more(t, first)
	nothingLost(t, first)
	w := write(t, "grow")
	instancesChange(t, w)
	parametersChange(t, w)
	rolesChange(t)
	sourcesChange(t)
	more(t, w)
	nothingLost(t, w)
	do(t, "delete", "grow", "--yes", "grow")
}

// instancesChange: 3 → 2. The rule lets go of the removed instance before its server stops; its data
// is kept.
func instancesChange(t *testing.T, w *writer.Writer) {
	before := get[api.ClusterDetail](t, "show", "grow").Instances
	if len(before) != 3 {
		t.Fatalf("%d instances instead of 3", len(before))
	}
	hosts := map[string]bool{}
	for _, i := range before {
		hosts[i.Host] = true
	}
	if len(hosts) != 3 {
		t.Errorf("3 instances share %d hosts", len(hosts))
	}
	more(t, w)
	apply(t, manifest("grow", 2))
	well(t, "grow", 1)
	left := map[string]bool{}
	for _, i := range get[api.ClusterDetail](t, "show", "grow").Instances {
		left[i.Name] = true
	}
	for _, i := range before {
		if left[i.Name] {
			continue
		}
		folder := filepath.Join(world.dir, i.Host, "data/instances", i.Name, string(i.Life))
		if matches(t, folder+"/pgdata/PG_VERSION") != 1 {
			t.Errorf("the data of %s is not in %s any more", i.Name, folder)
		}
		eventually(t, "the server of "+i.Name+" ends", func() (bool, string) {
			return matches(t, folder+"/pgdata/postmaster.pid") == 0, "it runs"
		})
		gone := kinds(t, "grow", i.Name)
		if !slices.Contains(gone, "standby.removed") {
			t.Errorf("the rule did not let go of %s first: %v", i.Name, gone)
		}
	}
	more(t, w)
}

// parametersChange: a reload moves nothing; a restart costs one switchover; lowering what standbys must
// not have lower than the leader restarts the leader first, in place.
func parametersChange(t *testing.T, w *writer.Writer) {
	epoch := epochOf(t, "grow")
	apply(t, with(t, manifest("grow", 2), "parameters: {work_mem: 9MB}"))
	settings(t, "grow", "work_mem", "9MB")
	if now := epochOf(t, "grow"); now != epoch {
		t.Errorf("a reload took the leadership from epoch %d to %d", epoch, now)
	}
	apply(t, with(t, manifest("grow", 2), "parameters: {work_mem: 9MB, max_connections: 150, max_locks_per_transaction: 80}"))
	settings(t, "grow", "max_connections", "150")
	settings(t, "grow", "max_locks_per_transaction", "80")
	if now := epochOf(t, "grow"); now != epoch+1 {
		t.Errorf("a restart took the leadership from epoch %d to %d, instead of one switchover", epoch, now)
	}
	more(t, w)
	apply(t, with(t, manifest("grow", 2), "parameters: {max_connections: 120}"))
	settings(t, "grow", "max_connections", "120")
	settings(t, "grow", "max_locks_per_transaction", "64")
	settings(t, "grow", "work_mem", "4MB")
	if now := epochOf(t, "grow"); now != epoch+1 {
		t.Errorf("lowering max_connections took the leadership from epoch %d to %d", epoch+1, now)
	}
	well(t, "grow", 1)
	more(t, w)
}

// rolesChange: roles and databases appear, a password is replaced.
func rolesChange(t *testing.T) {
	text := strings.Replace(manifest("grow", 2), "users: {app: []}", "users: {app: [], report: [CREATEDB]}", 1)
	apply(t, strings.Replace(text, "databases: {app: app}", "databases: {app: app, reports: report}", 1))
	old := strings.TrimSpace(do(t, "password", "grow", "report"))
	target := func(password string) string {
		u := parse(t, strings.TrimSpace(do(t, "dsn", "grow", "--database", "reports")))
		u.User = url.UserPassword("report", password)
		return u.String()
	}
	answers(t, target(old), "SELECT current_database() || current_user || rolcreatedb FROM pg_roles WHERE rolname = current_user", "reportsreporttrue")
	fresh := strings.TrimSpace(do(t, "password", "grow", "report", "--rotate"))
	if fresh == old {
		t.Fatal("the password was not replaced")
	}
	answers(t, target(fresh), "SELECT 1", "1")
	if out, err := ask(t, target(old), "SELECT 1"); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("the old password: %s %v", out, err)
	}
	if out := refused(t, "", "password", "grow", "reprot"); !strings.Contains(out, "report") {
		t.Errorf("a wrong role's name suggests nothing: %s", out)
	}
}

// sourcesChange: clients come from where the declaration says.
func sourcesChange(t *testing.T) {
	const sql = "SELECT string_agg(address, ' ' ORDER BY address) FROM pg_hba_file_rules WHERE address LIKE '203.0.113.%'"
	text := strings.Replace(manifest("grow", 2, "allowedSourceRanges: [203.0.113.0/24]"), "{app: []}", "{app: [SUPERUSER]}", 1)
	apply(t, text)
	answers(t, dsn(t, "grow"), sql, "203.0.113.0")
	apply(t, strings.Replace(text, "203.0.113.0/24", "203.0.113.128/25", 1))
	answers(t, dsn(t, "grow"), sql, "203.0.113.128")
}

// with adds to a manifest's postgresql section.
func with(t *testing.T, manifest, more string) string {
	t.Helper()
	out := strings.Replace(manifest, `postgresql: {version: "15"}`, `postgresql: {version: "15", `+more+"}", 1)
	if out == manifest {
		t.Fatal("the manifest has no such section")
	}
	return out
}

// ask runs one query with one text as its answer.
func ask(t *testing.T, dsn, sql string, args ...any) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	var answer *string
	if err := conn.QueryRow(ctx, "SELECT ("+strings.TrimSuffix(sql, ";")+")::text", args...).Scan(&answer); err != nil || answer == nil {
		return "", err
	}
	return *answer, nil
}

// answers waits until a query has an answer.
func answers(t *testing.T, dsn, sql, want string) {
	t.Helper()
	eventually(t, sql+" is "+want, func() (bool, string) {
		got, err := ask(t, dsn, sql)
		return err == nil && got == want, fmt.Sprint(got, err)
	})
}

// settings waits until every instance runs with a value.
func settings(t *testing.T, cluster, name, want string) {
	t.Helper()
	for _, i := range get[api.ClusterDetail](t, "show", cluster).Instances {
		answers(t, instanceDSN(t, cluster, i.Host), "SELECT current_setting('"+name+"')", want)
	}
}

// instanceDSN connects to one instance, whatever it is.
func instanceDSN(t *testing.T, cluster, host string) string {
	t.Helper()
	u := parse(t, dsn(t, cluster))
	u.Host = fmt.Sprintf("%s:%d", addressOf(host), get[api.ClusterDetail](t, "show", cluster).Cluster.Port)
	q := u.Query()
	q.Del("target_session_attrs")
	u.RawQuery = q.Encode()
	return u.String()
}

func addressOf(host string) string { return "127.0.0." + strings.TrimPrefix(host, "dev-") }

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func epochOf(t *testing.T, cluster string) pgctl.Epoch {
	t.Helper()
	return get[api.ClusterDetail](t, "show", cluster).Leadership.Epoch
}

// events of a cluster; of everything for "".
func events(t *testing.T, cluster string) []pgctl.Event {
	t.Helper()
	if cluster == "" {
		return get[[]pgctl.Event](t, "events")
	}
	return get[[]pgctl.Event](t, "events", cluster)
}

// kinds of the events about an instance, in their order.
func kinds(t *testing.T, cluster, instance string) (all []string) {
	t.Helper()
	for _, e := range events(t, cluster) {
		if e.Instance == instance {
			all = append(all, e.Kind)
		}
	}
	return all
}

// said waits for an event about a cluster whose message contains all the words.
func said(t *testing.T, cluster string, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("an event of %s says %q", cluster, words), func() (bool, string) {
		for _, e := range events(t, cluster) {
			if containsAll(e.Message, words) {
				return true, ""
			}
		}
		return false, "no such event"
	})
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
			return false
		}
	}
	return true
}

// matches counts the files of a pattern.
func matches(t *testing.T, pattern string) int {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}
