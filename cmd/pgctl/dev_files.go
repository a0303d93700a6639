package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"time"

	"filippo.io/age"
	"github.com/BurntSushi/toml"

	"github.com/pgctl/pgctl/provision/pki"
)

const (
	devAPIPort       = 7432
	devRaftPort      = 7433
	devGossipPort    = 7434
	devHeartbeatPort = 7435
	devDiscoveryPort = 7436
	devValidity      = 365 * 24 * time.Hour
	devGossipKeySize = 32
	devHeader        = "# Written by `pgctl dev up`.\n"
)

// fill writes what an installation needs before its daemons start: authority, certificates, keys,
// configurations. Files of an earlier run that broke off are written anew.
func (p *playground) fill(now time.Time) error {
	ca, err := pki.NewCA("pgctl dev", now)
	if err != nil {
		return err
	}
	if err := errors.Join(
		ca.Save(p.file("ca.pem"), p.file("ca-key.pem")),
		p.issue(ca, pki.Request{Name: "dev", Role: pki.Operator}, p.Dir+"/operator", now),
		p.writeKeys(),
	); err != nil {
		return err
	}
	for _, h := range p.hosts() {
		for _, dir := range []string{h.Dir, h.data(), h.sockets()} {
			if err := makeFolder(dir); err != nil {
				return err
			}
		}
		if os.Getuid() == 0 {
			uid, gids, err := postgresUser()
			if err != nil {
				return err
			}
			if err := os.Chown(h.sockets(), uid, gids[0]); err != nil {
				return err
			}
		}
		role := pki.Agent
		if h.Server {
			role = pki.Server
		}
		request := pki.Request{Name: h.Name, Role: role, Addresses: []string{h.Address}}
		if err := errors.Join(p.issue(ca, request, h.Dir+"/host", now), p.writeConfig(h)); err != nil {
			return err
		}
	}
	return nil
}

func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755) // whatever the umask says: Postgres runs as another user
}

func (p *playground) issue(ca *pki.Authority, r pki.Request, base string, now time.Time) error {
	r.Validity = devValidity
	pair, err := ca.Issue(r, now)
	if err != nil {
		return err
	}
	return pair.Save(base+".pem", base+"-key.pem")
}

// writeKeys draws the key of gossip and heartbeats (32 bytes as they are) and the one that encrypts
// passwords in the store (as age writes it).
func (p *playground) writeKeys() error {
	gossip := make([]byte, devGossipKeySize)
	_, _ = rand.Read(gossip) // never fails: documented
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(p.file("gossip.key"), gossip, 0o600),
		os.WriteFile(p.file("secret.key"), []byte(secret.String()+"\n"), 0o600),
	)
}

func (p *playground) writeConfig(h devHost) error {
	c := DefaultDaemonConfig()
	c.Name, c.DataCenter, c.Address = h.Name, h.DataCenter, h.Address
	c.DataDir, c.SocketDir = h.data(), h.sockets()
	c.Listen = ListenConfig{
		API: h.listen(devAPIPort), Raft: h.listen(devRaftPort), Gossip: h.listen(devGossipPort),
		Heartbeat: h.listen(devHeartbeatPort), Discovery: h.listen(devDiscoveryPort),
	}
	c.TLS = TLSConfig{CA: p.file("ca.pem"), Cert: h.Dir + "/host.pem", Key: h.Dir + "/host-key.pem"}
	c.Cluster.GossipKeyFile, c.Cluster.SecretKeyFile = p.file("gossip.key"), ""
	if c.Cluster.Server = h.Server; h.Server {
		c.Cluster.SecretKeyFile = p.file("secret.key")
	}
	for _, other := range p.hosts() {
		c.Cluster.Join = append(c.Cluster.Join, other.listen(devGossipPort))
		if other.Server {
			c.Cluster.Servers = append(c.Cluster.Servers, other.Name+"="+other.listen(devRaftPort))
		}
	}
	return writeTOML(h.config(), c)
}

// writeTOML writes a configuration for daemons or clients.
func writeTOML(path string, config any) error {
	var text bytes.Buffer
	text.WriteString(devHeader)
	if err := toml.NewEncoder(&text).Encode(config); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}
