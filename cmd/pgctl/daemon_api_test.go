package main

import (
	"crypto/x509"
	"net/url"
	"testing"

	"github.com/pgctl/pgctl/node/api/server"
)

// TestAllows: what the role in a certificate is good for.
func TestAllows(t *testing.T) {
	for role, most := range map[string]server.Access{
		"operator": server.AccessSecrets, "server": server.AccessChange, "agent": server.AccessChange,
		"client": server.AccessRead, "stranger": server.AccessPublic,
	} {
		c := &x509.Certificate{URIs: []*url.URL{{Scheme: "pgctl", Host: role, Path: "/x"}}}
		for _, access := range []server.Access{server.AccessRead, server.AccessChange, server.AccessSecrets} {
			if got := allows(c, access); got != (access <= most) {
				t.Errorf("%s, to %s: %v", role, access, got)
			}
		}
	}
}
