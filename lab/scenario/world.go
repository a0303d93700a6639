// Package scenario plays what happens to hosts, on real hosts (lab/hosts), under an outside client that
// remembers every acknowledged row: how long writes paused, what was lost, and whether two servers ever
// wrote side by side. TestScenarios runs the list.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/lab/hosts"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/client"
)

const (
	patience = 90 * time.Second // for what takes seconds on a machine that is not busy
	askEvery = 100 * time.Millisecond
	user     = "app"
	database = "app"
)

// World is a lab with one cluster under test.
type World struct {
	Lab *hosts.Lab

	api     *client.Client
	say     func(string, ...any)
	number  int    // of clusters made so far
	cluster string // under test; empty: none
	place   place
	size    int // instances
}

// place is which hosts carry the instances.
type place string

const (
	anywhere  place = ""
	apart     place = "data"   // on hosts that are no servers
	onServers place = "server" // as in an installation of three hosts
)

// New looks at a lab. say takes lines of progress.
func New(lab *hosts.Lab, say func(string, ...any)) (*World, error) {
	o := lab.Operator()
	api, err := client.New(client.Config{
		Addresses: o.Addresses, CA: o.CA, Cert: o.Cert, Key: o.Key, UserAgent: "pgctl-lab", Dial: dialSoon(lab),
	})
	return &World{Lab: lab, api: api, say: say}, err
}

// Close ends the connections; the lab goes on.
func (w *World) Close() { w.api.Close() }

// member is an instance of the cluster, on its host.
type member struct {
	name string
	life pgctl.Life
	host hosts.Host
}

// state is what the daemons say about the cluster.
type state struct {
	detail  api.ClusterDetail
	leader  member // without name: nobody leads
	members []member
}

func (s state) standbys() []member {
	return slices.DeleteFunc(slices.Clone(s.members), func(m member) bool { return m.life == s.leader.life })
}

func (w *World) look(ctx context.Context) (state, error) {
	detail, err := w.api.Cluster(ctx, w.cluster, client.Read{})
	s := state{detail: detail}
	if err != nil {
		return s, err
	}
	for _, i := range detail.Instances {
		if i.Host == "" {
			continue
		}
		h, err := w.Lab.Host(i.Host)
		if err != nil {
			return s, err
		}
		m := member{name: i.Name, life: i.Life, host: h}
		s.members = append(s.members, m)
		if detail.Leadership != nil && m.life != "" && m.life == detail.Leadership.Leader {
			s.leader = m
		}
	}
	return s, nil
}

// raftLeader is the host whose daemon leads the servers.
func (w *World) raftLeader(ctx context.Context) (hosts.Host, error) {
	var found hosts.Host
	err := w.eventually(ctx, "the servers have a leader", func(ctx context.Context) error {
		servers, err := w.api.Servers(ctx)
		if err != nil {
			return err
		}
		for _, s := range servers.Servers {
			if s.Role == "leader" {
				found, err = w.Lab.Host(s.Name)
				return err
			}
		}
		return errors.New("none of them leads")
	})
	return found, err
}

func (w *World) servers() []hosts.Host {
	return slices.DeleteFunc(w.Lab.Hosts(), func(h hosts.Host) bool { return !h.Server })
}

// eventually waits until check finds nothing to complain of.
func (w *World) eventually(ctx context.Context, what string, check func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		once, done := context.WithTimeout(limited, 10*time.Second)
		err := check(once)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("%s: not within %s: %w", what, patience, err)
		case <-time.After(askEvery):
		}
	}
}

// gathered waits until the daemons of all hosts are one group.
func (w *World) gathered(ctx context.Context) error {
	return w.eventually(ctx, "all hosts have joined", func(ctx context.Context) error {
		known, err := w.api.Hosts(ctx, client.Read{Consistent: true})
		if err != nil {
			return err
		}
		if n := len(w.Lab.Hosts()); len(known.Hosts) < n {
			return fmt.Errorf("%d of %d", len(known.Hosts), n)
		}
		for _, h := range known.Hosts {
			if h.HeardMs == nil || *h.HeardMs > 2000 {
				return fmt.Errorf("%s is not heard", h.Name)
			}
		}
		return nil
	})
}

// declare makes a new cluster in the place of the one under test, and waits until it is well.
func (w *World) declare(ctx context.Context, where place, size int) error {
	if err := errors.Join(w.discard(ctx), w.gathered(ctx)); err != nil {
		return err
	}
	w.number++
	w.cluster, w.place, w.size = fmt.Sprintf("lab%d-%d", time.Now().Unix()%100000, w.number), where, size
	err := w.eventually(ctx, "the cluster is declared", func(ctx context.Context) error {
		_, err := w.api.Apply(ctx, "lab", []byte(w.manifest()), false)
		return err
	})
	if err != nil {
		return err
	}
	return w.well(ctx)
}

func (w *World) manifest() string {
	text := fmt.Sprintf("apiVersion: acid.zalan.do/v1\nkind: postgresql\nmetadata:\n  name: %s\nspec:\n  teamId: acme\n"+
		"  numberOfInstances: %d\n  volume: {size: 1Gi}\n  allowedSourceRanges: [10.77.0.0/16]\n  users: {%s: []}\n  databases: {%s: %s}\n"+
		"  postgresql:\n    version: \"15\"\n", w.cluster, w.size, user, database, user)
	if w.place != anywhere {
		text += fmt.Sprintf("  pgctl:\n    placement:\n      hostLabels: {role: %s}\n", w.place)
	}
	return text
}

// discard deletes the cluster under test.
func (w *World) discard(ctx context.Context) error {
	if w.cluster == "" {
		return nil
	}
	if err := w.eventually(ctx, "the cluster is deleted", func(ctx context.Context) error {
		_, err := w.api.Delete(ctx, w.cluster, time.Second)
		if pgctl.CodeOf(err) == pgctl.CodeNotFound {
			return nil
		}
		return err
	}); err != nil {
		return err
	}
	w.cluster = ""
	return nil
}

// well waits until nothing is to be complained of, and commits wait for whom they should.
func (w *World) well(ctx context.Context) error {
	return w.eventually(ctx, w.cluster+" is well", func(ctx context.Context) error {
		status, err := w.api.Status(ctx, w.cluster, client.Read{})
		if err != nil {
			return err
		}
		s, err := w.look(ctx)
		if err != nil {
			return err
		}
		l := s.detail.Leadership
		if l == nil || status.Health != api.LevelWell || len(l.Rule.Standbys) != w.size-1 || l.NextRule != nil {
			return fmt.Errorf("%s: %s", status.Health, status.Summary)
		}
		return nil
	})
}

// dsn is how an application connects: all instances, the driver finds the leader.
func (w *World) dsn(ctx context.Context) (string, error) {
	password, err := w.api.Password(ctx, w.cluster, user)
	if err != nil {
		return "", err
	}
	endpoints, err := w.api.Endpoints(ctx, w.cluster, api.Target{User: user, Database: database}, client.Read{})
	if err != nil {
		return "", err
	}
	u, err := url.Parse(endpoints.ReadWrite.URI)
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword(user, password.Password)
	return u.String(), nil
}

// restore ends all faults: network, disks, power, daemons.
func (w *World) restore(ctx context.Context) error {
	failures := []error{w.Lab.Heal(ctx)}
	for _, h := range w.Lab.Hosts() {
		failures = append(failures, w.Lab.Start(ctx, h))
		// A daemon that was stopped by SIGSTOP does not see that it should end.
		_, _ = w.Lab.Exec(ctx, h, "pkill", "-CONT", "-x", "pgctl")
		if out, err := w.Lab.Exec(ctx, h, "systemctl", "start", "pgctl"); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w: %s", h.Name, err, strings.TrimSpace(out)))
		}
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return w.gathered(ctx)
}
