package raftstore

import (
	"encoding/json"
	"time"

	"github.com/hashicorp/go-memdb"
	"github.com/pgctl/pgctl"
)

// table is one kind of row: its memdb schema and how a row is read from JSON. Rows are pointers to
// values that nobody changes once they are put.
type table struct {
	name   string
	schema *memdb.TableSchema
	id     func(row any) string
	decode func([]byte) (any, error)
}

// index is a secondary index: rows with the same key are found together. An empty key is left out.
type index[T any] struct {
	name string
	key  func(*T) string
}

func newTable[T any](name string, id func(*T) string, indexes ...index[T]) *table {
	all := map[string]*memdb.IndexSchema{"id": {Name: "id", Unique: true, Indexer: keyIndexer[T](id)}}
	for _, i := range indexes {
		all[i.name] = &memdb.IndexSchema{Name: i.name, AllowMissing: true, Indexer: keyIndexer[T](i.key)}
	}
	return &table{
		name: name, schema: &memdb.TableSchema{Name: name, Indexes: all},
		id: func(row any) string { return id(row.(*T)) },
		decode: func(data []byte) (any, error) {
			row := new(T)
			err := json.Unmarshal(data, row)
			return row, err
		},
	}
}

// keyIndexer indexes rows by a string, without the reflection of memdb's own indexers.
type keyIndexer[T any] func(*T) string

// FromObject is the key of a row, ended so that no key begins with another.
func (k keyIndexer[T]) FromObject(row any) (bool, []byte, error) {
	key := k(row.(*T))
	return key != "", []byte(key + "\x00"), nil
}

// FromArgs is the key that is looked for.
func (k keyIndexer[T]) FromArgs(args ...any) ([]byte, error) {
	return []byte(args[0].(string) + "\x00"), nil
}

// PrefixFromArgs is the beginning of the keys that are looked for.
func (k keyIndexer[T]) PrefixFromArgs(args ...any) ([]byte, error) {
	return []byte(args[0].(string)), nil
}

// tables in the order of a snapshot. The position is a table's tag in snapshots and streams.
var tables = []*table{
	settingsTable, hostsTable, clustersTable, leadershipsTable, instancesTable, secretsTable, eventsTable,
	touchesTable, restoresTable, purgedTable,
}

func newDB() *memdb.MemDB {
	schema := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, t := range tables {
		schema.Tables[t.name] = t.schema
	}
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		panic(err) // the schema is constant: a mistake in it fails every test
	}
	// Who watches a row that is missing is woken by its neighbours, and all watch this one.
	txn := db.Txn(true)
	if err := txn.Insert(touchesTable.name, &touched{Topic: topicRestored}); err != nil {
		panic(err)
	}
	txn.Commit()
	return db
}

// change is one row put (after) or dropped (before without after).
type change struct {
	table         *table
	before, after any
}

// rowKey names a row.
type rowKey struct {
	table *table
	key   string
}

// tx is the transaction in which one Raft entry is applied. A unit that fails is taken back by its
// journal, so that the others of the entry stand.
type tx struct {
	txn     *memdb.Txn
	base    *memdb.Txn     // the state before the entry
	latest  map[rowKey]any // rows changed since base; nil: dropped. Reading txn would make its writes slow
	derived *derived
	index   uint64    // of the Raft entry
	at      time.Time // of the unit, from its proposer
	seq     int       // events so far in this entry
	journal []change
}

// put inserts or replaces a row, which must not be changed afterwards.
func (t *tx) put(tb *table, row any) { t.set(change{tb, t.lookup(tb, tb.id(row)), row}) }

// drop removes a row.
func (t *tx) drop(tb *table, row any) { t.set(change{tb, row, nil}) }

func (t *tx) set(c change) {
	t.journal = append(t.journal, c)
	t.write(c)
}

// write changes memdb and what is derived from it. memdb's only errors here are a missing table and
// a row without a key, which the commands' checks exclude.
func (t *tx) write(c change) {
	var err error
	row := c.after
	if row != nil {
		err = t.txn.Insert(c.table.name, row)
	} else {
		row = c.before
		err = t.txn.Delete(c.table.name, row)
	}
	if err != nil {
		panic(err)
	}
	t.latest[rowKey{c.table, c.table.id(row)}] = c.after
	t.derived.follow(c)
}

// undo takes back everything since a mark in the journal.
func (t *tx) undo(mark int) {
	for i := len(t.journal) - 1; i >= mark; i-- {
		c := t.journal[i]
		t.write(change{c.table, c.after, c.before})
	}
	t.journal = t.journal[:mark]
}

// lookup finds a row by its key; nil when there is none.
func (t *tx) lookup(tb *table, key string) any {
	if row, ok := t.latest[rowKey{tb, key}]; ok {
		return row
	}
	row, err := t.base.First(tb.name, "id", key)
	if err != nil {
		return nil
	}
	return row
}

// find is lookup with a type.
func find[T any](t *tx, tb *table, key string) *T {
	row, _ := t.lookup(tb, key).(*T)
	return row
}

// get finds a row of a state by its key; nil when there is none.
func get[T any](txn *memdb.Txn, tb *table, key string) *T {
	row, err := txn.First(tb.name, "id", key)
	if err != nil || row == nil {
		return nil
	}
	return row.(*T)
}

// touch notes that a topic changed in this entry, which wakes those that watch it.
func (t *tx) touch(topic Topic) {
	if old := find[touched](t, touchesTable, string(topic)); old == nil || old.Index != t.index {
		t.put(touchesTable, &touched{topic, t.index})
	}
}

// forget removes the trace of a topic whose subject is gone; who still waits for it is woken.
func (t *tx) forget(topic Topic) {
	if old := find[touched](t, touchesTable, string(topic)); old != nil {
		t.drop(touchesTable, old)
	}
	t.touch(topicGone)
}

// touchCluster notes a change of a cluster, also for the hosts that carry its instances.
func (t *tx) touchCluster(name string) {
	t.touch(ClusterTopic(name))
	for i := range rows[pgctl.Instance](t.txn, instancesTable, "id_prefix", name+"\x00") {
		t.touch(HostTopic(i.Host))
	}
}

// derived is what can be computed from the rows and is kept because that would take long: which
// ports are given out, how many events there are. Only the goroutine that applies entries uses it.
type derived struct {
	ports  [65536 / 64]uint64
	events map[string]int // cluster → events; "" of no cluster
	total  int            // events
}

func (d *derived) follow(c change) {
	switch c.table {
	case clustersTable:
		d.port(c.before, false)
		d.port(c.after, true)
	case eventsTable:
		d.event(c.before, -1)
		d.event(c.after, +1)
	}
}

func (d *derived) port(row any, taken bool) {
	c, ok := row.(*pgctl.Cluster)
	if !ok || c.Port < 0 || c.Port > 65535 {
		return
	}
	bit := uint64(1) << (c.Port % 64)
	if taken {
		d.ports[c.Port/64] |= bit
	} else {
		d.ports[c.Port/64] &^= bit
	}
}

func (d *derived) event(row any, n int) {
	e, ok := row.(*pgctl.Event)
	if !ok {
		return
	}
	d.total += n
	if d.events[e.Cluster] += n; d.events[e.Cluster] == 0 {
		delete(d.events, e.Cluster)
	}
}

// freePort is the lowest port of a range that no cluster has; 0 when there is none.
func (d *derived) freePort(first, last int) int {
	for p := first; p <= last; p++ {
		if d.ports[p/64]&(1<<(p%64)) == 0 {
			return p
		}
	}
	return 0
}
