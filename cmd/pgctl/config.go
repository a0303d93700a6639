package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/pgctl/pgctl"
)

// defaultDaemonConfigPath is where the packages put the daemon's configuration.
const defaultDaemonConfigPath = "/etc/pgctl/pgctl.toml"

// DaemonConfig is the daemon's configuration file. packaging/pgctl.toml explains every key; a test holds
// it equal to DefaultDaemonConfig.
type DaemonConfig struct {
	Name           string            `toml:"name"`           // of this host, unique; empty in the file: the host name
	DataCenter     string            `toml:"data_center"`    // two instances of a cluster are put into different ones
	Labels         map[string]string `toml:"labels"`         // for placement
	Address        string            `toml:"address"`        // IP of Postgres, and of listeners that name none
	DataDir        string            `toml:"data_dir"`       // instances and the store
	SocketDir      string            `toml:"socket_dir"`     // Unix sockets of Postgres; lost at a reboot
	PostgresUser   string            `toml:"postgres_user"`  // runs Postgres when the daemon is root
	PostgresPaths  []string          `toml:"postgres_paths"` // patterns of folders with postgres and initdb
	Guard          string            `toml:"guard"`          // off, auto, required: whether leaders by lease need a guard
	Watchdog       string            `toml:"watchdog"`       // off, auto, required: whether the guard arms a watchdog device
	WatchdogDevice string            `toml:"watchdog_device"`
	Listen         ListenConfig      `toml:"listen"`
	TLS            TLSConfig         `toml:"tls"`
	Cluster        GroupConfig       `toml:"cluster"`
	Log            LogConfig         `toml:"log"`
}

// ListenConfig are the daemon's listeners, host:port. An empty host is filled with the address.
type ListenConfig struct {
	API       string `toml:"api"`       // HTTPS
	Raft      string `toml:"raft"`      // TLS; servers only
	Gossip    string `toml:"gossip"`    // TCP and UDP
	Heartbeat string `toml:"heartbeat"` // UDP
	Discovery string `toml:"discovery"` // plain HTTP, read-only; empty: none
}

// TLSConfig are files in PEM form.
type TLSConfig struct {
	CA   string `toml:"ca"`
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

// GroupConfig says how this daemon finds the others.
type GroupConfig struct {
	Server        bool     `toml:"server"`          // it may hold a vote in the Raft group
	Servers       []string `toml:"servers"`         // name=host:port of the first voters; the same on all of them
	Join          []string `toml:"join"`            // host:port of gossip; any daemon that is known
	GossipKeyFile string   `toml:"gossip_key_file"` // the same on all hosts
	SecretKeyFile string   `toml:"secret_key_file"` // the same on all servers, and only there
}

// LogConfig is about what the daemon writes to standard error.
type LogConfig struct {
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // text, json
}

// Voter is one entry of GroupConfig.Servers.
type Voter struct{ Name, Address string }

// DefaultDaemonConfig is what holds where the file says nothing.
func DefaultDaemonConfig() DaemonConfig {
	return DaemonConfig{
		DataCenter:     "default",
		Labels:         map[string]string{},
		DataDir:        "/var/lib/pgctl",
		SocketDir:      "/run/pgctl",
		PostgresUser:   "postgres",
		PostgresPaths:  []string{"/usr/lib/postgresql/*/bin"},
		Guard:          guardAuto,
		Watchdog:       guardOff,
		WatchdogDevice: "/dev/watchdog",
		Listen:         ListenConfig{API: ":7432", Raft: ":7433", Gossip: ":7434", Heartbeat: ":7435"},
		TLS: TLSConfig{
			CA: "/etc/pgctl/tls/ca.pem", Cert: "/etc/pgctl/tls/host.pem", Key: "/etc/pgctl/tls/host-key.pem",
		},
		Cluster: GroupConfig{
			Servers: []string{}, Join: []string{},
			GossipKeyFile: "/etc/pgctl/gossip.key", SecretKeyFile: "/etc/pgctl/secret.key",
		},
		Log: LogConfig{Level: "info", Format: "text"},
	}
}

// LoadDaemonConfig reads, completes (host name, address of listeners) and checks a file. Errors are
// pgctl.CodeInvalid and name file, line or key, and what to write instead.
func LoadDaemonConfig(path string) (DaemonConfig, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return DaemonConfig{}, pgctl.Errorf(pgctl.CodeInvalid, "there is no configuration at %s", path).
			WithHint("copy the commented example pgctl.toml there, or name another file with --config")
	}
	if err != nil {
		return DaemonConfig{}, pgctl.Errorf(pgctl.CodeInvalid, "cannot read the configuration: %v", err)
	}
	config, err := parseDaemonConfig(path, text)
	if err != nil {
		return DaemonConfig{}, err
	}
	if config.Name == "" {
		if config.Name, err = os.Hostname(); err != nil {
			return DaemonConfig{}, pgctl.Errorf(pgctl.CodeInvalid, "cannot find the host's name: %v", err).At("name")
		}
		config.Name, _, _ = strings.Cut(config.Name, ".")
	}
	if err := config.complete(); err != nil {
		return DaemonConfig{}, within(path, err)
	}
	return config, nil
}

// parseDaemonConfig reads a file over the defaults, without checking how values relate.
func parseDaemonConfig(path string, text []byte) (DaemonConfig, error) {
	config := DefaultDaemonConfig()
	return config, decodeTOML(path, text, &config)
}

// wrongType is what the TOML library says of a value of another type: line, key, type found and wanted.
var wrongType = regexp.MustCompile(`^line (\d+) \(last key "(.*)"\): incompatible types: TOML value has type (\S+); ` +
	`destination has type (\S+)$`)

// decodeTOML reads TOML strictly: syntax, types and unknown keys are errors that name file and place.
func decodeTOML(path string, text []byte, into any) error {
	meta, err := toml.NewDecoder(bytes.NewReader(text)).Decode(into)
	if parse, ok := errors.AsType[toml.ParseError](err); ok {
		e := pgctl.Errorf(pgctl.CodeInvalid, "%s, line %d: %s", path, parse.Position.Line, parse.Message)
		if parse.LastKey != "" {
			_ = e.At(parse.LastKey)
		}
		return e
	}
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "toml: ")
		if m := wrongType.FindStringSubmatch(text); m != nil {
			return pgctl.Errorf(pgctl.CodeInvalid, "%s, line %s: it must be %s, not %s", path, m[1], m[4], m[3]).At(m[2])
		}
		return pgctl.Errorf(pgctl.CodeInvalid, "%s: %s", path, text)
	}
	unknown := meta.Undecoded()
	if len(unknown) == 0 {
		return nil
	}
	key := unknown[0].String()
	e := pgctl.Errorf(pgctl.CodeInvalid, "%s: there is no such key", path).At(key)
	if near := pgctl.Nearest(key, tomlKeys(reflect.TypeOf(into).Elem(), "", unknown[0])); near != "" {
		_ = e.WithHint("did you mean %s?", near)
	}
	return e
}

// tomlKeys lists the dotted keys of a struct. A map stands for whatever name the wrong key has there.
func tomlKeys(t reflect.Type, prefix string, wrong toml.Key) []string {
	var keys []string
	for field := range t.Fields() {
		key, of := prefix+field.Tag.Get("toml"), field.Type
		if of.Kind() == reflect.Map && of.Elem().Kind() == reflect.Struct && len(wrong) > 1 {
			key, of = key+"."+wrong[1], of.Elem()
		}
		keys = append(keys, key)
		if of.Kind() == reflect.Struct {
			keys = append(keys, tomlKeys(of, key+".", wrong)...)
		}
	}
	return keys
}

// within says in which file an error is.
func within(path string, err error) error {
	if e, ok := errors.AsType[*pgctl.Error](err); ok {
		e.Message = path + ": " + e.Message
	}
	return err
}

// hostNamePattern: what also works as a DNS label, as member of a file name and on every line we print.
var hostNamePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// complete fills in what follows from the address and checks how the values relate.
func (c *DaemonConfig) complete() error {
	if !hostNamePattern.MatchString(c.Name) {
		return invalid("name", "%q is not a name of a host", c.Name).
			WithHint("1 to 63 of a-z, 0-9 and -, not at the ends")
	}
	if c.DataCenter == "" {
		return invalid("data_center", "it must not be empty").WithHint(`leave it out for "default"`)
	}
	if ip := net.ParseIP(c.Address); ip == nil || ip.IsUnspecified() {
		return invalid("address", "%q is not the IP address of this host", c.Address).
			WithHint(`the one where applications reach Postgres: address = "10.0.0.11"`)
	}
	for _, path := range []struct{ key, value string }{
		{"data_dir", c.DataDir},
		{"socket_dir", c.SocketDir},
		{"tls.ca", c.TLS.CA},
		{"tls.cert", c.TLS.Cert},
		{"tls.key", c.TLS.Key},
		{"cluster.gossip_key_file", c.Cluster.GossipKeyFile},
	} {
		if !strings.HasPrefix(path.value, "/") {
			return invalid(path.key, "%q is not an absolute path", path.value)
		}
	}
	if len(c.SocketDir) > 80 {
		return invalid("socket_dir", "it is longer than 80 characters, too long for a Unix socket below it")
	}
	if len(c.PostgresPaths) == 0 {
		return invalid("postgres_paths", "it names no folder with Postgres")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return invalid("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	if !slices.Contains([]string{"text", "json"}, c.Log.Format) {
		return invalid("log.format", "%q is none of text, json", c.Log.Format)
	}
	if err := c.completeListeners(); err != nil {
		return err
	}
	if err := c.checkGuard(); err != nil {
		return err
	}
	return c.checkGroup()
}

// completeListeners gives every listener a host, and refuses two on one port.
func (c *DaemonConfig) completeListeners() error {
	tcp := map[string]string{}
	for _, l := range []struct {
		key   string
		value *string
	}{
		{"listen.api", &c.Listen.API},
		{"listen.raft", &c.Listen.Raft},
		{"listen.gossip", &c.Listen.Gossip},
		{"listen.discovery", &c.Listen.Discovery},
		{"listen.heartbeat", &c.Listen.Heartbeat},
	} {
		if *l.value == "" && l.key == "listen.discovery" {
			continue
		}
		host, port, err := splitAddress(*l.value)
		if err != nil {
			return invalid(l.key, "%v", err)
		}
		if host == "" {
			host = c.Address
		}
		if net.ParseIP(host) == nil {
			return invalid(l.key, "%q is not an IP address", host)
		}
		*l.value = net.JoinHostPort(host, port)
		// UDP heartbeats may share a number with TCP, but not with gossip, which has both.
		if l.key == "listen.heartbeat" && *l.value != c.Listen.Gossip {
			continue
		}
		if other := tcp[*l.value]; other != "" {
			return invalid(l.key, "%s is also %s", *l.value, other)
		}
		tcp[*l.value] = l.key
	}
	return nil
}

// checkGroup holds what makes a daemon able to find the others.
func (c *DaemonConfig) checkGroup() error {
	voters, err := c.Voters()
	if err != nil {
		return err
	}
	for i, address := range c.Cluster.Join {
		if host, _, err := splitAddress(address); err != nil || host == "" {
			return invalid(fmt.Sprintf("cluster.join[%d]", i), "%q is not an address such as 10.0.0.12:7434", address)
		}
	}
	names := make([]string, 0, len(voters))
	for _, v := range voters {
		names = append(names, v.Name)
	}
	switch {
	case c.Cluster.Server && !strings.HasPrefix(c.Cluster.SecretKeyFile, "/"):
		return invalid("cluster.secret_key_file", "%q is not an absolute path", c.Cluster.SecretKeyFile)
	case c.Cluster.Server && len(voters) == 0 && len(c.Cluster.Join) == 0:
		return invalid("cluster.servers", "a server needs the list of the first servers, itself among them").
			WithHint(`servers = ["%s=%s"]; or join = ["any-daemon:7434"] for a later one`, c.Name, c.Listen.Raft)
	case c.Cluster.Server && len(voters) > 0 && len(c.Cluster.Join) == 0 && !slices.Contains(names, c.Name):
		return invalid("cluster.servers", "this server, %q, is not among %s", c.Name, strings.Join(names, ", ")).
			WithHint("set name to one of them, or join a running group with cluster.join")
	case !c.Cluster.Server && slices.Contains(names, c.Name):
		return invalid("cluster.server", "%q is one of cluster.servers, but server is false", c.Name)
	case !c.Cluster.Server && len(voters) == 0 && len(c.Cluster.Join) == 0:
		return invalid("cluster.join", "there is nobody to join").
			WithHint(`join = ["10.0.0.11:7434"], the gossip address of any daemon; or server = true for a first server`)
	case len(voters) > 0 && len(voters)%2 == 0 || len(voters) > 7:
		return invalid("cluster.servers", "%d servers", len(voters)).
			WithHint("1, 3, 5 or 7: an even number tolerates no more failures than one less")
	}
	return nil
}

// Voters reads the list of the first voters.
func (c *DaemonConfig) Voters() ([]Voter, error) {
	var voters []Voter
	for i, entry := range c.Cluster.Servers {
		key := fmt.Sprintf("cluster.servers[%d]", i)
		name, address, _ := strings.Cut(entry, "=")
		if host, _, err := splitAddress(address); err != nil || host == "" || !hostNamePattern.MatchString(name) {
			return nil, invalid(key, "%q is not of the form name=10.0.0.11:7433", entry)
		}
		for _, v := range voters {
			if v.Name == name || v.Address == address {
				return nil, invalid(key, "%s names a server that is already in the list", entry)
			}
		}
		voters = append(voters, Voter{Name: name, Address: address})
	}
	return voters, nil
}

// splitAddress takes host:port apart; the host may be empty, the port must be one.
func splitAddress(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("%q is not of the form host:port", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "", fmt.Errorf("%q is not a port between 1 and 65535", port)
	}
	return host, port, nil
}

// invalid is an error about a key.
func invalid(key, format string, args ...any) *pgctl.Error {
	return pgctl.Errorf(pgctl.CodeInvalid, format, args...).At(key)
}
