package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
)

const (
	// Path is where Handler is mounted: the method's name follows.
	Path = "/peer/v1/"
	// BodyLimit bounds requests and answers, in bytes.
	BodyLimit   = 1 << 20
	dialTimeout = 2 * time.Second
	idleTimeout = time.Minute
)

// Method is what a daemon can be asked by another host. From is the name in that host's certificate.
// Errors other than *pgctl.Error reach the caller as CodeInternal.
type Method func(ctx context.Context, from string, body json.RawMessage) (any, error)

// Handler serves the methods under Path. HostOf names the host of a verified certificate ("" if it is
// not a host's); requests without one are refused.
func Handler(methods map[string]Method, hostOf func(*x509.Certificate) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := serve(w, r, methods, hostOf)
		var body []byte
		if err == nil {
			body, err = json.Marshal(answer)
		}
		if err == nil && len(body) > BodyLimit {
			err = pgctl.Errorf(pgctl.CodeInternal, "the answer has %d bytes, the limit is %d", len(body), BodyLimit)
		}
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			e, ok := errors.AsType[*pgctl.Error](err)
			if !ok {
				e = pgctl.Errorf(pgctl.CodeInternal, "%v", err)
			}
			body, _ = json.Marshal(e) // strings only: cannot fail
			w.WriteHeader(status(e.Code))
		}
		_, _ = w.Write(body) // the caller is gone if it fails
	})
}

func serve(w http.ResponseWriter, r *http.Request, methods map[string]Method,
	hostOf func(*x509.Certificate) string,
) (any, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, pgctl.Errorf(pgctl.CodeUnauthorized, "a host's certificate is needed here")
	}
	from := hostOf(r.TLS.VerifiedChains[0][0])
	if from == "" {
		return nil, pgctl.Errorf(pgctl.CodeUnauthorized, "the certificate is not a host's")
	}
	name, found := strings.CutPrefix(r.URL.Path, Path)
	method := methods[name]
	if !found || method == nil || r.Method != http.MethodPost {
		return nil, pgctl.Errorf(pgctl.CodeNotFound, "there is no method %s %s", r.Method, r.URL.Path).
			WithHint("do the two hosts run different versions of pgctl?")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, BodyLimit))
	if err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "the request cannot be read: %v", err)
	}
	if !json.Valid(body) {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "the request is not JSON")
	}
	return method(r.Context(), from, body)
}

func status(code pgctl.Code) int {
	switch code {
	case pgctl.CodeInvalid:
		return http.StatusBadRequest
	case pgctl.CodeNotFound:
		return http.StatusNotFound
	case pgctl.CodeConflict, pgctl.CodeRefused:
		return http.StatusConflict
	case pgctl.CodeUnavailable:
		return http.StatusServiceUnavailable
	case pgctl.CodeUnauthorized:
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// Client calls methods of other daemons. It keeps connections.
type Client struct {
	http    *http.Client
	explain func(error) error
}

// NewClient makes a client that shows our host certificate. Explain may turn errors of TLS handshakes
// into clearer ones.
func NewClient(config *tls.Config, explain func(error) error) *Client {
	return &Client{explain: explain, http: &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     idleTimeout,
		// HTTP/1.1 on purpose: a call that hangs takes no other down with its connection.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}}}
}

// Call asks the daemon at host:port and reads its answer into out, unless that is nil. The context
// bounds it. Errors are *pgctl.Error: those of the method as it made them, CodeUnavailable when nobody
// answers (the method may have run then), CodeUnauthorized when certificates do not fit.
func (c *Client) Call(ctx context.Context, address, method string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return pgctl.Errorf(pgctl.CodeInternal, "%s: %v", method, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+Path+method, bytes.NewReader(body))
	if err != nil {
		return pgctl.Errorf(pgctl.CodeInvalid, "%s: %v", method, err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unreachable(address, method, err)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, BodyLimit+1))
	if closeErr := response.Body.Close(); err == nil {
		err = closeErr
	}
	switch {
	case err != nil:
		return c.unreachable(address, method, err)
	case len(answer) > BodyLimit:
		return pgctl.Errorf(pgctl.CodeInternal, "%s of %s: the answer is longer than %d bytes", method, address, BodyLimit)
	case response.StatusCode != http.StatusOK:
		var e pgctl.Error
		if json.Unmarshal(answer, &e) != nil || e.Code == "" {
			return pgctl.Errorf(pgctl.CodeUnavailable, "%s of %s: %s", method, address, response.Status)
		}
		return &e
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return pgctl.Errorf(pgctl.CodeInternal, "%s of %s: the answer cannot be read: %v", method, address, err)
	}
	return nil
}

func (c *Client) unreachable(address, method string, err error) error {
	if c.explain != nil {
		err = c.explain(err)
	}
	if e, ok := errors.AsType[*pgctl.Error](err); ok {
		return pgctl.Errorf(e.Code, "%s: %s", address, e.Message).WithHint("%s", e.Hint)
	}
	return pgctl.Errorf(pgctl.CodeUnavailable, "%s of %s: %v", method, address, err)
}

// Close closes connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }
