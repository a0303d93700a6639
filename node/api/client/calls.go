package client

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// cluster is the path of something of a cluster.
func cluster(name, rest string) string { return "/clusters/" + segment(name) + rest }

// segment writes a name so that it stays one part of a path, whatever it is: dots alone would move about.
func segment(name string) string {
	if strings.Trim(name, ".") == "" {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return url.PathEscape(name)
}

// Clusters lists all clusters with their health.
func (c *Client) Clusters(ctx context.Context, read Read) (api.Clusters, error) {
	var out api.Clusters
	return out, c.get(ctx, "/clusters", read.query(), &out)
}

// Cluster shows one: its declaration, leadership and instances.
func (c *Client) Cluster(ctx context.Context, name string, read Read) (api.ClusterDetail, error) {
	var out api.ClusterDetail
	return out, c.get(ctx, cluster(name, ""), read.query(), &out)
}

// PutCluster creates or replaces a declaration; its Revision is the one to be replaced, 0 for a new one.
func (c *Client) PutCluster(ctx context.Context, declared pgctl.Cluster) (api.ClusterDetail, error) {
	var out api.ClusterDetail
	body, err := json.Marshal(declared)
	if err != nil {
		return out, err
	}
	return out, c.call(ctx, request{method: http.MethodPut, path: cluster(declared.Name, ""), body: body}, &out)
}

// Apply sends a manifest, YAML or JSON; file is what messages call it. With dryRun it only says what would
// change.
func (c *Client) Apply(ctx context.Context, file string, manifest []byte, dryRun bool) (api.ApplyResult, error) {
	var out api.ApplyResult
	query := url.Values{"dryRun": {strconv.FormatBool(dryRun)}, "file": {file}}
	return out, c.call(ctx, request{method: http.MethodPost, path: "/apply", query: query, body: manifest, again: true}, &out)
}

// Delete stops a cluster and keeps its data for a time.
func (c *Client) Delete(ctx context.Context, name string, keep time.Duration) (api.Changed, error) {
	var out api.Changed
	query := url.Values{"keep": {keep.String()}}
	r := request{method: http.MethodDelete, path: cluster(name, ""), query: query, again: true}
	return out, c.call(ctx, r, &out)
}

// Undelete takes a deletion back while the data is there.
func (c *Client) Undelete(ctx context.Context, name string) (api.Changed, error) {
	return c.order(ctx, cluster(name, "/undelete"), nil)
}

// order posts a body to which the answer is api.Changed.
func (c *Client) order(ctx context.Context, path string, body any) (api.Changed, error) {
	var out api.Changed
	encoded, err := json.Marshal(body)
	if err != nil {
		return out, err
	}
	return out, c.call(ctx, request{method: http.MethodPost, path: path, body: encoded}, &out)
}

// Endpoints says where to read and to write, with connection strings for a user and database; the
// driver's defaults where target has none.
func (c *Client) Endpoints(ctx context.Context, name string, target api.Target, read Read) (api.Endpoints, error) {
	var out api.Endpoints
	query := read.query()
	if target.User != "" {
		query.Set("user", target.User)
	}
	if target.Database != "" {
		query.Set("database", target.Database)
	}
	return out, c.get(ctx, cluster(name, "/endpoints"), query, &out)
}

// Statuses judges every cluster, the worst first.
func (c *Client) Statuses(ctx context.Context, read Read) (api.Statuses, error) {
	var out api.Statuses
	return out, c.get(ctx, "/status", read.query(), &out)
}

// Status judges one cluster.
func (c *Client) Status(ctx context.Context, name string, read Read) (api.Status, error) {
	var out api.Status
	return out, c.get(ctx, cluster(name, "/status"), read.query(), &out)
}

// Switchover orders a planned change of the leader; to may be empty.
func (c *Client) Switchover(ctx context.Context, name, to string) (api.Changed, error) {
	return c.order(ctx, cluster(name, "/switchover"), api.Move{To: to})
}

// Failover orders that an instance leads although the leader is gone.
func (c *Client) Failover(ctx context.Context, name string, move api.Move) (api.Changed, error) {
	return c.order(ctx, cluster(name, "/failover"), move)
}

// Order asks for what is no change of the declaration or of the leader: pause, restart, …
func (c *Client) Order(ctx context.Context, name string, order api.Order) (api.Changed, error) {
	return c.order(ctx, cluster(name, "/orders"), order)
}

// Password shows the password of a role.
func (c *Client) Password(ctx context.Context, name, user string) (api.Password, error) {
	var out api.Password
	return out, c.get(ctx, cluster(name, "/users/"+segment(user)+"/password"), nil, &out)
}

// Rotate gives a role a new password and shows it.
func (c *Client) Rotate(ctx context.Context, name, user string) (api.Password, error) {
	var out api.Password
	path := cluster(name, "/users/"+segment(user)+"/password")
	return out, c.call(ctx, request{method: http.MethodPost, path: path}, &out)
}

// View is the struct that leadership is decided on, as JSON.
func (c *Client) View(ctx context.Context, name string) (json.RawMessage, error) {
	var out json.RawMessage
	return out, c.get(ctx, cluster(name, "/view"), nil, &out)
}

// Hosts lists the hosts.
func (c *Client) Hosts(ctx context.Context, read Read) (api.Hosts, error) {
	var out api.Hosts
	return out, c.get(ctx, "/hosts", read.query(), &out)
}

// Servers lists the members of the Raft group.
func (c *Client) Servers(ctx context.Context) (api.Servers, error) {
	var out api.Servers
	return out, c.get(ctx, "/servers", nil, &out)
}

// Events newer than an index, of one cluster or of all when cluster is empty.
func (c *Client) Events(ctx context.Context, name string, after uint64) (api.Events, error) {
	var out api.Events
	return out, c.get(ctx, "/events", eventQuery(name, after), &out)
}

func eventQuery(name string, after uint64) url.Values {
	q := url.Values{}
	if name != "" {
		q.Set("cluster", name)
	}
	if after > 0 {
		q.Set("after", strconv.FormatUint(after, 10))
	}
	return q
}

// Follow calls each for every event newer than an index, until that returns an error, which it passes
// on, or ctx ends. When a daemon goes away it goes on with another one, without gaps or repetitions.
func (c *Client) Follow(ctx context.Context, name string, after uint64, each func(pgctl.Event) error) error {
	last := pgctl.Event{Index: after, Seq: math.MaxInt}
	for ctx.Err() == nil {
		query := eventQuery(name, max(last.Index, 1)-1) // again from the index that may have been cut in its middle
		query.Set("follow", "true")
		response, err := c.do(ctx, request{method: http.MethodGet, path: "/events", query: query})
		if err != nil && pgctl.CodeOf(err) != pgctl.CodeUnavailable {
			return err
		}
		if err == nil {
			err = eachEvent(response.Body, &last, each)
			response.Body.Close()
			if err != nil {
				return err
			}
		}
		pause(ctx, 300*time.Millisecond)
	}
	return ctx.Err()
}

// eachEvent reads a stream to its end and passes on the events after last.
func eachEvent(stream io.Reader, last *pgctl.Event, each func(pgctl.Event) error) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e pgctl.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Index == 0 {
			continue // an empty line says that the daemon is still there
		}
		if e.Index < last.Index || e.Index == last.Index && e.Seq <= last.Seq {
			continue
		}
		if err := each(e); err != nil {
			return err
		}
		*last = e
	}
	return nil
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Settings lists the operator configuration.
func (c *Client) Settings(ctx context.Context) (api.Settings, error) {
	var out api.Settings
	return out, c.get(ctx, "/settings", nil, &out)
}

// Setting reads a value of the operator configuration.
func (c *Client) Setting(ctx context.Context, key string) (api.Setting, error) {
	var out api.Setting
	return out, c.get(ctx, "/settings/"+segment(key), nil, &out)
}

// PutSetting writes a value if the present one has the revision; nil: whatever it has, 0: none.
func (c *Client) PutSetting(ctx context.Context, key string, value json.RawMessage, revision *uint64) (api.Setting, error) {
	var out api.Setting
	query := url.Values{}
	if revision != nil {
		query.Set("revision", strconv.FormatUint(*revision, 10))
	}
	path := "/settings/" + segment(key)
	return out, c.call(ctx, request{method: http.MethodPut, path: path, query: query, body: value}, &out)
}

// SaveSnapshot copies the whole replicated state.
func (c *Client) SaveSnapshot(ctx context.Context, to io.Writer) (int64, error) {
	response, err := c.do(ctx, request{method: http.MethodGet, path: "/snapshot"})
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return io.Copy(to, response.Body)
}

// RestoreSnapshot replaces the whole replicated state; the leadership of every cluster is unknown then.
func (c *Client) RestoreSnapshot(ctx context.Context, from io.Reader) (api.Changed, error) {
	var out api.Changed
	return out, c.call(ctx, request{method: http.MethodPut, path: "/snapshot", stream: from}, &out)
}

// Version of the daemon that answers.
func (c *Client) Version(ctx context.Context) (api.Version, error) {
	var out api.Version
	return out, c.get(ctx, "/version", nil, &out)
}
