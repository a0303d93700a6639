package raftstore

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
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
	count := uint64(0)
	var buffer []byte
	for ; ; count++ {
		tag, err := r.ReadByte()
		if err != nil {
			return 0, damaged(err)
		}
		if tag == 0 {
			break
		}
		tb, err := tableOf(tag)
		if err != nil {
			return 0, damaged(err)
		}
		row, err := readRow(r, tb, &buffer)
		if err != nil {
			return 0, damaged(err)
		}
		if err := each(tb, row); err != nil {
			return 0, damaged(err)
		}
	}
	return header.Index, readTrailer(r, count)
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

func readRow(r *sumReader, tb *table, buffer *[]byte) (any, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > maxRow {
		return nil, fmt.Errorf("a row of %s with %d bytes", tb.name, size)
	}
	*buffer = slices.Grow((*buffer)[:0], int(size))[:size]
	if _, err := io.ReadFull(r, *buffer); err != nil {
		return nil, err
	}
	return decodeRow(tb, *buffer)
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
