package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const netnsFolder = "/run/netns/"

// filter is what the bridges drop: whatever comes from a port that is mute or goes to one that is deaf,
// both for a host that is frozen (else its kernel would go on acknowledging), and packets between two
// addresses that are cut, all of them or those of some ports.
const filter = `table bridge lab {
	set mute { type ifname; }
	set deaf { type ifname; }
	set frozen { type ifname; }
	set cut { type ipv4_addr . ipv4_addr; }
	set service { type ipv4_addr . ipv4_addr . inet_service; flags interval; }
	chain forward {
		type filter hook forward priority 0; policy accept;
		iifname @mute drop
		oifname @deaf drop
		iifname @frozen drop
		oifname @frozen drop
		ip saddr . ip daddr @cut drop
		meta l4proto { tcp, udp } ip saddr . ip daddr . th dport @service drop
		meta l4proto { tcp, udp } ip saddr . ip daddr . th sport @service drop
	}
}
`

// inNet is a command that runs in a network namespace. `ip netns exec` would hide the control groups.
func inNet(namespace string, command ...string) []string {
	return append([]string{"nsenter", "--net=" + netnsFolder + namespace}, command...)
}

// links executes ip commands, one a line, in a namespace.
func links(ctx context.Context, namespace string, commands ...string) error {
	_, err := feed(ctx, strings.Join(commands, "\n")+"\n", "ip", "-netns", namespace, "-batch", "-")
	return err
}

// nft executes nft commands in the lab's namespace, all or none.
func (l *Lab) nft(ctx context.Context, commands ...string) error {
	c := inNet(l.Name, "nft", "-f", "-")
	_, err := feed(ctx, strings.Join(commands, "\n")+"\n", c[0], c[1:]...)
	return err
}

func bridge(site string) string { return "br-" + site }
func tap(site string) string    { return "tap-" + site }

// network makes the lab's namespace with a bridge and the router's port for each data center, and the
// clients' place. What an earlier run left is replaced.
func (l *Lab) network(ctx context.Context) error {
	if err := removeNetwork(ctx, l.Name); err != nil {
		return err
	}
	if _, err := run(ctx, "ip", "netns", "add", l.Name); err != nil {
		return err
	}
	commands := []string{"link set lo up"}
	for _, site := range l.sites() {
		commands = append(commands,
			"link add "+bridge(site)+" type bridge forward_delay 0",
			"tuntap add dev "+tap(site)+" mode tap",
			"link set "+tap(site)+" master "+bridge(site)+" up txqueuelen 10000",
			"link set "+bridge(site)+" up",
		)
	}
	if err := links(ctx, l.Name, commands...); err != nil {
		return err
	}
	if err := l.nft(ctx, filter); err != nil {
		return err
	}
	return l.connect(ctx, l.client())
}

// connect makes a host's network anew and plugs it in. A host that was without power has no connections:
// they ended with its former namespace.
func (l *Lab) connect(ctx context.Context, h Host) error {
	if err := l.unplug(ctx, h); err != nil {
		return err
	}
	if _, err := run(ctx, "ip", "netns", "add", h.namespace); err != nil {
		return err
	}
	if err := links(ctx, l.Name,
		fmt.Sprintf("link add %s type veth peer name host0 address %s netns %s", h.Name, hardware(h.Address), h.namespace),
		fmt.Sprintf("link set %s master %s up", h.Name, bridge(h.DataCenter)),
	); err != nil {
		return err
	}
	gate := gateway(h.site())
	return links(ctx, h.namespace,
		"link set lo up",
		fmt.Sprintf("address add %s/24 dev host0", h.Address),
		"link set host0 up",
		fmt.Sprintf("neighbour add %s lladdr %s dev host0 nud permanent", gate, hardware(gate)),
		fmt.Sprintf("route add default via %s", gate),
	)
}

// unplug takes a host's cable away and then its network, so that nobody hears how its connections end.
func (l *Lab) unplug(ctx context.Context, h Host) error {
	if _, err := os.Stat(netnsFolder + h.namespace); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := run(ctx, "ip", "-netns", l.Name, "link", "show", "dev", h.Name); err == nil {
		if err := links(ctx, l.Name, "link delete "+h.Name); err != nil {
			return err
		}
	}
	return removeNetwork(ctx, h.namespace)
}

func removeNetwork(ctx context.Context, namespace string) error {
	if _, err := os.Stat(netnsFolder + namespace); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err := run(ctx, "ip", "netns", "delete", namespace)
	return err
}
