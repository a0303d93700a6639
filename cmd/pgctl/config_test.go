package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/packaging"
)

// example is the configuration that ships.
func example(t testing.TB) string {
	t.Helper()
	text, err := packaging.Files.ReadFile("pgctl.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestExampleIsTheDefaults: it parses, says what holds without it, and shows every key.
func TestExampleIsTheDefaults(t *testing.T) {
	text := example(t)
	got, err := parseDaemonConfig("pgctl.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := DefaultDaemonConfig(); !reflect.DeepEqual(got, want) {
		t.Errorf("example\n%+v\ndefaults\n%+v", got, want)
	}
	for _, key := range tomlKeys(reflect.TypeFor[DaemonConfig](), "", nil) {
		name := key[strings.LastIndex(key, ".")+1:]
		if !regexp.MustCompile(`(?m)^(` + name + ` = |\[` + name + `\]$)`).MatchString(text) {
			t.Errorf("the example does not show %s", key)
		}
	}
}

// load writes a configuration and loads it.
func load(t *testing.T, text string) (DaemonConfig, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pgctl.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadDaemonConfig(path)
}

const validServer = `
name = "db1"
address = "10.0.0.11"
[cluster]
server = true
servers = ["db1=10.0.0.11:7433", "db2=10.0.0.12:7433", "db3=10.0.0.13:7433"]
`

func TestLoadDaemonConfig(t *testing.T) {
	got, err := load(t, validServer+"[listen]\ndiscovery = \":7436\"\nraft = \"10.9.9.9:7433\"")
	if err != nil {
		t.Fatal(err)
	}
	want := ListenConfig{
		API: "10.0.0.11:7432", Raft: "10.9.9.9:7433", Gossip: "10.0.0.11:7434", Heartbeat: "10.0.0.11:7435",
		Discovery: "10.0.0.11:7436",
	}
	if got.Listen != want {
		t.Errorf("%+v", got.Listen)
	}
	voters, err := got.Voters()
	if err != nil || len(voters) != 3 || voters[2] != (Voter{Name: "db3", Address: "10.0.0.13:7433"}) {
		t.Errorf("%v %v", voters, err)
	}
	if _, err := load(t, "name = \"a\"\naddress = \"fd00::1\"\n[cluster]\njoin = [\"[fd00::2]:7434\"]"); err != nil {
		t.Errorf("an agent with IPv6: %v", err)
	}
	unnamed, err := load(t, "address = \"10.0.0.1\"\n[cluster]\njoin = [\"10.0.0.2:7434\"]")
	if host, _ := os.Hostname(); err == nil && !strings.HasPrefix(host, unnamed.Name) {
		t.Errorf("the name is %q on host %q", unnamed.Name, host)
	}
}

func TestWrongDaemonConfig(t *testing.T) {
	edit := func(old, with string) string { return strings.Replace(validServer, old, with, 1) }
	for _, c := range []struct{ name, text, field, has string }{
		{"syntax", "name = ", "name", "line 1"},
		{"unknown key", "adress = \"10.0.0.1\"", "adress", "did you mean address?"},
		{"unknown key below", "[cluster]\njion = []", "cluster.jion", "did you mean cluster.join?"},
		{"unknown table", "[tsl]\nca = \"/x\"", "tsl", "did you mean tls?"},
		{"key twice", "name = \"a\"\nname = \"b\"", "name", "line 2"},
		{"type", "[cluster]\nserver = \"yes\"", "cluster.server", "line 2: it must be boolean, not string"},
		{"name", edit(`"db1"`, `"DB_1"`), "name", "not a name of a host"},
		{"path in the name", edit(`"db1"`, `"../db1"`), "name", "not a name of a host"},
		{"no address", edit(`address = "10.0.0.11"`, ""), "address", "not the IP address"},
		{"every address", edit(`"10.0.0.11"`, `"0.0.0.0"`), "address", "not the IP address"},
		{"relative folder", "data_dir = \"data\"" + validServer, "data_dir", "not an absolute path"},
		{"long socket folder", "socket_dir = \"/" + strings.Repeat("x", 80) + "\"" + validServer, "socket_dir", "too long"},
		{"no Postgres", "postgres_paths = []" + validServer, "postgres_paths", "no folder"},
		{"no data center", "data_center = \"\"" + validServer, "data_center", "empty"},
		{"guard", "guard = \"yes\"" + validServer, "guard", "none of off, auto, required"},
		{"watchdog", "watchdog = \"on\"" + validServer, "watchdog", "none of off, auto, required"},
		{"watchdog without guard", "guard = \"off\"\nwatchdog = \"auto\"" + validServer, "watchdog", "guard is off"},
		{"watchdog device", "watchdog = \"auto\"\nwatchdog_device = \"dog\"" + validServer, "watchdog_device", "not an absolute path"},
		{"log level", validServer + "[log]\nlevel = \"loud\"", "log.level", "none of debug"},
		{"log format", validServer + "[log]\nformat = \"xml\"", "log.format", "none of text"},
		{"no port", validServer + "[listen]\napi = \"10.0.0.1\"", "listen.api", "host:port"},
		{"port", validServer + "[listen]\napi = \":70000\"", "listen.api", "between 1 and 65535"},
		{"host for an IP", validServer + "[listen]\napi = \"db1:7432\"", "listen.api", "not an IP address"},
		{"one port twice", validServer + "[listen]\napi = \":7433\"", "listen.raft", "is also listen.api"},
		{"heartbeats on gossip", validServer + "[listen]\nheartbeat = \":7434\"", "listen.heartbeat", "is also listen.gossip"},
		{"list twice", edit("server = true", "server = false\nservers = []\n#"), "cluster.servers", ""},
		{"agent alone", "name = \"a\"\naddress = \"10.0.0.1\"", "cluster.join", "nobody to join"},
		{"server alone", "name = \"a\"\naddress = \"10.0.0.1\"\n[cluster]\nserver = true", "cluster.servers", "itself among them"},
		{"not among the servers", edit(`"db1"`, `"db9"`), "cluster.servers", "is not among db1, db2, db3"},
		{"agent among the servers", edit("server = true", "server = false"), "cluster.server", "server is false"},
		{"two servers", edit(`, "db3=10.0.0.13:7433"`, ""), "cluster.servers", "2 servers"},
		{"server twice", edit("db3=", "db2="), "cluster.servers[2]", "already in the list"},
		{"server without a name", edit("db3=", ""), "cluster.servers[2]", "not of the form"},
		{"join without a port", validServer + "join = [\"10.0.0.1\"]", "cluster.join[0]", "not an address"},
		{"no secret key", validServer + "secret_key_file = \"\"", "cluster.secret_key_file", "not an absolute path"},
	} {
		_, err := load(t, c.text)
		e, ok := errors.AsType[*pgctl.Error](err)
		if !ok || e.Code != pgctl.CodeInvalid || e.Field != c.field || !strings.Contains(e.Error(), c.has) ||
			!strings.Contains(e.Message, "pgctl.toml") {
			t.Errorf("%s: %#v", c.name, err)
		}
	}
	if _, err := LoadDaemonConfig(filepath.Join(t.TempDir(), "none")); !strings.Contains(err.Error(), "commented example") {
		t.Errorf("no file: %v", err)
	}
}

// FuzzDaemonConfig: whatever stands in a file, it is read or refused with an error for people, and what
// was accepted can be used.
func FuzzDaemonConfig(f *testing.F) {
	f.Add(example(f))
	f.Add(validServer)
	f.Add("[cluster]\nservers = [\"=:\"]")
	f.Add("[labels]\na = 1")
	f.Fuzz(func(t *testing.T, text string) {
		config, err := parseDaemonConfig("pgctl.toml", []byte(text))
		if err == nil {
			err = config.complete()
		}
		if err != nil {
			if e, ok := errors.AsType[*pgctl.Error](err); !ok || e.Code != pgctl.CodeInvalid || e.Message == "" {
				t.Fatalf("not for people: %v", err)
			}
			return
		}
		if _, err := config.Voters(); err != nil || config.Listen.API == "" {
			t.Fatalf("accepted, but %v in %+v", err, config)
		}
	})
}

// FuzzClientConfig is the same for people's own configuration.
func FuzzClientConfig(f *testing.F) {
	f.Add("current = \"a\"\n[contexts.a]\naddresses = [\"x:1\"]")
	f.Add("[contexts.a]\nadresses = []")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := parseClientConfig("config.toml", []byte(text))
		if e, ok := errors.AsType[*pgctl.Error](err); err != nil && (!ok || e.Message == "") {
			t.Fatalf("not for people: %v", err)
		}
	})
}
