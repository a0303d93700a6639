package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
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
	devRenewal       = 30 * 24 * time.Hour // before the end of it
	devGossipKeySize = 32
	devHeader        = "# Written by `pgctl dev up`.\n"
)

// devCertificate is one that the playground needs; its files are base.pem and base-key.pem.
type devCertificate struct {
	pki.Request
	base string
}

func (p *playground) certificates() []devCertificate {
	all := []devCertificate{{pki.Request{Name: "dev", Role: pki.Operator, Validity: devValidity}, p.file("operator")}}
	for _, h := range p.hosts() {
		role := pki.Agent
		if h.Server {
			role = pki.Server
		}
		r := pki.Request{Name: h.Name, Role: role, Addresses: []string{h.Address}, Validity: devValidity}
		all = append(all, devCertificate{r, h.Dir + "/host"})
	}
	return all
}

// fill writes what an installation needs before its daemons start: authority, certificates, keys,
// configurations. Files of an earlier run that broke off are written anew.
func (p *playground) fill(now time.Time) error {
	ca, err := pki.NewCA("pgctl dev", now)
	if err != nil {
		return err
	}
	if err := errors.Join(ca.Save(p.file("ca.pem"), p.file("ca-key.pem")), p.writeKeys()); err != nil {
		return err
	}
	for _, h := range p.hosts() {
		for _, dir := range []string{h.Dir, h.data(), h.sockets()} {
			if err := makeFolder(dir); err != nil {
				return err
			}
		}
		if err := p.writeConfig(h); err != nil {
			return err
		}
	}
	return p.renew(now)
}

// renew issues the certificates that are missing or expire soon.
func (p *playground) renew(now time.Time) error {
	ca, err := pki.LoadCA(p.file("ca.pem"), p.file("ca-key.pem"))
	if err != nil {
		return err
	}
	for _, c := range p.certificates() {
		id, err := pki.Load(p.file("ca.pem"), c.base+".pem", c.base+"-key.pem", now)
		if err == nil && id.NotAfter.Sub(now) > devRenewal {
			continue
		}
		pair, err := ca.Issue(c.Request, now)
		if err == nil {
			err = pair.Save(c.base+".pem", c.base+"-key.pem")
		}
		if err != nil {
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

// writeKeys draws the key of gossip and heartbeats (32 bytes in base64) and the one that encrypts
// passwords in the store (as age writes it).
func (p *playground) writeKeys() error {
	gossip := make([]byte, devGossipKeySize)
	_, _ = rand.Read(gossip) // never fails: documented
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(p.file("gossip.key"), []byte(base64.StdEncoding.EncodeToString(gossip)+"\n"), 0o600),
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
