package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api/client"
)

const (
	devReady    = 40 * time.Second
	devLogLines = 15
	// devPortSetting is the operator's setting from which the store gives ports to clusters.
	devPortSetting = "postgres.port.first"
)

// sayFunc prints one line of progress.
type sayFunc func(format string, args ...any)

// prepare opens a playground or makes one. A new one is complete or has no mark of being so: what broke
// off is made again.
func prepare(dir string, hosts int, now time.Time, say sayFunc) (*playground, error) {
	p, err := openPlayground(dir)
	switch {
	case pgctl.CodeOf(err) == pgctl.CodeNotFound:
		if p, err = createPlayground(dir, hosts); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case hosts != 0 && p.Count != hosts:
		return nil, pgctl.Errorf(pgctl.CodeConflict, "the playground in %s has %d hosts", p.Dir, p.Count).
			WithHint("`pgctl dev down --purge` removes it")
	}
	if _, err := os.Stat(p.contextFile()); err == nil {
		return p, p.renew(now) // it is written last, so that all the rest is there
	}
	say("making the playground %s: certificates, keys, configurations", p.Dir)
	if err := p.fill(now); err != nil {
		return nil, err
	}
	return p, p.writeContext()
}

// up starts the daemons and waits until they are a group.
func (p *playground) up(ctx context.Context, command []string, say sayFunc) error {
	if err := p.checkPorts(); err != nil {
		return err
	}
	for _, h := range p.hosts() {
		if err := h.startAll(command); err != nil {
			return err
		}
		id, _ := h.daemon()
		say("%s: daemon on %s, data center %s (process %d)", h.Name, h.Address, h.DataCenter, id.PID)
	}
	api, err := client.New(p.clientConfig())
	if err != nil {
		return err
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(ctx, devReady)
	defer cancel()
	if err := p.awaitGroup(ctx, api, say); err != nil {
		return err
	}
	return setFirstPort(ctx, api)
}

// setFirstPort keeps clusters away from the ports that a Postgres of the machine's own may have; a
// value that somebody set stays.
func setFirstPort(ctx context.Context, api *client.Client) error {
	none := uint64(0)
	_, err := api.PutSetting(ctx, devPortSetting, json.RawMessage(fmt.Sprint(devFirstPort)), &none)
	if pgctl.CodeOf(err) == pgctl.CodeConflict {
		return nil
	}
	return err
}

// awaitGroup waits until all servers belong to one group with a leader and all hosts are known.
func (p *playground) awaitGroup(ctx context.Context, api *client.Client, say sayFunc) error {
	said := ""
	for {
		ready, now := p.groupState(ctx, api)
		if now != said {
			say("%s", now)
			said = now
		}
		if ready {
			return nil
		}
		for _, h := range p.hosts() {
			if _, runs := h.daemon(); !runs {
				return pgctl.Errorf(pgctl.CodeUnavailable, "the daemon of %s ended:\n%s", h.Name, tail(h.log(), devLogLines)).
					WithHint("all of its log: %s; `pgctl dev down` stops the others", h.log())
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return pgctl.Errorf(pgctl.CodeUnavailable, "the daemons did not become a group in time: %s", said).
					WithHint("`pgctl dev logs` shows what they say")
			}
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *playground) groupState(ctx context.Context, api *client.Client) (ready bool, now string) {
	voters := 0
	for _, h := range p.hosts() {
		if h.Server {
			voters++
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	servers, err := api.Servers(ctx)
	if err != nil {
		return false, "waiting for the API"
	}
	leader := ""
	for _, s := range servers.Servers {
		if s.Role == "leader" {
			leader = s.Name
		}
	}
	if leader == "" || len(servers.Servers) < voters {
		return false, "waiting for the servers to elect a leader"
	}
	hosts, err := api.Hosts(ctx, client.Read{})
	if err != nil || len(hosts.Hosts) < p.Count {
		return false, fmt.Sprintf("%s leads the servers; %d of %d hosts have joined", leader, len(hosts.Hosts), p.Count)
	}
	return true, fmt.Sprintf("%s leads the servers; all %d hosts have joined", leader, p.Count)
}

// tail is the end of a file, for messages.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
