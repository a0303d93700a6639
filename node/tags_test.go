package node

import (
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// A new instance is copied from the standby that is tagged for it, as long as that one streams from the leader.
// One that does not may have been promoted by hand, and its copy would pass for the leader's data.
func TestCopiesComeFromWhoStreams(t *testing.T) {
	tags := map[string]pgctl.Tags{"shop-1": {CloneFrom: true}}
	hosts := map[string]pgctl.Host{"one": {Name: "one", Address: "10.0.0.1"}, "two": {Name: "two", Address: "10.0.0.2"}}
	members := []pgctl.Instance{
		{Name: "shop-0", Host: "one", Life: "aaaaaaaa"}, {Name: "shop-1", Host: "two", Life: "bbbbbbbb"}, {Name: "shop-2", Life: "cccccccc"},
	}
	for what, c := range map[string]struct {
		streaming []pgctl.Life
		problem   string
		want      string
	}{
		"it streams":             {streaming: []pgctl.Life{"bbbbbbbb"}, want: "10.0.0.2"},
		"it does not stream":     {streaming: []pgctl.Life{"cccccccc"}, want: "10.0.0.1"},
		"its copy failed before": {streaming: []pgctl.Life{"bbbbbbbb"}, problem: "no", want: "10.0.0.1"},
	} {
		a := &agent{self: members[2], problem: c.problem}
		v := ha.InstanceView{
			Leadership: pgctl.Leadership{Leader: "aaaaaaaa"}, Members: members,
			Source: &ha.Source{Life: "aaaaaaaa", Address: "10.0.0.1", Streaming: c.streaming},
		}
		v.Server.Directory = ha.NoDirectory
		a.applyTags(&v, tags, hosts)
		if got := v.Source.From(); got != c.want {
			t.Errorf("%s: it is copied from %s, not %s", what, got, c.want)
		}
	}
}
