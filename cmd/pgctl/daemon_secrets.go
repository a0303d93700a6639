package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"math/big"
	"slices"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/peer"
	"github.com/pgctl/pgctl/provision/postgres/config"
	"github.com/pgctl/pgctl/raftstore"
)

// Secrets are encrypted with a key that only servers hold. An agent asks a server for those of its own
// instances, and has a server encrypt those that are new.
func (d *daemon) secretMethods() map[string]peer.Method {
	if !d.config.Cluster.Server {
		return nil
	}
	return map[string]peer.Method{"secrets": d.serveSecrets, "seal": d.serveSeal}
}

func (d *daemon) serveSecrets(_ context.Context, from string, body json.RawMessage) (any, error) {
	var cluster string
	if err := json.Unmarshal(body, &cluster); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable request: %v", err)
	}
	for i := range d.store.State().InstancesOf(from) {
		if i.Cluster == cluster {
			return d.unseal(cluster)
		}
	}
	return nil, pgctl.Errorf(pgctl.CodeUnauthorized, "host %s carries no instance of %s", from, cluster)
}

func (d *daemon) serveSeal(_ context.Context, _ string, body json.RawMessage) (any, error) {
	var plain []byte
	if err := json.Unmarshal(body, &plain); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable request")
	}
	return d.store.Encrypt(plain)
}

// passwordsOf are the passwords of a cluster's roles.
func (d *daemon) passwordsOf(ctx context.Context, cluster string) (map[string]string, error) {
	if d.config.Cluster.Server {
		return d.unseal(cluster)
	}
	passwords := map[string]string{}
	return passwords, d.askServer(ctx, "secrets", cluster, &passwords)
}

func (d *daemon) unseal(cluster string) (map[string]string, error) {
	passwords := map[string]string{}
	for s := range d.store.State().Secrets(cluster) {
		plain, err := d.store.Decrypt(s.Ciphertext)
		if err != nil {
			return nil, err
		}
		passwords[s.User] = string(plain)
	}
	if passwords[config.ReplicationRole] == "" {
		return nil, pgctl.Errorf(pgctl.CodeNotFound, "cluster %s has no password for replication yet", cluster)
	}
	return passwords, nil
}

// askServer asks the servers in turn until one answers.
func (d *daemon) askServer(ctx context.Context, method string, in, out any) error {
	err := error(pgctl.Errorf(pgctl.CodeUnavailable, "no server of the group is known"))
	for host := range d.store.State().Hosts() {
		if !host.Server {
			continue
		}
		if err = d.peers.Call(ctx, host.API, method, in, out); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// electionPatience is how long a request waits for a new leader of the Raft group.
const electionPatience = 5 * time.Second

// askLeader asks the leader of the Raft group, wherever it is. When that one does not answer, or there is none,
// the next one is asked as soon as it is elected: an operator need not know of such a moment.
func (d *daemon) askLeader(ctx context.Context, method string, in, out any) error {
	err := error(pgctl.Errorf(pgctl.CodeUnavailable, "the Raft group has no leader now").WithHint("pgctl servers shows who is missing"))
	asked, patience := "", time.Now().Add(electionPatience)
	for {
		servers, unknown := d.store.Servers()
		if unknown != nil {
			return unknown
		}
		for _, s := range servers {
			host, ok := d.store.State().Host(s.Name)
			if !ok || !s.Leader || s.Name == asked {
				continue
			}
			asked = s.Name
			if err = d.peers.Call(ctx, host.API, method, in, out); pgctl.CodeOf(err) != pgctl.CodeUnavailable {
				return err
			}
		}
		if time.Now().After(patience) || sleep(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

// seal makes a secret of a password.
func (d *daemon) seal(ctx context.Context, cluster, user, password string) (pgctl.Secret, error) {
	s := pgctl.Secret{Cluster: cluster, User: user}
	var err error
	if d.config.Cluster.Server {
		s.Ciphertext, err = d.store.Encrypt([]byte(password))
	} else {
		err = d.askServer(ctx, "seal", []byte(password), &s.Ciphertext)
	}
	return s, err
}

// newSecrets are passwords for the roles of a declaration that have none, the replication role's among
// them.
func (d *daemon) newSecrets(ctx context.Context, cluster pgctl.Cluster) ([]pgctl.Secret, error) {
	var known []string
	for s := range d.store.State().Secrets(cluster.Name) {
		known = append(known, s.User)
	}
	var secrets []pgctl.Secret
	for _, user := range append([]string{config.ReplicationRole}, sortedKeys(cluster.Spec.Users)...) {
		if slices.Contains(known, user) {
			continue
		}
		s, err := d.seal(ctx, cluster.Name, user, newPassword())
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, s)
	}
	return secrets, nil
}

// rotate replaces a role's password.
func (d *daemon) rotate(ctx context.Context, cluster, user string) (string, uint64, error) {
	password := newPassword()
	s, err := d.seal(ctx, cluster, user, password)
	if err != nil {
		return "", 0, err
	}
	index, err := apiDaemon{d}.commit(ctx, raftstore.PutSecrets{Secrets: []pgctl.Secret{s}, Replace: true})
	return password, index, err
}

// newPassword draws 32 letters and digits: 190 bits, and nothing that a URL or a file must escape.
func newPassword() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	text := make([]byte, 32)
	for i := range text {
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(letters)))) // fails only if reading does, which never does
		text[i] = letters[n.Int64()]
	}
	return string(text)
}
