package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/pgctl/pgctl"
)

const (
	maxUserName = 63
	maxSecret   = 64 << 10 // bytes of ciphertext
)

var secretsTable = newTable("secrets", func(s *pgctl.Secret) string { return secretKey(s.Cluster, s.User) })

func secretKey(cluster, user string) string { return cluster + "\x00" + user }

// PutSecrets stores encrypted passwords of roles.
type PutSecrets struct {
	Secrets []pgctl.Secret `json:"secrets"`
	Replace bool           `json:"replace,omitempty"` // false: only where there is none
}

func (PutSecrets) kind() string { return "secrets.put" }

func (c PutSecrets) check() error {
	for _, s := range c.Secrets {
		if err := checkName("cluster", s.Cluster, maxClusterName); err != nil {
			return err
		}
		if s.User == "" || len(s.User) > maxUserName {
			return pgctl.Errorf(pgctl.CodeInvalid, "a role's name has 1 to %d bytes, not %d", maxUserName, len(s.User)).
				At("user")
		}
		if len(s.Ciphertext) == 0 || len(s.Ciphertext) > maxSecret {
			return pgctl.Errorf(pgctl.CodeInvalid, "a secret has 1 to %d bytes, not %d", maxSecret, len(s.Ciphertext)).
				At("ciphertext")
		}
	}
	return nil
}

func (c PutSecrets) apply(t *tx) error {
	for _, s := range c.Secrets {
		if _, err := findCluster(t, s.Cluster); err != nil {
			return err
		}
		if !c.Replace && find[pgctl.Secret](t, secretsTable, secretKey(s.Cluster, s.User)) != nil {
			continue
		}
		s.Revision = t.index
		t.put(secretsTable, &s)
		t.touchCluster(s.Cluster)
	}
	return nil
}

// errNoKey says that this daemon cannot read secrets.
var errNoKey = pgctl.Errorf(pgctl.CodeRefused, "this daemon has no key for secrets").
	WithHint("only servers hold it; ask one of them")

// Encrypt encrypts a secret with the key that servers hold.
func (s *Store) Encrypt(plain []byte) ([]byte, error) {
	if s.identity == nil {
		return nil, errNoKey
	}
	var cipher bytes.Buffer
	w, err := age.Encrypt(&cipher, s.identity.Recipient())
	if err != nil {
		return nil, fmt.Errorf("encrypting a secret: %w", err)
	}
	_, err = w.Write(plain)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("encrypting a secret: %w", err)
	}
	return cipher.Bytes(), nil
}

// Decrypt is the reverse of Encrypt.
func (s *Store) Decrypt(cipher []byte) ([]byte, error) {
	if s.identity == nil {
		return nil, errNoKey
	}
	r, err := age.Decrypt(bytes.NewReader(cipher), s.identity)
	if err != nil {
		return nil, pgctl.Errorf(pgctl.CodeRefused, "a secret cannot be decrypted: %v", err).
			WithHint("all servers need the same secret key, the one that the secret was encrypted with")
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("a secret is damaged: %w", err)
	}
	return plain, nil
}
