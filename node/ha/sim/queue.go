package sim

import "time"

// kind is what an event is about.
type kind uint8

const (
	evTick         kind = iota // a server's controller looks
	evBeat                     // a daemon sends its heartbeat
	evBeatArrives              // at a server
	evAnswer                   // a server's answer to a heartbeat arrives
	evTurn                     // an agent begins a turn: it reads the state
	evLook                     // and looks at its instance, decides and acts
	evOp                       // a step under way goes on
	evSync                     // a host's copy of the state follows
	evRaft                     // the Raft group looks for its leader
	evCommit                   // a proposal reaches its majority, or not
	evAsk                      // a member asks the leader's agent about its data
	evSource                   // the answer arrives
	evProve                    // an agent proves its server's health
	evProbe                    // a member looks at the leader itself
	evProbed                   // and whether what it wrote there has arrived
	evDaemon                   // a daemon starts
	evGrant                    // a server looks for who asked for a lease
	evGranted                  // and has heard whether it leads
	evLease                    // a renewal arrives
	evVouch                    // a leader asks its members whether it may go on
	evVouchAsk                 // one of them is asked
	evVouched                  // and agrees
	evStartup                  // PostgreSQL's startup process goes on
	evReload                   // the postmaster reads its files
	evCheckpointer             // the checkpointer follows them
	evSender                   // a WAL sender follows them
	evStream                   // WAL travels
	evReceived                 // a WAL receiver flushes and answers
	evReply                    // the answer arrives
	evBroken                   // one end of a connection gives up
	evWrite                    // a client writes
	evFlushed                  // its commit record is on disk
	evTend                     // a checkpoint
	evNemesis                  // something bad happens
	evRelent                   // and ends
)

// event is something that will happen. Where and what are host numbers or indexes, as the kind needs; mark
// tells whether it is still meant: a generation of the daemon, a pid, the id of a connection.
type event struct {
	at    time.Duration
	order uint64
	kind  kind
	where int8
	what  int32
	mark  uint64
}

// queue is a heap of events, the earliest first; among equal times the one that was put in first.
type queue []event

func (q queue) before(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}

func (q *queue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (q *queue) pop() event {
	h := *q
	first, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2; child++ {
			if child < last && h.before(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
