// Package gossip lets daemons find each other: every host spreads who and where it is, and who is
// alive, over an encrypted memberlist. What it says is a hint for connecting, never a reason to
// change leadership.
package gossip

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/pgctl/pgctl"
)

const (
	// KeySize is the length of the key in bytes: AES-256.
	KeySize      = 32
	joinFirst    = 200 * time.Millisecond
	joinSlowest  = 10 * time.Second
	rejoinEvery  = 30 * time.Second
	spreadWithin = 5 * time.Second
)

// Tags is what a host says about itself. Encoded it must stay below 512 bytes.
type Tags struct {
	DataCenter string `json:"d"`
	API        string `json:"a"`           // host:port
	Heartbeat  string `json:"h"`           // host:port (UDP)
	Raft       string `json:"r,omitempty"` // host:port; servers only
	Version    string `json:"v"`           // of pgctl
	Server     bool   `json:"s,omitempty"`
}

// Member is a host of the group, ourselves included.
type Member struct {
	Name    string
	Address string // host:port of its gossip
	Alive   bool   // false: it left, or could not be reached
	Tags    Tags
}

// Config says how to take part.
type Config struct {
	Name      string   // of our host; unique in the group
	Bind      string   // ip:port, TCP and UDP
	Advertise string   // ip:port under which others reach us; empty: Bind
	Key       []byte   // KeySize bytes, the same on every host
	Join      []string // any known addresses of the group; our own among them is harmless
	Tags      Tags
	Log       *slog.Logger
	// OnTrouble, if set, takes what an operator must see: another key, two hosts of one name. It gets
	// each of them at most once a minute.
	OnTrouble func(*pgctl.Error)
}

// Gossip is our part in the group.
type Gossip struct {
	config  Config
	list    *memberlist.Memberlist
	changes chan struct{}
	stop    context.CancelFunc
	joining sync.WaitGroup
	trouble *troubles

	mu      sync.Mutex
	tags    []byte // encoded
	members map[string]Member
}

// Open begins to take part: it listens at once and joins in the background, again and again until
// somebody was reached, and later whenever we are alone.
func Open(config Config) (*Gossip, error) {
	settings, err := settingsOf(config)
	if err != nil {
		return nil, err
	}
	g := &Gossip{
		config: config, changes: make(chan struct{}, 1), members: map[string]Member{},
		trouble: &troubles{said: map[string]time.Time{}, tell: config.OnTrouble, log: config.Log},
	}
	if err := g.encode(config.Tags); err != nil {
		return nil, err
	}
	events := &delegate{g}
	settings.Delegate, settings.Events, settings.Conflict = events, events, events
	settings.Logger = log.New(&logWriter{log: config.Log, trouble: g.trouble}, "", 0)
	if g.list, err = memberlist.Create(settings); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeUnavailable, "gossip: %v", err).
			WithHint("another daemon on this address, or an address that is not this host's?")
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	g.joining.Go(func() { g.join(ctx) })
	return g, nil
}

func settingsOf(config Config) (*memberlist.Config, error) {
	if len(config.Key) != KeySize {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "the gossip key has %d bytes instead of %d", len(config.Key), KeySize).
			At("gossip key")
	}
	if config.Name == "" {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "gossip needs the host's name").At("name")
	}
	advertise := config.Advertise
	if advertise == "" {
		advertise = config.Bind
	}
	bindIP, bindPort, err1 := split(config.Bind)
	ip, port, err2 := split(advertise)
	if err1 != nil || err2 != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%q or %q is not an address ip:port", config.Bind, advertise).
			At("gossip address")
	}
	settings := memberlist.DefaultLANConfig()
	settings.Name = config.Name
	settings.BindAddr, settings.BindPort = bindIP, bindPort
	settings.AdvertiseAddr, settings.AdvertisePort = ip, port
	settings.SecretKey = config.Key
	settings.TCPTimeout = 3 * time.Second
	settings.GossipInterval = 500 * time.Millisecond // not more often: news are rare, and idle daemons should sleep
	settings.DeadNodeReclaimTime = time.Second       // a host may come back under another address
	return settings, nil
}

func split(address string) (ip string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	if net.ParseIP(host) == nil {
		return "", 0, fmt.Errorf("%q is not an IP", host)
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}

// join reaches out to every known address that is not a living member's: often until somebody was
// reached, seldom later, which heals a group whose halves have given each other up.
func (g *Gossip) join(ctx context.Context) {
	wait := joinFirst
	for {
		for _, address := range g.config.Join {
			if ctx.Err() != nil || g.alive(address) {
				continue
			}
			if _, err := g.list.Join([]string{address}); err != nil && !g.trouble.wrongKey(err.Error(), withoutPort(address)) {
				text := strings.Join(strings.Fields(err.Error()), " ") // it comes in several lines
				g.config.Log.Debug("gossip: not reached", "address", address, "error", text)
			}
		}
		wait = min(2*wait, joinSlowest)
		if g.list.NumMembers() > 1 {
			wait = rejoinEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// withoutPort is how a host is named in messages: the port that it comes from differs each time.
func withoutPort(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func (g *Gossip) alive(address string) bool {
	return slices.ContainsFunc(g.Members(), func(m Member) bool { return m.Alive && m.Address == address })
}

// Address is ours, as others know it.
func (g *Gossip) Address() string { return g.list.LocalNode().Address() }

// Members lists everybody who was ever seen since we started, sorted by name.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Member, 0, len(g.members))
	for _, m := range g.members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Changes has an entry whenever Members may have changed since it was last read.
func (g *Gossip) Changes() <-chan struct{} { return g.changes }

// SetTags changes what we say about ourselves and waits until it went out, 5 s at most.
func (g *Gossip) SetTags(tags Tags) error {
	if err := g.encode(tags); err != nil {
		return err
	}
	return g.list.UpdateNode(spreadWithin)
}

func (g *Gossip) encode(tags Tags) error {
	encoded, err := json.Marshal(tags)
	if err == nil && len(encoded) > memberlist.MetaMaxSize {
		err = pgctl.Errorf(pgctl.CodeInvalid, "the host's tags have %d bytes, the limit is %d",
			len(encoded), memberlist.MetaMaxSize).WithHint("shorten the name of the data center")
	}
	if err == nil {
		g.mu.Lock()
		g.tags = encoded
		g.mu.Unlock()
	}
	return err
}

// Leave tells the others that we go on purpose, and waits until somebody heard it, 5 s at most.
func (g *Gossip) Leave() error { return g.list.Leave(spreadWithin) }

// Close stops without a word to the others (Leave says one) and waits for everything that runs.
func (g *Gossip) Close() error {
	g.stop()
	err := g.list.Shutdown()
	g.joining.Wait()
	return err
}

func (g *Gossip) note(n *memberlist.Node, alive bool) {
	m := Member{Name: n.Name, Address: n.Address(), Alive: alive}
	if err := json.Unmarshal(n.Meta, &m.Tags); err != nil && len(n.Meta) > 0 {
		g.config.Log.Warn("gossip: a host's tags cannot be read", "host", n.Name, "error", err)
	}
	g.mu.Lock()
	if known, ok := g.members[n.Name]; ok && len(n.Meta) == 0 {
		m.Tags = known.Tags
	}
	g.members[n.Name] = m
	g.mu.Unlock()
	select {
	case g.changes <- struct{}{}:
	default: // one is waiting already
	}
}
