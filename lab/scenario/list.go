package scenario

import (
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
)

// Bounds that only a broken cluster passes: the aims are far below.
const (
	calm     = 3 * time.Second
	handOver = 20 * time.Second
)

// All are the scenarios, in the order in which they are played: those that use the same cluster
// together.
func All() []Scenario {
	return []Scenario{
		{Name: "postmaster SIGKILL", Short: true, where: apart, fresh: true, MostGap: handOver, fault: postmasterKilled},
		{Name: "power loss of the leader", Short: true, where: apart, MostGap: handOver, fault: leaderLost},
		{Name: "power loss of the leader and the Raft leader", Short: true, where: apart, MostGap: handOver, fault: bothLeadersLost},
		{Name: "isolation of the leader", Short: true, where: apart, MostGap: handOver, fault: isolated(hosts.BothWays)},
		{Name: "isolation: the leader is heard, hears nobody", where: apart, MostGap: handOver, fault: isolated(hosts.Incoming)},
		{Name: "isolation: the leader hears, is not heard", where: apart, MostGap: handOver, fault: isolated(hosts.Outgoing)},
		{Name: "leader cut from the servers only", where: apart, Stays: true, MostGap: calm, fault: cutFromServers},
		{Name: "leader cut from its standbys only", where: apart, MostGap: handOver, fault: cutFromStandbys},
		{Name: "heartbeats pass, WAL does not", where: apart, MostGap: handOver, fault: streamCut},
		{Name: "freeze of the leader, 60 s", where: apart, MostGap: handOver, fault: frozen},
		{Name: "stuns of the leader, 1 s", where: apart, Stays: true, MostGap: calm, fault: stunned(theLeader, time.Second, 3)},
		{Name: "stuns of the leader, 2 s", where: apart, MostGap: handOver, fault: stunned(theLeader, 2*time.Second, 3)},
		{Name: "stuns of the leader, 5 s", where: apart, MostGap: handOver, fault: stunned(theLeader, 5*time.Second, 2)},
		{Name: "stuns of the Raft leader, 2 s", where: apart, Stays: true, MostGap: calm, fault: stunned(theRaftLeader, 2*time.Second, 3)},
		{Name: "stuns of all hosts, 2 s", where: apart, Stays: true, MostGap: 2*time.Second + calm, fault: stunned(everybody, 2*time.Second, 3)},
		{Name: "daemon SIGKILL", Short: true, where: apart, Stays: true, MostGap: calm, fault: daemon(8*time.Second, "pkill", "-KILL", "-x", "pgctl")},
		{Name: "daemon SIGSTOP, 30 s", where: apart, Stays: true, MostGap: calm, fault: daemon(30*time.Second, "pkill", "-STOP", "-x", "pgctl")},
		{Name: "daemon restart", where: apart, Stays: true, MostGap: calm, fault: daemon(8*time.Second, "systemctl", "restart", "pgctl")},
		{Name: "all daemons stopped, 60 s", where: apart, Stays: true, MostGap: calm, fault: daemonsStopped},
		{Name: "power loss of all servers, 20 s", where: apart, Stays: true, MostGap: calm, fault: serversLost},
		{Name: "a standby lost", where: apart, Stays: true, MostGap: handOver, fault: standbysLost(1)},
		{Name: "both standbys lost, and back", where: apart, Stays: true, MostGap: handOver, fault: standbysLost(2)},
		{Name: "two leaders lost in a row", where: apart, MostGap: handOver, fault: leadersLost},
		{Name: "data disk of the leader full", where: apart, MostGap: handOver, fault: leaderDiskFull},
		{Name: "data disk of a standby full, 20 s", where: apart, Stays: true, MostGap: handOver, fault: disksFull(aStandby)},
		{Name: "disks of all servers full, 20 s", where: apart, Stays: true, MostGap: calm, fault: disksFull(theServers)},
		{Name: "data disk of the leader stalled", where: apart, MostGap: 40 * time.Second, fault: diskStalled},
		{Name: "packet loss, 5 %", where: apart, MostGap: handOver, fault: packetsLost(5)},
		{Name: "packet loss, 30 %", where: apart, MostGap: 60 * time.Second, fault: packetsLost(30)},
		{Name: "10 switchovers under load", where: apart, MostGap: handOver, fault: switchovers(10)},
		{Name: "power loss of everything, and return", where: apart, MostGap: 60 * time.Second, fault: allLost},
		{Name: "clocks days apart, leader lost", where: apart, MostGap: 60 * time.Second, fault: clocksApart},
		{Name: "power loss of the leader, on the Raft leader's host", where: onServers, fresh: true, MostGap: handOver, fault: bothLeadersLost},
		{Name: "isolation of the leader, on a server", where: onServers, MostGap: handOver, fault: isolated(hosts.BothWays)},
		{Name: "power loss of everything, instances on servers", where: onServers, MostGap: 60 * time.Second, fault: allLost},
		{Name: "loss of a whole data center, 5 instances", where: anywhere, size: 5, MostGap: handOver, fault: siteLost},
	}
}
