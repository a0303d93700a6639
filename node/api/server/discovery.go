package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// freshLag is how long the lags in a ready answer may be used; heartbeats come at about this pace.
const freshLag = 250 * time.Millisecond

// discovery is an answer kept ready: all but the age, which is appended to it.
type discovery struct {
	changed uint64 // when the cluster or a host had changed last
	made    time.Time
	body    []byte   // ends with "ageMs":
	header  []string // the index
}

// contentJSON is shared by all answers, which never change it.
var contentJSON = []string{"application/json"}

// endpoints says where to read and to write. Applications ask this often, so answers are kept ready and
// made anew when the cluster or a host changed, or the lags are old.
func (s *server) endpoints(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	_, age := s.State.Index()
	changed := s.State.Changed(name) // before the picture is taken: that may be newer, never older
	if r.URL.RawQuery == "" {
		if kept, ok := s.ready.Load(name); ok {
			d := kept.(*discovery)
			if d.changed == changed && time.Since(d.made) < freshLag {
				return d.answer(w, age)
			}
		}
	}
	state, c, err := s.one(r)
	if err != nil {
		s.ready.Delete(name)
		return err
	}
	query := r.URL.Query()
	target := api.Target{User: query.Get("user"), Database: query.Get("database")}
	d, age, err := s.discover(state, c, target)
	if err != nil {
		return err
	}
	if target == (api.Target{}) {
		d.changed = changed
		s.ready.Store(name, d)
	}
	return d.answer(w, age)
}

// answer completes a ready answer with its age.
func (d *discovery) answer(w http.ResponseWriter, age time.Duration) error {
	ms := strconv.FormatInt(age.Milliseconds(), 10)
	h := w.Header()
	h["Content-Type"] = contentJSON
	h[api.HeaderIndex] = d.header
	h[api.HeaderAge] = []string{ms}
	body := make([]byte, 0, len(d.body)+len(ms)+2)
	body = append(append(append(body, d.body...), ms...), "}\n"...)
	_, _ = w.Write(body) // a client that is gone needs no answer
	return nil
}

// discover makes the answer for a cluster.
func (s *server) discover(state State, c *pgctl.Cluster, target api.Target) (*discovery, time.Duration, error) {
	index, age := state.Index()
	out := s.locate(state, c, target)
	out.Meta = api.Meta{Index: index}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, 0, err
	}
	return &discovery{
		made: time.Now(), header: []string{strconv.FormatUint(index, 10)},
		body: body[:len(body)-len("0}")],
	}, age, nil
}

// locate lists who takes connections. There is a leader only while it may acknowledge commits, and was
// not heard to be closed.
func (s *server) locate(state State, c *pgctl.Cluster, target api.Target) api.Endpoints {
	out := api.Endpoints{Cluster: c.Name, Standbys: []api.Endpoint{}}
	leadership, ok := state.Leadership(c.Name)
	if !ok || c.Deleted != nil {
		return out
	}
	out.Epoch, out.Phase = leadership.Epoch, leadership.Phase
	live := map[pgctl.Life]api.Live{}
	for _, l := range s.Live.Instances(c.Name) {
		live[l.Life] = l
	}
	var leader, standbys, readers []api.Endpoint // all are named in the strings, even if nobody may be written to now
	for _, i := range state.Instances(c.Name) {
		h, ok := state.Host(i.Host)
		if !ok || i.Wanted != pgctl.WantRunning {
			continue
		}
		e := api.Endpoint{Instance: i.Name, Host: i.Host, DataCenter: h.DataCenter, Address: h.Address, Port: c.Port}
		now, heard := live[i.Life]
		if i.Life != leadership.Leader {
			e.LagBytes = now.LagBytes
			if standbys = append(standbys, e); !c.Spec.Tags[i.Name].NoLoadBalance {
				readers = append(readers, e)
			}
			continue
		}
		leader = append(leader, e)
		if leadership.Phase == pgctl.Steady && leadership.Serving && (!heard || now.Open) {
			out.Leader = &e
		}
	}
	out.Standbys = append(out.Standbys, readers...)
	out.ReadWrite = api.ConnectionStrings(append(leader[:len(leader):len(leader)], standbys...), target)
	target.Replica = true
	out.ReadOnly = api.ConnectionStrings(append(readers, leader...), target)
	return out
}
