package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/server"
)

// failing is what writes answer at present.
func (w *World) failing() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail
}

// PutCluster implements server.Writer.
func (w *World) PutCluster(_ context.Context, cluster pgctl.Cluster) (uint64, error) {
	err := w.failing()
	if err != nil {
		return 0, err
	}
	index := w.Change(func(f *Facts) {
		if old, ok := f.Clusters[cluster.Name]; ok && old.Revision != cluster.Revision {
			err = pgctl.Errorf(pgctl.CodeConflict, "cluster %s was changed meanwhile", cluster.Name)
			return
		}
		if cluster.Port == 0 {
			cluster.Port = 5432 + len(f.Clusters)
		}
		cluster.Revision = f.At
		f.Clusters[cluster.Name] = &cluster
	})
	return index, err
}

// DeleteCluster implements server.Writer.
func (w *World) DeleteCluster(_ context.Context, name string, keep time.Duration) (uint64, error) {
	return w.edit(name, func(c *pgctl.Cluster) { c.Deleted = &pgctl.Deletion{At: Date, Keep: keep} })
}

// Undelete implements server.Writer.
func (w *World) Undelete(_ context.Context, name string) (uint64, error) {
	return w.edit(name, func(c *pgctl.Cluster) { c.Deleted = nil })
}

func (w *World) edit(name string, edit func(*pgctl.Cluster)) (uint64, error) {
	if err := w.failing(); err != nil {
		return 0, err
	}
	state := api.StateRunning
	index := w.Change(func(f *Facts) {
		c := *f.Clusters[name]
		edit(&c)
		c.Revision = f.At
		f.Clusters[name] = &c
		if c.Deleted != nil {
			state = api.StateStopped
		}
	})
	w.Beat(func(live []api.Live, _ map[string]time.Duration) { // they obey at once
		for i := range live {
			if strings.HasPrefix(live[i].Instance, name+"-") {
				live[i].State, live[i].Applied = state, index
			}
		}
	})
	return index, nil
}

// PutSetting implements server.SettingWriter.
func (w *World) PutSetting(_ context.Context, key string, value json.RawMessage, revision *uint64) (uint64, error) {
	var err error
	index := w.Change(func(f *Facts) {
		if old := f.Settings[key].Revision; revision != nil && *revision != old {
			err = pgctl.Errorf(pgctl.CodeConflict, "%s is at revision %d, not %d", key, old, *revision)
			return
		}
		f.Settings[key] = Value{Text: value, Revision: f.At}
	})
	return index, err
}

// document is the little language of manifests here; the real one is not the API's business.
type document struct {
	Name       string            `json:"name"`
	Version    int               `json:"version"`
	Instances  int               `json:"instances"`
	Parameters map[string]string `json:"parameters"`
	Size       string            `json:"size"` // means nothing: a warning
}

// Parse implements server.Manifests: documents are a YAML list.
func (w *World) Parse(name string, body []byte) ([]server.Document, error) {
	var list []document
	if err := yaml.UnmarshalStrict(body, &list); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s:1: this is no manifest", name).WithHint("write a list")
	}
	var out []server.Document
	for _, d := range list {
		parsed := server.Document{Cluster: pgctl.Cluster{Name: d.Name, Spec: pgctl.ClusterSpec{
			Version: d.Version, Instances: d.Instances, Parameters: d.Parameters,
			Durability: pgctl.Durability{Mode: pgctl.Quorum},
		}}}
		if d.Size != "" {
			parsed.Warnings = []string{"size is recorded, not enforced"}
		}
		out = append(out, parsed)
	}
	return out, nil
}

// Plan implements server.Manifests.
func (w *World) Plan(_ context.Context, _ server.State, current, wanted *pgctl.Cluster) (server.Plan, error) {
	if wanted.Spec.Version < 15 {
		return server.Plan{}, pgctl.Errorf(pgctl.CodeInvalid, "version %d is not supported", wanted.Spec.Version).
			At("spec.postgresql.version").WithHint("15 to 18")
	}
	var plan server.Plan
	compare := func(path, from, to string, effect api.Effect) {
		if from != to {
			plan.Changes = append(plan.Changes, api.Change{Path: path, From: from, To: to, Effect: effect})
		}
	}
	var old pgctl.ClusterSpec
	if current != nil {
		old = current.Spec
	}
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	effect := api.EffectNone
	if wanted.Spec.Instances < old.Instances {
		effect = api.EffectRemove
	}
	compare("spec.numberOfInstances", number(old.Instances), number(wanted.Spec.Instances), effect)
	compare("spec.postgresql.version", number(old.Version), number(wanted.Spec.Version), api.EffectRestart)
	names := maps.Clone(old.Parameters)
	if names == nil {
		names = map[string]string{}
	}
	maps.Copy(names, wanted.Spec.Parameters)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		compare("spec.postgresql.parameters."+name, old.Parameters[name], wanted.Spec.Parameters[name], api.EffectReload)
	}
	return plan, nil
}

// Switchover implements server.Operator: it is done at once.
func (w *World) Switchover(_ context.Context, cluster, to string) (uint64, error) {
	if err := w.failing(); err != nil {
		return 0, err
	}
	return w.lead(cluster, to), nil
}

// lead makes an instance, or the second one, the leader of the next epoch.
func (w *World) lead(cluster, to string) uint64 {
	if to == "" {
		to = cluster + "-2"
	}
	w.Beat(func(live []api.Live, _ map[string]time.Duration) {
		for i := range live {
			if strings.HasPrefix(live[i].Instance, cluster+"-") {
				live[i].Role, live[i].Streaming = api.RoleStandby, live[i].Instance != to
			}
			if live[i].Instance == to {
				live[i].Role = api.RolePrimary
			}
		}
	})
	return w.Change(func(f *Facts) {
		l := f.Leaderships[cluster]
		for _, i := range f.Instances {
			if i.Name == to {
				l.Leader = i.Life
			}
		}
		l.Epoch++
		f.Events = append(f.Events, pgctl.Event{
			Index: f.At, At: Date, Severity: pgctl.Info, Cluster: cluster, Instance: to, Epoch: l.Epoch,
			Kind: "leader.steady", Message: "leads",
		})
	})
}

// Failover implements server.Operator.
func (w *World) Failover(_ context.Context, cluster string, move api.Move) (uint64, error) {
	if !move.AllowDataLoss {
		return 0, pgctl.Errorf(pgctl.CodeRefused, "the leader of %s is healthy", cluster).
			WithHint("pgctl switchover %s loses nothing", cluster)
	}
	return w.lead(cluster, move.To), nil
}

// Order implements server.Operator: pauses are done at once, other orders are only remembered.
func (w *World) Order(_ context.Context, cluster string, order api.Order) (uint64, error) {
	if err := w.failing(); err != nil {
		return 0, err
	}
	return w.Change(func(f *Facts) {
		if order.Do == api.OrderPause || order.Do == api.OrderResume {
			f.Leaderships[cluster].Paused = order.Do == api.OrderPause
		}
		f.Events = append(f.Events, pgctl.Event{
			Index: f.At, At: Date, Severity: pgctl.Info, Cluster: cluster, Instance: order.Instance, Kind: "order." + string(order.Do),
			Message: fmt.Sprintf("rolling %v, pending %v, scheduled %v", order.Rolling, order.Pending, order.At != nil),
		})
	}), nil
}

// View implements server.Operator.
func (w *World) View(_ context.Context, cluster string) (json.RawMessage, error) {
	return json.RawMessage(fmt.Sprintf(`{"cluster":%q,"epoch":1}`, cluster)), nil
}

// Password implements server.Passwords.
func (w *World) Password(_ context.Context, cluster, user string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text, ok := w.secrets[cluster+"/"+user]; ok {
		return text, nil
	}
	return "", pgctl.Errorf(pgctl.CodeNotFound, "cluster %s has no user %q", cluster, user).WithHint("it has: app")
}

// Rotate implements server.Passwords.
func (w *World) Rotate(ctx context.Context, cluster, user string) (string, uint64, error) {
	if _, err := w.Password(ctx, cluster, user); err != nil {
		return "", 0, err
	}
	w.mu.Lock()
	w.secrets[cluster+"/"+user] += "-new"
	text := w.secrets[cluster+"/"+user]
	w.mu.Unlock()
	return text, w.Change(func(*Facts) {}), nil
}

// Instances implements server.Live.
func (w *World) Instances(cluster string) []api.Live {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []api.Live
	for _, l := range w.live {
		for _, i := range w.facts.Instances {
			if i.Life == l.Life && i.Cluster == cluster {
				out = append(out, l)
			}
		}
	}
	return out
}

// Hosts implements server.Live.
func (w *World) Hosts() map[string]time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.heard)
}

// Servers implements server.Servers.
func (w *World) Servers(context.Context) ([]api.Server, error) {
	heard := int64(90)
	return []api.Server{
		{Name: "db1", DataCenter: "a", Address: "10.0.0.11:7433", Role: "leader", Index: 7},
		{Name: "db2", DataCenter: "b", Address: "10.0.0.12:7433", Role: "follower", Index: 7, HeardMs: &heard},
	}, nil
}

// Save implements server.Snapshots.
func (w *World) Save(_ context.Context, to io.Writer) error {
	if err := w.failing(); err != nil {
		return err
	}
	_, err := io.WriteString(to, "snapshot of the world")
	return err
}

// Restore implements server.Snapshots.
func (w *World) Restore(_ context.Context, from io.Reader) error {
	text, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	if string(text) != "snapshot of the world" {
		return pgctl.Errorf(pgctl.CodeInvalid, "this is no snapshot of pgctl")
	}
	w.Change(func(f *Facts) {
		for _, l := range f.Leaderships {
			l.Phase = pgctl.Unknown
		}
	})
	return nil
}

// Encode implements server.Manifests: a list of one document.
func (w *World) Encode(c *pgctl.Cluster) ([]byte, error) {
	return yaml.Marshal([]document{{Name: c.Name, Version: c.Spec.Version, Instances: c.Spec.Instances, Parameters: c.Spec.Parameters}})
}
