package raftlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"
)

// A frame is the length of its body, a checksum of length and body, and the body: index, index of the first entry
// that was written at once with this one, term, time in nanoseconds since 1970, type, length of the extensions,
// extensions, data. Numbers are little-endian. A length of zero is the end.
const (
	frameHead = 4 + 4
	bodyHead  = 8 + 8 + 8 + 8 + 1 + 4
	maxBody   = 1 << 30 // bytes; more is damage
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is one file.
type segment struct {
	file   *os.File
	first  uint64  // the index of the entry that is, or will be, the first
	starts []int64 // where each entry's frame begins
	end    int64   // of the last frame
	size   int64   // of the file; zeros from end
	room   int64   // the least size
}

func segmentNames(dir string) ([]string, error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range found { // sorted
		if strings.HasSuffix(f.Name(), ".log") {
			names = append(names, f.Name())
		}
	}
	return names, nil
}

func createSegment(dir string, first uint64, room int64) (*segment, error) {
	path := filepath.Join(dir, fmt.Sprintf("%020d.log", first))
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	s := &segment{file: file, first: first, room: room}
	if err := s.grow(0); err != nil {
		return nil, errors.Join(err, s.remove()) // the disk is full: no need to leave less room
	}
	return s, nil
}

func openSegment(dir, name string, room int64) (*segment, error) {
	first, err := strconv.ParseUint(strings.TrimSuffix(name, ".log"), 10, 64)
	if err != nil || first == 0 {
		return nil, fmt.Errorf("%s in %s is no part of a log", name, dir)
	}
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &segment{file: file, first: first, room: room}, nil
}

func (s *segment) next() uint64 { return s.first + uint64(len(s.starts)) }

func (s *segment) remove() error { return errors.Join(s.file.Close(), os.Remove(s.file.Name())) }

// errTorn is what reading a frame ends with that is not whole.
var errTorn = errors.New("the frame is not whole")

// readFrame returns the body of a frame; io.EOF behind the last one, errTorn for one that is not whole.
func readFrame(r io.Reader) ([]byte, error) {
	var head [frameHead]byte
	n, err := io.ReadFull(r, head[:])
	switch {
	case n == 0 && errors.Is(err, io.EOF), err == nil && head == [frameHead]byte{}:
		return nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errTorn
	case err != nil:
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size < bodyHead || size > maxBody {
		return nil, errTorn
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(size))) // grows with what is there, not with what is said
	if err != nil {
		return nil, err
	}
	if len(body) < int(size) || checksum(head[:], body) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errTorn
	}
	return body, nil
}

func checksum(head, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[:4], castagnoli), castagnoli, body)
}

func indexOf(body []byte) uint64 { return binary.LittleEndian.Uint64(body) }
func batchOf(body []byte) uint64 { return binary.LittleEndian.Uint64(body[8:]) }

// load finds the entries. Only the last segment may end in the middle of one, and is cut there.
func (s *segment) load(last bool) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	s.size = info.Size()
	in := bufio.NewReaderSize(io.NewSectionReader(s.file, 0, s.size), 64<<10)
	for {
		body, err := readFrame(in)
		switch {
		case err == nil && indexOf(body) != s.next():
			return fmt.Errorf("%s is damaged: entry %d is followed by entry %d", s.file.Name(), s.next()-1, indexOf(body))
		case err == nil:
			s.starts, s.end = append(s.starts, s.end), s.end+int64(frameHead+len(body))
			continue
		case errors.Is(err, errTorn) && (!last || s.goesOn()):
			return fmt.Errorf("%s is damaged: entry %d cannot be read", s.file.Name(), s.next())
		case !errors.Is(err, errTorn) && !errors.Is(err, io.EOF):
			return err
		}
		if !last || s.cleared() {
			return nil
		}
		return s.clear()
	}
}

// goesOn says whether something was written after the entry that cannot be read: then this one had been written
// whole, and may have been acknowledged. What is written at once may reach the disk in any order.
func (s *segment) goesOn() bool {
	var head [frameHead]byte
	if _, err := s.file.ReadAt(head[:], s.end); err != nil {
		return false
	}
	after := s.end + frameHead + int64(binary.LittleEndian.Uint32(head[:]))
	rest := bufio.NewReader(io.NewSectionReader(s.file, after, max(0, s.size-after)))
	for {
		body, err := readFrame(rest)
		if err != nil || indexOf(body) <= s.next() {
			return false
		}
		if batchOf(body) > s.next() {
			return true
		}
	}
}

// cleared says whether there are only zeros behind the last entry.
func (s *segment) cleared() bool {
	rest := bufio.NewReaderSize(io.NewSectionReader(s.file, s.end, s.size-s.end), 64<<10)
	for {
		b, err := rest.ReadByte()
		if err != nil || b != 0 {
			return errors.Is(err, io.EOF)
		}
	}
}

// clear makes everything behind the last entry zeros, durably.
func (s *segment) clear() error {
	if err := s.file.Truncate(s.end); err != nil {
		return err
	}
	s.size = s.end
	if err := s.grow(s.end); err != nil {
		return err
	}
	return s.file.Sync()
}

// grow makes room up to a place in the file.
func (s *segment) grow(end int64) error {
	size := max(end, s.room)
	if size <= s.size {
		return nil
	}
	if err := allocate(s.file, size); err != nil {
		return err
	}
	s.size = size
	return nil
}

// append writes entries behind the last one, durably, and says where each begins and the last ends.
func (s *segment) append(entries []*raft.Log) (starts []int64, end int64, err error) {
	var frames []byte
	for i, e := range entries {
		if e.Index != s.next()+uint64(i) {
			return nil, 0, fmt.Errorf("entry %d cannot follow entry %d", e.Index, s.next()+uint64(i)-1)
		}
		starts = append(starts, s.end+int64(len(frames)))
		frames = appendFrame(frames, e, entries[0].Index)
	}
	end = s.end + int64(len(frames))
	if err := s.grow(end); err != nil {
		return nil, 0, err
	}
	if _, err := s.file.WriteAt(frames, s.end); err != nil {
		return nil, 0, err
	}
	if err := unix.Fdatasync(int(s.file.Fd())); err != nil {
		return nil, 0, &os.PathError{Op: "fdatasync", Path: s.file.Name(), Err: err}
	}
	return starts, end, nil
}

func appendFrame(to []byte, e *raft.Log, batch uint64) []byte {
	size := bodyHead + len(e.Extensions) + len(e.Data)
	to = slices.Grow(to, frameHead+size)
	begin, nanoseconds := len(to), int64(0)
	if !e.AppendedAt.IsZero() {
		nanoseconds = e.AppendedAt.UnixNano()
	}
	to = binary.LittleEndian.AppendUint32(to, uint32(size))
	to = append(to, 0, 0, 0, 0)
	to = binary.LittleEndian.AppendUint64(to, e.Index)
	to = binary.LittleEndian.AppendUint64(to, batch)
	to = binary.LittleEndian.AppendUint64(to, e.Term)
	to = binary.LittleEndian.AppendUint64(to, uint64(nanoseconds))
	to = append(to, byte(e.Type))
	to = binary.LittleEndian.AppendUint32(to, uint32(len(e.Extensions)))
	to = append(append(to, e.Extensions...), e.Data...)
	binary.LittleEndian.PutUint32(to[begin+4:], checksum(to[begin:], to[begin+frameHead:]))
	return to
}

// read reads the entry of an index that is in the segment.
func (s *segment) read(index uint64, into *raft.Log) error {
	at, end := s.starts[index-s.first], s.end
	if next := index - s.first + 1; next < uint64(len(s.starts)) {
		end = s.starts[next]
	}
	frame := make([]byte, end-at)
	_, err := s.file.ReadAt(frame, at)
	if err == nil && checksum(frame, frame[frameHead:]) != binary.LittleEndian.Uint32(frame[4:]) {
		err = errTorn
	}
	if err == nil {
		err = decode(frame[frameHead:], into)
	}
	if err == nil && into.Index != index {
		err = fmt.Errorf("it is entry %d", into.Index)
	}
	if err != nil {
		return fmt.Errorf("%s is damaged: entry %d: %w", s.file.Name(), index, err)
	}
	return nil
}

func decode(body []byte, into *raft.Log) error {
	extensions := binary.LittleEndian.Uint32(body[bodyHead-4:])
	if uint64(extensions) > uint64(len(body)-bodyHead) {
		return errTorn
	}
	*into = raft.Log{
		Index: indexOf(body), Term: binary.LittleEndian.Uint64(body[16:]), Type: raft.LogType(body[32]),
		Extensions: body[bodyHead:][:extensions:extensions], Data: body[bodyHead+extensions:],
	}
	if nanoseconds := int64(binary.LittleEndian.Uint64(body[24:])); nanoseconds != 0 {
		into.AppendedAt = time.Unix(0, nanoseconds)
	}
	return nil
}
