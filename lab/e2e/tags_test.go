package e2e

import (
	"strings"
	"testing"

	"github.com/pgctl/pgctl/node/api"
)

// Of four instances one follows another standby and one replays later: neither acknowledges, neither leads
// when the leader dies, and both follow whoever does.
func TestTags(t *testing.T) {
	const tags = "pgctl: {instances: {tags-2: {replicateFrom: tags-1, noFailover: true}, tags-3: {replayDelay: 3s, noLoadBalance: true}}}"
	apply(t, manifest("tags", 4, tags))
	following := func() {
		t.Helper()
		eventually(t, "everybody follows, and commits wait for one who may", func() (bool, string) {
			detail := get[api.ClusterDetail](t, "show", "tags")
			for _, i := range detail.Instances {
				special := i.Name == "tags-2" || i.Name == "tags-3"
				switch leads := i.Life == detail.Leadership.Leader; {
				case i.Live == nil || !leads && !i.Live.Streaming:
					return false, i.Name + " does not stream"
				case special && (leads || detail.Leadership.Rule.Names(i.Life)):
					return false, i.Name + " leads, or is waited for"
				}
			}
			return detail.Leadership.Rule.Acks == 1 && detail.Leadership.NextRule == nil, "the rule is not complete"
		})
	}
	following()
	w := write(t, "tags")
	more(t, w)
	lead, _ := leader(t, "tags")
	killPostmaster(t, "tags", lead)
	more(t, w)
	following()
	if out := refused(t, "", "switchover", "tags", "--to", "tags-2"); !strings.Contains(out, "noFailover") {
		t.Errorf("a switchover to one that never leads: %s", out)
	}
	if readers := do(t, "dsn", "tags", "--replica"); strings.Contains(readers, hostAddress(t, "tags", "tags-3")) {
		t.Errorf("reads are sent to %s", readers)
	}
	nothingLost(t, w)
	do(t, "delete", "tags", "--yes", "tags")
}

// hostAddress is where an instance's host listens, with its port.
func hostAddress(t *testing.T, cluster, instance string) string {
	t.Helper()
	name := hostOf(t, cluster, instance)
	for _, h := range get[[]api.HostDetail](t, "hosts") {
		if h.Name == name {
			return h.Address + ":"
		}
	}
	t.Fatalf("no host %s", name)
	return ""
}
