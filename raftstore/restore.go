package raftstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"

	"github.com/pgctl/pgctl"
)

// A restore goes through the log like every change: its bytes are staged in chunks, and one last
// command puts them in place of everything. Raft's own restore of user snapshots is not used: a
// leader that dies in its middle comes back with a state that nobody committed.

const chunkSize = 512 << 10

// chunk is a staged part of a snapshot.
type chunk struct {
	Seq  int    `json:"seq"`
	Data []byte `json:"data"`
	ID   string `json:"id"`
}

var restoresTable = newTable("restores", func(c *chunk) string { return fmt.Sprintf("%08d", c.Seq) })

// withheld are the tables that leave servers in no form: secrets, and staged snapshots with secrets.
var withheld = []*table{secretsTable, restoresTable}

// published are the tables that agents get.
var published = slices.DeleteFunc(slices.Clone(tables), func(t *table) bool { return slices.Contains(withheld, t) })

// saved are the tables that a snapshot for people has.
var saved = slices.DeleteFunc(slices.Clone(tables), func(t *table) bool {
	return t == restoresTable || t == touchesTable
})

// SaveSnapshot writes the state as it is on this server, secrets encrypted as they are.
func (s *Store) SaveSnapshot(w io.Writer) error {
	if s.raft == nil {
		return pgctl.Errorf(pgctl.CodeRefused, "an agent has no secrets, so its snapshot would lack them").
			WithHint("ask a server")
	}
	return writeSnapshot(w, s.State(), saved)
}

// RestoreSnapshot puts a saved state in place of the present one, on all daemons. Every cluster's
// leadership is unknown afterwards: leader, rules and history are as they were saved, and nothing
// happens automatically until running leaders confirm them or an operator decides. When it returns, State
// here shows it; others may lag for a moment.
func (s *Store) RestoreSnapshot(ctx context.Context, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("reading the snapshot: %w", err)
	}
	if _, err := readSnapshot(bytes.NewReader(data), func(*table, any) error { return nil }); err != nil {
		return err
	}
	id, seq := rand.Text(), 0
	if _, err := s.Apply(ctx, restoreBegin{id}); err != nil {
		return err
	}
	for part := range slices.Chunk(data, chunkSize) {
		if _, err := s.Apply(ctx, restoreChunk{chunk{seq, part, id}}); err != nil {
			return err
		}
		seq++
	}
	if _, err = s.Apply(ctx, restoreCommit{id, seq}); err != nil {
		return err
	}
	if err := s.Linearize(ctx); err != nil {
		return pgctl.Errorf(pgctl.CodeUnavailable, "the state is restored, but this daemon does not show it yet: %v", err)
	}
	return nil
}

// restoreBegin discards what an earlier restore staged.
type restoreBegin struct {
	ID string `json:"id"`
}

func (restoreBegin) kind() string { return "restore.begin" }

func (c restoreBegin) check() error { return checkName("id", c.ID, maxHostName) }

func (c restoreBegin) apply(t *tx) error {
	t.unstage()
	t.put(restoresTable, &chunk{Seq: -1, ID: c.ID})
	return nil
}

func (t *tx) unstage() {
	for row := range rows[chunk](t.txn, restoresTable, "id_prefix", "") {
		t.drop(restoresTable, row)
	}
}

// restoreChunk stages one part.
type restoreChunk struct {
	Chunk chunk `json:"chunk"`
}

func (restoreChunk) kind() string { return "restore.chunk" }

func (c restoreChunk) check() error {
	if c.Chunk.Seq < 0 || len(c.Chunk.Data) == 0 {
		return pgctl.Errorf(pgctl.CodeInvalid, "a part of a snapshot has a number and bytes")
	}
	return checkName("id", c.Chunk.ID, maxHostName)
}

func (c restoreChunk) apply(t *tx) error {
	if begin := find[chunk](t, restoresTable, fmt.Sprintf("%08d", -1)); begin == nil || begin.ID != c.Chunk.ID {
		return pgctl.Errorf(pgctl.CodeConflict, "another restore began meanwhile")
	}
	t.put(restoresTable, &c.Chunk)
	return nil
}

// restoreCommit puts the staged snapshot in place of everything.
type restoreCommit struct {
	ID     string `json:"id"`
	Chunks int    `json:"chunks"`
}

func (restoreCommit) kind() string { return "restore.commit" }

func (c restoreCommit) check() error { return checkName("id", c.ID, maxHostName) }

func (c restoreCommit) apply(t *tx) error {
	var parts []io.Reader
	for row := range rows[chunk](t.txn, restoresTable, "id_prefix", "") {
		if row.ID != c.ID {
			return pgctl.Errorf(pgctl.CodeConflict, "another restore began meanwhile")
		}
		if row.Seq >= 0 {
			parts = append(parts, bytes.NewReader(row.Data))
		}
	}
	if len(parts) != c.Chunks {
		return pgctl.Errorf(pgctl.CodeConflict, "%d of %d parts of the snapshot are there", len(parts), c.Chunks)
	}
	var all []change
	saved, err := readSnapshot(io.MultiReader(parts...), func(tb *table, row any) error {
		if tb != restoresTable && tb != touchesTable {
			all = append(all, change{table: tb, after: row})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, tb := range tables {
		found, err := t.txn.Get(tb.name, "id_prefix", "")
		if err != nil {
			return err
		}
		for row := found.Next(); row != nil; row = found.Next() {
			t.drop(tb, row)
		}
	}
	for _, c := range all {
		t.restoreRow(c, saved)
	}
	t.touch(topicRestored)
	return RecordEvents{[]pgctl.Event{{
		Severity: pgctl.Warning, Kind: "store.restored", Message: fmt.Sprintf("The state was restored from a snapshot "+
			"(index %d). The leadership of every cluster is unknown until its running leader confirms it, or an "+
			"operator says who leads.", saved),
	}}}.apply(t)
}

// restoreRow puts a saved row. Everything counts as changed now, so that no revision that somebody
// read before the restore is right by accident.
func (t *tx) restoreRow(c change, saved uint64) {
	switch row := c.after.(type) {
	case *pgctl.Cluster:
		row.Revision = t.index
		if row.Deleted != nil { // it may have been taken back since: there is to be time to notice
			row.Deleted.At = t.at
		}
	case *pgctl.Leadership:
		row.Revision, row.Phase = t.index, pgctl.Unknown
	case *pgctl.Instance:
		row.Revision = t.index
	case *pgctl.Host:
		row.Revision = t.index
	case *pgctl.Secret:
		row.Revision = t.index
	case *Setting:
		row.Revision = t.index
	case *pgctl.Event:
		if saved >= t.index { // of another installation: its indexes mean nothing here
			t.seq++
			row.Index, row.Seq = t.index, t.seq
		}
	}
	t.put(c.table, c.after)
}
