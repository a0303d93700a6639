package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pgctl/pgctl"
)

const (
	devMark       = ".pgctl-dev" // only a folder with this file is ever removed
	devRootFolder = "/var/lib/pgctl-dev"
	devHostsMost  = 9
	devFirstPort  = 15432 // of Postgres: one that the machine has already may keep 5432
)

// playground is a folder with several hosts of one installation, each a daemon on an address of its own.
type playground struct {
	Dir     string `json:"-"`
	Version int    `json:"pgctlDev"` // of the folder's layout
	Count   int    `json:"hosts"`
}

// devHost is one of them.
type devHost struct {
	Name       string // dev-N
	Address    string // 127.0.0.N
	DataCenter string // a, b, c, a …
	Dir        string
	Server     bool // one of the Raft voters
}

func (h devHost) config() string  { return filepath.Join(h.Dir, "pgctl.toml") }
func (h devHost) log() string     { return filepath.Join(h.Dir, "daemon.log") }
func (h devHost) pidFile() string { return filepath.Join(h.Dir, "daemon.pid") }
func (h devHost) data() string    { return filepath.Join(h.Dir, "data") }
func (h devHost) sockets() string { return filepath.Join(h.Dir, "run") }
func (h devHost) listen(port int) string {
	return h.Address + ":" + strconv.Itoa(port)
}

func (p *playground) file(name string) string { return filepath.Join(p.Dir, name) }

// hosts lists them. Three servers do for any number; a single one where there are fewer hosts.
func (p *playground) hosts() []devHost {
	servers := 3
	if p.Count < servers {
		servers = 1
	}
	all := make([]devHost, p.Count)
	for i := range all {
		name := fmt.Sprintf("dev-%d", i+1)
		all[i] = devHost{
			Name: name, Address: fmt.Sprintf("127.0.0.%d", i+1), DataCenter: string(rune('a' + i%3)),
			Dir: p.file(name), Server: i < servers,
		}
	}
	return all
}

// host finds one by its name.
func (p *playground) host(name string) (devHost, error) {
	var names []string
	for _, h := range p.hosts() {
		if h.Name == name {
			return h, nil
		}
		names = append(names, h.Name)
	}
	return devHost{}, pgctl.Errorf(pgctl.CodeNotFound, "there is no host %q in the playground", name).
		WithHint("there are %s", strings.Join(names, ", "))
}

// addresses of the API.
func (p *playground) addresses() []string {
	var all []string
	for _, h := range p.hosts() {
		all = append(all, h.listen(devAPIPort))
	}
	return all
}

// defaultPlayground is where `pgctl dev` works when no folder is named.
func defaultPlayground() (string, error) {
	if os.Getuid() == 0 {
		return devRootFolder, nil
	}
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "pgctl-dev"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", pgctl.Errorf(pgctl.CodeInvalid, "there is no folder for the playground: %v", err).
			WithHint("name one with --dir")
	}
	return filepath.Join(home, ".local/share/pgctl-dev"), nil
}

// openPlayground reads the mark of an existing playground. A folder without a mark, of another user, or
// a link to one is refused: it is not ours to change or remove.
func openPlayground(dir string) (*playground, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noPlayground(dir)
	}
	if err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "the playground cannot be looked at: %v", err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if !info.IsDir() || int(owner) != os.Getuid() {
		return nil, pgctl.Errorf(pgctl.CodeRefused, "%s is not a folder of user %d", dir, os.Getuid()).
			WithHint("run as the user who made it, or name another folder with --dir")
	}
	text, err := os.ReadFile(filepath.Join(dir, devMark))
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(dir)
		if err == nil && len(entries) == 0 {
			return nil, noPlayground(dir)
		}
		return nil, pgctl.Errorf(pgctl.CodeRefused, "%s holds something else than a playground of pgctl", dir).
			WithHint("name an empty or new folder with --dir")
	}
	p := &playground{Dir: dir}
	if err == nil {
		err = json.Unmarshal(text, p)
	}
	if err != nil || p.Version != 1 || p.Count < 1 || p.Count > devHostsMost {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s is not a mark that this pgctl wrote", filepath.Join(dir, devMark)).
			WithHint("is it of another version?")
	}
	return p, nil
}

func noPlayground(dir string) error {
	return pgctl.Errorf(pgctl.CodeNotFound, "there is no playground in %s", dir).WithHint("`pgctl dev up` makes one")
}

// createPlayground makes the folder and its mark; everything else goes in later.
func createPlayground(dir string, count int) (*playground, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if count < 1 || count > devHostsMost {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%d hosts", count).At("hosts").WithHint("1 to %d", devHostsMost)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "the playground cannot be made: %v", err).
			WithHint("name another folder with --dir")
	}
	// The umask may have been strict; our own folder must be passable for Postgres.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if err := passable(dir); err != nil {
			return nil, errors.Join(err, os.Remove(dir))
		}
	}
	p := &playground{Dir: dir, Version: 1, Count: count}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.file(devMark), append(text, '\n'), 0o644)
}

// postgresUser is the user as which a daemon of root runs Postgres, with its groups.
func postgresUser() (uid int, gids []int, err error) {
	u, err := user.Lookup(DefaultDaemonConfig().PostgresUser)
	if err != nil {
		return 0, nil, pgctl.Errorf(pgctl.CodeInvalid, "%v", err).
			WithHint("install PostgreSQL (its package makes the user), or run this as another user than root")
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, nil, err
	}
	groups, err := u.GroupIds()
	if err != nil {
		return 0, nil, err
	}
	for _, g := range append([]string{u.Gid}, groups...) {
		n, err := strconv.Atoi(g)
		if err != nil {
			return 0, nil, err
		}
		gids = append(gids, n)
	}
	return uid, gids, nil
}

// passable checks that the postgres user may pass the folder and all its parents.
func passable(dir string) error {
	uid, gids, err := postgresUser()
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for d := real; ; d = filepath.Dir(d) {
		var s syscall.Stat_t
		if err := syscall.Stat(d, &s); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
		bit := uint32(0o001)
		if int(s.Uid) == uid {
			bit = 0o100
		} else {
			for _, g := range gids {
				if int(s.Gid) == g {
					bit = 0o010
				}
			}
		}
		if s.Mode&bit == 0 {
			return pgctl.Errorf(pgctl.CodeInvalid, "Postgres will run as user postgres, which may not enter %s (mode %o)",
				d, s.Mode&0o777).WithHint("name another folder with --dir, or: chmod o+x %s", d)
		}
		if d == "/" {
			return nil
		}
	}
}

// remove deletes the playground. What is below is ours: the mark was checked when it was opened.
func (p *playground) remove() error {
	if _, err := openPlayground(p.Dir); err != nil {
		return err
	}
	// The mark goes last, so that a removal which broke off can be repeated.
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != devMark {
			if err := os.RemoveAll(p.file(e.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(p.Dir)
}
