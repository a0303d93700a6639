package hosts

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Direction says which packets a fault takes.
type Direction int

// The directions.
const (
	BothWays Direction = iota
	Outgoing           // those that the first host named sends
	Incoming           // those that it receives
)

// Ports are some services: TCP and UDP from First to Last. The zero value means all packets.
type Ports struct{ First, Last uint16 }

// element is an nft command on one element of a set.
func element(verb, set, value string) string {
	return fmt.Sprintf("%s element bridge lab %s { %s }", verb, set, value)
}

// Isolate cuts a host off from all others and from the clients.
func (l *Lab) Isolate(ctx context.Context, h Host, direction Direction) error {
	var commands []string
	if direction != Incoming {
		commands = append(commands, element("add", "mute", h.Name))
	}
	if direction != Outgoing {
		commands = append(commands, element("add", "deaf", h.Name))
	}
	return l.nft(ctx, commands...)
}

// Cut drops packets between a host and others: all, or those that belong to services on the ports
// given, at either end.
func (l *Lab) Cut(ctx context.Context, a Host, others []Host, direction Direction, ports Ports) error {
	var commands []string
	add := func(from, to Host) {
		pair := fmt.Sprintf("%s . %s", from.Address, to.Address)
		if ports == (Ports{}) {
			commands = append(commands, element("add", "cut", pair))
			return
		}
		commands = append(commands, element("add", "service", fmt.Sprintf("%s . %d-%d", pair, ports.First, ports.Last)))
	}
	for _, b := range others {
		if b.Name == a.Name {
			continue
		}
		if direction != Incoming {
			add(a, b)
		}
		if direction != Outgoing {
			add(b, a)
		}
	}
	if len(commands) == 0 {
		return nil
	}
	return l.nft(ctx, commands...)
}

// Client is the place of the clients, for Cut.
func (l *Lab) Client() Host { return l.client() }

// Delay lets packets from one data center to another take longer, by a fixed time and up to jitter more.
// The clients' place is the data center "outside".
func (l *Lab) Delay(ctx context.Context, from, to string, delay, jitter time.Duration) error {
	return l.tell(ctx, request{Do: "delay", From: from, To: to, Delay: delay, Jitter: jitter})
}

// CutSites drops what is sent from one data center to another.
func (l *Lab) CutSites(ctx context.Context, from, to string) error {
	return l.tell(ctx, request{Do: "cut", From: from, To: to})
}

// Lose drops a part of the packets between data centers, and from and to the clients.
func (l *Lab) Lose(ctx context.Context, percent float64) error {
	return l.tell(ctx, request{Do: "lose", Percent: percent})
}

// Heal ends every fault of the network and of the disks, and thaws frozen hosts. It gives no power to
// hosts that are without.
func (l *Lab) Heal(ctx context.Context) error {
	if err := l.healNetwork(ctx); err != nil {
		return err
	}
	for _, h := range l.Hosts() {
		if err := l.unstall(h); err != nil {
			return err
		}
		if err := l.FreeDisk(h); err != nil {
			return err
		}
		if err := l.Thaw(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) healNetwork(ctx context.Context) error {
	var commands []string
	for _, set := range strings.Fields("mute deaf frozen cut service") {
		commands = append(commands, "flush set bridge lab "+set)
	}
	if err := l.nft(ctx, commands...); err != nil {
		return err
	}
	return l.tell(ctx, request{Do: "reset"})
}
