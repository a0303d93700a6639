package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pgctl/pgctl"
)

// checkPorts finds out, before anything is started, whether every port that the playground needs is
// free, and who is in the way.
func (p *playground) checkPorts() error {
	for _, h := range p.hosts() {
		if _, runs := h.daemon(); runs {
			continue // these are its ports
		}
		for _, port := range []int{devAPIPort, devRaftPort, devGossipPort, devDiscoveryPort, devFirstPort} {
			if masters, err := h.postmasters(); port == devFirstPort && (err != nil || len(masters) > 0) {
				continue // Postgres outlives its daemon
			}
			listener, err := net.Listen("tcp", h.listen(port))
			if err != nil {
				return occupied("tcp", h.listen(port), port, err)
			}
			_ = listener.Close()
		}
		for _, port := range []int{devGossipPort, devHeartbeatPort} {
			socket, err := net.ListenPacket("udp", h.listen(port))
			if err != nil {
				return occupied("udp", h.listen(port), port, err)
			}
			_ = socket.Close()
		}
	}
	return nil
}

func occupied(network, address string, port int, err error) error {
	holder := portHolder(network, port)
	if holder == "" {
		return pgctl.Errorf(pgctl.CodeConflict, "the playground needs %s (%s): %v", address, network, err).
			WithHint("another playground? `pgctl dev down` ends it")
	}
	return pgctl.Errorf(pgctl.CodeConflict, "the playground needs %s (%s), which %s holds", address, network, holder).
		WithHint("end that; if it is another playground: `pgctl dev down`")
}

// portHolder names the process that listens on a port of any address ("process 123 (nginx)"); empty
// when it cannot be found, as for other users' processes.
func portHolder(network string, port int) string {
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/" + network, "/proc/net/" + network + "6"} {
		socketsOn(table, network, port, sockets)
	}
	links, err := filepath.Glob("/proc/[1-9]*/fd/*")
	if err != nil || len(sockets) == 0 {
		return ""
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && sockets[target] {
			proc := filepath.Dir(filepath.Dir(link))
			name, _ := os.ReadFile(proc + "/comm") // empty if it ended
			return fmt.Sprintf("process %s (%s)", filepath.Base(proc), strings.TrimSpace(string(name)))
		}
	}
	return ""
}

// socketsOn adds the sockets of a kernel table that are bound to the port, as /proc/PID/fd shows them.
func socketsOn(table, network string, port int, into map[string]bool) {
	const listening = "0A"
	file, err := os.Open(table)
	if err != nil {
		return // no IPv6
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		// sl, local address (hexadecimal IP:port), remote address, state, …, inode as tenth
		f := strings.Fields(lines.Text())
		if len(f) < 10 {
			continue
		}
		_, local, found := strings.Cut(f[1], ":")
		n, err := strconv.ParseUint(local, 16, 16)
		if found && err == nil && int(n) == port && (network == "udp" || f[3] == listening) {
			into["socket:["+f[9]+"]"] = true
		}
	}
}
