package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pgctl/pgctl/node/api/client"
)

const devContext = "dev"

// clientConfig reaches the playground's daemons as its operator.
func (p *playground) clientConfig() client.Config {
	return client.Config{
		Addresses: p.addresses(), CA: p.file("ca.pem"), Cert: p.file("operator.pem"), Key: p.file("operator-key.pem"),
		UserAgent: "pgctl-dev/" + version(),
	}
}

func (p *playground) contextFile() string { return p.file("client.toml") }

// writeContext writes the configuration for clients into the playground.
func (p *playground) writeContext() error {
	c := p.clientConfig()
	return writeTOML(p.contextFile(), ClientConfig{Current: devContext, Contexts: map[string]ClientContext{
		devContext: {Addresses: c.Addresses, CA: c.CA, Cert: c.Cert, Key: c.Key},
	}})
}

// offerContext makes the playground what commands speak to, where the user has no configuration yet or
// only one that we wrote. It says whether commands find the playground by themselves.
func (p *playground) offerContext() (bool, error) {
	path, err := clientConfigPath()
	if err != nil {
		return false, nil // no home: the environment does it
	}
	text, err := os.ReadFile(p.contextFile())
	if err != nil {
		return false, err
	}
	if !ours(path) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, nil // a home that cannot be written is no reason to fail
	}
	return os.WriteFile(path, text, 0o600) == nil, nil
}

// withdrawContext takes the offer back.
func (p *playground) withdrawContext() error {
	path, err := clientConfigPath()
	if err != nil {
		return nil
	}
	offered, err1 := os.ReadFile(path)
	own, err2 := os.ReadFile(p.contextFile())
	if err1 != nil || err2 != nil || !bytes.Equal(offered, own) {
		return nil // not of this playground
	}
	return os.Remove(path)
}

// ours says whether the file is missing or was written by us.
func ours(path string) bool {
	text, err := os.ReadFile(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && bytes.HasPrefix(text, []byte(devHeader))
}
