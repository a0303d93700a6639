package server

import (
	"crypto/x509"
	"net/http"

	"github.com/pgctl/pgctl"
)

// Access is what a request does, and so what whoever asks must be allowed to.
type Access int

// The kinds of access, each more than those before it.
const (
	AccessPublic Access = iota // needs no certificate, and is served on the discovery port
	AccessRead
	AccessChange
	AccessSecrets // passwords, and snapshots of the whole state
)

// String says what it is about, for messages.
func (a Access) String() string {
	switch a {
	case AccessChange:
		return "change anything"
	case AccessSecrets:
		return "see or replace passwords and snapshots"
	}
	return "read"
}

// allow says whether whoever sent a request may have what it asks for.
func (s *server) allow(r *http.Request, access Access) error {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return pgctl.Errorf(pgctl.CodeUnauthorized, "this needs a client certificate").
			WithHint("one that the daemons' authority has signed: --cert and --key, or a context in the configuration")
	}
	var leaf *x509.Certificate
	if chain := r.TLS.VerifiedChains[0]; len(chain) > 0 {
		leaf = chain[0]
	}
	if leaf != nil && s.Allows(leaf, access) {
		return nil
	}
	return &statusError{http.StatusForbidden, pgctl.Errorf(pgctl.CodeUnauthorized,
		"your certificate does not allow to %s", access).WithHint("an operator's does")}
}
