package node

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/internal/planted"
	"github.com/pgctl/pgctl/node/ha"
)

// A leader of a lease cluster that hears no server of the store goes on if all members confirm to it that
// they have pledged nothing newer. They can only be asked by a leader that knows them: so a leader tells
// each of them that it will be asked, and until it was told a member may not lead.

// tellAgain is when a member is told once more: it may have heard something else from a deposed leader.
const tellAgain = 5 * time.Second

// vouching is what an agent knows about that. The agent's mu guards it.
type vouching struct {
	at        time.Duration                // on the node's clock: when a leader was last let go on; at first when the agent began
	renounced pgctl.Epoch                  // no leader of an older epoch may go on: a pledge is under way, or noted
	told      map[pgctl.Life]time.Duration // on the node's clock: when members were told last in this epoch
	toldIn    pgctl.Epoch
	refusal   string // why the leader may not go on, as it was logged last; of the asking goroutine alone
}

// lastVouch is when an agent that just started may have let a leader go on: it does not know.
func (n *Node) lastVouch() time.Duration {
	if planted.VouchForgotten.On() {
		return -time.Hour
	}
	return n.Clock()
}

// askMembers runs beside an agent's loop. While its instance leads by a lease it tells the members, and
// asks them whenever the lease was not renewed for a while.
func (a *agent) askMembers(ctx context.Context) {
	for pause(ctx, a.node.until(ha.Heartbeat), nil) {
		state := a.node.Store.State()
		l, _ := state.Leadership(a.self.Cluster)
		leads := l.ByLease() && l.Leader == a.self.Life && (l.Phase == pgctl.Steady || l.Phase == pgctl.Unknown)
		if !leads {
			continue
		}
		goOn := a.node.leaseLeft(a.self.Cluster, l.Epoch) < ha.LeaseTime-ha.VouchAfter
		a.askRound(ctx, state, l, goOn)
	}
}

// askRound asks all members at once, or only tells those who do not know yet. When all let it go on, the
// lease holds from the moment before they were asked.
func (a *agent) askRound(ctx context.Context, state State, l pgctl.Leadership, goOn bool) {
	sent := pgctl.Instant{Boot: a.node.Boot, Up: a.node.Clock()}
	ask := ha.VouchRequest{Leader: a.self.Life, Epoch: l.Epoch, GoOn: goOn}
	var members []pgctl.Instance
	for i := range state.Instances(a.self.Cluster) {
		if i.Life != a.self.Life {
			members, ask.Members = append(members, i), append(ask.Members, i.Life)
		}
	}
	bounded, cancel := context.WithTimeout(ctx, ha.VouchTimeout)
	defer cancel()
	var asking sync.WaitGroup
	refused := make(chan error, len(members))
	for _, m := range members {
		if host, known := state.Host(m.Host); !known {
			refused <- pgctl.Errorf(pgctl.CodeNotFound, "the host of %s is not known", m.Name)
		} else if goOn || !a.wasTold(m.Life, l.Epoch) {
			asking.Go(func() {
				if err := a.askOne(bounded, host.API, m, ask); err != nil {
					refused <- err
				}
			})
		}
	}
	asking.Wait()
	close(refused)
	err, no := <-refused
	switch {
	case !goOn:
	case no && err.Error() == a.vouching.refusal:
	case no:
		a.vouching.refusal = err.Error()
		a.log.Warn("the lease is not renewed, and not all members let the leader go on", "error", err)
	default:
		a.vouching.refusal = ""
		a.node.extend(a.self.Cluster, l.Epoch, sent.Add(ha.LeaseTime))
	}
}

func (a *agent) askOne(ctx context.Context, address string, m pgctl.Instance, ask ha.VouchRequest) error {
	ask.Instance = m.Name
	var answer ha.VouchAnswer
	if err := a.node.Peers.Call(ctx, address, "vouch", ask, &answer); err != nil || !answer.Listed {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.vouching.toldIn != ask.Epoch || a.vouching.told == nil {
		a.vouching.told, a.vouching.toldIn = map[pgctl.Life]time.Duration{}, ask.Epoch
	}
	a.vouching.told[m.Life] = a.node.Clock()
	return nil
}

func (a *agent) wasTold(life pgctl.Life, epoch pgctl.Epoch) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, told := a.vouching.told[life]
	return told && a.vouching.toldIn == epoch && a.node.Clock()-at < tellAgain
}

// extend makes a lease that members let the leader have last longer.
func (n *Node) extend(cluster string, epoch pgctl.Epoch, until pgctl.Instant) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.renew(cluster, epoch, until) {
		n.keepLeases()
	}
}

// renew moves the end of a lease forward, and the guard's deadlines with it. Called with mu held.
func (n *Node) renew(cluster string, epoch pgctl.Epoch, until pgctl.Instant) bool {
	old := n.leases[cluster]
	if old.Epoch > epoch || old.Epoch == epoch && old.Until.Boot == until.Boot && old.Until.Up >= until.Up {
		return false
	}
	n.leases[cluster] = lease{epoch, until}
	for _, a := range n.agents {
		if a.self.Cluster == cluster && n.MoveDeadline != nil {
			n.MoveDeadline(a.self.Life, epoch, until)
		}
	}
	return true
}

// serveVouch answers a leader that goes by a lease.
func (n *Node) serveVouch(ctx context.Context, _ string, body json.RawMessage) (any, error) {
	var ask ha.VouchRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "unreadable request: %v", err)
	}
	n.mu.Lock()
	a := n.agents[ask.Instance]
	n.mu.Unlock()
	if a == nil {
		return nil, pgctl.Errorf(pgctl.CodeNotFound, "no instance %s here", ask.Instance)
	}
	return a.vouch(ctx, ask)
}

// vouch notes that this member will be asked, and when it let the leader go on. Whatever it notes is noted
// before the leader hears of it.
func (a *agent) vouch(ctx context.Context, ask ha.VouchRequest) (ha.VouchAnswer, error) {
	if err := a.refusesVouch(ask, false); err != nil {
		return ha.VouchAnswer{}, err
	}
	a.mu.Lock()
	listed, blank := a.observed.Local.Listed, a.observed.Directory == ha.NoDirectory
	a.mu.Unlock()
	if listed != ask.Leader && !blank {
		if err := a.server.NoteListed(ctx, ask.Leader); err != nil {
			return ha.VouchAnswer{}, err
		}
		poke(a.wake) // so that it is seen and reported
	}
	if !ask.GoOn {
		return ha.VouchAnswer{Listed: !blank}, nil
	}
	return ha.VouchAnswer{Listed: !blank}, a.refusesVouch(ask, true)
}

// refusesVouch says why the leader may not count on this member, or lets it go on: no pledge can come
// between the look and the note.
func (a *agent) refusesVouch(ask ha.VouchRequest, goOn bool) error {
	known, _ := a.node.Store.State().Leadership(a.self.Cluster)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.report.Life == "" {
		return pgctl.Errorf(pgctl.CodeUnavailable, "%s was not looked at yet", a.self.Name)
	}
	local := a.observed.Local
	if err := ha.RefuseVouch(ask, a.self.Life, max(local.Pledge, a.vouching.renounced), known); err != nil {
		return err
	}
	if goOn {
		a.vouching.at = a.node.Clock()
	}
	return nil
}

// renounce is said before a step is begun: from here on no leader of an older epoch is let go on.
func (a *agent) renounce(epoch pgctl.Epoch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.vouching.renounced = max(a.vouching.renounced, epoch)
}
