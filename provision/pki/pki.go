// Package pki makes and checks the certificates by which daemons, clients and operators know each
// other: one certificate authority an installation, TLS 1.3 on every connection. A certificate names
// its bearer and its role in a URI ("pgctl://server/db-1"), so that a client's certificate can never
// pass for a host's. It uses nothing but the standard library.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"regexp"
	"time"

	"github.com/pgctl/pgctl"
)

// Role is what the bearer of a certificate may be.
type Role string

// The roles. Server and Agent are hosts: daemons, with and without the right to a Raft vote.
const (
	Server   Role = "server"
	Agent    Role = "agent"
	Client   Role = "client"   // reads: applications, monitoring
	Operator Role = "operator" // changes things
)

// Host says whether certificates of this role belong to daemons.
func (r Role) Host() bool { return r == Server || r == Agent }

func (r Role) valid() bool { return r.Host() || r == Client || r == Operator }

const (
	scheme     = "pgctl"
	caValidity = 10 * 365 * 24 * time.Hour
	// Hosts whose clocks are behind the issuer's accept a new certificate all the same.
	clockSlack = time.Hour
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Authority signs certificates.
type Authority struct {
	Pair
}

// Pair is a certificate with its private key.
type Pair struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// NewCA makes the authority of an installation, valid for ten years from now.
func NewCA(name string, now time.Time) (*Authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name, Organization: []string{scheme}},
		NotBefore:             now.Add(-clockSlack),
		NotAfter:              now.Add(caValidity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	pair, err := sign(template, nil)
	if err != nil {
		return nil, err
	}
	return &Authority{Pair: *pair}, nil
}

// Request says what a certificate shall state.
type Request struct {
	Name      string // of the host, client or operator
	Role      Role
	Addresses []string // IPs and DNS names under which a host is reached; hosts need at least one
	Validity  time.Duration
}

// Issue signs a certificate with a new key, valid from now (an hour's slack) for the asked validity,
// but never longer than the authority itself.
func (a *Authority) Issue(r Request, now time.Time) (*Pair, error) {
	switch {
	case !namePattern.MatchString(r.Name):
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%q cannot stand in a certificate", r.Name).At("name").
			WithHint("letters, digits, '.', '-' and '_', at most 63")
	case !r.Role.valid():
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%q is not a role", r.Role).At("role").
			WithHint("server, agent, client or operator")
	case r.Role.Host() && len(r.Addresses) == 0:
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "a host's certificate needs an address").At("addresses")
	case r.Validity <= 0:
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "the validity is not positive").At("validity")
	}
	template := &x509.Certificate{
		Subject: pkix.Name{
			CommonName: r.Name, Organization: []string{scheme}, OrganizationalUnit: []string{string(r.Role)},
		},
		NotBefore:   now.Add(-clockSlack),
		NotAfter:    now.Add(r.Validity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: scheme, Host: string(r.Role), Path: "/" + r.Name}},
	}
	if r.Role.Host() {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if template.NotAfter.After(a.Certificate.NotAfter) {
		template.NotAfter = a.Certificate.NotAfter
	}
	for _, address := range r.Addresses {
		if ip := net.ParseIP(address); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, address)
		}
	}
	return sign(template, a)
}

func sign(template *x509.Certificate, by *Authority) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Pair{Certificate: certificate, key: key}, nil
}

// RoleOf is the role that a certificate states; empty when it states none of ours. The certificate
// must have been verified before.
func RoleOf(c *x509.Certificate) Role {
	role, _ := subject(c)
	return role
}

// HostOf is the name of the host whose certificate it is; empty for certificates of clients and
// operators. The certificate must have been verified before.
func HostOf(c *x509.Certificate) string {
	if !RoleOf(c).Host() {
		return ""
	}
	_, name := subject(c)
	return name
}

// subject reads the one URI of ours; a certificate with two states nothing.
func subject(c *x509.Certificate) (role Role, name string) {
	for _, uri := range c.URIs {
		if uri.Scheme != scheme {
			continue
		}
		if role != "" || len(uri.Path) < 2 || !Role(uri.Host).valid() {
			return "", ""
		}
		role, name = Role(uri.Host), uri.Path[1:]
	}
	return role, name
}
