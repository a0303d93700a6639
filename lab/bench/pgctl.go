package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// daemons is three pgctl daemons on 127.0.0.1–3. Writes go to the HTTPS API with an operator's
// certificate, spread over all three, so that two thirds are forwarded; reads to the plain discovery
// listener.
type daemons struct {
	group
	writers, readers *http.Client
	apis, discovery  []string // host:port
	value            []byte
}

// manifest declares a cluster that needs no Postgres: discovery answers for it all the same.
const manifest = `apiVersion: acid.zalan.do/v1
kind: postgresql
metadata: {name: bench}
spec:
  teamId: bench
  numberOfInstances: 0
  postgresql: {version: "15"}
  volume: {size: 1Gi}
`

func startPgctl(ctx context.Context, binary, folder string, workers int) (system, error) {
	d := &daemons{writers: newHTTP(workers), readers: newHTTP(workers)}
	d.value = []byte(`"` + strings.Repeat("v", valueSize-2) + `"`)
	err := d.configure(folder)
	for i := 0; i < 3 && err == nil; i++ {
		var p *process
		home := filepath.Join(folder, fmt.Sprint(i))
		if p, err = start(home, binary, "daemon", "--config", filepath.Join(home, "pgctl.toml")); err == nil {
			d.group = append(d.group, p)
		}
	}
	if err == nil {
		err = d.ready(ctx, d.prepare)
	}
	if err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

// prepare creates the cluster that is read, and sees every daemon write and answer.
func (d *daemons) prepare(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+d.apis[0]+"/v1/apply",
		strings.NewReader(manifest))
	if err != nil {
		return err
	}
	err = answered(d.writers, request, "bench")
	for i := range d.apis {
		err = errors.Join(err, d.write(ctx, i, 0), d.read(ctx, i, 0))
	}
	return err
}

// configure writes certificates, keys and configuration of three hosts.
func (d *daemons) configure(folder string) error {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	config, err := authority.client("pgctl://operator/bench")
	if err != nil {
		return err
	}
	d.writers.Transport.(*http.Transport).TLSClientConfig = config
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	gossipKey := []byte(base64.StdEncoding.EncodeToString(random) + "\n")
	secretKey, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	var addresses [3][]string
	var voters, join []string
	for i := range addresses {
		if addresses[i], err = freeAddresses(fmt.Sprintf("127.0.0.%d", i+1), 5); err != nil {
			return err
		}
		d.apis, d.discovery = append(d.apis, addresses[i][0]), append(d.discovery, addresses[i][1])
		voters = append(voters, fmt.Sprintf(`"bench-%d=%s"`, i+1, addresses[i][2]))
		join = append(join, fmt.Sprintf("%q", addresses[i][3]))
	}
	for i, own := range addresses {
		home, name, ip := filepath.Join(folder, fmt.Sprint(i)), fmt.Sprintf("bench-%d", i+1), fmt.Sprintf("127.0.0.%d", i+1)
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		text := fmt.Sprintf(`name = %q
address = %q
data_dir = "%[3]s/data"
socket_dir = "%[3]s/run"
[listen]
api = %[4]q
discovery = %[5]q
raft = %[6]q
gossip = %[7]q
heartbeat = %[8]q
[tls]
ca = "%[3]s/ca.pem"
cert = "%[3]s/host.pem"
key = "%[3]s/host-key.pem"
[cluster]
server = true
servers = [%[9]s]
join = [%[10]s]
gossip_key_file = "%[3]s/gossip.key"
secret_key_file = "%[3]s/secret.key"
[log]
level = "warn"
`, name, ip, home, own[0], own[1], own[2], own[3], own[4], strings.Join(voters, ", "), strings.Join(join, ", "))
		err := errors.Join(authority.save(home, "pgctl://server/"+name, ip),
			os.WriteFile(filepath.Join(home, "pgctl.toml"), []byte(text), 0o600),
			os.WriteFile(filepath.Join(home, "gossip.key"), gossipKey, 0o600),
			os.WriteFile(filepath.Join(home, "secret.key"), []byte(secretKey.String()+"\n"), 0o600))
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *daemons) write(ctx context.Context, worker, n int) error {
	url := fmt.Sprintf("https://%s/v1/settings/bench-%d", d.apis[worker%3], (worker+n*7)%keys)
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(d.value))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	return answered(d.writers, request, `"index"`)
}

func (d *daemons) read(ctx context.Context, worker, _ int) error {
	url := "http://" + d.discovery[worker%3] + "/v1/clusters/bench/endpoints"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return answered(d.readers, request, `"cluster"`)
}
