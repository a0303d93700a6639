package hosts

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/pgctl/pgctl/packaging"
	"github.com/pgctl/pgctl/provision/pki"
)

// The daemons' ports, as docs/ports.md has them.
const (
	apiPort       = 7432
	raftPort      = 7433
	gossipPort    = 7434
	discoveryPort = 7436
	validity      = 365 * 24 * time.Hour
	keySize       = 32
)

// units are those of packaging that every host runs.
var units = []string{"pgctl.service", "pgctl-guard.service"}

// DaemonPorts are all ports of the daemons, none of PostgreSQL.
var DaemonPorts = Ports{First: apiPort, Last: discoveryPort}

// Operator is what a client needs to speak to the daemons' API: files of this machine.
type Operator struct {
	Addresses     []string // host:port in the lab's network, of the servers: only they hear heartbeats
	CA, Cert, Key string
	Config        string // a client's configuration that names all of these
}

// Operator says how to reach the daemons, from the clients' place.
func (l *Lab) Operator() Operator {
	o := Operator{CA: l.file("ca.pem"), Cert: l.file("operator.pem"), Key: l.file("operator-key.pem"), Config: l.file("client.toml")}
	for _, h := range l.Hosts() {
		if h.Server {
			o.Addresses = append(o.Addresses, h.listen(apiPort))
		}
	}
	return o
}

func (h Host) listen(port int) string { return fmt.Sprintf("%s:%d", h.Address, port) }

// equip makes the authority, the keys, and every host's certificate, configuration and unit.
func (l *Lab) equip(now time.Time) error {
	ca, err := pki.NewCA(l.Name, now)
	if err != nil {
		return err
	}
	pair, err := ca.Issue(pki.Request{Name: l.Name, Role: pki.Operator, Validity: validity}, now)
	if err != nil {
		return err
	}
	o := l.Operator()
	if err := errors.Join(ca.Save(o.CA, l.file("ca-key.pem")), pair.Save(o.Cert, o.Key)); err != nil {
		return err
	}
	client := fmt.Sprintf("current = \"lab\"\n\n[contexts.lab]\naddresses = %s\nca = %q\ncert = %q\nkey = %q\n",
		list(o.Addresses), o.CA, o.Cert, o.Key)
	if err := os.WriteFile(o.Config, []byte(client), 0o600); err != nil {
		return err
	}
	gossip := make([]byte, keySize)
	_, _ = rand.Read(gossip) // never fails: documented
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	for _, h := range l.Hosts() {
		if err := l.equipHost(h, ca, base64.StdEncoding.EncodeToString(gossip), secret.String(), now); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return nil
}

func (l *Lab) equipHost(h Host, ca *pki.Authority, gossip, secret string, now time.Time) error {
	role := pki.Agent
	if h.Server {
		role = pki.Server
	}
	pair, err := ca.Issue(pki.Request{Name: h.Name, Role: role, Addresses: []string{h.Address.String()}, Validity: validity}, now)
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(l.file("ca.pem"))
	if err != nil {
		return err
	}
	login, err := os.ReadFile(l.file("ssh-key.pub"))
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(h.Root(), name) }
	for _, dir := range []string{"etc/pgctl/tls", "root/.ssh", "etc/systemd/system/multi-user.target.wants"} {
		if err := os.MkdirAll(in(dir), 0o755); err != nil {
			return err
		}
	}
	write := func(name, text string, mode os.FileMode) error { return os.WriteFile(in(name), []byte(text), mode) }
	err = errors.Join(
		pair.Save(in("etc/pgctl/tls/host.pem"), in("etc/pgctl/tls/host-key.pem")),
		write("etc/pgctl/tls/ca.pem", string(authority), 0o644),
		write("etc/hostname", h.Name+"\n", 0o644),
		write("etc/pgctl/gossip.key", gossip+"\n", 0o600),
		write("etc/pgctl/pgctl.toml", l.config(h), 0o644),
		write("root/.ssh/authorized_keys", string(login), 0o600),
	)
	for _, name := range units {
		unit, missing := packaging.Files.ReadFile(name)
		err = errors.Join(err, missing, write("etc/systemd/system/"+name, string(unit), 0o644),
			os.Symlink("/etc/systemd/system/"+name, in("etc/systemd/system/multi-user.target.wants/"+name)))
	}
	if h.Server {
		err = errors.Join(err, write("etc/pgctl/secret.key", secret+"\n", 0o600))
	}
	return err
}

// config is the daemon's configuration: what differs from the defaults. The label lets clusters be placed
// on servers, or on the other hosts only.
func (l *Lab) config(h Host) string {
	var join, servers []string
	for _, other := range l.Hosts() {
		join = append(join, other.listen(gossipPort))
		if other.Server {
			servers = append(servers, other.Name+"="+other.listen(raftPort))
		}
	}
	label := "data"
	if h.Server {
		label = "server"
	}
	return fmt.Sprintf("name = %q\ndata_center = %q\naddress = %q\n\n[labels]\nrole = %q\n\n[listen]\ndiscovery = \":%d\"\n\n"+
		"[cluster]\nserver = %t\nservers = %s\njoin = %s\n",
		h.Name, h.DataCenter, h.Address, label, discoveryPort, h.Server, list(servers), list(join))
}

// list writes an array for TOML.
func list(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = fmt.Sprintf("%q", v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// install puts the program on a host. A daemon that runs takes it when it is started again.
func (h Host) install(program string) error {
	target := filepath.Join(h.Root(), "usr/bin/pgctl")
	if err := copyFile(program, target+".new"); err != nil {
		return err
	}
	return os.Rename(target+".new", target) // a running program is not overwritten
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
