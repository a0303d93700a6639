package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
)

// Identity is who a process is on the network: its certificate, and the authority it trusts.
type Identity struct {
	Name     string
	Role     Role
	NotAfter time.Time // when the certificate expires

	certificate tls.Certificate
	roots       *x509.CertPool
}

// Load reads an identity from PEM files and checks everything that can be wrong with it before the
// first connection: a key of another certificate, another authority, validity at now, a missing role.
func Load(caFile, certificateFile, keyFile string, now time.Time) (*Identity, error) {
	authorities, err := readCertificates(caFile)
	if err != nil {
		return nil, err
	}
	chain, err := readCertificates(certificateFile)
	if err != nil {
		return nil, err
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	leaf := chain[0]
	if err := match(leaf, key, certificateFile, keyFile); err != nil {
		return nil, err
	}
	id := &Identity{NotAfter: leaf.NotAfter, roots: x509.NewCertPool()}
	for _, a := range authorities {
		id.roots.AddCert(a)
	}
	id.certificate = tls.Certificate{PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		id.certificate.Certificate = append(id.certificate.Certificate, c.Raw)
	}
	if id.Role, id.Name = subject(leaf); id.Role == "" {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s was not issued by pgctl: it states no role", certificateFile)
	}
	if err := checkIdentity(id, leaf, caFile, certificateFile, now); err != nil {
		return nil, err
	}
	return id, nil
}

func checkIdentity(id *Identity, leaf *x509.Certificate, caFile, certificateFile string, now time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: id.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case err == nil:
		return nil
	case isUnknown:
		return pgctl.Errorf(pgctl.CodeInvalid, "%s was not signed by the authority in %s", certificateFile, caFile).
			WithHint("both must come from one installation")
	case isInvalid && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		return pgctl.Errorf(pgctl.CodeInvalid, "the certificate in %s is valid only from %s",
			certificateFile, invalid.Cert.NotBefore.Format(time.RFC3339)).WithHint("check this machine's clock")
	case isInvalid && invalid.Reason == x509.Expired:
		return pgctl.Errorf(pgctl.CodeInvalid, "the certificate in %s expired on %s",
			certificateFile, invalid.Cert.NotAfter.Format(time.RFC3339)).WithHint("issue a new one")
	}
	return pgctl.Errorf(pgctl.CodeInvalid, "%s: %v", certificateFile, err)
}

// ServerConfig is for what only holders of a certificate may talk to: Raft, daemon to daemon.
func (id *Identity) ServerConfig() *tls.Config {
	config := id.base()
	config.ClientCAs = id.roots
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config
}

// APIConfig is for the REST API: a client's certificate is checked when there is one, so that others
// may come with a token or read what is public.
func (id *Identity) APIConfig() *tls.Config {
	config := id.ServerConfig()
	config.ClientAuth = tls.VerifyClientCertIfGiven
	return config
}

// ClientConfig is for dialling daemons: it shows the certificate and accepts only hosts of the same
// installation, under the address that was dialled.
func (id *Identity) ClientConfig() *tls.Config {
	config := id.base()
	config.RootCAs = id.roots
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 || HostOf(state.PeerCertificates[0]) == "" {
			return errors.New("the other side's certificate is not a pgctl host's")
		}
		return nil
	}
	return config
}

func (id *Identity) base() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.certificate}}
}

// alerts is what crypto/tls says when the other side refuses us. A certificate of another authority
// is not even shown: then, too, one is "required".
var alerts = []struct{ text, message, hint string }{
	{
		"remote error: tls: unknown certificate authority", "the other side does not know our authority",
		"both must belong to one installation",
	},
	{
		"remote error: tls: bad certificate", "the other side refused our certificate",
		"both must belong to one installation",
	},
	{
		"remote error: tls: expired certificate", "the other side says that our certificate expired",
		"issue a new one, or check the clocks",
	},
	{
		"remote error: tls: certificate required", "the other side wants a certificate of its own authority",
		"give certificate and key of this installation in the configuration",
	},
}

// Explain turns what a failed TLS handshake says into an Error with a hint; other errors it returns as
// they are.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return pgctl.Errorf(pgctl.CodeUnauthorized, "the other side's certificate is of another authority").
			WithHint("both must belong to one installation: compare the authorities' files")
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return pgctl.Errorf(pgctl.CodeUnauthorized, "the other side's certificate is valid from %s to %s only",
			e.Cert.NotBefore.Format(time.RFC3339), e.Cert.NotAfter.Format(time.RFC3339)).
			WithHint("issue a new one, or check the clocks")
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return pgctl.Errorf(pgctl.CodeUnauthorized, "the certificate of %s is not for the address %s",
			e.Certificate.Subject.CommonName, e.Host).WithHint("issue it with this address, or use one of its own")
	}
	for _, a := range alerts {
		if strings.Contains(err.Error(), a.text) {
			return pgctl.Errorf(pgctl.CodeUnauthorized, "%s", a.message).WithHint("%s", a.hint)
		}
	}
	return err
}
