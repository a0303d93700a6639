package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/examples"
	"github.com/pgctl/pgctl/lab/writer"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/client"
)

const (
	demoLimit   = 90 * time.Second // a bound for what cannot be: it takes half of that
	demoRows    = 300              // acknowledged before and after the failure
	demoCluster = "shop"           // as examples.Shop has it
	demoUser    = "shop_owner"
	demoBase    = "shop"
)

// demo is one run.
type demo struct {
	p       *playground
	command []string // that starts a daemon
	say     sayFunc
	api     *client.Client
}

// devDemo shows what pgctl is for, on a playground of its own that is gone afterwards, however it ends.
func devDemo(ctx context.Context, named string, say sayFunc) (err error) {
	dir, err := devFolder(named, "-demo")
	if err != nil {
		return err
	}
	command, err := devDaemon()
	if err != nil {
		return err
	}
	if old, err := openPlayground(dir); err == nil { // a demo that could not clean up
		if err := old.discard(ctx); err != nil {
			return err
		}
	}
	p, err := prepare(dir, 3, time.Now(), say)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, context.Canceled) {
			p.keepLogs(say)
		}
		say("cleaning up")
		err = errors.Join(err, p.discard(ctx))
	}()
	limited, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	if err := p.up(limited, command, say); err != nil {
		return err
	}
	connection, err := client.New(p.clientConfig())
	if err != nil {
		return err
	}
	defer connection.Close()
	return (&demo{p: p, command: command, say: say, api: connection}).run(limited)
}

// discard ends everything at once, even if ctx ended, and removes the folder.
func (p *playground) discard(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*devKill)
	defer cancel()
	var errs []error
	for _, h := range p.hosts() {
		errs = append(errs, h.kill(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return p.remove()
}

// keepLogs copies what the daemons and Postgres said to where it survives, and says where.
func (p *playground) keepLogs(say sayFunc) {
	var logs []string
	for _, h := range p.hosts() {
		_ = filepath.WalkDir(h.Dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && filepath.Ext(path) == ".log" {
				logs = append(logs, path)
			}
			return nil // what cannot be read is not kept
		})
	}
	if len(logs) == 0 {
		return
	}
	dir, err := os.MkdirTemp("", "pgctl-demo-logs-")
	for _, path := range logs {
		if err == nil {
			var text []byte
			name := strings.ReplaceAll(strings.TrimPrefix(path, p.Dir+"/"), "/", "_")
			if text, err = os.ReadFile(path); err == nil {
				err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
			}
		}
	}
	if err != nil {
		say("the logs cannot be kept: %v", err)
		return
	}
	say("the logs are kept in %s", dir)
}

// run is the demo itself.
func (d *demo) run(ctx context.Context) error {
	began := time.Now()
	after, err := d.declare(ctx)
	if err != nil {
		return err
	}
	stopEvents := d.showEvents(ctx, after)
	defer stopEvents()
	if err := d.await(ctx, "the cluster is well", func(ctx context.Context) (bool, string, error) {
		s, err := d.api.Status(ctx, demoCluster, client.Read{})
		return s.Index >= after && s.Health == api.LevelWell, s.Summary, err
	}); err != nil {
		return err
	}
	d.say("==> from manifest to cluster: %s", seconds(time.Since(began)))

	dsn, err := d.connection(ctx)
	if err != nil {
		return err
	}
	d.say("==> writing rows, each a commit that two of the three instances acknowledge")
	w, err := writer.Start(ctx, writer.Config{DSN: dsn, Connections: 2, Interval: 5 * time.Millisecond})
	if err != nil {
		return err
	}
	report, host, err := d.loseLeader(ctx, w)
	if err != nil {
		w.Stop()
		if last := w.Failure(); last != nil {
			d.say("the writers last met: %v", last)
		}
		return err
	}
	missing, err := w.Missing(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return pgctl.Errorf(pgctl.CodeInternal, "%d of %d acknowledged rows are missing, %d the first of them",
			len(missing), report.Acknowledged, missing[0])
	}
	d.say("==> all %d acknowledged rows are there", report.Acknowledged)
	if err := d.bringBack(ctx, host); err != nil {
		return err
	}
	d.say("\nThe leader's host was lost at once. Writes paused for %s, %d rows were acknowledged, none was lost;\n"+
		"the host is back as a standby. All of it took %s.",
		seconds(report.LongestGap), report.Acknowledged, seconds(time.Since(began)))
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// declare applies the example and returns the index from which its events count.
func (d *demo) declare(ctx context.Context) (uint64, error) {
	hosts, err := d.api.Hosts(ctx, client.Read{})
	if err != nil {
		return 0, err
	}
	var majors []int
	for _, h := range hosts.Hosts {
		for _, v := range h.Postgres {
			majors = append(majors, v.Major)
		}
	}
	manifest := examples.Shop
	if len(majors) > 0 && !slices.Contains(majors, 15) { // of another distribution
		other := fmt.Appendf(nil, `version: "%d"`, slices.Max(majors))
		manifest = bytes.Replace(manifest, []byte(`version: "15"`), other, 1)
	}
	d.say("\n==> pgctl apply -f examples/shop.yaml")
	result, err := d.api.Apply(ctx, "shop.yaml", manifest, false)
	if err != nil {
		return 0, err
	}
	for _, c := range result.Clusters {
		d.say("%s: %s", c.Name, c.Action)
	}
	return hosts.Index, nil
}

// showEvents prints the cluster's events until the function it returns is called.
func (d *demo) showEvents(ctx context.Context, after uint64) func() {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		_ = d.api.Follow(ctx, demoCluster, after, func(e pgctl.Event) error { // ends with ctx
			d.say("    %s  %s", e.At.Local().Format("15:04:05.000"), eventText(e))
			return nil
		})
	})
	return func() {
		cancel()
		following.Wait()
	}
}

// await polls until done. A daemon that cannot answer now is asked again.
func (d *demo) await(ctx context.Context, what string, done func(context.Context) (bool, string, error)) error {
	for {
		ok, now, err := done(ctx)
		switch {
		case err != nil && pgctl.CodeOf(err) != pgctl.CodeUnavailable && ctx.Err() == nil:
			return err
		case ok && err == nil:
			return nil
		case err != nil:
			now = message(err)
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return pgctl.Errorf(pgctl.CodeUnavailable, "it took too long until %s: %s", what, now)
			}
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// connection is what an application would be given: all instances, and the wish to write.
func (d *demo) connection(ctx context.Context) (string, error) {
	var endpoints api.Endpoints
	var password api.Password
	err := d.await(ctx, "the connection is known", func(ctx context.Context) (ready bool, now string, err error) {
		target := api.Target{User: demoUser, Database: demoBase}
		if endpoints, err = d.api.Endpoints(ctx, demoCluster, target, client.Read{}); err != nil {
			return false, "", err
		}
		password, err = d.api.Password(ctx, demoCluster, demoUser)
		return endpoints.Leader != nil && len(endpoints.Standbys) == 2, "not all instances take connections", err
	})
	if err != nil {
		return "", err
	}
	d.say("==> pgctl dsn %s: %s", demoCluster, endpoints.ReadWrite.URI)
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password.Password)
	return endpoints.ReadWrite.Keywords + " password='" + quoted + "'", nil
}

// loseLeader kills the leader's host under load and waits until rows are written again.
func (d *demo) loseLeader(ctx context.Context, w *writer.Writer) (writer.Report, devHost, error) {
	rows := func(from int) func(context.Context) (bool, string, error) {
		return func(context.Context) (bool, string, error) {
			r := w.Report()
			return r.Acknowledged >= from+demoRows, fmt.Sprintf("%d rows, the last %s ago", r.Acknowledged, seconds(r.SinceLast)), nil
		}
	}
	if err := d.await(ctx, "rows are written", rows(0)); err != nil {
		return writer.Report{}, devHost{}, err
	}
	endpoints, err := d.api.Endpoints(ctx, demoCluster, api.Target{}, client.Read{Consistent: true})
	if err != nil {
		return writer.Report{}, devHost{}, err
	}
	if endpoints.Leader == nil {
		return writer.Report{}, devHost{}, pgctl.Errorf(pgctl.CodeUnavailable, "the cluster lost its leader before its time")
	}
	h, err := d.p.host(endpoints.Leader.Host)
	if err != nil {
		return writer.Report{}, devHost{}, err
	}
	before := w.Report()
	d.say("==> %d rows are acknowledged; SIGKILL for everything on %s, the host of the leader %s",
		before.Acknowledged, h.Name, endpoints.Leader.Instance)
	if err := h.kill(ctx); err != nil {
		return writer.Report{}, devHost{}, err
	}
	if err := d.await(ctx, "rows are written again", rows(w.Report().Acknowledged)); err != nil {
		return writer.Report{}, devHost{}, err
	}
	report := w.Stop()
	d.say("==> writes paused for %s; %d rows are acknowledged, the outcome of %d is unknown to their writers",
		seconds(report.LongestGap), report.Acknowledged, report.Unknown)
	return report, h, nil
}

// bringBack starts the lost host and waits until its instance streams from the new leader.
func (d *demo) bringBack(ctx context.Context, h devHost) error {
	d.say("==> starting %s again", h.Name)
	if err := h.startAll(d.command); err != nil {
		return err
	}
	return d.await(ctx, "the host is back as a standby", func(ctx context.Context) (bool, string, error) {
		detail, err := d.api.Cluster(ctx, demoCluster, client.Read{})
		for _, i := range detail.Instances {
			if i.Host == h.Name && i.Live != nil && i.Live.Role == api.RoleStandby && i.Live.Streaming {
				d.say("==> %s is a streaming standby", i.Name)
				return true, "", nil
			}
		}
		return false, "no standby streams there", err
	})
}
