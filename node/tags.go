package node

import (
	"slices"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// applyTags lets what is declared of single instances change where this one streams or is copied from. Its
// history is compared with the leader's all the same.
func (a *agent) applyTags(v *ha.InstanceView, tags map[string]pgctl.Tags, hosts map[string]pgctl.Host) {
	own := tags[a.self.Name]
	v.Server.Delayed = own.Delay > 0
	if v.Source == nil {
		return
	}
	from := own.From
	if v.Server.Directory == ha.NoDirectory {
		from = ""
		for _, m := range v.Members {
			// One that does not stream may have been promoted by hand: its copy would pass for the leader's data. After
			// a failure the leader's copy is taken.
			if tags[m.Name].CloneFrom && slices.Contains(v.Source.Streaming, m.Life) && a.problem == "" {
				from = m.Name
			}
		}
	}
	for _, m := range v.Members {
		if host, known := hosts[m.Host]; known && m.Name == from && m.Life != v.Leadership.Leader {
			redirected := *v.Source
			redirected.Via = host.Address
			v.Source = &redirected
		}
	}
}
