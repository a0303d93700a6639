package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api/client"
)

// ClientConfig is ~/.config/pgctl/config.toml: where the daemons of each installation are.
type ClientConfig struct {
	Current  string                   `toml:"current"` // context that is used when none is named
	Contexts map[string]ClientContext `toml:"contexts"`
}

// ClientContext is one installation. Relative files are beside the configuration.
type ClientContext struct {
	Addresses []string `toml:"addresses"`
	CA        string   `toml:"ca"`
	Cert      string   `toml:"cert"`
	Key       string   `toml:"key"`
}

// clientFlags are those of every command that speaks to a daemon.
func clientFlags() []cli.Flag {
	flag := func(name, variable, usage string) *cli.StringFlag {
		return &cli.StringFlag{Name: name, EnvVars: []string{variable}, Usage: usage}
	}
	output := flag("output", "PGCTL_OUTPUT", "`FORMAT` of what is printed: table, json or yaml")
	output.Aliases, output.Value = []string{"o"}, "table"
	return []cli.Flag{
		output,
		flag("context", "PGCTL_CONTEXT", "`NAME` of the installation in the configuration"),
		flag("address", "PGCTL_ADDRESS", "`HOST:PORT` of a daemon, or several with commas"),
		flag("ca", "PGCTL_CA", "`FILE`: authority that signed the daemons' certificates"),
		flag("cert", "PGCTL_CERT", "`FILE`: your certificate"),
		flag("key", "PGCTL_KEY", "`FILE`: the key of your certificate"),
		flag("config", "PGCTL_CONFIG", "`FILE` instead of ~/.config/pgctl/config.toml"),
	}
}

// clientConfigPath is where the configuration is when nobody says otherwise.
func clientConfigPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usageError("cannot find your configuration: %v", err).WithHint("set HOME or PGCTL_CONFIG")
	}
	return filepath.Join(dir, "pgctl", "config.toml"), nil
}

// settings finds out where the daemons are: the configuration's context, then the environment, then the
// options (urfave/cli has merged those two).
func settings(c *cli.Context) (client.Config, error) {
	path, named := c.String("config"), c.IsSet("config")
	var err error
	if path == "" {
		if path, err = clientConfigPath(); err != nil {
			return client.Config{}, err
		}
	}
	chosen, err := readContext(path, c.String("context"), named)
	if err != nil {
		return client.Config{}, err
	}
	out := client.Config{
		Addresses: chosen.Addresses, CA: chosen.CA, Cert: chosen.Cert, Key: chosen.Key, UserAgent: "pgctl/" + version(),
	}
	if list := c.String("address"); list != "" {
		out.Addresses = strings.Split(list, ",")
	}
	for _, o := range []struct {
		name string
		into *string
	}{{"ca", &out.CA}, {"cert", &out.Cert}, {"key", &out.Key}} {
		if value := c.String(o.name); value != "" {
			*o.into = value
		}
	}
	if len(out.Addresses) == 0 {
		return out, usageError("pgctl does not know where your daemons are").WithHint("either write %s:\n"+
			"    current = \"prod\"\n    [contexts.prod]\n    addresses = [\"10.0.0.11:7432\"]\n"+
			"    ca = \"ca.pem\"\n    cert = \"me.pem\"\n    key = \"me-key.pem\"\n"+
			"  or name one: --address HOST:7432 --ca ca.pem --cert me.pem --key me-key.pem", path)
	}
	return out, nil
}

// readContext reads the configuration and chooses a context. Only a file that was asked for must exist.
func readContext(path, name string, named bool) (ClientContext, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !named && name == "" {
		return ClientContext{}, nil
	}
	if err != nil {
		return ClientContext{}, usageError("cannot read the configuration: %v", err)
	}
	config, err := parseClientConfig(path, text)
	if err != nil {
		return ClientContext{}, err
	}
	if name == "" {
		name = config.Current
	}
	chosen, ok := config.Contexts[name]
	if !ok && name == "" {
		return chosen, nil
	}
	if !ok {
		e := pgctl.Errorf(pgctl.CodeNotFound, "%s has no context %q", path, name).At("context")
		names := slices.Sorted(maps.Keys(config.Contexts))
		if near := pgctl.Nearest(name, names); near != "" {
			return chosen, e.WithHint("did you mean %s?", near)
		}
		return chosen, e.WithHint("it has: %s", strings.Join(names, ", "))
	}
	for _, file := range []*string{&chosen.CA, &chosen.Cert, &chosen.Key} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(path), *file)
		}
	}
	return chosen, nil
}

// parseClientConfig reads a file strictly.
func parseClientConfig(path string, text []byte) (ClientConfig, error) {
	var config ClientConfig
	return config, decodeTOML(path, text, &config)
}
