package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/lab/writer"
	"github.com/pgctl/pgctl/node/api"
)

const (
	user     = "app"
	patience = 60 * time.Second // for what takes seconds
	askEvery = 100 * time.Millisecond
	settled  = time.Second // rows are written for so long before the fault and after it
)

// How the client behaves: as in the scenarios of real hosts, it gives up soon, so that what is measured is the
// cluster's time and not its own.
var client = writer.Config{Connections: 4, Interval: 5 * time.Millisecond, ConnectTimeout: 250 * time.Millisecond, WriteTimeout: time.Second}

// world is a playground with one cluster.
type world struct {
	binary, dir, temporary string
	env                    []string
	cluster                string // "" before there is one
	number                 int    // of clusters that were made
	crashed                bool   // a postmaster of this one was
}

// situation is who leads, and who is where.
type situation struct {
	leader, host string
	epoch        pgctl.Epoch
	history      []pgctl.TimelineRecord
	instances    map[string]string // by host
}

func newWorld(ctx context.Context, o options) (*world, error) {
	temporary, err := os.MkdirTemp(o.dir, "pgctl-gaps-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(temporary, 0o755); err != nil { // Postgres' user has to reach it
		return nil, err
	}
	w := &world{binary: o.binary, temporary: temporary, dir: filepath.Join(temporary, "playground")}
	w.env = append(os.Environ(), "PGCTL_DEV_DIR="+w.dir, "PGCTL_CONFIG="+filepath.Join(w.dir, "client.toml"))
	if w.binary == "" {
		w.binary = filepath.Join(temporary, "pgctl")
		build := exec.CommandContext(ctx, "go", "build", "-o", w.binary, "github.com/pgctl/pgctl/cmd/pgctl")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w: %s", err, out)
		}
	}
	if _, err := w.pgctl(ctx, "", "dev", "up", "--hosts", strconv.Itoa(o.hosts)); err != nil {
		return nil, errors.Join(err, w.end(ctx, o.keep))
	}
	return w, nil
}

// end stops everything, and removes it unless it is to be kept.
func (w *world) end(ctx context.Context, keep bool) error {
	if keep {
		_, err := w.pgctl(ctx, "", "dev", "down")
		fmt.Println("kept:", w.dir)
		return err
	}
	_, err := w.pgctl(ctx, "", "dev", "down", "--purge")
	return errors.Join(err, os.RemoveAll(w.temporary))
}

// pgctl runs a command.
func (w *world) pgctl(ctx context.Context, input string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, w.binary, args...)
	c.Env, c.Stdin = w.env, strings.NewReader(input)
	out, err := c.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("pgctl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// ask reads a command's answer.
func (w *world) ask(ctx context.Context, answer any, args ...string) error {
	return eventually(ctx, strings.Join(args, " "), func() error {
		out, err := w.pgctl(ctx, "", append(args, "-o", "json")...)
		if json.Unmarshal([]byte(out), answer) == nil { // status has exit statuses of its own
			return nil
		}
		return errors.Join(err, fmt.Errorf("pgctl %v says %q", args, out))
	})
}

// eventually waits until check finds nothing to complain of.
func eventually(ctx context.Context, what string, check func() error) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := check()
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

func (w *world) look(ctx context.Context) (situation, error) {
	var detail api.ClusterDetail
	if err := w.ask(ctx, &detail, "show", w.cluster); err != nil || detail.Leadership == nil {
		return situation{}, errors.Join(err, errors.New("nobody leads"))
	}
	s := situation{epoch: detail.Leadership.Epoch, history: detail.Leadership.History, instances: map[string]string{}}
	for _, i := range detail.Instances {
		s.instances[i.Host] = i.Name
		if i.Life == detail.Leadership.Leader {
			s.leader, s.host = i.Name, i.Host
		}
	}
	return s, nil
}

// ready waits until the cluster has nothing to complain of; first it makes a new one if a fault needs that:
// what was learned from earlier ones counts.
func (w *world) ready(ctx context.Context, fresh bool) error {
	if fresh && w.cluster != "" {
		if _, err := w.pgctl(ctx, "", "delete", w.cluster, "--yes", w.cluster, "--keep", "1s"); err != nil {
			return err
		}
		w.cluster = ""
	}
	if w.cluster == "" {
		if err := w.declare(ctx); err != nil {
			return err
		}
	}
	return eventually(ctx, "the cluster is well", func() error {
		var status api.Status
		var detail api.ClusterDetail
		if err := errors.Join(w.ask(ctx, &status, "status", w.cluster), w.ask(ctx, &detail, "show", w.cluster)); err != nil {
			return err
		}
		l := detail.Leadership
		if l == nil || status.Health != api.LevelWell || len(l.Rule.Standbys) != 2 || l.NextRule != nil {
			return fmt.Errorf("%s: %s", status.Health, status.Summary)
		}
		return nil
	})
}

// declare makes a new cluster.
func (w *world) declare(ctx context.Context) error {
	w.number++
	w.cluster, w.crashed = fmt.Sprintf("gaps%d", w.number), false
	manifest := fmt.Sprintf("apiVersion: acid.zalan.do/v1\nkind: postgresql\nmetadata:\n  name: %s\nspec:\n  teamId: acme\n"+
		"  numberOfInstances: 3\n  volume: {size: 1Gi}\n  users: {%s: []}\n  databases: {%s: %s}\n  postgresql: {version: \"15\"}\n",
		w.cluster, user, user, user)
	return eventually(ctx, "apply", func() error {
		_, err := w.pgctl(ctx, manifest, "apply", "-f", "-", "--yes", "--wait", "--timeout", patience.String())
		return err
	})
}

// changed waits until another one leads than before, and serves, or the same one again.
func (w *world) changed(ctx context.Context, before situation) error {
	return eventually(ctx, "the leadership changes", func() error {
		now, err := w.look(ctx)
		if err == nil && (now.epoch == before.epoch || now.leader == "" || now.history[len(now.history)-1].Took.Opened == 0) {
			err = fmt.Errorf("epoch %d", now.epoch)
		}
		return err
	})
}

// dsn is how an application connects: all instances, the driver finds the leader.
func (w *world) dsn(ctx context.Context) (string, error) {
	password, err := w.pgctl(ctx, "", "password", w.cluster, user)
	if err != nil {
		return "", err
	}
	text, err := w.pgctl(ctx, "", "dsn", w.cluster)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword(user, strings.TrimSpace(password))
	return u.String(), nil
}
