package raftstore

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"slices"

	"github.com/pgctl/pgctl"
)

// A snapshot is a line with format and version, a JSON line with the index, rows (tag, length,
// JSON), and a trailer: tag 0, the number of rows, a CRC of everything before.
const (
	snapshotFormat = "pgctl-state 1\n"
	maxRow         = 4 << 20 // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type snapshotHeader struct {
	Index uint64 `json:"index"`
}

// tagOf is a table's number in snapshots and streams, from 1.
func tagOf(tb *table) byte { return byte(slices.Index(tables, tb) + 1) }

func tableOf(tag byte) (*table, error) {
	if tag == 0 || int(tag) > len(tables) {
		return nil, fmt.Errorf("there is no table %d", tag)
	}
	return tables[tag-1], nil
}

// writeSnapshot writes the rows of some tables.
func writeSnapshot(w io.Writer, s *State, which []*table) error {
	sum := crc32.New(castagnoli)
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	header, err := json.Marshal(snapshotHeader{s.index})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s%s\n", snapshotFormat, header) // a bufio.Writer keeps its first error
	count, head := uint64(0), []byte(nil)
	for _, tb := range which {
		found, err := s.txn.Get(tb.name, "id_prefix", "")
		if err != nil {
			return err
		}
		for row := found.Next(); row != nil; row = found.Next() {
			data, err := json.Marshal(row)
			if err != nil {
				return fmt.Errorf("a row of %s cannot be encoded: %w", tb.name, err)
			}
			head = binary.AppendUvarint(append(head[:0], tagOf(tb)), uint64(len(data)))
			_, _ = out.Write(head)
			if _, err := out.Write(data); err != nil {
				return err
			}
			count++
		}
	}
	_, _ = out.Write(binary.AppendUvarint([]byte{0}, count))
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = w.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
	return err
}

// sumReader computes the CRC of what is read.
type sumReader struct {
	in  *bufio.Reader
	sum uint32
	one [1]byte
}

// Read reads and sums.
func (r *sumReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.sum = crc32.Update(r.sum, castagnoli, p[:n])
	return n, err
}

// ReadByte reads and sums one byte.
func (r *sumReader) ReadByte() (byte, error) {
	b, err := r.in.ReadByte()
	if err == nil {
		r.one[0] = b
		r.sum = crc32.Update(r.sum, castagnoli, r.one[:])
	}
	return b, err
}

// readSnapshot hands over each row, and returns the index; the error says what is wrong with it.
func readSnapshot(from io.Reader, each func(*table, any) error) (uint64, error) {
	r := &sumReader{in: bufio.NewReaderSize(from, 64<<10)}
	format := make([]byte, len(snapshotFormat))
	if _, err := io.ReadFull(r, format); err != nil || string(format) != snapshotFormat {
		return 0, pgctl.Errorf(pgctl.CodeInvalid, "this is no snapshot of pgctl's state, or one of another version: "+
			"it begins with %q", format)
	}
	line, err := readLine(r)
	if err != nil {
		return 0, damaged(err)
	}
	var header snapshotHeader
	if err := json.Unmarshal(line, &header); err != nil {
		return 0, damaged(err)
	}
	count, err := readRows(r, each)
	if err != nil {
		return 0, damaged(err)
	}
	return header.Index, readTrailer(r, count)
}

// rowsDecodedTogether is large enough that handing over costs nothing beside decoding.
const rowsDecodedTogether = 256

// decoding is a number of rows that one goroutine decodes.
type decoding struct {
	tables []*table
	raw    [][]byte
	rows   []any
	err    error // the first of them
	done   chan struct{}
}

func (d *decoding) run() {
	defer close(d.done)
	for i, tb := range d.tables {
		row, err := decodeRow(tb, d.raw[i])
		if err != nil {
			d.err = err
			return
		}
		d.rows = append(d.rows, row)
	}
}

// readRows hands over the rows in their order, and counts them. Decoding is most of the work of a restart, so
// all processors share it.
func readRows(r *sumReader, each func(*table, any) error) (count uint64, err error) {
	var waiting []*decoding
	next := func() {
		first := waiting[0]
		waiting = waiting[1:]
		<-first.done
		for i, row := range first.rows {
			if err == nil {
				err = each(first.tables[i], row)
			}
		}
		err = cmp.Or(err, first.err)
	}
	defer func() {
		for len(waiting) > 0 { // what was begun has ended when this returns
			next()
		}
	}()
	for more := true; more; {
		d := &decoding{done: make(chan struct{})}
		for more && len(d.tables) < rowsDecodedTogether {
			if more, err = d.read(r); err != nil {
				return 0, err
			}
		}
		count += uint64(len(d.tables))
		waiting = append(waiting, d)
		go d.run()
		if len(waiting) > runtime.GOMAXPROCS(0) {
			if next(); err != nil {
				return 0, err
			}
		}
	}
	return count, nil
}

// read takes one row from the file; false at the mark behind the last one.
func (d *decoding) read(r *sumReader) (bool, error) {
	tag, err := r.ReadByte()
	if err != nil || tag == 0 {
		return false, err
	}
	tb, err := tableOf(tag)
	if err != nil {
		return false, err
	}
	raw, err := readRow(r, tb)
	d.tables, d.raw = append(d.tables, tb), append(d.raw, raw)
	return true, err
}

func readLine(r *sumReader) ([]byte, error) {
	var line []byte
	for len(line) < 1024 {
		b, err := r.ReadByte()
		if err != nil || b == '\n' {
			return line, err
		}
		line = append(line, b)
	}
	return nil, errors.New("the header is too long")
}

func readRow(r *sumReader, tb *table) ([]byte, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > maxRow {
		return nil, fmt.Errorf("a row of %s with %d bytes", tb.name, size)
	}
	raw := make([]byte, size)
	_, err = io.ReadFull(r, raw)
	return raw, err
}

// decodeRow reads a row that can be kept: one with a key.
func decodeRow(tb *table, data []byte) (any, error) {
	row, err := tb.decode(data)
	if err != nil {
		return nil, fmt.Errorf("a row of %s: %w", tb.name, err)
	}
	if tb.id(row) == "" {
		return nil, fmt.Errorf("a row of %s has no key", tb.name)
	}
	return row, nil
}

func readTrailer(r *sumReader, count uint64) error {
	said, err := binary.ReadUvarint(r)
	if err != nil {
		return damaged(err)
	}
	have, want := r.sum, make([]byte, 4)
	if _, err := io.ReadFull(r, want); err != nil {
		return damaged(err)
	}
	if said != count || binary.BigEndian.Uint32(want) != have {
		return damaged(fmt.Errorf("%d rows of %d, checksum %08x, not %x", count, said, have, want))
	}
	return nil
}

func damaged(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends too early")
	}
	return pgctl.Errorf(pgctl.CodeInvalid, "the snapshot is damaged: %v", err)
}
