package config

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgctl/pgctl"
)

var update = flag.Bool("update", false, "write the golden files")

func settings() Settings {
	return Settings{
		Major: 15, Instance: "shop-1", Listen: "10.1.0.7", Port: 5432, SocketDir: "/run/pgctl",
		TLS:        TLS{Cert: "/data/server.crt", Key: "/data/server.key", CA: "/data/ca.crt"},
		Parameters: map[string]string{"Work_Mem": "64MB", "search_path": `"$user", it's\n`, "max_connections": "200"},
		SyncNames:  Nobody, Members: []string{"10.2.0.7", "10.1.0.7", "fd00::1"}, DaemonUser: "pgctl-daemon",
	}
}

func golden(t *testing.T, name string, f Files) {
	t.Helper()
	got := f.Conf + "---\n" + f.HBA + "---\n" + f.Ident
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is (go test -update after a change that is meant):\n%s", name, got)
	}
}

func TestRender(t *testing.T) {
	closed, err := Render(settings())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "closed", closed)
	s := settings()
	s.Major, s.Open, s.AllowedSources = 18, true, []string{"192.168.0.9/16", "10.1.0.7/32"}
	s.SyncNames = SyncNames(1, []string{pgctl.Life("abcdefgh").MemberName(3), pgctl.Life("ijklmnop").MemberName(3)})
	open, err := Render(s)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "open", open)
	s.HBA, s.ReplayNow, s.SlotWALKeep = []string{"host all app 10.0.0.0 255.0.0.0 md5"}, true, "9GB"
	s.PrimaryConninfo = Conninfo(Upstream{Host: "10.1.0.8", Port: 5433, Name: "pgctl.abcdefgh@3", Passfile: `/it's`, CA: "/ca"})
	s.PrimarySlot = "pgctl_abcdefgh"
	custom, err := Render(s)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "custom", custom)
	if closed.Checksum() == open.Checksum() || !strings.Contains(open.Conf, "pgctl.config = '"+open.Checksum()+"'") {
		t.Error("the checksum does not name the contents")
	}
	changed := open
	changed.HBA += "#"
	if changed.Checksum() == open.Checksum() {
		t.Error("the checksum leaves pg_hba.conf out")
	}
}

func TestRenderRefuses(t *testing.T) {
	for field, change := range map[string]func(*Settings){
		"version":                    func(s *Settings) { s.Major = 14 },
		"parameters.fsync":           func(s *Settings) { s.Parameters["FSYNC"] = "off" },
		"parameters.ssl_ciphers":     func(s *Settings) { s.Parameters["ssl_ciphers"] = "x" },
		"parameters.wal_level":       func(s *Settings) { s.Parameters["wal_level"] = "Minimal" },
		"parameters.max_wal_senders": func(s *Settings) { s.Parameters["max_wal_senders"] = "2" },
		"parameters.a = b\nfsync":    func(s *Settings) { s.Parameters["a = b\nfsync"] = "off" },
		"parameters.work_mem":        func(s *Settings) { s.Parameters["work_mem"] = "1\x00" },
		"parameters.include":         func(s *Settings) { s.Parameters["include"] = "/etc/passwd" },
		"members[0]":                 func(s *Settings) { s.Members = []string{"db1"} },
		"allowedSources[1]":          func(s *Settings) { s.AllowedSources = []string{"10.0.0.0/8", "10.0.0.0/99"} },
		"hba[0]":                     func(s *Settings) { s.HBA = []string{"host all all all"} },
	} {
		s := settings()
		change(&s)
		_, err := Render(s)
		e, ok := err.(*pgctl.Error)
		if !ok || e.Code != pgctl.CodeInvalid || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestHBALines(t *testing.T) {
	for line, good := range map[string]bool{
		"":                   true,
		"# comment":          true,
		"local all all peer": true,
		`hostssl "my db",shop, other app 10.0.0.0/8 scram-sha-256 # who`: true,
		"host all all 10.0.0.1 255.255.255.255 md5":                      true,
		"host all all db.example.org pam pamservice=x":                   true,
		"host all all ::1/128 ldap ldapserver=a":                         true,
		"host replication backup samenet scram-sha-256":                  true,
		"host all all 10.0.0.1 md5":                                      false,
		"host all all 10.0.0.1 md5 x":                                    false,
		"host all all 10.0.0.0/33 md5":                                   false,
		"host all all all secret":                                        false,
		"host all all md5":                                               false,
		"local all peer":                                                 false,
		"include /etc/passwd":                                            false,
		"local @/etc/passwd all peer":                                    false,
		"local all a,@x peer":                                            false,
		"local all \"all peer":                                           false,
		"local all all peer\nhost all all all trust":                     false,
		`local all all peer \`:                                           false,
		"local all all peer map":                                         false,
	} {
		if problem := checkHBA(line); (problem == "") != good {
			t.Errorf("%q: %s", line, problem)
		}
	}
}

func TestSyncNames(t *testing.T) {
	for want, got := range map[string]string{
		"":                           SyncNames(0, []string{"a"}),
		`ANY 2 ("a@1", "b""c", "d")`: SyncNames(2, []string{"a@1", `b"c`, "d"}),
		`ANY 1 ("pgctl-nobody")`:     Nobody,
	} {
		if got != want {
			t.Errorf("%s instead of %s", got, want)
		}
	}
}

// catalogs are those of the installed versions and of the folders in PGCTL_TEST_POSTGRES.
func catalogs(t *testing.T) map[string]Catalog {
	t.Helper()
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	all := map[string]Catalog{}
	for _, bin := range append(folders, filepath.SplitList(os.Getenv("PGCTL_TEST_POSTGRES"))...) {
		out, err := exec.CommandContext(context.Background(), filepath.Join(bin, "postgres"), "--describe-config").Output()
		if err != nil {
			t.Fatalf("%s: %v", bin, err)
		}
		if all[bin], err = ParseCatalog(string(out)); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) == 0 {
		t.Fatal("no PostgreSQL is installed")
	}
	return all
}

func TestCatalog(t *testing.T) {
	for bin, c := range catalogs(t) {
		good := map[string]string{
			"work_mem": "64MB", "max_connections": "0x100", "jit": "of", "Autovacuum": "YES", "random_page_cost": "1.1",
			"pg_stat_statements.max": "10", "log_min_duration_statement": "-1", "checkpoint_timeout": "15 min",
			"hash_mem_multiplier": "2", "wal_level": "logical", "shared_preload_libraries": "",
		}
		if errs := c.Validate(good); len(errs) > 0 {
			t.Errorf("%s: %v", bin, errs)
		}
		bad := map[string]string{
			"autovacuum": "maybe", "fsync": "on", "max_connections": "300000", "shared_bufers": "1GB",
			"work_mem": "much", "random_page_cost": "-1", "zzz": "1", "Jit": "o",
		}
		var text []string
		for _, err := range c.Validate(bad) {
			text = append(text, err.Error())
		}
		want := []string{
			`parameters.jit: "o" is neither on nor off`,
			`parameters.autovacuum: "maybe" is neither on nor off`,
			"parameters.fsync: only pgctl sets this: acknowledged commits would be lost",
			"parameters.max_connections: 300000 is outside of 1 to 262143",
			"parameters.random_page_cost: -1 is outside of 0 to 1.79769e+308",
			"parameters.shared_bufers: there is no such setting (did you mean shared_buffers?)",
			`parameters.work_mem: "much" is not a number`,
			"parameters.zzz: there is no such setting",
		}
		if got := strings.Join(text, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s", bin, got)
		}
		if !c.NeedsRestart("Shared_Buffers") || c.NeedsRestart("work_mem") || c.NeedsRestart("x") {
			t.Errorf("%s: what needs a restart", bin)
		}
		for _, name := range NotLower {
			if !c.NeedsRestart(name) {
				t.Errorf("%s: %s", bin, name)
			}
		}
	}
}

// Whatever the values are, the file has one line a setting, and users cannot make another.
func FuzzRender(f *testing.F) {
	f.Add("work_mem", "64MB", "local all all peer")
	f.Add("a.b", "'; \\\n", "host all all all \"trust\"")
	f.Fuzz(func(t *testing.T, name, value, line string) {
		s := settings()
		s.Open, s.Parameters, s.HBA = true, map[string]string{name: value}, []string{line}
		files, err := Render(s)
		if err != nil {
			return
		}
		without := settings()
		without.Parameters = map[string]string{"work_mem": "1MB"}
		if ref, err := Render(without); err != nil || strings.Count(files.Conf, "\n") > strings.Count(ref.Conf, "\n") {
			t.Errorf("%q = %q makes more lines (%v)", name, value, err)
		}
		if strings.Count(files.HBA, "\n") != 10 {
			t.Errorf("%q makes more lines: %s", line, files.HBA)
		}
	})
}

func FuzzCatalog(f *testing.F) {
	f.Add("work_mem\tuser\tResource Usage\tINTEGER\t0\t64\t2147483647\tSets it.\t\n", "work_mem", "1")
	f.Fuzz(func(_ *testing.T, text, name, value string) {
		if c, err := ParseCatalog(text); err == nil {
			c.Validate(map[string]string{name: value})
		}
	})
}

func TestNotLowerThanTheLeader(t *testing.T) {
	s := settings() // with max_connections 200
	s.AtLeast = map[string]int{"max_connections": 300, "max_wal_senders": 5, "max_worker_processes": 9}
	f, err := Render(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"max_connections = '300'", "max_wal_senders = '20'", "max_worker_processes = '9'"} {
		if !strings.Contains(f.Conf, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	if !f.Intact() {
		t.Error("files as rendered do not look so")
	}
	if f.HBA += "host all all all trust\n"; f.Intact() {
		t.Error("a change of a file goes unnoticed")
	}
}
