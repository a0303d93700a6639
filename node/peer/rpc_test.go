package peer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/peer"
)

type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// config is a host's: its name is the organization, as far as these tests are concerned.
func (a *authority) config(host string) *tls.Config {
	cert, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "x", Organization: []string{host}}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		RootCAs:      a.pool, ClientCAs: a.pool, ClientAuth: tls.VerifyClientCertIfGiven,
	}
}

func hostOf(c *x509.Certificate) string { return strings.Join(c.Subject.Organization, "") }

func TestCalls(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	methods := map[string]peer.Method{
		"echo": func(_ context.Context, from string, body json.RawMessage) (any, error) {
			return map[string]any{"from": from, "body": body}, nil
		},
		"refuse": func(context.Context, string, json.RawMessage) (any, error) {
			return nil, pgctl.Errorf(pgctl.CodeConflict, "epoch 3 is over").At("epoch").WithHint("look again")
		},
		"break": func(context.Context, string, json.RawMessage) (any, error) { return nil, errors.New("boom") },
		"hang": func(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"long": func(context.Context, string, json.RawMessage) (any, error) {
			return strings.Repeat("x", peer.BodyLimit), nil
		},
	}
	server := httptest.NewUnstartedServer(peer.Handler(methods, hostOf))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are part of the test
	server.TLS = a.config("db-1")
	server.StartTLS()
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	client := peer.NewClient(a.config("db-2"), nil)
	t.Cleanup(client.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	var out struct{ From, Body string }
	if err := client.Call(ctx, address, "echo", "hello", &out); err != nil || out.From != "db-2" || out.Body != "hello" {
		t.Fatal(out, err)
	}
	var e *pgctl.Error
	if err := client.Call(ctx, address, "refuse", nil, nil); !errors.As(err, &e) ||
		*e != (pgctl.Error{Code: pgctl.CodeConflict, Message: "epoch 3 is over", Field: "epoch", Hint: "look again"}) {
		t.Errorf("%v", err)
	}
	short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
	defer stop()
	nobody := peer.NewClient(&tls.Config{RootCAs: a.pool}, nil)
	t.Cleanup(nobody.Close)
	noHost := peer.NewClient(a.config(""), nil)
	t.Cleanup(noHost.Close)
	stranger := peer.NewClient(newAuthority(t).config("db-2"), func(error) error {
		return pgctl.Errorf(pgctl.CodeUnauthorized, "explained")
	})
	t.Cleanup(stranger.Close)
	for _, tc := range []struct {
		what string
		err  error
		code pgctl.Code
		text string
	}{
		{"method's own error", client.Call(ctx, address, "break", nil, nil), pgctl.CodeInternal, "boom"},
		{"no method", client.Call(ctx, address, "sing", nil, nil), pgctl.CodeNotFound, "no method"},
		{"deadline", client.Call(short, address, "hang", nil, nil), pgctl.CodeUnavailable, "deadline"},
		{"long request", client.Call(ctx, address, "echo", strings.Repeat("x", peer.BodyLimit), nil), pgctl.CodeInvalid, "too large"},
		{"long answer", client.Call(ctx, address, "long", nil, nil), pgctl.CodeInternal, "the limit is"},
		{"nobody there", client.Call(ctx, "127.0.0.1:1", "echo", nil, nil), pgctl.CodeUnavailable, "refused"},
		{"no certificate", nobody.Call(ctx, address, "echo", nil, nil), pgctl.CodeUnauthorized, "is needed"},
		{"not a host's", noHost.Call(ctx, address, "echo", nil, nil), pgctl.CodeUnauthorized, "not a host's"},
		{"another authority", stranger.Call(ctx, address, "echo", nil, nil), pgctl.CodeUnauthorized, "explained"},
	} {
		if pgctl.CodeOf(tc.err) != tc.code || !strings.Contains(tc.err.Error(), tc.text) {
			t.Errorf("%s: %v", tc.what, tc.err)
		}
	}
	request := httptest.NewRequest("GET", "https://x"+peer.Path+"echo", nil)
	answer := httptest.NewRecorder()
	peer.Handler(methods, hostOf).ServeHTTP(answer, request)
	if answer.Code != 403 {
		t.Error(answer.Code)
	}
}
