package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
)

const (
	peerProgram  = "/usr/local/sbin/peer"
	peerData     = "/var/lib/pgctl/postgres"
	peerDatabase = "app" // and its owner, and the password
)

// peer is a system that a script sets up. The script lies on every host; it is called with
//
//	setup       on each host, servers first: stop pgctl, configure and start what the host is to run
//	app         on the leader: make the role and the database of the client
//	leader      prints the name of the host that leads
//	whole       ends with status 0 when three instances work and a commit waits for a standby
//	store       prints the name of the host that leads the consensus, or is the monitor
//	switchover  on the leader: move the leader to another host
type peer struct {
	lab           *hosts.Lab
	servers, data []hosts.Host
}

// newPeer sets a system up, and returns when it is whole.
func newPeer(ctx context.Context, lab *hosts.Lab, script, speed string) (*peer, error) {
	p := &peer{lab: lab}
	for _, h := range lab.Hosts() {
		if h.Server {
			p.servers = append(p.servers, h)
		} else {
			p.data = append(p.data, h)
		}
	}
	for _, h := range append(p.servers[:len(p.servers):len(p.servers)], p.data...) {
		err := errors.Join(
			os.WriteFile(filepath.Join(h.Root(), peerProgram), []byte(script), 0o755),
			os.WriteFile(filepath.Join(h.Root(), "etc/peer.env"), []byte(p.environment(h, speed)), 0o644))
		if err != nil {
			return nil, err
		}
		if _, err := p.call(ctx, h, "setup"); err != nil {
			return nil, err
		}
	}
	if err := p.whole(ctx); err != nil {
		return nil, err
	}
	leader, _, err := p.leader(ctx)
	if err != nil {
		return nil, err
	}
	_, err = p.call(ctx, leader, "app")
	return p, err
}

// environment is what the script knows about its host and the others.
func (p *peer) environment(h hosts.Host, speed string) string {
	list := func(all []hosts.Host) string {
		var words []string
		for _, h := range all {
			words = append(words, h.Name+"="+h.Address.String())
		}
		return strings.Join(words, " ")
	}
	role := "data"
	if h.Server {
		role = "server"
	}
	return fmt.Sprintf("NAME=%s\nADDRESS=%s\nROLE=%s\nSPEED=%s\nSERVERS=%q\nDATA=%q\n",
		h.Name, h.Address, role, speed, list(p.servers), list(p.data))
}

// call runs the script on a host and returns what it printed.
func (p *peer) call(ctx context.Context, h hosts.Host, command string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := p.lab.Command(limited, h, peerProgram, command)
	if err != nil {
		return "", err
	}
	var failed strings.Builder
	c.Stderr = &failed
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%s on %s: %w: %s%s", command, h.Name, err, out, failed.String())
	}
	return strings.TrimSpace(string(out)), err
}

// where asks for the name of a host. It asks a host that carries an instance: all of those run when that is
// of interest.
func (p *peer) where(ctx context.Context, command string) (hosts.Host, error) {
	name, err := p.call(ctx, p.data[0], command)
	if err != nil {
		return hosts.Host{}, err
	}
	return p.lab.Host(name)
}

func (p *peer) ready(ctx context.Context) error { return p.whole(ctx) }

func (p *peer) whole(ctx context.Context) error {
	return eventually(ctx, recovery, "three instances work", func(ctx context.Context) error {
		_, err := p.call(ctx, p.data[0], "whole")
		return err
	})
}

func (p *peer) dsn(context.Context) (string, error) {
	var all []string
	for _, h := range p.data {
		all = append(all, h.Address.String()+":5432")
	}
	return fmt.Sprintf("postgres://%[1]s:%[1]s@%[2]s/%[1]s?sslmode=disable&target_session_attrs=read-write",
		peerDatabase, strings.Join(all, ",")), nil
}

func (p *peer) leader(ctx context.Context) (hosts.Host, string, error) {
	h, err := p.where(ctx, "leader")
	return h, peerData, err
}

func (p *peer) store(ctx context.Context) (hosts.Host, error) { return p.where(ctx, "store") }

func (p *peer) switchover(ctx context.Context, leader hosts.Host) error {
	_, err := p.call(ctx, leader, "switchover")
	return err
}

func (p *peer) close() {}
