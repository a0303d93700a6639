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
	revision uint64
	value    string
	fuzzy    bool // the last write's revision is not known
}

// registers is the model: settings with compare-and-set on their revision. Writes of one entry have
// the same revision, and nobody sees any but the last.
var registers = porcupine.Model{
	Init: func() any { return registerState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(registerState), input.(registerInput), output.(registerOutput)
		switch {
		case !in.write:
			if s.fuzzy {
				return out.value == s.value && out.revision >= s.revision, registerState{out.revision, s.value, false}
			}
			return out.value == s.value && out.revision == s.revision, s
		case out.conflict:
			return s.fuzzy || *in.expect != s.revision, s
		case !s.fuzzy && in.expect != nil && *in.expect != s.revision:
			return out.unknown, s // an unknown one that did not happen
		case s.fuzzy && in.expect != nil && *in.expect < s.revision:
			return out.unknown, s
		case out.unknown:
			return true, registerState{s.revision, in.value, true}
		}
		return out.revision >= s.revision, registerState{out.revision, in.value, false}
	},
}

// TestLinearizable writes and reads on all daemons while leaders are killed, and has the history
// checked. Writes whose outcome is unknown may take effect at any later time, or never.
func TestLinearizable(t *testing.T) {
	const keys, clients = 3, 6
	g := newGroup(t, 3, nil)
	g.leader()
	var mu sync.RWMutex // guards g.stores
	histories := make([][]porcupine.Operation, keys)
	var record sync.Mutex
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
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
	kills := 0
	for ctx.Err() == nil {
		leader := -1
		for i, s := range g.stores {
			if s != nil && s.IsLeader() {
				leader = i
			}
		}
		if leader < 0 {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		time.Sleep(300 * time.Millisecond)
		mu.Lock()
		victim := g.stores[leader]
		g.stores[leader] = nil
		mu.Unlock()
		must(t, victim.Close())
		kills++
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		g.start(leader)
		mu.Unlock()
	}
	wg.Wait()
	checkHistories(t, histories, kills)
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
