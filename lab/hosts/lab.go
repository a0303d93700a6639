// Package hosts makes several real hosts on one Linux machine, and breaks them: containers with an init
// of their own (systemd, sshd, PostgreSQL, pgctl), in data centers that a router joins. Nothing of it
// reaches the machine's own network. lab/DESIGN.md says how and why.
package hosts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// DefaultName is the lab's name where none is given: of its folder, namespaces and control groups.
const DefaultName = "pgctl-lab"

const (
	markFile   = "lab.json" // only a folder with this file is ever removed
	layout     = 1          // of the folder
	mostSites  = 9
	mostHosts  = 20 // of a site
	mostVoters = 3
	outside    = "outside" // the site of the clients
	clientName = "client"
)

// Config says what a new lab consists of.
type Config struct {
	Name  string // a-z, 0-9 and -, at most 12 characters; DefaultName where empty
	Sites []int  // hosts of each data center, called a, b, c …; nil: as it is, or three of one host
	// Packages of Debian that the hosts of a new lab have beside the usual ones.
	Packages []string
}

// Lab is a set of hosts. What it is lies in its folder and in the kernel, so that one command after the
// other can work on it.
type Lab struct {
	Name   string `json:"-"`
	Dir    string `json:"-"`
	Layout int    `json:"pgctlLab"`
	Sites  []int  `json:"sites"`
}

// Host is one of them.
type Host struct {
	Name       string     // h1, h2 …
	DataCenter string     // a, b, c …
	Address    netip.Addr // in the network of its data center
	Server     bool       // its daemon may hold a vote
	dir        string
	namespace  string // of its network
}

// Open finds a lab that was made before.
func Open(name string) (*Lab, error) {
	l, err := newLab(name)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(l.Dir, markFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no lab %q: `lab up` makes one: %w", l.Name, err)
	}
	if err == nil {
		err = json.Unmarshal(text, l)
	}
	if err != nil || l.Layout != layout {
		return nil, fmt.Errorf("%s is not a mark that this program wrote: %w", filepath.Join(l.Dir, markFile), err)
	}
	return l, nil
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,11}$`)

func newLab(name string) (*Lab, error) {
	if name == "" {
		name = DefaultName
	}
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("%q is no name for a lab: a-z, 0-9 and -, at most 12 characters", name)
	}
	return &Lab{Name: name, Dir: filepath.Join("/var/lib", name)}, nil
}

// create makes the folder and its mark. What is there already and is no lab is left alone.
func create(config Config) (*Lab, error) {
	l, err := newLab(config.Name)
	if err != nil {
		return nil, err
	}
	if config.Sites == nil {
		config.Sites = []int{1, 1, 1}
	}
	if len(config.Sites) < 1 || len(config.Sites) > mostSites || slices.Min(config.Sites) < 1 || slices.Max(config.Sites) > mostHosts {
		return nil, fmt.Errorf("hosts of the data centers %v: 1 to %d data centers of 1 to %d hosts", config.Sites, mostSites, mostHosts)
	}
	l.Layout, l.Sites = layout, config.Sites
	if entries, err := os.ReadDir(l.Dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s holds something else than a lab", l.Dir)
	}
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return nil, err
	}
	return l, os.WriteFile(l.file(markFile), append(text, '\n'), 0o644)
}

func (l *Lab) file(name string) string { return filepath.Join(l.Dir, name) }

// sites are the names of the data centers, with the clients' place last.
func (l *Lab) sites() []string {
	var all []string
	for i := range l.Sites {
		all = append(all, string(rune('a'+i)))
	}
	return append(all, outside)
}

// Hosts lists them, those of a data center together. The first host of each data center is a server,
// further ones where there are fewer than three data centers.
func (l *Lab) Hosts() []Host {
	var all []Host
	for site, count := range l.Sites {
		for n := range count {
			name := fmt.Sprintf("h%d", len(all)+1)
			all = append(all, Host{
				Name: name, DataCenter: l.sites()[site], Address: address(site, n), dir: l.file(name),
				namespace: l.Name + "-" + name,
			})
		}
	}
	voters := mostVoters
	if len(all) < voters {
		voters = 1
	}
	for n := 0; voters > 0; n++ {
		for i := range all {
			if voters > 0 && all[i].place() == n {
				all[i].Server = true
				voters--
			}
		}
	}
	return all
}

// Host finds one by its name.
func (l *Lab) Host(name string) (Host, error) {
	var names []string
	for _, h := range l.Hosts() {
		if h.Name == name {
			return h, nil
		}
		names = append(names, h.Name)
	}
	return Host{}, fmt.Errorf("there is no host %q: there are %s", name, strings.Join(names, ", "))
}

// In lists the hosts of a data center.
func (l *Lab) In(dataCenter string) []Host {
	return slices.DeleteFunc(l.Hosts(), func(h Host) bool { return h.DataCenter != dataCenter })
}

func (l *Lab) client() Host {
	return Host{
		Name: clientName, DataCenter: outside, Address: address(len(l.Sites), 0), dir: l.file(clientName),
		namespace: l.Name + "-" + clientName,
	}
}

// Missing says what this machine lacks for a lab; empty when it can have one.
func Missing() []string {
	var lacks []string
	if os.Getuid() != 0 {
		lacks = append(lacks, "root")
	}
	for program, from := range map[string]string{
		"systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap", "nft": "nftables", "ip": "iproute2",
		"nsenter": "util-linux", "mkfs.ext4": "e2fsprogs", "ssh-keygen": "openssh-client",
	} {
		if _, err := exec.LookPath(program); err != nil {
			lacks = append(lacks, fmt.Sprintf("%s (of the package %s)", program, from))
		}
	}
	for _, device := range []string{"/dev/net/tun", "/dev/loop-control"} {
		if _, err := os.Stat(device); err != nil {
			lacks = append(lacks, device)
		}
	}
	if _, err := groupMount(); err != nil {
		lacks = append(lacks, err.Error())
	}
	slices.Sort(lacks)
	return lacks
}

// run executes a program to its end and returns what it printed; a failure's error has it too.
func run(ctx context.Context, program string, args ...string) (string, error) {
	return feed(ctx, "", program, args...)
}

// feed is run with something to read on standard input.
func feed(ctx context.Context, input, program string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), &out, &out
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}
