package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/server"
	"github.com/pgctl/pgctl/node/placement"
	declared "github.com/pgctl/pgctl/provision/manifest"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/provision/postgres/control"
	"github.com/pgctl/pgctl/provision/process"
)

// catalogs are the settings that the PostgreSQL versions of this host know, read once each.
type catalogs struct {
	mu      sync.Mutex
	byMajor map[int]config.Catalog
}

// catalog asks this host's server program of a major version for its settings; none without one.
func (d *daemon) catalog(ctx context.Context, major int) (config.Catalog, bool) {
	d.catalogs.mu.Lock()
	defer d.catalogs.mu.Unlock()
	if c, ok := d.catalogs.byMajor[major]; ok {
		return c, true
	}
	for _, v := range d.versions {
		if v.Major != major {
			continue
		}
		c, err := control.LoadCatalog(ctx, v.Bin)
		if err != nil {
			d.log.Warn("PostgreSQL does not list its settings", "bin", v.Bin, "error", err)
			return nil, false
		}
		if d.catalogs.byMajor == nil {
			d.catalogs.byMajor = map[int]config.Catalog{}
		}
		d.catalogs.byMajor[major] = c
		return c, true
	}
	return nil, false
}

// parameters is a question to a host that has a version of PostgreSQL.
type parameters struct {
	Version    int               `json:"version"`
	Parameters map[string]string `json:"parameters"`
}

// judged is what the server of a version says about parameters.
type judged struct {
	Problems []pgctl.Error   `json:"problems,omitempty"`
	Restart  map[string]bool `json:"restart,omitempty"` // which of them take effect with a restart only
}

// judge holds parameters against the real server's own list, here or on a host that has the version.
// Without such a host nothing is said: placement will say that there is none.
func (d *daemon) judge(ctx context.Context, p parameters) (judged, error) {
	if catalog, ok := d.catalog(ctx, p.Version); ok {
		return d.judgeHere(ctx, catalog, p), nil
	}
	for host := range d.store.State().Hosts() {
		for _, v := range host.Postgres {
			if v.Major == p.Version && host.Name != d.config.Name {
				var answer judged
				if err := d.peers.Call(ctx, host.API, "parameters", p, &answer); err == nil {
					return answer, nil
				}
			}
		}
	}
	return judged{}, nil
}

func (d *daemon) judgeHere(ctx context.Context, catalog config.Catalog, p parameters) judged {
	j := judged{Restart: map[string]bool{}}
	problems := catalog.Validate(p.Parameters)
	for name := range p.Parameters {
		j.Restart[name] = catalog.NeedsRestart(name)
	}
	if len(problems) == 0 {
		problems = d.askServerProgram(ctx, p)
	}
	for _, problem := range problems {
		e, ok := errors.AsType[*pgctl.Error](problem)
		if !ok {
			e = pgctl.Errorf(pgctl.CodeInvalid, "%v", problem)
		}
		j.Problems = append(j.Problems, *e)
	}
	return j
}

// askServerProgram has the server program itself read the values.
func (d *daemon) askServerProgram(ctx context.Context, p parameters) []error {
	for _, v := range d.versions {
		if v.Major != p.Version {
			continue
		}
		program, err := control.New(control.Options{
			Data: d.config.DataDir, Name: "check", Cluster: "check", Life: "checking", Version: v, SocketDir: d.config.SocketDir,
			OSUser: d.config.PostgresUser, Processes: process.Local{}, Log: d.log,
		})
		if err != nil {
			return []error{err}
		}
		return program.CheckParameters(ctx, p.Parameters)
	}
	return nil
}

func (d *daemon) serveParameters(ctx context.Context, _ string, body json.RawMessage) (any, error) {
	var p parameters
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable request: %v", err)
	}
	catalog, ok := d.catalog(ctx, p.Version)
	if !ok {
		return nil, pgctl.Errorf(pgctl.CodeNotFound, "no PostgreSQL %d here", p.Version)
	}
	return d.judgeHere(ctx, catalog, p), nil
}

const judgeTimeout = 10 * time.Second

// Parse reads one or more documents.
func (a apiDaemon) Parse(name string, body []byte) ([]server.Document, error) {
	ctx, cancel := context.WithTimeout(context.Background(), judgeTimeout)
	defer cancel()
	documents, err := declared.Parse(name, body, declared.Options{
		CheckParameters: func(version int, params map[string]string) []pgctl.Error {
			j, err := a.judge(ctx, parameters{version, params})
			if err != nil {
				return []pgctl.Error{*pgctl.Errorf(pgctl.CodeUnavailable, "the parameters could not be checked: %v", err)}
			}
			for i := range j.Problems { // the manifest names the field itself
				j.Problems[i].Field = trimField(j.Problems[i].Field)
			}
			return j.Problems
		},
	})
	if err != nil {
		return nil, joinErrors(pgctl.CodeInvalid, []error{err})
	}
	var all []server.Document
	for _, doc := range documents {
		next := server.Document{Cluster: doc.Cluster}
		for _, w := range doc.Warnings {
			next.Warnings = append(next.Warnings, w.String())
		}
		all = append(all, next)
	}
	return all, nil
}

func trimField(field string) string {
	const prefix = "parameters."
	if len(field) > len(prefix) && field[:len(prefix)] == prefix {
		return field[len(prefix):]
	}
	return field
}

// Plan says what a wanted cluster would change, and refuses what cannot be.
func (a apiDaemon) Plan(ctx context.Context, state server.State, current, wanted *pgctl.Cluster) (server.Plan, error) {
	known := map[string]string{}
	for _, c := range []*pgctl.Cluster{current, wanted} {
		if c != nil {
			for name, value := range c.Spec.Parameters {
				known[name] = value
			}
		}
	}
	j, err := a.judge(ctx, parameters{wanted.Spec.Version, known})
	if err != nil {
		return server.Plan{}, err
	}
	var plan server.Plan
	var refused []error
	for _, change := range declared.Diff(current, wanted, func(_ int, name string) bool { return j.Restart[name] }) {
		if change.Effect == declared.EffectRefused {
			refused = append(refused, pgctl.Errorf(pgctl.CodeRefused, "cannot be changed from %q to %q: %s",
				change.Old, change.New, change.Why).At(change.Path))
			continue
		}
		plan.Changes = append(plan.Changes, api.Change{
			Path: change.Path, From: change.Old, To: change.New, Effect: api.Effect(change.Effect), Why: change.Why,
		})
	}
	if len(refused) > 0 {
		return server.Plan{}, joinErrors(pgctl.CodeRefused, refused)
	}
	if current == nil || wanted.Spec.Instances > current.Spec.Instances {
		plan.Warnings = a.unplaceable(state, wanted)
	}
	return plan, nil
}

// unplaceable says which instances would find no host now. That is no error: hosts may come.
func (a apiDaemon) unplaceable(state server.State, wanted *pgctl.Cluster) []string {
	loads := map[string]int{}
	for _, i := range state.Instances("") {
		loads[i.Host]++
	}
	request := placement.Request{Cluster: *wanted}
	for _, i := range state.Instances(wanted.Name) {
		request.Instances = append(request.Instances, *i)
	}
	for _, h := range state.Hosts() {
		request.Hosts = append(request.Hosts, placement.Host{Host: *h, Alive: true, Instances: loads[h.Name]})
	}
	if _, err := placement.Place(request); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// Encode writes a declaration as a manifest.
func (a apiDaemon) Encode(cluster *pgctl.Cluster) ([]byte, error) { return declared.Encode(cluster) }
