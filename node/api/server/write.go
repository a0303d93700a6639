package server

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// defaultKeep is how long the data of a deleted cluster stays.
const defaultKeep = 7 * 24 * time.Hour

// apply plans every document first, so that nothing is written when one of them is wrong.
func (s *server) apply(w http.ResponseWriter, r *http.Request) error {
	dryRun, err := flag(r.URL.Query().Get("dryRun"), "dryRun")
	if err != nil {
		return err
	}
	if !dryRun {
		if err := s.allow(r, AccessChange); err != nil {
			return err
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return badBody(err)
	}
	documents, err := s.Manifests.Parse(fileName(r.URL.Query().Get("file")), body)
	if err != nil {
		return err
	}
	if len(documents) == 0 {
		return pgctl.Errorf(pgctl.CodeInvalid, "the manifest declares nothing")
	}
	state, err := s.State.State(r.Context(), !dryRun)
	if err != nil {
		return err
	}
	out := api.ApplyResult{Meta: meta(state), DryRun: dryRun, Clusters: []api.ClusterPlan{}}
	wanted := make([]pgctl.Cluster, len(documents))
	seen := map[string]bool{}
	for i, d := range documents {
		if seen[d.Cluster.Name] {
			return pgctl.Errorf(pgctl.CodeInvalid, "cluster %s is declared twice", d.Cluster.Name).At("metadata.name")
		}
		seen[d.Cluster.Name] = true
		plan, err := s.plan(r, state, &d.Cluster)
		if err != nil {
			return err
		}
		plan.Warnings = append(d.Warnings, plan.Warnings...)
		wanted[i] = d.Cluster
		out.Clusters = append(out.Clusters, plan)
	}
	for i := range out.Clusters {
		if dryRun || out.Clusters[i].Action == api.ActionNone {
			continue
		}
		index, err := s.Clusters.PutCluster(r.Context(), wanted[i])
		if err != nil {
			return err // those before it are applied; applying all again is harmless
		}
		out.Clusters[i].Revision, out.Meta = index, api.Meta{Index: index}
	}
	return answer(w, out.Meta, out)
}

// fileName is what messages call a manifest: what whoever sends it calls it, unless that is no name.
func fileName(name string) string {
	if name == "" || len(name) > 1024 || !strings.ContainsFunc(name, unicode.IsPrint) || strings.ContainsFunc(name, unicode.IsControl) {
		return "manifest"
	}
	return name
}

// plan compares a wanted cluster with what there is, and gives it what the store gave that one.
func (s *server) plan(r *http.Request, state State, wanted *pgctl.Cluster) (api.ClusterPlan, error) {
	out := api.ClusterPlan{Name: wanted.Name, Action: api.ActionCreate}
	current, exists := state.Cluster(wanted.Name)
	wanted.Port, wanted.Revision = 0, 0
	if exists {
		if current.Deleted != nil {
			return out, pgctl.Errorf(pgctl.CodeConflict, "cluster %s is deleted", wanted.Name).
				WithHint("pgctl undelete %s brings it back; then apply again", wanted.Name)
		}
		out.Action, out.Revision = api.ActionChange, current.Revision
		wanted.Port, wanted.Revision = current.Port, current.Revision
	} else {
		current = nil
	}
	plan, err := s.Manifests.Plan(r.Context(), state, current, wanted)
	if err != nil {
		return out, err
	}
	out.Changes, out.Warnings = plan.Changes, plan.Warnings
	if exists && len(plan.Changes) == 0 {
		out.Action = api.ActionNone
	}
	return out, nil
}

// putCluster replaces one declaration; the revision in the body is the one that is replaced.
func (s *server) putCluster(w http.ResponseWriter, r *http.Request) error {
	var wanted pgctl.Cluster
	if err := readJSON(r, &wanted); err != nil {
		return err
	}
	if name := r.PathValue("name"); wanted.Name != name {
		return pgctl.Errorf(pgctl.CodeInvalid, "the body declares %q, the path says %q", wanted.Name, name).At("name")
	}
	if wanted.Deleted != nil {
		return pgctl.Errorf(pgctl.CodeInvalid, "a declaration cannot delete").At("deleted").WithHint("use DELETE")
	}
	state, err := s.State.State(r.Context(), true)
	if err != nil {
		return err
	}
	expected := wanted.Revision
	if _, err := s.plan(r, state, &wanted); err != nil {
		return err
	}
	if expected != wanted.Revision {
		return pgctl.Errorf(pgctl.CodeConflict, "the cluster is at revision %d, not %d", wanted.Revision, expected).
			At("revision").WithHint("read it again and repeat the change; 0 is for a new cluster")
	}
	if _, err := s.Clusters.PutCluster(r.Context(), wanted); err != nil {
		return err
	}
	if state, err = s.State.State(r.Context(), true); err != nil {
		return err
	}
	c, ok := state.Cluster(wanted.Name)
	if !ok {
		return notFound(state, wanted.Name)
	}
	out, err := s.detail(state, c)
	if err != nil {
		return err
	}
	return answer(w, out.Meta, out)
}

// deleteCluster stops a cluster and keeps its data. Deleting it again changes how long.
func (s *server) deleteCluster(w http.ResponseWriter, r *http.Request) error {
	keep := defaultKeep
	if text := r.URL.Query().Get("keep"); text != "" {
		var err error
		if keep, err = api.ParseDuration(text, "keep"); err != nil {
			return err
		}
	}
	_, c, err := s.one(r)
	if err != nil {
		return err
	}
	index, err := s.Clusters.DeleteCluster(r.Context(), c.Name, keep)
	if err != nil {
		return err
	}
	return changed(w, index, "cluster "+c.Name+" is deleted; its data is kept for "+api.FormatDuration(keep))
}

// changed answers an order.
func changed(w http.ResponseWriter, index uint64, message string) error {
	m := api.Meta{Index: index}
	return answer(w, m, api.Changed{Meta: m, Message: message})
}

// undelete takes a deletion back.
func (s *server) undelete(w http.ResponseWriter, r *http.Request) error {
	_, c, err := s.one(r)
	if err != nil {
		return err
	}
	if c.Deleted == nil {
		return pgctl.Errorf(pgctl.CodeConflict, "cluster %s is not deleted", c.Name)
	}
	index, err := s.Clusters.Undelete(r.Context(), c.Name)
	if err != nil {
		return err
	}
	return changed(w, index, "cluster "+c.Name+" is back")
}

// switchover orders a planned change of the leader.
func (s *server) switchover(w http.ResponseWriter, r *http.Request) error {
	c, move, err := s.move(r)
	if err != nil {
		return err
	}
	if move.AllowDataLoss || move.OldLeaderIsDead {
		return pgctl.Errorf(pgctl.CodeInvalid, "a switchover loses nothing").At("allowDataLoss").WithHint("use failover")
	}
	index, err := s.Operator.Switchover(r.Context(), c, move.To)
	if err != nil {
		return err
	}
	return changed(w, index, "switchover of "+c+" is ordered")
}

// failover orders that an instance leads.
func (s *server) failover(w http.ResponseWriter, r *http.Request) error {
	c, move, err := s.move(r)
	if err != nil {
		return err
	}
	if move.To == "" {
		return pgctl.Errorf(pgctl.CodeInvalid, "a failover needs the instance that is to lead").At("to")
	}
	if move.OldLeaderIsDead && !move.AllowDataLoss {
		return pgctl.Errorf(pgctl.CodeInvalid, "only a failover that accepts loss has to know that the old leader is dead").At("oldLeaderIsDead").
			WithHint("leave it out, or accept loss as well")
	}
	index, err := s.Operator.Failover(r.Context(), c, move)
	if err != nil {
		return err
	}
	return changed(w, index, "failover of "+c+" to "+move.To+" is ordered")
}

// move reads who is to lead, and checks that there is such an instance.
func (s *server) move(r *http.Request) (string, api.Move, error) {
	var move api.Move
	if err := readJSON(r, &move); err != nil {
		return "", move, err
	}
	state, c, err := s.one(r)
	if err != nil || move.To == "" {
		return r.PathValue("name"), move, err
	}
	var names []string
	for _, i := range state.Instances(c.Name) {
		if i.Name == move.To {
			return c.Name, move, nil
		}
		names = append(names, i.Name)
	}
	e := pgctl.Errorf(pgctl.CodeNotFound, "cluster %s has no instance %q", c.Name, move.To).At("to")
	if near := pgctl.Nearest(move.To, names); near != "" {
		_ = e.WithHint("did you mean %s?", near)
	}
	return "", move, e
}

// password shows that of a role.
func (s *server) password(w http.ResponseWriter, r *http.Request) error {
	state, c, err := s.one(r)
	if err != nil {
		return err
	}
	user := r.PathValue("user")
	text, err := s.Passwords.Password(r.Context(), c.Name, user)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	m := meta(state)
	return answer(w, m, api.Password{Meta: m, Cluster: c.Name, User: user, Password: text})
}

// rotate gives a role a new password.
func (s *server) rotate(w http.ResponseWriter, r *http.Request) error {
	_, c, err := s.one(r)
	if err != nil {
		return err
	}
	user := r.PathValue("user")
	text, index, err := s.Passwords.Rotate(r.Context(), c.Name, user)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	m := api.Meta{Index: index}
	return answer(w, m, api.Password{Meta: m, Cluster: c.Name, User: user, Password: text})
}

// view dumps the struct that leadership is decided on.
func (s *server) view(w http.ResponseWriter, r *http.Request) error {
	state, c, err := s.one(r)
	if err != nil {
		return err
	}
	view, err := s.Operator.View(r.Context(), c.Name)
	if err != nil {
		return err
	}
	return answer(w, meta(state), view)
}

// putSetting writes a value of the operator configuration; the body is the value.
func (s *server) putSetting(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return badBody(err)
	}
	if !json.Valid(body) {
		return pgctl.Errorf(pgctl.CodeInvalid, "the body is not JSON").WithHint(`text stands in quotes: "value"`)
	}
	var revision *uint64
	if text := r.URL.Query().Get("revision"); text != "" {
		n, err := number(text, "revision")
		if err != nil {
			return err
		}
		revision = &n
	}
	key := r.PathValue("key")
	index, err := s.Settings.PutSetting(r.Context(), key, body, revision)
	if err != nil {
		return err
	}
	m := api.Meta{Index: index}
	return answer(w, m, api.Setting{Meta: m, Key: key, Value: body, Revision: index})
}
