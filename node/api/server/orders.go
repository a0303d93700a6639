package server

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// done says in the answer what an order of a kind will lead to.
var done = map[api.OrderKind]string{
	api.OrderPause: "automatic failover of %s is paused", api.OrderResume: "automatic failover of %s is on again",
	api.OrderReload: "the servers of %s read their files again", api.OrderRestart: "a restart of %s is ordered",
	api.OrderReinit: "a new copy is ordered for %s", api.OrderSwitchover: "a switchover of %s is scheduled",
	api.OrderCancel: "nothing is scheduled for %s any more",
}

// orders takes an order that is no change of the declaration.
func (s *server) orders(w http.ResponseWriter, r *http.Request) error {
	var o api.Order
	if err := readJSON(r, &o); err != nil {
		return err
	}
	state, c, err := s.one(r)
	if err != nil {
		return err
	}
	var names []string
	for _, i := range state.Instances(c.Name) {
		names = append(names, i.Name)
	}
	if err := checkOrder(o, c.Name, names); err != nil {
		return err
	}
	index, err := s.Operator.Order(r.Context(), c.Name, o)
	if err != nil {
		return err
	}
	text := fmt.Sprintf(done[o.Do], c.Name)
	if o.Do == api.OrderRestart && o.At != nil {
		text = "a restart of " + c.Name + " is scheduled"
	}
	return changed(w, index, text)
}

// checkOrder refuses what cannot mean anything.
func checkOrder(o api.Order, cluster string, instances []string) error {
	restart, switchover := o.Do == api.OrderRestart, o.Do == api.OrderSwitchover
	switch {
	case done[o.Do] == "":
		return pgctl.Errorf(pgctl.CodeInvalid, "there is no order %q", o.Do).At("do")
	case (o.Rolling || o.Pending) && !restart:
		return pgctl.Errorf(pgctl.CodeInvalid, "only a restart is rolling, or of what is pending").At("rolling")
	case o.At != nil && !restart && !switchover:
		return pgctl.Errorf(pgctl.CodeInvalid, "a %s cannot be scheduled", o.Do).At("at")
	case o.At == nil && switchover:
		return pgctl.Errorf(pgctl.CodeInvalid, "a switchover now is POST …/switchover").At("at")
	case o.At != nil && o.At.Before(time.Now()):
		return pgctl.Errorf(pgctl.CodeInvalid, "%s is over", o.At.UTC().Format(time.RFC3339)).At("at").WithHint("leave it out to have it done at once")
	case o.Instance != "" && restart && o.At != nil:
		return pgctl.Errorf(pgctl.CodeInvalid, "a restart of one instance cannot be scheduled").At("at")
	case o.Instance == "" && o.Do == api.OrderReinit:
		return pgctl.Errorf(pgctl.CodeInvalid, "which instance is to be copied anew?").At("instance")
	case o.Instance != "" && !restart && !switchover && o.Do != api.OrderReinit:
		return pgctl.Errorf(pgctl.CodeInvalid, "%s is about the cluster", o.Do).At("instance")
	case o.Instance != "" && !slices.Contains(instances, o.Instance):
		e := pgctl.Errorf(pgctl.CodeNotFound, "cluster %s has no instance %q", cluster, o.Instance).At("instance")
		if near := pgctl.Nearest(o.Instance, instances); near != "" {
			_ = e.WithHint("did you mean %s?", near)
		}
		return e
	}
	return nil
}
