package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// state takes the picture that the query asks for: a consistent one, or one newer than an index.
func (s *server) state(r *http.Request, cluster string) (State, error) {
	query := r.URL.Query()
	consistent, err := flag(query.Get("consistent"), "consistent")
	if err != nil {
		return nil, err
	}
	if wait := query.Get("wait"); wait != "" {
		index, err := number(query.Get("index"), "index")
		if err != nil {
			return nil, err
		}
		d, err := time.ParseDuration(wait)
		if err != nil || d < 0 {
			return nil, pgctl.Errorf(pgctl.CodeInvalid, "%q is not a length of time such as 30s", wait).At("wait")
		}
		ctx, cancel := context.WithTimeout(r.Context(), min(d, maxWait))
		defer cancel()
		// When nothing happens in time the answer is the state as it is, which is no error.
		if err := s.Waiter.Wait(ctx, cluster, index); err != nil && ctx.Err() == nil {
			return nil, err
		}
		if err := r.Context().Err(); err != nil { // whoever asked has gone, and must not take this for news
			return nil, pgctl.Errorf(pgctl.CodeUnavailable, "the request was given up: %v", err)
		}
	}
	return s.State.State(r.Context(), consistent)
}

// flag reads a query parameter that is true or false; missing is false.
func flag(text, name string) (bool, error) {
	if text == "" {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, pgctl.Errorf(pgctl.CodeInvalid, "%q is neither true nor false", text).At(name)
	}
	return value, nil
}

// number reads a query parameter that is an index or revision; missing is 0.
func number(text, name string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, pgctl.Errorf(pgctl.CodeInvalid, "%q is not a number", text).At(name)
	}
	return value, nil
}

// meta says which picture an answer is made from.
func meta(state State) api.Meta {
	index, age := state.Index()
	return api.Meta{Index: index, AgeMs: age.Milliseconds()}
}

// answer writes JSON with the headers that every answer has.
func answer(w http.ResponseWriter, m api.Meta, body any) error {
	var buffer bytes.Buffer
	if err := json.NewEncoder(&buffer).Encode(body); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set(api.HeaderIndex, strconv.FormatUint(m.Index, 10))
	h.Set(api.HeaderAge, strconv.FormatInt(m.AgeMs, 10))
	_, _ = w.Write(buffer.Bytes()) // a client that is gone needs no answer
	return nil
}

// clusters lists all.
func (s *server) clusters(w http.ResponseWriter, r *http.Request) error {
	state, err := s.state(r, "")
	if err != nil {
		return err
	}
	out := api.Clusters{Meta: meta(state), Clusters: []api.ClusterSummary{}}
	for c := range state.Clusters() {
		status := s.judge(state, c)
		line := api.ClusterSummary{
			Name: c.Name, Team: c.Team, Version: c.Spec.Version, Instances: c.Spec.Instances, Port: c.Port,
			Leader: status.Leader, Health: status.Health, Summary: status.Summary, Deleted: c.Deleted != nil,
			Hosts: []string{},
		}
		for _, i := range state.Instances(c.Name) {
			line.Hosts = append(line.Hosts, i.Host)
		}
		slices.Sort(line.Hosts)
		line.Hosts = slices.Compact(line.Hosts)
		out.Clusters = append(out.Clusters, line)
	}
	return answer(w, out.Meta, out)
}

// cluster shows one.
func (s *server) cluster(w http.ResponseWriter, r *http.Request) error {
	state, c, err := s.one(r)
	if err != nil {
		return err
	}
	out, err := s.detail(state, c)
	if err != nil {
		return err
	}
	return answer(w, out.Meta, out)
}

// one takes the picture that the query asks for, and the cluster of the path.
func (s *server) one(r *http.Request) (State, *pgctl.Cluster, error) {
	name := r.PathValue("name")
	state, err := s.state(r, name)
	if err != nil {
		return nil, nil, err
	}
	c, ok := state.Cluster(name)
	if !ok {
		return nil, nil, notFound(state, name)
	}
	return state, c, nil
}

// detail is all there is to know about a cluster.
func (s *server) detail(state State, c *pgctl.Cluster) (api.ClusterDetail, error) {
	text, err := s.Manifests.Encode(c)
	if err != nil {
		return api.ClusterDetail{}, err
	}
	out := api.ClusterDetail{Meta: meta(state), Cluster: *c, Instances: []api.InstanceDetail{}, Manifest: string(text)}
	out.Leadership, _ = state.Leadership(c.Name)
	live := s.Live.Instances(c.Name)
	for _, i := range state.Instances(c.Name) {
		detail := api.InstanceDetail{Instance: *i}
		if h, ok := state.Host(i.Host); ok {
			detail.DataCenter = h.DataCenter
		}
		if n := slices.IndexFunc(live, func(l api.Live) bool { return l.Life == i.Life }); n >= 0 {
			detail.Live = &live[n]
		}
		out.Instances = append(out.Instances, detail)
	}
	return out, nil
}

// judge says how well a cluster is.
func (s *server) judge(state State, c *pgctl.Cluster) api.ClusterStatus {
	leadership, _ := state.Leadership(c.Name)
	return api.Health(api.HealthView{
		Cluster: c, Leadership: leadership, Instances: state.Instances(c.Name), Live: s.Live.Instances(c.Name),
		Blind: len(s.Live.Hosts()) == 0,
	})
}

// status judges one cluster.
func (s *server) status(w http.ResponseWriter, r *http.Request) error {
	state, c, err := s.one(r)
	if err != nil {
		return err
	}
	m := meta(state)
	return answer(w, m, api.Status{Meta: m, ClusterStatus: s.judge(state, c)})
}

// statuses judges all, the worst first.
func (s *server) statuses(w http.ResponseWriter, r *http.Request) error {
	state, err := s.state(r, "")
	if err != nil {
		return err
	}
	out := api.Statuses{Meta: meta(state), Clusters: []api.ClusterStatus{}}
	for c := range state.Clusters() {
		out.Clusters = append(out.Clusters, s.judge(state, c))
	}
	slices.SortStableFunc(out.Clusters, func(a, b api.ClusterStatus) int {
		switch {
		case a.Health.Worse(b.Health):
			return -1
		case b.Health.Worse(a.Health):
			return 1
		}
		return 0
	})
	return answer(w, out.Meta, out)
}

// hosts lists them with what they carry.
func (s *server) hosts(w http.ResponseWriter, r *http.Request) error {
	state, err := s.state(r, "")
	if err != nil {
		return err
	}
	carried := map[string][]string{}
	for _, i := range state.Instances("") {
		carried[i.Host] = append(carried[i.Host], i.Name)
	}
	heard := s.Live.Hosts()
	out := api.Hosts{Meta: meta(state), Hosts: []api.HostDetail{}}
	for _, h := range state.Hosts() {
		detail := api.HostDetail{Host: *h, Instances: carried[h.Name]}
		slices.Sort(detail.Instances)
		if age, ok := heard[h.Name]; ok {
			ms := age.Milliseconds()
			detail.HeardMs = &ms
		}
		out.Hosts = append(out.Hosts, detail)
	}
	return answer(w, out.Meta, out)
}

// servers lists the Raft group.
func (s *server) servers(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Servers.Servers(r.Context())
	if err != nil {
		return err
	}
	m := s.now()
	return answer(w, m, api.Servers{Meta: m, Servers: append([]api.Server{}, list...)})
}

// now is the meta of answers that are not made from a picture.
func (s *server) now() api.Meta {
	index, age := s.State.Index()
	return api.Meta{Index: index, AgeMs: age.Milliseconds()}
}

// version of this daemon.
func (s *server) version(w http.ResponseWriter, _ *http.Request) error {
	m := s.now()
	return answer(w, m, api.Version{Meta: m, Version: s.Version, Go: runtime.Version(), Host: s.Host})
}

// health answers as long as the daemon does.
func (s *server) health(w http.ResponseWriter, _ *http.Request) error {
	m := s.now()
	return answer(w, m, api.Alive{Meta: m, Status: "ok", Host: s.Host})
}

// settings lists the operator configuration.
func (s *server) settings(w http.ResponseWriter, r *http.Request) error {
	state, err := s.state(r, "")
	if err != nil {
		return err
	}
	m := meta(state)
	return answer(w, m, api.Settings{Meta: m, Settings: state.Settings()})
}

// setting reads a value of the operator configuration.
func (s *server) setting(w http.ResponseWriter, r *http.Request) error {
	state, err := s.state(r, "")
	if err != nil {
		return err
	}
	key := r.PathValue("key")
	value, revision, ok := state.Setting(key)
	if !ok {
		return pgctl.Errorf(pgctl.CodeNotFound, "there is no setting %q", key)
	}
	m := meta(state)
	return answer(w, m, api.Setting{Meta: m, Key: key, Value: value, Revision: revision})
}
