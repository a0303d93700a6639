package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A host whose certificate is of another installation is not let in; the others say so, and why, and are not
// disturbed. Nor is its own Postgres.
func TestOtherAuthority(t *testing.T) {
	apply(t, manifest("trust", 3, "pgctl: {placement: {dataCenters: [b, c, a]}}"))
	well(t, "trust", 2)
	w := write(t, "trust")
	more(t, w)
	forged := filepath.Join(world.dir, "forged")
	forge(t, "dev-4", forged, time.Now().Add(time.Hour), "")
	changed := reconfigure(t, "dev-4", map[string]string{
		"ca = .*": fmt.Sprintf("ca = %q", forged+"-ca.pem"), "cert = .*": fmt.Sprintf("cert = %q", forged+".pem"), "key = .*": fmt.Sprintf("key = %q", forged+"-key.pem"),
	})
	logged(t, "dev-4", "both must belong to one installation")
	happened(t, "connection.refused", "refuse each other", "both must belong to one installation")
	more(t, w)
	well(t, "trust", 2)
	changed()
	eventually(t, "dev-4 knows the state again", func() (bool, string) {
		out, err := try("", "list", "--context", "", "--address", "127.0.0.4:7432")
		return err == nil && strings.Contains(out, "trust"), out
	})
	nothingLost(t, w)
	do(t, "delete", "trust", "--yes", "trust")
}

// An expired certificate keeps a daemon from starting, with a word; one that will expire soon is an event.
func TestExpiredCertificate(t *testing.T) {
	forged := filepath.Join(world.dir, "expired")
	forge(t, "dev-4", forged, time.Now().Add(-time.Hour), world.dir)
	text, err := os.ReadFile(filepath.Join(world.dir, "dev-4", "pgctl.toml"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "pgctl.toml")
	real := filepath.Join(world.dir, "dev-4", "host")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), real, forged)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := refused(t, "", "daemon", "--config", config); !containsAll(out, []string{"expired on", forged, "issue a new one"}) {
		t.Errorf("an expired certificate: %s", out)
	}
	forge(t, "dev-4", forged, time.Now().Add(72*time.Hour), world.dir)
	changed := reconfigure(t, "dev-4", map[string]string{"cert = .*": fmt.Sprintf("cert = %q", forged+".pem"), "key = .*": fmt.Sprintf("key = %q", forged+"-key.pem")})
	happened(t, "certificate.expires", "the certificate of dev-4 expires on", "issue a new one")
	changed()
}

// A host with another gossip key is not heard; the others say why.
func TestOtherGossipKey(t *testing.T) {
	key := filepath.Join(world.dir, "other.key")
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(raw)), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := reconfigure(t, "dev-4", map[string]string{"gossip_key_file = .*": fmt.Sprintf("gossip_key_file = %q", key)})
	logged(t, "dev-4", "gossip key", "differs from ours", "share one key")
	happened(t, "gossip.refused", "the gossip key of 127.0.0.", "differs from ours", "share one key")
	changed()
	eventually(t, "dev-4 is heard again", func() (bool, string) {
		out := do(t, "hosts")
		for line := range strings.Lines(out) {
			if strings.Contains(line, "dev-4") && !strings.Contains(line, "never") {
				return true, ""
			}
		}
		return false, out
	})
}

// forge issues a certificate like a host's: with the authority of a playground, or of one that nobody knows.
func forge(t *testing.T, host, base string, until time.Time, playground string) {
	t.Helper()
	old := certificate(t, filepath.Join(world.dir, host, "host.pem"))
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: old.Issuer, NotBefore: old.NotBefore, NotAfter: old.NotAfter, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signer := newKey(t)
	if playground != "" {
		authority = certificate(t, filepath.Join(playground, "ca.pem"))
		signed, err := x509.ParsePKCS8PrivateKey(block(t, filepath.Join(playground, "ca-key.pem")))
		if err != nil {
			t.Fatal(err)
		}
		signer = signed.(*ecdsa.PrivateKey)
	}
	own := newKey(t)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: old.Subject, URIs: old.URIs, DNSNames: old.DNSNames, IPAddresses: old.IPAddresses,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, KeyUsage: old.KeyUsage, ExtKeyUsage: old.ExtKeyUsage,
	}
	signed, err1 := x509.CreateCertificate(rand.Reader, leaf, authority, own.Public(), signer)
	root, err2 := x509.CreateCertificate(rand.Reader, authority, authority, signer.Public(), signer)
	private, err3 := x509.MarshalPKCS8PrivateKey(own)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string]pem.Block{
		base + ".pem": {Type: "CERTIFICATE", Bytes: signed}, base + "-ca.pem": {Type: "CERTIFICATE", Bytes: root},
		base + "-key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(&b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func block(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(text)
	if b == nil {
		t.Fatalf("%s is no PEM file", path)
	}
	return b.Bytes
}

func certificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(block(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// logged waits until a host's daemon has said something in its log.
func logged(t *testing.T, host string, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s says %q", host, words), func() (bool, string) {
		for line := range strings.Lines(do(t, "dev", "logs", host)) {
			if containsAll(line, words) {
				return true, ""
			}
		}
		return false, "no such line"
	})
}

// happened waits for an event of a kind, of no cluster, whose message contains all the words.
func happened(t *testing.T, kind string, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("an event %s says %q", kind, words), func() (bool, string) {
		for _, e := range events(t, "") {
			if e.Kind == kind && containsAll(e.Message, words) {
				return true, ""
			}
		}
		return false, "no such event"
	})
}
