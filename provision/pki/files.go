package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pgctl/pgctl"
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

// Save writes certificate (mode 0644) and key (mode 0600) as PEM, each whole or not at all.
func (p *Pair) Save(certificateFile, keyFile string) error {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return err
	}
	// The key first: a certificate without its key would look complete.
	if err := writePEM(keyFile, keyBlock, der, 0o600); err != nil {
		return err
	}
	return writePEM(certificateFile, certificateBlock, p.Certificate.Raw, 0o644)
}

func writePEM(file, block string, der []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".pki-*")
	if err != nil {
		return err
	}
	err = errors.Join(f.Chmod(mode), pem.Encode(f, &pem.Block{Type: block, Bytes: der}), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// LoadCA reads an authority with its key, to issue with.
func LoadCA(certificateFile, keyFile string) (*Authority, error) {
	certificates, err := readCertificates(certificateFile)
	if err != nil {
		return nil, err
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	if !certificates[0].IsCA {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s is not the certificate of an authority", certificateFile)
	}
	if err := match(certificates[0], key, certificateFile, keyFile); err != nil {
		return nil, err
	}
	return &Authority{Pair{Certificate: certificates[0], key: key}}, nil
}

func readCertificates(file string) ([]*x509.Certificate, error) {
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != certificateBlock {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s: %v", file, err)
		}
		found = append(found, c)
	}
	if len(found) == 0 {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s holds no PEM certificate", file)
	}
	return found, nil
}

func readKey(file string) (crypto.Signer, error) {
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil || block.Type != keyBlock {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s holds no PEM private key (PKCS #8)", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s: %v", file, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s: a key of type %T cannot sign", file, parsed)
	}
	return key, nil
}

func read(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s does not exist", file)
	case errors.Is(err, fs.ErrPermission):
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s may not be read by this user", file)
	}
	return text, err
}

func match(c *x509.Certificate, key crypto.Signer, certificateFile, keyFile string) error {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(c.PublicKey) {
		return pgctl.Errorf(pgctl.CodeInvalid, "the key in %s does not belong to the certificate in %s",
			keyFile, certificateFile).WithHint("use the two files that were issued together")
	}
	return nil
}
