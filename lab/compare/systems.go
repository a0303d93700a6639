package main

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/pgctl/pgctl/lab/hosts"
	"github.com/pgctl/pgctl/lab/scenario"
)

// packages are Debian's, of the systems that are compared with. All hosts have them, those of pgctl too.
var packages = []string{
	"patroni", "python3-etcd", "etcd-server", "etcd-client", "pg-auto-failover-cli", "postgresql-15-auto-failover",
}

//go:embed patroni
var patroniScript string

//go:embed autofailover
var autofailoverScript string

// peers are the systems that scripts set up, in the order of the table.
var peers = []struct {
	name, script, speed string
}{
	{"patroni-fastest", patroniScript, "fastest"},
	{"patroni-default", patroniScript, "default"},
	{"autofailover-tuned", autofailoverScript, "tuned"},
	{"autofailover-default", autofailoverScript, "default"},
}

const ours = "pgctl"

func systemNames() []string {
	names := []string{ours}
	for _, p := range peers {
		names = append(names, p.name)
	}
	return names
}

// newSystem sets a system up on hosts that have just been made.
func newSystem(ctx context.Context, name string, lab *hosts.Lab) (system, error) {
	for _, p := range peers {
		if p.name == name {
			return newPeer(ctx, lab, p.script, p.speed)
		}
	}
	world, err := scenario.New(lab, say)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &pgctl{world: world}, nil
}

// pgctl gets a new cluster for every run, as it gets new hosts.
type pgctl struct{ world *scenario.World }

func (p *pgctl) ready(ctx context.Context) error               { return p.world.Fresh(ctx) }
func (p *pgctl) whole(ctx context.Context) error               { return p.world.Well(ctx) }
func (p *pgctl) dsn(ctx context.Context) (string, error)       { return p.world.DSN(ctx) }
func (p *pgctl) store(ctx context.Context) (hosts.Host, error) { return p.world.RaftLeader(ctx) }

func (p *pgctl) switchover(ctx context.Context, _ hosts.Host) error { return p.world.Switchover(ctx) }
func (p *pgctl) close()                                             { p.world.Close() }

func (p *pgctl) leader(ctx context.Context) (hosts.Host, string, error) { return p.world.Leader(ctx) }
