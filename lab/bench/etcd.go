package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcd is three members on the loopback interface, written through gRPC and read through its JSON gateway.
// pgctl has TLS with certificates on both sides between daemons and towards clients; so has etcd when it is
// secure. Discovery needs no certificate, and is compared with the other one.
type etcd struct {
	group
	writers []*clientv3.Client // spread over the members
	readers *http.Client
	urls    []string
	queries [][]byte // one for each key
	value   string
}

// connections bounds how many gRPC connections the writers share, as in etcd's own benchmark tool.
const connections = 100

func startPlainEtcd(ctx context.Context, binary, folder string, workers int) (system, error) {
	return startEtcd(ctx, binary, folder, workers, nil)
}

func startSecureEtcd(ctx context.Context, binary, folder string, workers int) (system, error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	return startEtcd(ctx, binary, folder, workers, authority)
}

// startEtcd starts three members; those with an authority are secure.
func startEtcd(ctx context.Context, binary, folder string, workers int, authority *authority) (system, error) {
	addresses, err := freeAddresses("127.0.0.1", 6)
	if err != nil {
		return nil, err
	}
	e := &etcd{readers: newHTTP(workers), value: strings.Repeat("v", valueSize)}
	scheme, config := "http://", (*tls.Config)(nil)
	if authority != nil {
		scheme = "https://"
		if config, err = authority.client("pgctl://operator/bench"); err != nil {
			return nil, err
		}
		e.readers.Transport.(*http.Transport).TLSClientConfig = config
	}
	if err := e.startMembers(binary, folder, scheme, addresses, authority); err != nil {
		e.stop()
		return nil, err
	}
	for i := range min(workers, connections) {
		client, err := clientv3.New(clientv3.Config{
			Endpoints: []string{e.urls[i%3]}, TLS: config, Logger: zap.NewNop(),
		})
		if err != nil {
			e.stop()
			return nil, err
		}
		e.writers = append(e.writers, client)
	}
	for n := range keys {
		key := base64.StdEncoding.EncodeToString([]byte(e.key(n)))
		e.queries = append(e.queries, fmt.Appendf(nil, `{"key":%q,"serializable":true}`, key))
	}
	if err := e.ready(ctx, e.fill); err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

// startMembers starts the processes: three addresses are for clients, three for each other.
func (e *etcd) startMembers(binary, folder, scheme string, addresses []string, authority *authority) error {
	var members []string
	for i := range 3 {
		members = append(members, fmt.Sprintf("m%d=%s%s", i, scheme, addresses[3+i]))
		e.urls = append(e.urls, scheme+addresses[i])
	}
	for i, url := range e.urls {
		home, peer := filepath.Join(folder, fmt.Sprint(i)), scheme+addresses[3+i]
		args := []string{
			"--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(home, "data"),
			"--listen-client-urls", url, "--advertise-client-urls", url,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(members, ","), "--initial-cluster-state", "new",
			"--logger", "zap", "--log-level", "warn",
		}
		if authority != nil {
			if err := os.MkdirAll(home, 0o755); err != nil {
				return err
			}
			if err := authority.save(home, fmt.Sprintf("pgctl://server/m%d", i), "127.0.0.1"); err != nil {
				return err
			}
			for _, side := range []string{"", "peer-"} {
				args = append(args, "--"+side+"client-cert-auth", "--"+side+"trusted-ca-file", filepath.Join(home, "ca.pem"),
					"--"+side+"cert-file", filepath.Join(home, "host.pem"), "--"+side+"key-file", filepath.Join(home, "host-key.pem"))
			}
		}
		p, err := start(home, binary, args...)
		if err != nil {
			return err
		}
		e.group = append(e.group, p)
	}
	return nil
}

// fill writes every key once, so that reads find something, and waits until all members have the last.
func (e *etcd) fill(ctx context.Context) error {
	failures := make([]error, keys)
	var writers sync.WaitGroup
	for n := range keys {
		writers.Go(func() { failures[n] = e.write(ctx, n, 0) })
	}
	writers.Wait()
	err := errors.Join(failures...)
	for i := range e.urls {
		err = errors.Join(err, e.read(ctx, i, 0))
	}
	return err
}

func (e *etcd) key(n int) string { return fmt.Sprintf("bench-%d", n%keys) }

func (e *etcd) write(ctx context.Context, worker, n int) error {
	_, err := e.writers[worker%len(e.writers)].Put(ctx, e.key(worker+n*7), e.value)
	return err
}

func (e *etcd) read(ctx context.Context, worker, n int) error {
	url, query := e.urls[worker%3]+"/v3/kv/range", e.queries[(worker+n*7)%keys]
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(query))
	if err != nil {
		return err
	}
	return answered(e.readers, request, `"kvs"`)
}

// answered sends a request, reads the whole answer and sees that it holds what is wanted.
func answered(client *http.Client, request *http.Request, wanted string) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(wanted)) {
		return fmt.Errorf("%s %s: %s: %.300s", request.Method, request.URL, response.Status, body)
	}
	return nil
}

func (e *etcd) stop() {
	for _, client := range e.writers {
		_ = client.Close()
	}
	e.group.stop()
}
