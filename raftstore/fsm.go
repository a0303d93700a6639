package raftstore

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"
	"github.com/pgctl/pgctl"
)

// fsm is the replicated state and what applies entries to it. One goroutine applies (Raft's on a
// server, the stream's reader on an agent); everybody reads what it published last.
type fsm struct {
	log      *slog.Logger
	db       *memdb.MemDB
	derived  *derived
	replaced chan struct{} // closed when db is replaced
	current  atomic.Pointer[State]
	covered  atomic.Uint64 // entries up to here are applied, or were not for the FSM
	pending  atomic.Int64  // bytes applied since the last snapshot
	recent   recent
}

func newFSM(log *slog.Logger) *fsm {
	f := &fsm{log: log}
	f.replace(newDB(), newDerived(), 0)
	return f
}

func newDerived() *derived { return &derived{events: map[string]int{}} }

// replace puts another database in place of everything; whoever waits is woken.
func (f *fsm) replace(db *memdb.MemDB, d *derived, index uint64) {
	old := f.replaced
	f.db, f.derived, f.replaced = db, d, make(chan struct{})
	f.recent.clear(index)
	f.publish(index)
	if old != nil {
		close(old)
	}
}

func (f *fsm) publish(index uint64) {
	before, next := f.current.Load(), make(chan struct{})
	state := &State{txn: f.db.Txn(false), index: index, next: next, replaced: f.replaced, end: func() { close(next) }}
	f.current.Store(state)
	if before != nil {
		before.end()
	}
}

// Apply applies one entry and returns the error of each of its units. An entry that cannot be read
// changes nothing, on every server alike.
func (f *fsm) Apply(entry *raft.Log) any {
	f.pending.Add(int64(len(entry.Data)))
	units, err := decodeEntry(entry.Data)
	if err != nil {
		f.log.Error("an entry of the log cannot be read and is left out", "index", entry.Index, "err", err)
	}
	t := f.begin(entry.Index)
	results := make([]error, len(units))
	for i, unit := range units {
		results[i] = t.apply(unit)
	}
	t.txn.Commit()
	f.recent.add(entry.Index, t.journal)
	f.publish(entry.Index)
	return results
}

func (f *fsm) begin(index uint64) *tx {
	return &tx{
		txn: f.db.Txn(true), base: f.current.Load().txn, latest: map[rowKey]any{}, derived: f.derived, index: index,
	}
}

// apply applies one unit, all of it or nothing.
func (t *tx) apply(unit []byte) error {
	at, cmds, err := decodeUnit(unit)
	if err != nil {
		return err
	}
	t.at = at
	mark := len(t.journal)
	for _, c := range cmds {
		if err := c.apply(t); err != nil {
			t.undo(mark)
			return err
		}
	}
	return nil
}

// StoreConfiguration learns of entries that are not for the FSM, so that nobody waits for them.
func (f *fsm) StoreConfiguration(index uint64, _ raft.Configuration) { f.cover(index) }

func (f *fsm) cover(index uint64) {
	for {
		old := f.covered.Load()
		if old >= index || f.covered.CompareAndSwap(old, index) {
			return
		}
	}
}

// applied is the index up to which everything is in the state.
func (f *fsm) applied() uint64 { return max(f.current.Load().index, f.covered.Load()) }

// Snapshot is cheap: the state at an index never changes.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.pending.Store(0)
	return snapshot{f.current.Load()}, nil
}

// Restore replaces the state by a snapshot of Raft's.
func (f *fsm) Restore(r io.ReadCloser) error {
	db, d, index, err := loadSnapshot(r)
	if err != nil {
		return fmt.Errorf("the snapshot cannot be read: %w", err)
	}
	f.replace(db, d, index)
	return nil
}

// loadSnapshot reads a snapshot into a database of its own.
func loadSnapshot(r io.Reader) (*memdb.MemDB, *derived, uint64, error) {
	db, d := newDB(), newDerived()
	txn := db.Txn(true)
	index, err := readSnapshot(r, func(tb *table, row any) error {
		d.follow(change{tb, nil, row})
		return txn.Insert(tb.name, row)
	})
	if err != nil {
		txn.Abort()
		return nil, nil, 0, err
	}
	txn.Commit()
	return db, d, index, nil
}

// snapshot lets Raft persist a state.
type snapshot struct{ state *State }

// Persist writes the state where Raft wants it.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := writeSnapshot(sink, s.state, tables); err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

// Release does nothing: the state is garbage when nobody reads it.
func (snapshot) Release() {}

// How much of the recent past is kept for agents that were away for a moment.
const (
	maxRecentEntries = 2048
	maxRecentChanges = 16384
)

// recent holds the changes of the last entries, to be streamed.
type recent struct {
	mu      sync.Mutex
	entries []*delta
	changes int
	since   uint64 // the changes of every entry after this index are there
}

// delta is what one entry changed. It is encoded once, when the first agent needs it.
type delta struct {
	index   uint64
	changes []change
	encode  sync.Once
	bytes   []byte
}

func (r *recent) clear(since uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries, r.changes, r.since = nil, 0, since
}

func (r *recent) add(index uint64, changes []change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, &delta{index: index, changes: changes})
	r.changes += len(changes)
	for len(r.entries) > maxRecentEntries || r.changes > maxRecentChanges && len(r.entries) > 0 {
		r.since = r.entries[0].index
		r.changes -= len(r.entries[0].changes)
		r.entries[0], r.entries = nil, r.entries[1:]
	}
}

// after returns the deltas after an index; false when they are not all there any more.
func (r *recent) after(index uint64) ([]*delta, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if index < r.since {
		return nil, false
	}
	for i, d := range r.entries {
		if d.index > index {
			return r.entries[i:len(r.entries):len(r.entries)], true
		}
	}
	return nil, true
}

// known is the code of an error of a unit; errors of the FSM are pgctl's own.
func known(err error) *pgctl.Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*pgctl.Error); ok {
		return e
	}
	return pgctl.Errorf(pgctl.CodeOf(err), "%v", err)
}
