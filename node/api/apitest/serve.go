package apitest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgctl/pgctl/node/api/client"
	"github.com/pgctl/pgctl/node/api/server"
)

// Authority signs certificates of a test.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority writes ca.pem into a folder.
func NewAuthority(tb testing.TB, dir string) *Authority {
	tb.Helper()
	a := &Authority{dir: dir}
	a.cert, a.key = a.issue(tb, "ca")
	return a
}

// Issue writes NAME.pem and NAME-key.pem into the folder.
func (a *Authority) Issue(tb testing.TB, name string) {
	tb.Helper()
	a.issue(tb, name)
}

func (a *Authority) issue(tb testing.TB, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		template.ExtKeyUsage = nil
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(tb, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	check(tb, err)
	a.write(tb, name+".pem", "CERTIFICATE", der)
	a.write(tb, name+"-key.pem", "PRIVATE KEY", secret)
	cert, err := x509.ParseCertificate(der)
	check(tb, err)
	return cert, key
}

func (a *Authority) write(tb testing.TB, name, kind string, der []byte) {
	tb.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	check(tb, os.WriteFile(filepath.Join(a.dir, name), text, 0o600))
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// Serve answers the API over TLS as the daemon does, until the test ends, and returns the address.
func (a *Authority) Serve(tb testing.TB, handler http.Handler) string {
	tb.Helper()
	a.Issue(tb, "host")
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, "host.pem"), filepath.Join(a.dir, "host-key.pem"))
	check(tb, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven,
		MinVersion: tls.VersionTLS13,
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that tests break on purpose
	s.StartTLS()
	tb.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.Listener.Addr().String()
}

// Start serves a world and returns how an operator reaches it.
func Start(tb testing.TB, w *World) client.Config {
	tb.Helper()
	dir := tb.TempDir()
	a := NewAuthority(tb, dir)
	a.Issue(tb, "me")
	return client.Config{
		Addresses: []string{a.Serve(tb, server.New(w.Options()))}, CA: filepath.Join(dir, "ca.pem"),
		Cert: filepath.Join(dir, "me.pem"), Key: filepath.Join(dir, "me-key.pem"),
	}
}

// TLS is what a configuration means to a plain HTTP client.
func TLS(tb testing.TB, config client.Config) *tls.Config {
	tb.Helper()
	pair, err := tls.LoadX509KeyPair(config.Cert, config.Key)
	check(tb, err)
	pem, err := os.ReadFile(config.CA)
	check(tb, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS13}
}
