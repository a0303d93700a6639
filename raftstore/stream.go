package raftstore

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Frames of the stream to an agent: length, type, payload. The agent begins with the index of the
// state that it has; the server sends a snapshot, or what changed since, and goes on.
const (
	frameHave     = 'H' // index of the agent's state; 0: none
	frameSnapshot = 'S' // a part of a snapshot
	frameEnd      = 'E' // the snapshot is complete
	frameChange   = 'C' // the changes of one entry
	frameCurrent  = 'K' // how old (nanoseconds) the server's state may be, all of which was sent

	maxStreamFrame = 64 << 20
	currentEvery   = 500 * time.Millisecond
	streamTimeout  = 10 * time.Second // of one write
)

// streamWriter writes frames; Write makes frames of a snapshot.
type streamWriter struct {
	conn net.Conn
	out  *bufio.Writer
}

func (w *streamWriter) frame(kind byte, payload []byte) error {
	_ = w.conn.SetWriteDeadline(time.Now().Add(streamTimeout))
	head := append(binary.BigEndian.AppendUint32(nil, uint32(1+len(payload))), kind)
	_, _ = w.out.Write(head) // a bufio.Writer keeps its first error
	_, err := w.out.Write(payload)
	return err
}

// Write sends a part of a snapshot.
func (w *streamWriter) Write(part []byte) (int, error) {
	return len(part), w.frame(frameSnapshot, part)
}

func readStreamFrame(r *bufio.Reader) (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 1 || size > maxStreamFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	payload := make([]byte, size-1)
	_, err := io.ReadFull(r, payload)
	return head[4], payload, err
}

// serveStream feeds one agent.
func (s *Store) serveStream(conn net.Conn) {
	r := bufio.NewReader(conn)
	kind, payload, err := readStreamFrame(r)
	have, n := binary.Uvarint(payload)
	if err != nil || kind != frameHave || n <= 0 {
		return
	}
	gone := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	wg.Go(func() { // an agent says nothing more
		_, _ = r.ReadByte()
		close(gone)
	})
	w := &streamWriter{conn, bufio.NewWriterSize(conn, 64<<10)}
	ticker := time.NewTicker(currentEvery)
	defer ticker.Stop()
	for tell := true; ; {
		state, age := s.State(), s.Age()
		if have, err = s.sendSince(w, state, have); err != nil {
			return
		}
		if tell && have <= state.index {
			err = w.frame(frameCurrent, binary.AppendUvarint(nil, uint64(age)))
		}
		if err != nil || w.out.Flush() != nil {
			return
		}
		select {
		case <-state.next:
			tell = false
		case <-ticker.C:
			tell = true
		case <-gone:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// sendSince sends what is newer than an index. A server that is itself behind the agent sends
// nothing: agents never go back.
func (s *Store) sendSince(w *streamWriter, state *State, have uint64) (uint64, error) {
	if state.index <= have {
		return have, nil
	}
	deltas, complete := s.fsm.recent.after(have)
	if !complete || have == 0 {
		err := writeSnapshot(w, state, published)
		if err == nil {
			err = w.frame(frameEnd, nil)
		}
		return state.index, err
	}
	for _, d := range deltas {
		if err := w.frame(frameChange, d.encoded()); err != nil {
			return have, err
		}
		have = d.index
	}
	return have, nil
}

// encoded is the delta as agents get it: index, then tag, kept or dropped, and JSON of each row.
func (d *delta) encoded() []byte {
	d.encode.Do(func() {
		d.bytes = binary.AppendUvarint(nil, d.index)
		for _, c := range d.changes {
			row, kept := c.after, byte(1)
			if row == nil {
				row, kept = c.before, 0
			}
			if c.table == secretsTable || c.table == restoresTable {
				continue
			}
			data, _ := json.Marshal(row) // as in a snapshot, where an error would be noticed
			d.bytes = appendBytes(append(d.bytes, tagOf(c.table), kept), data)
		}
	})
	return d.bytes
}

// follow applies a delta that a server sent. Everything is read before anything is changed.
func (f *fsm) follow(payload []byte) error {
	r := wireReader{data: payload}
	index := r.uvarint()
	var changes []change
	for r.err == nil && len(r.data) > 0 {
		tag, kept, data := r.byte(), r.byte(), r.bytes()
		tb, err := tableOf(tag)
		if err != nil || r.err != nil {
			return errors.Join(err, r.err)
		}
		row, err := decodeRow(tb, data)
		if err != nil {
			return err
		}
		if kept == 1 {
			changes = append(changes, change{tb, nil, row})
		} else {
			changes = append(changes, change{tb, row, nil})
		}
	}
	if r.err != nil || index <= f.current.Load().index {
		return fmt.Errorf("damaged change of index %d", index)
	}
	t := f.begin(index)
	for _, c := range changes {
		if c.after != nil {
			t.put(c.table, c.after)
		} else if row := t.lookup(c.table, c.table.id(c.before)); row != nil {
			t.drop(c.table, row)
		}
	}
	t.txn.Commit()
	f.publish(index)
	return nil
}
