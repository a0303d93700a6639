package raftstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/pgctl/pgctl"
)

// register is what one operation on a setting asked and got.
type registerInput struct {
	write  bool
	value  string
	expect *uint64 // of a write: nil is any
}

type registerOutput struct {
	revision uint64 // of a read, or of a write that succeeded
	value    string // of a read
	unknown  bool   // a write that may have happened, or may happen later
	conflict bool
}

type registerState struct {
	revision uint64 // of the last write; if that is fuzzy, of the one before it
	value    string
	fuzzy    bool // the last write's revision is not known: nobody heard its outcome
	seen     bool // somebody saw the revision: its entry is complete
}

// registers is the model: settings with compare-and-set on their revision, which is the number of the entry
// that a write was packed into. So the revisions of writes grow, and two are equal only if nobody saw the
// first: who reads sees whole entries.
var registers = porcupine.Model{
	Init: func() any { return registerState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(registerState), input.(registerInput), output.(registerOutput)
		if !in.write {
			return s.reads(out)
		}
		if s.fuzzy && !out.conflict && in.expect != nil { // who expects it, saw it
			if !s.mayBe(*in.expect) {
				return out.unknown, s
			}
			s = registerState{*in.expect, s.value, false, true}
		}
		same := in.expect == nil || *in.expect == s.revision
		switch {
		case out.conflict:
			return s.fuzzy || !same, s
		case !same:
			return out.unknown, s // an unknown one that did not happen
		case out.unknown:
			return true, registerState{s.revision, in.value, true, s.seen || in.expect != nil}
		}
		after := in.expect == nil && s.mayBe(out.revision) || out.revision > s.revision
		return after, registerState{out.revision, in.value, false, false}
	},
}

// mayBe says whether a write after the last known revision may have a revision: it may be of the same entry,
// as long as nobody saw that.
func (s registerState) mayBe(revision uint64) bool {
	return revision > s.revision || revision == s.revision && !s.seen
}

func (s registerState) reads(out registerOutput) (bool, any) {
	if s.fuzzy {
		return out.value == s.value && s.mayBe(out.revision), registerState{out.revision, s.value, false, true}
	}
	return out.value == s.value && out.revision == s.revision, registerState{s.revision, s.value, false, true}
}

// TestModelIsExact: what the model must not take for right. Each is a way in which a store can lie.
func TestModelIsExact(t *testing.T) {
	write := func(value string, expect *uint64, revision uint64) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{true, value, expect}, Output: registerOutput{revision: revision}}
	}
	lost := func(value string, expect *uint64) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{true, value, expect}, Output: registerOutput{unknown: true}}
	}
	conflict := func(expect uint64) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{write: true, expect: &expect}, Output: registerOutput{conflict: true}}
	}
	read := func(value string, revision uint64) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{}, Output: registerOutput{revision: revision, value: value}}
	}
	for story, c := range map[string]struct {
		history []porcupine.Operation
		right   bool
	}{
		"packed together":              {[]porcupine.Operation{write("a", nil, 5), write("b", nil, 5), read("b", 5)}, true},
		"a part of an entry was seen":  {[]porcupine.Operation{write("a", nil, 5), read("a", 5), write("b", nil, 5)}, false},
		"revisions go back":            {[]porcupine.Operation{write("a", nil, 5), write("b", nil, 4)}, false},
		"compared and set":             {[]porcupine.Operation{write("a", nil, 5), write("b", ptr(uint64(5)), 6)}, true},
		"compared with an older one":   {[]porcupine.Operation{write("a", nil, 5), write("b", ptr(uint64(4)), 6)}, false},
		"set in the entry it expects":  {[]porcupine.Operation{write("a", nil, 5), write("b", ptr(uint64(5)), 5)}, false},
		"conflict without reason":      {[]porcupine.Operation{write("a", nil, 5), conflict(5)}, false},
		"conflict":                     {[]porcupine.Operation{write("a", nil, 5), conflict(4)}, true},
		"a stale read":                 {[]porcupine.Operation{write("a", nil, 5), write("b", nil, 6), read("a", 5)}, false},
		"an outcome nobody heard":      {[]porcupine.Operation{write("a", nil, 5), lost("b", nil), read("b", 7), write("c", ptr(uint64(7)), 8)}, true},
		"of the entry before":          {[]porcupine.Operation{write("a", nil, 5), lost("b", nil), read("b", 5)}, true},
		"of an entry that was seen":    {[]porcupine.Operation{write("a", nil, 5), read("a", 5), lost("b", nil), read("b", 5)}, false},
		"nobody heard, two revisions":  {[]porcupine.Operation{lost("b", nil), read("b", 7), read("b", 8)}, false},
		"nobody heard, and it was not": {[]porcupine.Operation{write("a", nil, 5), lost("b", ptr(uint64(4))), read("b", 6)}, false},
	} {
		state, right := registers.Init(), true
		for _, op := range c.history {
			if right {
				right, state = registers.Step(state, op.Input, op.Output)
			}
		}
		if right != c.right {
			t.Errorf("%s: taken for right: %v", story, right)
		}
	}
}

// TestLinearizable writes and reads on all daemons while leaders are lost, each in another way, and has the
// history checked. Writes whose outcome is unknown may take effect at any later time, or never.
func TestLinearizable(t *testing.T) {
	const keys, clients = 3, 6
	wires := newNetwork()
	g := newGroup(t, 3, func(c *Config) { c.Dial = wires.dialer(c.Listen) })
	g.leader()
	var mu sync.RWMutex // guards g.stores
	histories := make([][]porcupine.Operation, keys)
	var record sync.Mutex
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 9))
			for n := 0; ctx.Err() == nil; n++ {
				mu.RLock()
				s := g.stores[r.IntN(3)]
				mu.RUnlock()
				key := r.IntN(keys)
				if s == nil {
					time.Sleep(time.Millisecond)
					continue
				}
				op, ok := registerOp(s, r, fmt.Sprintf("r%d", key), fmt.Sprintf("%d-%d", c, n), start)
				if !ok {
					continue
				}
				op.ClientId = c
				if out := op.Output.(registerOutput); out.unknown {
					op.Return = int64(time.Hour)
				}
				record.Lock()
				histories[key] = append(histories[key], op)
				record.Unlock()
				time.Sleep(time.Duration(r.IntN(15)) * time.Millisecond)
			}
		})
	}
	lost := 0
	for ; ctx.Err() == nil; lost++ {
		g.lose(&mu, wires, lost%len(losses))
	}
	wg.Wait()
	checkHistories(t, histories, lost)
}

// losses are the ways in which a leader is lost: it stops in order; it is cut off and goes on believing that
// it leads; its disk takes nothing any more from one moment on, and its network ends, as when its process is
// killed or its host loses power.
var losses = []string{"closed", "cut off", "crashed"}

// lose waits for a leader, loses it, and brings it back.
func (g *group) lose(mu *sync.RWMutex, wires *network, way int) {
	g.t.Helper()
	leader := g.leader()
	time.Sleep(300 * time.Millisecond)
	victim, address := g.stores[leader], g.configs[leader].Listen
	switch losses[way] {
	case "cut off":
		wires.set(address, true)
		time.Sleep(time.Second) // the others elect another, and it steps down
		wires.set(address, false)
		return
	case "crashed":
		must(g.t, victim.disk.Log.Close()) // whoever asks it from now on does not hear an outcome
		wires.set(address, true)
	}
	mu.Lock()
	g.stores[leader] = nil
	mu.Unlock()
	err := victim.Close()
	if losses[way] != "crashed" {
		must(g.t, err)
	}
	time.Sleep(100 * time.Millisecond)
	wires.set(address, false)
	mu.Lock()
	g.start(leader)
	mu.Unlock()
}

func checkHistories(t *testing.T, histories [][]porcupine.Operation, kills int) {
	t.Helper()
	unknown, all := 0, 0
	for key, h := range histories {
		for _, op := range h {
			if all++; op.Output.(registerOutput).unknown {
				unknown++
			}
		}
		if result := porcupine.CheckOperationsTimeout(registers, h, 10*time.Second); result == porcupine.Illegal {
			t.Errorf("the history of setting %d (%d operations) is not linearizable", key, len(h))
		} else if result == porcupine.Unknown {
			t.Errorf("the history of setting %d (%d operations) was not checked to its end", key, len(h))
		}
	}
	t.Logf("%d operations, %d of them with unknown outcome, %d leaders killed", all, unknown, kills)
	if kills < 2 || all-unknown < 50 {
		t.Errorf("too little happened")
	}
}

// registerOp makes one operation; false when it certainly did nothing.
func registerOp(s *Store, r *rand.Rand, key, value string, start time.Time) (porcupine.Operation, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	op := porcupine.Operation{Call: int64(time.Since(start))}
	in, out := registerInput{write: r.IntN(2) == 0, value: value}, registerOutput{}
	var err error
	if in.write {
		if r.IntN(2) == 0 {
			have, _ := s.State().Setting(key) // may be old: then it conflicts
			in.expect = &have.Revision
		}
		var result Result
		result, err = s.Apply(ctx, PutSetting{Key: key, Value: value, Expect: in.expect})
		out.revision = result.Index
		out.unknown = errors.Is(err, ErrOutcomeUnknown)
		out.conflict = in.expect != nil && (pgctl.CodeOf(err) == pgctl.CodeConflict || pgctl.CodeOf(err) == pgctl.CodeNotFound)
	} else if err = s.Linearize(ctx); err == nil {
		have, _ := s.State().Setting(key)
		out.revision, out.value = have.Revision, have.Value
	}
	op.Return = int64(time.Since(start))
	op.Input, op.Output = in, out
	return op, err == nil || out.unknown || out.conflict
}
