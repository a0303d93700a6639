// Package placement decides which host carries which instance of a cluster. It is pure: equal requests
// give equal plans, whatever the order of what they list.
package placement

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgctl/pgctl"
)

// Request is everything the decision depends on.
type Request struct {
	Cluster   pgctl.Cluster
	Instances []pgctl.Instance // that the cluster has; those to be removed still occupy their ordinal and host
	Leader    string           // the name of the leading instance, never removed; "" when there is none
	Hosts     []Host
}

// Host is a server that may carry instances, with what it is like now.
type Host struct {
	pgctl.Host
	Alive     bool
	Instances int // of all clusters
}

// Assignment is a new instance.
type Assignment struct {
	Ordinal int
	Host    string
}

// Plan is what to do: at most one of the two is not empty.
type Plan struct {
	Add    []Assignment // by ordinal
	Remove []string     // names of instances, in the order in which to remove them
}

// Place compares what the cluster asks for with what there is. Instances that exist are never moved. A
// cluster with 0 instances keeps them, stopped, so the plan is empty. New ones go to the data center with
// the fewest of this cluster's, there to the host with the fewest of all clusters', at last to the first
// by name; never two of a cluster to one host.
//
// When hosts do not suffice the plan places as many as it can, and the error (pgctl.CodeUnavailable)
// says for every host what stands against it.
func Place(r Request) (Plan, error) {
	var current []pgctl.Instance
	for _, i := range r.Instances {
		if i.Wanted != pgctl.WantRemoved {
			current = append(current, i)
		}
	}
	want := r.Cluster.Spec.Instances
	if want == 0 {
		return Plan{}, nil
	}
	if len(current) > want {
		return Plan{Remove: removals(current, len(current)-want, r.Leader)}, nil
	}
	return additions(r, current, want-len(current))
}

// removals takes the highest ordinals, but never the leader.
func removals(current []pgctl.Instance, n int, leader string) []string {
	sorted := slices.SortedFunc(slices.Values(current), func(a, b pgctl.Instance) int {
		return cmp.Or(cmp.Compare(b.Ordinal, a.Ordinal), strings.Compare(b.Name, a.Name))
	})
	var names []string
	for _, i := range sorted {
		if len(names) < n && i.Name != leader {
			names = append(names, i.Name)
		}
	}
	return names
}

func additions(r Request, current []pgctl.Instance, missing int) (Plan, error) {
	hosts := slices.SortedFunc(slices.Values(r.Hosts), func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	centers := map[string]int{}  // data center → instances of this cluster in it
	taken := map[string]string{} // host → what stands against another instance on it
	ordinals := map[int]bool{}
	for _, i := range r.Instances {
		ordinals[i.Ordinal] = true
		taken[i.Host] = "has " + i.Name + " already"
		if i.Wanted == pgctl.WantRemoved {
			taken[i.Host] = "has not yet removed " + i.Name
		}
	}
	for _, i := range current {
		if at := slices.IndexFunc(hosts, func(h Host) bool { return h.Name == i.Host }); at >= 0 {
			centers[hosts[at].DataCenter]++
		}
	}
	var plan Plan
	var against []string
	candidates := slices.DeleteFunc(slices.Clone(hosts), func(h Host) bool {
		why := obstacle(r.Cluster.Spec, h, taken[h.Name])
		if why != "" {
			against = append(against, h.Name+": "+why)
		}
		return why != ""
	})
	ordinal := 0
	for ; missing > 0 && len(candidates) > 0; missing-- {
		best := slices.MinFunc(candidates, func(a, b Host) int {
			return cmp.Or(cmp.Compare(centers[a.DataCenter], centers[b.DataCenter]),
				cmp.Compare(a.Instances, b.Instances), strings.Compare(a.Name, b.Name))
		})
		for ordinals[ordinal] {
			ordinal++
		}
		ordinals[ordinal] = true
		centers[best.DataCenter]++
		plan.Add = append(plan.Add, Assignment{Ordinal: ordinal, Host: best.Name})
		candidates = slices.DeleteFunc(candidates, func(h Host) bool { return h.Name == best.Name })
	}
	if missing == 0 {
		return plan, nil
	}
	return plan, shortage(r.Cluster, len(plan.Add), missing, against)
}

func shortage(c pgctl.Cluster, placed, missing int, against []string) error {
	why := strings.Join(against, "; ")
	switch {
	case len(against) == 0 && placed == 0:
		why = "there are no hosts"
	case len(against) == 0:
		why = "every host has one already"
	}
	return pgctl.Errorf(pgctl.CodeUnavailable, "%s: no host for %d of %d instances (%s)",
		c.Name, missing, c.Spec.Instances, why).
		At("spec.numberOfInstances").
		WithHint("add hosts, make these fit, or ask for %d instances; two of a cluster never share a host",
			c.Spec.Instances-missing)
}

// obstacle is what keeps a host from carrying a new instance, all of it; "" when nothing does.
func obstacle(spec pgctl.ClusterSpec, h Host, taken string) string {
	if taken != "" {
		return taken
	}
	var list []string
	if !h.Alive {
		list = append(list, "is not alive")
	}
	if dcs := spec.Placement.DataCenters; len(dcs) > 0 && !slices.Contains(dcs, h.DataCenter) {
		list = append(list, fmt.Sprintf("is in data center %q, not in %s", h.DataCenter, strings.Join(dcs, " or ")))
	}
	for _, key := range slices.Sorted(maps.Keys(spec.Placement.HostLabels)) {
		want := spec.Placement.HostLabels[key]
		if value, ok := h.Labels[key]; !ok {
			list = append(list, fmt.Sprintf("label %s=%s missing", key, want))
		} else if value != want {
			list = append(list, fmt.Sprintf("label %s is %s, not %s", key, value, want))
		}
	}
	if !slices.ContainsFunc(h.Postgres, func(v pgctl.PostgresVersion) bool { return v.Major == spec.Version }) {
		list = append(list, fmt.Sprintf("has no PostgreSQL %d", spec.Version))
	}
	return strings.Join(list, ", ")
}
