package node

import (
	"testing"

	"github.com/pgctl/pgctl"
)

// A server that has just started knows nothing yet, and others may take it for the leader that it was before. It
// says that it does not lead, so that they ask again, and never that there is no such cluster.
func TestOnlyTheRaftLeaderTakesOrders(t *testing.T) {
	i := install(t)
	i.group.deposed = true
	i.group.now = picture{}
	agent := &Node{Config: Config{Store: i.group}}
	for name, n := range map[string]*Node{"a server": i.node, "an agent": agent} {
		_, viewed := n.View("shop")
		for what, err := range map[string]error{
			"a switchover": n.Ask(t.Context(), Wish{Cluster: "shop"}),
			"a restart":    n.Order(t.Context(), Order{Cluster: "shop", Do: "restart", Instance: "shop-0"}),
			"a view":       viewed,
		} {
			if pgctl.CodeOf(err) != pgctl.CodeUnavailable {
				t.Errorf("%s asked of %s that does not lead: %v", what, name, err)
			}
		}
	}
}
