package explore

import (
	"fmt"
	"hash/maphash"
	"runtime"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// Config is a small world: how many instances, what a commit waits for, and how often each thing happens at
// most. Everything else happens in any order, as often as it can.
type Config struct {
	Name     string
	Nodes    int // at most 4; the first leads, the others follow
	Acks     int // as declared
	Joined   int // standbys that are in the first rule; the others follow, too
	Strict   bool
	Coarse   bool // what nobody decides happens at once: deeper, but not every order
	Stubborn bool // WAL senders that do not follow are terminated
	Epochs   uint8
	Writes   uint8
	Crashes  uint8
	Disks    uint8
	Cuts     uint8
	Strays   uint8
	Changes  uint8
	Plans    uint8
	Losses   uint8

	Lively bool // a commit must be possible again from everywhere, where epochs and changes are left

	States int // where the search ends unfinished; 0 means a million
	Depth  int // the same; 0 means none
}

// Result is what a search found.
type Result struct {
	Config    Config
	States    int
	Depth     int    // steps of the longest history that was searched
	Complete  bool   // every state that can be reached was looked at
	Bound     string // which bound was hit otherwise
	Violation string
	History   []string // the shortest that leads to it
	Took      time.Duration
}

// String is one line.
func (r Result) String() string {
	how := "complete"
	if !r.Complete {
		how = "ended by the bound of " + r.Bound
	}
	what := "no violation"
	if r.Violation != "" {
		how, what = "ended", r.Violation
	}
	return fmt.Sprintf("%-34s %9d states, %2d steps deep, %s in %.1f s: %s", r.Config.Name, r.States, r.Depth, how, r.Took.Seconds(), what)
}

// engine makes the successors of states. What it has asked of the code that ships it remembers.
type engine struct {
	Config
	seed         maphash.Seed
	permutations []permutation
	rushing      bool
	unchecked    bool // a bug is sown: the checks that ship would only get in its way

	compared  map[pair]ha.Fit
	recruited map[recruitment]bool
	targets   map[change]rule
	ranks     map[standing]pgctl.Position
	commits   map[commit]string

	out   []successor
	edges []edge   // of a lively world
	goals []uint32 // its states in which a commit is possible
	due   []uint32 // and those from which that has to be reached
}

type successor struct {
	state state
	step  step
}

func newEngine(c Config, seed maphash.Seed) *engine {
	return &engine{
		Config: c, seed: seed, permutations: permutations(c.Nodes), unchecked: sown(),
		compared: map[pair]ha.Fit{}, recruited: map[recruitment]bool{}, targets: map[change]rule{}, ranks: map[standing]pgctl.Position{}, commits: map[commit]string{},
	}
}

// add takes a state that a step leads to.
func (e *engine) add(t *state, what step) {
	if e.Coarse && !e.rushing {
		e.rush(t)
	}
	e.out = append(e.out, successor{*t, what})
}

// commit adds a change of the leadership, which the store's own checks must let pass.
func (e *engine) commit(s, t *state, what step) {
	if !e.unchecked && e.accepted(&s.store, &t.store) != "" {
		t.bad = refused
	}
	e.add(t, what)
}

// successors are all states that one step leads to; they are valid until the next call.
func (e *engine) successors(s *state) []successor {
	e.out = e.out[:0]
	if !e.Coarse {
		e.byItself(s)
	}
	e.dataSteps(s)
	e.agentSteps(s)
	e.elections(s)
	e.ruleSteps(s)
	e.faultSteps(s)
	return e.out
}

// first is the state in which a world begins.
func (e *engine) first() state {
	var s state
	c := &s.store
	c.epoch, c.steadyEpoch, c.leader, c.phase = 1, 1, 1, steady
	c.lines[0] = line{number: 1, epoch: 1, leader: 1, state: settled}
	c.rule = rule{leader: 1, version: 1}
	for i := range e.Joined {
		c.rule.standbys |= life(i + 2).set()
	}
	c.rule.acks = uint8(min(e.Acks, e.Joined))
	s.leaders[1], s.ruled[1] = 1, true
	for i := range e.Nodes {
		n := &s.nodes[i]
		n.life, n.data, n.mark, n.pledge, n.names = life(i+1), true, 1, 1, namesNobody
		n.append(newRecord(1, 1, false))
		n.run, n.waits, n.closed = standby, true, 1
		if i > 0 {
			n.upNode, n.upEpoch, n.open = 1, 1, true
			*s.conn(0, i) = conn{life: n.life, epoch: 1, reported: 1, taken: 1, receives: true, known: true}
		}
	}
	l := &s.nodes[0]
	l.run, l.leads, l.open, l.names = primary, true, true, namesEmpty
	if c.rule.acks > 0 {
		l.names = namesOf(1, c.rule.acks, c.rule.standbys)
	}
	l.waits = l.names != namesEmpty
	l.ruleEpoch, l.ruleVersion, l.confirmEpoch, l.confirmVersion = 1, 1, 1, 1
	for i := 1; i < e.Nodes; i++ {
		s.conn(0, i).names = l.names
	}
	return s
}

// search is a breadth-first search under way.
type search struct {
	config  Config
	engines []*engine
	seen    table
	level   []state  // the states that were found last
	numbers []uint32 // and theirs
	depth   int
}

// Search looks at every state that the world can reach, nearest first, until a violation or a bound.
func Search(c Config) Result {
	if c.States == 0 {
		c.States = 1_000_000
	}
	began := time.Now()
	s := &search{config: c}
	seed := maphash.MakeSeed()
	for range runtime.GOMAXPROCS(0) {
		s.engines = append(s.engines, newEngine(c, seed))
	}
	first := s.engines[0].first()
	s.level, s.numbers = []state{first}, []uint32{0}
	s.seen.add(s.engines[0].identity(&first), 0, step{})
	r := s.run()
	r.Config, r.States, r.Depth, r.Took = c, s.seen.len(), s.depth, time.Since(began)
	return r
}

// run goes on until a violation or a bound.
func (s *search) run() Result {
	for len(s.level) > 0 {
		var next []state
		var numbers []uint32
		for from := 0; from < len(s.level); from += batch {
			for _, found := range s.expand(from, min(from+batch, len(s.level))) {
				for i := range found {
					f := &found[i]
					number, added := s.seen.add(f.identity, f.parent, f.step)
					if !added {
						continue
					}
					if why := s.engines[0].judged(&f.state); why != nothing {
						s.depth++
						return Result{Violation: s.explain(why), History: s.seen.history(number)}
					}
					next, numbers = append(next, f.state), append(numbers, number)
				}
			}
			if s.seen.len() > s.config.States {
				s.depth++
				return Result{Bound: fmt.Sprintf("%d states", s.config.States)}
			}
		}
		if len(next) == 0 {
			break
		}
		s.level, s.numbers = next, numbers
		s.depth++
		if s.depth == s.config.Depth {
			return Result{Bound: fmt.Sprintf("%d steps", s.depth)}
		}
	}
	if at, stands := s.standsStill(); stands {
		return Result{Violation: standstill, History: s.seen.history(at)}
	}
	return Result{Complete: true}
}

// explain is a violation for people.
func (s *search) explain(why wrong) string {
	text := wrongTexts[why]
	if why == refused {
		for _, e := range s.engines {
			text += e.refusal()
		}
	}
	return text
}

// refusal is what the store said of a step that it did not let pass, or "".
func (e *engine) refusal() string {
	for _, why := range e.commits {
		if why != "" {
			return why
		}
	}
	return ""
}

// batch is how many states are looked at before their successors are noted, in order.
const batch = 16384

// candidate is a successor that was not known when its batch began.
type candidate struct {
	state    state
	identity uint64
	parent   uint32
	step     step
}

// expand makes the successors of a part of the level, on all processors; the order is that of one.
func (s *search) expand(from, to int) [][]candidate {
	parts := len(s.engines)
	found := make([][]candidate, parts)
	var working sync.WaitGroup
	for p, e := range s.engines {
		working.Go(func() {
			first, last := from+(to-from)*p/parts, from+(to-from)*(p+1)/parts
			mine := map[uint64]bool{}
			for i := first; i < last; i++ {
				e.mark(&s.level[i], s.numbers[i])
				for k := range e.successors(&s.level[i]) {
					t := &e.out[k]
					id := e.identity(&t.state)
					if s.config.Lively && !t.step.do.fault() {
						e.edges = append(e.edges, edge{s.numbers[i], id})
					}
					if mine[id] || s.seen.has(id) {
						continue
					}
					mine[id] = true
					found[p] = append(found[p], candidate{t.state, id, s.numbers[i], t.step})
				}
			}
		})
	}
	working.Wait()
	return found
}
