package placement

import (
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pgctl/pgctl"
	"pgregory.net/rapid"
)

// host writes a host as "dev-1 a": name, data center, then load=N, pg=N, dead or labels.
func host(text string) Host {
	words := strings.Fields(text)
	h := Host{Alive: true}
	h.Name, h.DataCenter = words[0], words[1]
	major := 16
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "dead":
			h.Alive = false
		case "load":
			_, _ = fmt.Sscan(value, &h.Instances)
		case "pg":
			_, _ = fmt.Sscan(value, &major)
		default:
			h.Labels = map[string]string{key: value}
		}
	}
	h.Postgres = []pgctl.PostgresVersion{{Major: major}}
	return h
}

func hosts(texts ...string) []Host {
	var list []Host
	for _, text := range texts {
		list = append(list, host(text))
	}
	return list
}

func cluster(instances int) pgctl.Cluster {
	return pgctl.Cluster{Name: "shop", Spec: pgctl.ClusterSpec{Version: 16, Instances: instances}}
}

// has makes instances from "ordinal@host".
func has(texts ...string) []pgctl.Instance {
	var list []pgctl.Instance
	for _, text := range texts {
		i := pgctl.Instance{Cluster: "shop", Wanted: pgctl.WantRunning}
		ordinal, where, _ := strings.Cut(text, "@")
		_, _ = fmt.Sscan(ordinal, &i.Ordinal)
		i.Host, i.Name = strings.TrimSuffix(where, "!"), "shop-"+ordinal
		if strings.HasSuffix(where, "!") {
			i.Wanted = pgctl.WantRemoved
		}
		list = append(list, i)
	}
	return list
}

func show(p Plan, err error) string {
	var parts []string
	for _, a := range p.Add {
		parts = append(parts, fmt.Sprintf("+%d@%s", a.Ordinal, a.Host))
	}
	for _, name := range p.Remove {
		parts = append(parts, "-"+name)
	}
	if err != nil {
		parts = append(parts, "! "+err.Error())
	}
	return strings.Join(parts, " ")
}

func TestPlace(t *testing.T) {
	three := hosts("dev-1 a", "dev-2 b", "dev-3 c")
	placed := func(n int, p pgctl.Placement) pgctl.Cluster {
		c := cluster(n)
		c.Spec.Placement = p
		return c
	}
	const hint = "add hosts, make these fit, or ask for %d instances; two of a cluster never share a host"
	short := func(missing, of int, why string) string {
		return fmt.Sprintf("! spec.numberOfInstances: shop: no host for %d of %d instances (%s) ("+hint+")",
			missing, of, why, of-missing)
	}
	cases := map[string]struct {
		r    Request
		want string
	}{
		"new":     {Request{Cluster: cluster(3), Hosts: three}, "+0@dev-1 +1@dev-2 +2@dev-3"},
		"done":    {Request{Cluster: cluster(2), Instances: has("0@dev-1", "1@dev-2"), Hosts: three}, ""},
		"stopped": {Request{Cluster: cluster(0), Instances: has("0@dev-1", "1@dev-2"), Hosts: three}, ""},
		"centers before load": {
			Request{Cluster: cluster(2), Hosts: hosts("h1 a", "h2 a", "h3 b load=9")}, "+0@h1 +1@h3",
		},
		"load before name": {
			Request{Cluster: cluster(1), Hosts: hosts("h1 a load=2", "h2 a load=1", "h3 a load=1")}, "+0@h2",
		},
		"fills the gap": {
			Request{Cluster: cluster(3), Instances: has("0@dev-2", "2@dev-1"), Hosts: three}, "+1@dev-3",
		},
		"far from what is there": {
			Request{
				Cluster: cluster(3), Instances: has("0@h1", "1@h3"),
				Hosts: hosts("h1 a", "h2 a", "h3 b", "h4 b", "h5 c load=5"),
			}, "+2@h5",
		},
		"an instance on a lost host counts": {
			Request{Cluster: cluster(2), Instances: has("0@gone"), Hosts: three}, "+1@dev-1",
		},
		"shrink": {Request{Cluster: cluster(1), Instances: has("0@a", "2@b", "1@c")}, "-shop-2 -shop-1"},
		"never the leader": {
			Request{Cluster: cluster(1), Instances: has("0@a", "1@b", "2@c"), Leader: "shop-2"}, "-shop-1 -shop-0",
		},
		"removal under way": {Request{Cluster: cluster(2), Instances: has("0@a", "1@b", "2@c!")}, ""},
		"removed in the way": {
			Request{Cluster: cluster(3), Instances: has("0@dev-1", "1@dev-2", "2@dev-3!"), Hosts: three},
			short(1, 3, "dev-1: has shop-0 already; dev-2: has shop-1 already; dev-3: has not yet removed shop-2"),
		},
		"obstacles": {
			Request{
				Cluster: placed(3, pgctl.Placement{
					DataCenters: []string{"a", "b"}, HostLabels: map[string]string{"ssd": "true"},
				}),
				Hosts: hosts("dev-1 a ssd=true", "dev-2 b pg=15 ssd=true", "dev-3 a", "dev-4 c dead ssd=false"),
			},
			"+0@dev-1 " + short(2, 3, `dev-2: has no PostgreSQL 16; dev-3: label ssd=true missing; `+
				`dev-4: is not alive, is in data center "c", not in a or b, label ssd is false, not true`),
		},
		"no hosts": {Request{Cluster: cluster(1)}, short(1, 1, "there are no hosts")},
		"few hosts": {
			Request{Cluster: cluster(2), Hosts: hosts("h1 a")}, "+0@h1 " + short(1, 2, "every host has one already"),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := show(Place(c.r)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if _, err := Place(Request{Cluster: cluster(1)}); pgctl.CodeOf(err) != pgctl.CodeUnavailable {
		t.Errorf("code %q", pgctl.CodeOf(err))
	}
}

// requests draws up to nine hosts in three data centers, some of which cannot carry the cluster, with
// instances on some of them.
func requests() *rapid.Generator[Request] {
	return rapid.Custom(func(t *rapid.T) Request {
		r := Request{Cluster: cluster(rapid.IntRange(0, 9).Draw(t, "want"))}
		for i := range rapid.IntRange(0, 9).Draw(t, "hosts") {
			h := host(fmt.Sprintf("h%d %s", i, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "center")))
			h.Alive = rapid.IntRange(0, 5).Draw(t, "alive") > 0
			h.Instances = rapid.IntRange(0, 3).Draw(t, "load")
			r.Hosts = append(r.Hosts, h)
			if rapid.IntRange(0, 3).Draw(t, "occupied") == 0 {
				r.Instances = append(r.Instances, has(fmt.Sprintf("%d@%s", 2*i, h.Name))...)
			}
		}
		if len(r.Instances) > 0 && rapid.Bool().Draw(t, "led") {
			r.Leader = rapid.SampledFrom(r.Instances).Draw(t, "leader").Name
		}
		return r
	})
}

// unevenness is smallest for the best spread: the sum of the squares of the instances a data center has.
func unevenness(r Request, on func(Host) bool) int {
	count := map[string]int{}
	for _, h := range r.Hosts {
		if on(h) {
			count[h.DataCenter]++
		}
	}
	sum := 0
	for _, n := range count {
		sum += n * n
	}
	return sum
}

func TestSpreadIsBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := requests().Draw(t, "request")
		plan, err := Place(r)
		occupied := func(h Host) bool {
			return slices.ContainsFunc(r.Instances, func(i pgctl.Instance) bool { return i.Host == h.Name })
		}
		free := slices.DeleteFunc(slices.Clone(r.Hosts), func(h Host) bool { return !h.Alive || occupied(h) })
		missing := max(0, r.Cluster.Spec.Instances-len(r.Instances))
		if want := min(missing, len(free)); len(plan.Add) != want || (err == nil) != (want == missing) {
			t.Fatalf("%d of %d placed on %d free hosts: %v", len(plan.Add), missing, len(free), err)
		}
		names, ordinals := map[string]bool{}, map[int]bool{}
		for _, i := range r.Instances {
			names[i.Host], ordinals[i.Ordinal] = true, true
		}
		for _, a := range plan.Add {
			if names[a.Host] || ordinals[a.Ordinal] {
				t.Fatalf("%+v: the host or the ordinal has one already", a)
			}
			names[a.Host], ordinals[a.Ordinal] = true, true
		}
		got := unevenness(r, func(h Host) bool { return names[h.Name] })
		for set := range 1 << len(free) {
			if bits.OnesCount(uint(set)) != len(plan.Add) {
				continue
			}
			other := unevenness(r, func(h Host) bool {
				at := slices.IndexFunc(free, func(f Host) bool { return f.Name == h.Name })
				return occupied(h) || at >= 0 && set&(1<<at) != 0
			})
			if other < got {
				t.Fatalf("%+v is worse spread than %b of %v", plan, set, free)
			}
		}
	})
}

func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := requests().Draw(t, "request")
		plan, err := Place(r)
		shuffled := r
		shuffled.Hosts = rapid.Permutation(r.Hosts).Draw(t, "hosts")
		shuffled.Instances = rapid.Permutation(r.Instances).Draw(t, "instances")
		again, againErr := Place(shuffled)
		if !reflect.DeepEqual(plan, again) || show(Plan{}, err) != show(Plan{}, againErr) {
			t.Fatalf("%s\nor\n%s", show(plan, err), show(again, againErr))
		}
	})
}

func TestRemovalsLeaveEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := requests().Draw(t, "request")
		plan, _ := Place(r)
		want := r.Cluster.Spec.Instances
		surplus := max(0, len(r.Instances)-want)
		if want == 0 {
			surplus = 0
		}
		if len(plan.Remove) != surplus {
			t.Fatalf("removes %v to keep %d of %d", plan.Remove, want, len(r.Instances))
		}
		if slices.Contains(plan.Remove, r.Leader) || len(plan.Remove) > 0 && len(plan.Add) > 0 {
			t.Fatalf("%+v, led by %s", plan, r.Leader)
		}
	})
}
