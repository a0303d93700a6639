package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// authority signs the certificates of one run, in the form that pgctl's daemons expect: a URI names role
// and bearer.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func newAuthority() (*authority, error) {
	certificate, key, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "bench"}, KeyUsage: x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true,
	}, nil)
	return &authority{certificate, key}, err
}

// sign completes a template, with a new key; without an authority it signs itself.
func sign(template *x509.Certificate, by *authority) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

// issue signs a certificate for a bearer such as pgctl://server/bench-1; ip is empty for clients.
func (a *authority) issue(bearer, ip string) (*x509.Certificate, crypto.Signer, error) {
	uri, err := url.Parse(bearer)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: uri.Path[1:]}, URIs: []*url.URL{uri},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if ip != "" {
		template.IPAddresses = []net.IP{net.ParseIP(ip)}
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	return sign(template, a)
}

// client is the TLS configuration of a bearer that dials daemons.
func (a *authority) client(bearer string) (*tls.Config, error) {
	certificate, key, err := a.issue(bearer, "")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	pair := tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

// save writes ca.pem, host.pem and host-key.pem for a host into a folder.
func (a *authority) save(folder, bearer, ip string) error {
	certificate, key, err := a.issue(bearer, ip)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(filepath.Join(folder, "ca.pem"), "CERTIFICATE", a.certificate.Raw),
		writePEM(filepath.Join(folder, "host.pem"), "CERTIFICATE", certificate.Raw),
		writePEM(filepath.Join(folder, "host-key.pem"), "PRIVATE KEY", secret))
}

func writePEM(file, block string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}), 0o600)
}
