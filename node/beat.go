package node

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// Answer is what the Raft leader says to a heartbeat.
type answer struct {
	Granted uint64                 `json:"granted,omitempty"` // the number of the beat that is granted
	Leases  map[string]pgctl.Epoch `json:"leases,omitempty"`  // by cluster
	Ask     []string               `json:"ask,omitempty"`     // clusters whose leader is to be proven
}

// sentBeat remembers when a beat was sent: a lease holds from there.
type sentBeat struct {
	number uint64
	at     pgctl.Instant
}

// lease is what this host may count on.
type lease struct {
	Epoch pgctl.Epoch   `json:"epoch"`
	Until pgctl.Instant `json:"until"`
}

const beatsRemembered = 64 // 19 s of beats; a lease is 5 s

// beat sends this host's heartbeat to all servers, every Heartbeat and at once when there is news.
func (n *Node) beat(ctx context.Context) {
	const apart = 5 * time.Millisecond // news that come together are sent together
	for {
		n.sendBeat()
		sent := n.Clock()
		if !pause(ctx, n.until(ha.Heartbeat), n.wake) {
			return
		}
		if early := apart - (n.Clock() - sent); early > 0 && !pause(ctx, early, nil) {
			return
		}
	}
}

func (n *Node) sendBeat() {
	now := n.Clock()
	n.mu.Lock()
	payloads := make([][]byte, 0, len(n.agents)+1)
	for _, a := range n.agents {
		if text, err := json.Marshal(a.current(now)); err == nil {
			payloads = append(payloads, text)
		}
	}
	n.mu.Unlock()
	if len(payloads) == 0 {
		payloads = append(payloads, []byte("{}")) // a host without instances is heard too
	}
	number, err := n.beats.Send(payloads, n.targets())
	if err != nil {
		n.Log.Debug("heartbeat", "error", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = append(n.sent, sentBeat{number, pgctl.Instant{Boot: n.Boot, Up: now}})
	if len(n.sent) > beatsRemembered {
		n.sent = n.sent[1:]
	}
}

// targets are the heartbeat addresses of all servers.
func (n *Node) targets() []netip.AddrPort {
	var targets []netip.AddrPort
	for host := range n.Store.State().Hosts() {
		if address, err := netip.ParseAddrPort(host.Heartbeat); err == nil && host.Server {
			targets = append(targets, address)
		}
	}
	return targets
}

// Heard takes one datagram of another host's heartbeat, and answers it.
func (n *Node) Heard(host string, number uint64, payloads [][]byte) []byte {
	reports := make([]ha.Report, 0, len(payloads))
	for _, p := range payloads {
		var r ha.Report
		if json.Unmarshal(p, &r) == nil && r.Instance != "" {
			reports = append(reports, r)
		}
	}
	if n.Observer.hear(host, number, reports) {
		poke(n.ticks)
	}
	reply := n.Observer.answerTo(host)
	if reply == nil {
		return nil
	}
	text, err := json.Marshal(reply)
	if err != nil {
		return nil
	}
	return text
}

// Answered takes a server's answer to one of our beats.
func (n *Node) Answered(payload []byte) {
	var a answer
	if json.Unmarshal(payload, &a) != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	renewed := false
	for _, b := range n.sent {
		if b.number != a.Granted || a.Granted == 0 {
			continue
		}
		for cluster, epoch := range a.Leases {
			if planted.LeaseFromReceipt.On() {
				b.at.Up = n.Clock()
			}
			renewed = n.renew(cluster, epoch, b.at.Add(ha.LeaseTime)) || renewed
		}
	}
	if renewed {
		n.keepLeases()
	}
	for _, cluster := range a.Ask {
		n.asked[cluster] = true
		for _, agent := range n.agents {
			if agent.self.Cluster == cluster {
				poke(agent.ask)
			}
		}
	}
}

// keepLeases writes the leases where a restarted daemon finds them: it must not stop a leader that may go
// on. They name their boot, so that after another one they are worth nothing. Called with mu held.
func (n *Node) keepLeases() {
	text, err := json.Marshal(n.leases)
	if err == nil {
		err = os.WriteFile(n.LeaseFile+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(n.LeaseFile+".new", n.LeaseFile)
	}
	if err != nil {
		n.Log.Warn("leases are not kept for the next start of the daemon", "error", err)
	}
}

// findLeases takes over what a former daemon of this boot held.
func findLeases(path string) map[string]lease {
	found := map[string]lease{}
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &found) != nil || found == nil {
		return map[string]lease{} // none is always safe: the leader stops and is elected again
	}
	return found
}

// leaseLeft is how long a leader of this epoch may go on without another renewal. One that was granted
// in an earlier epoch holds as well: whoever chooses another leader waits for its end, and a leader that
// resumes must not stop before its first renewal.
func (n *Node) leaseLeft(cluster string, epoch pgctl.Epoch) time.Duration {
	left, _ := n.leaseEnd(cluster, epoch).Since(pgctl.Instant{Boot: n.Boot, Up: n.Clock()}) // of another boot, or past: nothing
	return left
}

// heldLease says whether the cluster's leader here has held a lease. One of a time before the cluster went
// by leases again is forgotten.
func (n *Node) heldLease(cluster string, l pgctl.Leadership) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	held, known := n.leases[cluster]
	if known && !l.ByLease() {
		delete(n.leases, cluster)
		n.keepLeases()
		return false
	}
	return known && held.Until.Boot == n.Boot
}

// leaseEnd is when that lease ends; the zero Instant for none.
func (n *Node) leaseEnd(cluster string, epoch pgctl.Epoch) pgctl.Instant {
	n.mu.Lock()
	defer n.mu.Unlock()
	if held := n.leases[cluster]; held.Epoch <= epoch {
		return held.Until
	}
	return pgctl.Instant{}
}

func (n *Node) wasAsked(cluster string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := n.asked[cluster]
	delete(n.asked, cluster)
	return asked
}
