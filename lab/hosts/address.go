package hosts

import (
	"net"
	"net/netip"
)

// The networks of the lab are 10.77.SITE.0/24; the router is .1 in each of them, hosts count from .11 on.
// A hardware address follows from the IP address, so that the router needs no ARP of its own.
const firstHost = 11

func address(site, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, byte(site + 1), byte(firstHost + n)})
}

func gateway(site int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, byte(site + 1), 1})
}

// site is the number of the network that an address belongs to; -1 of none.
func siteOf(a netip.Addr) int {
	b := a.As4()
	if b[0] != 10 || b[1] != 77 || b[2] == 0 {
		return -1
	}
	return int(b[2]) - 1
}

// place is how many hosts of the same data center come before it.
func (h Host) place() int { return int(h.Address.As4()[3]) - firstHost }

func (h Host) site() int { return siteOf(h.Address) }

// hardware is the MAC address that belongs to an IP address: locally administered.
func hardware(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0x77, b[0], b[1], b[2], b[3]}
}
