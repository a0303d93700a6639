// Package client speaks to the REST API of pgctl: for the command line, other programs and tests.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// Config says where the daemons are and who is asking.
type Config struct {
	Addresses []string // host:port or URL, tried in turn; any daemon will do
	CA        string   // file: the certificate authority of the daemons
	Cert      string   // file: the certificate of who is asking
	Key       string   // file: its key
	UserAgent string
	// Dial connects to an address; nil: as everybody does, giving up after two seconds.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client is safe for concurrent use.
type Client struct {
	bases     []string
	http      *http.Client
	userAgent string
	preferred atomic.Int32 // the address that answered last
}

// Read says how an answer is wanted. The zero value is the fastest: whatever the daemon knows.
type Read struct {
	Index      uint64        // with Wait: answer when something is newer than this
	Wait       time.Duration // at most this long; 0 answers at once
	Consistent bool          // everything committed before the call is seen
}

// query puts the wishes into the query string.
func (r Read) query() url.Values {
	q := url.Values{}
	if r.Wait > 0 {
		q.Set("index", fmt.Sprint(r.Index))
		q.Set("wait", r.Wait.String())
	}
	if r.Consistent {
		q.Set("consistent", "true")
	}
	return q
}

// New makes a client. It reads the files but does not connect.
func New(config Config) (*Client, error) {
	if len(config.Addresses) == 0 {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "there is no address of a daemon").At("addresses")
	}
	c := &Client{userAgent: config.UserAgent}
	for _, address := range config.Addresses {
		base := address
		if !strings.Contains(base, "://") {
			base = "https://" + base
		}
		u, err := url.Parse(base)
		if err != nil || u.Host == "" {
			return nil, pgctl.Errorf(pgctl.CodeInvalid, "%q is not an address such as 10.0.0.11:7432", address).
				At("addresses")
		}
		c.bases = append(c.bases, strings.TrimSuffix(base, "/"))
	}
	tlsConfig, err := config.tls()
	if err != nil {
		return nil, err
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 2 * time.Second}).DialContext
	}
	c.http = &http.Client{Transport: &http.Transport{
		TLSClientConfig:       tlsConfig,
		DialContext:           dial,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 75 * time.Second, // longer than any wait that the server grants
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       time.Minute,
		ForceAttemptHTTP2:     false,
	}}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// tls reads the files; each that is missing is named.
func (c Config) tls() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS13}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, pgctl.Errorf(pgctl.CodeInvalid, "cannot read the certificate authority: %v", err).At("ca")
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s holds no certificate in PEM form", c.CA).At("ca")
		}
	}
	if c.Cert == "" && c.Key == "" {
		return out, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "cannot use the client certificate %q with key %q: %v",
			c.Cert, c.Key, err).At("cert")
	}
	out.Certificates = []tls.Certificate{pair}
	return out, nil
}

// request is one call.
type request struct {
	method string
	path   string // escaped, without the prefix
	query  url.Values
	body   []byte
	stream io.Reader // instead of body; never sent twice
	again  bool      // sending it twice is the same as once
}

// get asks for JSON.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	return c.call(ctx, request{method: http.MethodGet, path: path, query: query}, into)
}

// call sends a request and reads JSON into the value, unless that is nil.
func (c *Client) call(ctx context.Context, r request, into any) error {
	response, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if into == nil {
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return pgctl.Errorf(pgctl.CodeUnavailable, "the answer of %s broke off: %v", response.Request.URL.Host, err)
	}
	return nil
}

// do tries the addresses in turn, beginning with the one that answered last. A call that changes
// something is tried elsewhere only if it cannot have arrived.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	first := int(c.preferred.Load())
	var failures []error
	for i := range c.bases {
		n := (first + i) % len(c.bases)
		response, err := c.send(ctx, c.bases[n], r)
		if err == nil {
			c.preferred.Store(int32(n))
			return response, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failures = append(failures, err)
		if answered(err) || r.stream != nil || !r.again && r.method != http.MethodGet && !neverSent(err) {
			break
		}
	}
	return nil, explain(c.bases, failures)
}

// send makes one attempt at one address.
func (c *Client) send(ctx context.Context, base string, r request) (*http.Response, error) {
	target := base + api.Prefix + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	body := r.stream
	if body == nil && r.body != nil {
		body = bytes.NewReader(r.body)
	}
	request, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", c.userAgent)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, errorOf(response)
}

// errorOf reads the one shape that errors have; anything else did not come from a daemon.
func errorOf(response *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	e := &pgctl.Error{}
	if err := json.Unmarshal(body, e); err != nil || e.Message == "" {
		return pgctl.Errorf(pgctl.CodeInternal, "%s answered %s, which is not an answer of pgctl",
			response.Request.URL.Host, response.Status)
	}
	return e
}

// answered says whether a daemon decided; only "nobody can do it now" is worth asking another one.
func answered(err error) bool {
	e, ok := errors.AsType[*pgctl.Error](err)
	return ok && e.Code != pgctl.CodeUnavailable
}

// neverSent says whether the request cannot have reached a daemon.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// explain makes one error of what each address said.
func explain(bases []string, failures []error) error {
	last := failures[len(failures)-1]
	if e, ok := errors.AsType[*pgctl.Error](last); ok {
		return e
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](last); ok {
		return pgctl.Errorf(pgctl.CodeUnauthorized, "the daemon's certificate is not accepted: %v", last).At("ca").
			WithHint("the authority must be the one that signed the daemons' certificates")
	}
	if op, ok := errors.AsType[*net.OpError](last); ok && op.Op == "remote error" {
		return pgctl.Errorf(pgctl.CodeUnauthorized, "the daemon does not accept your certificate: %v", op.Err).At("cert").
			WithHint("it must be signed by the daemons' authority, and not be expired")
	}
	var lines []string
	for _, err := range failures {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		lines = append(lines, err.Error())
	}
	return pgctl.Errorf(pgctl.CodeUnavailable, "no daemon answers: %s", strings.Join(lines, "; ")).
		WithHint("tried %s; is pgctl running there, and is the address right?", strings.Join(bases, ", "))
}
