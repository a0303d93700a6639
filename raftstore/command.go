package raftstore

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/pgctl/pgctl"
)

// The bounds of what one Apply may carry. A larger one is refused before it is sent.
const (
	maxUnit     = 1 << 20 // bytes of one Apply
	maxCommands = 1024    // commands of one Apply
	wireVersion = 1       // of entries and units
	bodyVersion = 1       // of every command's body so far
)

// Command is one change of the replicated state. The exported command types of this package are all
// there are.
type Command interface {
	kind() string    // stable name on the wire
	check() error    // what is wrong whatever the state is
	apply(*tx) error // must depend on the command and the transaction alone
}

// kinds makes an empty command of each kind, to be filled from the wire.
var kinds = map[string]func() Command{
	"cluster.put":      func() Command { return new(PutCluster) },
	"cluster.delete":   func() Command { return new(DeleteCluster) },
	"cluster.undelete": func() Command { return new(UndeleteCluster) },
	"cluster.purge":    func() Command { return new(PurgeCluster) },
	"host.put":         func() Command { return new(PutHost) },
	"host.learn":       func() Command { return new(LearnHost) },
	"host.remove":      func() Command { return new(RemoveHost) },
	"leadership.set":   func() Command { return new(SetLeadership) },
	"instances.set":    func() Command { return new(SetInstances) },
	"secrets.put":      func() Command { return new(PutSecrets) },
	"setting.put":      func() Command { return new(PutSetting) },
	"events.record":    func() Command { return new(RecordEvents) },
	"restore.begin":    func() Command { return new(restoreBegin) },
	"restore.chunk":    func() Command { return new(restoreChunk) },
	"restore.commit":   func() Command { return new(restoreCommit) },
}

// encodeUnit renders the commands of one Apply: version, time, count, then kind, version and JSON
// body of each.
func encodeUnit(at time.Time, cmds []Command) ([]byte, error) {
	if len(cmds) == 0 || len(cmds) > maxCommands {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "%d commands at once; 1 to %d are possible", len(cmds), maxCommands)
	}
	unit := append(make([]byte, 0, 256), wireVersion)
	unit = binary.AppendVarint(unit, at.UnixNano())
	unit = binary.AppendUvarint(unit, uint64(len(cmds)))
	for _, c := range cmds {
		if err := c.check(); err != nil {
			return nil, err
		}
		body, err := json.Marshal(c)
		if err != nil {
			return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s cannot be encoded: %v", c.kind(), err)
		}
		unit = appendBytes(unit, []byte(c.kind()))
		unit = append(unit, bodyVersion)
		unit = appendBytes(unit, body)
	}
	if len(unit) > maxUnit {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "the change has %d bytes; %d are possible", len(unit), maxUnit).
			WithHint("split it into smaller changes")
	}
	return unit, nil
}

// decodeUnit is the reverse of encodeUnit, for bytes from anywhere.
func decodeUnit(unit []byte) (time.Time, []Command, error) {
	r := wireReader{data: unit}
	if v := r.byte(); v != wireVersion && r.err == nil {
		return time.Time{}, nil, pgctl.Errorf(pgctl.CodeInvalid, "version %d of a change is unknown here", v).
			WithHint("all daemons need the same version of pgctl")
	}
	at := time.Unix(0, r.varint()).UTC()
	n := r.uvarint()
	if n == 0 || n > maxCommands {
		r.fail()
	}
	cmds := make([]Command, 0, min(n, maxCommands))
	for range n {
		kind, version, body := r.bytes(), r.byte(), r.bytes()
		if r.err != nil {
			break
		}
		make, known := kinds[string(kind)]
		if !known || version != bodyVersion {
			return at, nil, pgctl.Errorf(pgctl.CodeInvalid, "version %d of command %.40q is unknown here", version, kind).
				WithHint("all daemons need the same version of pgctl")
		}
		c := make()
		if err := json.Unmarshal(body, c); err != nil {
			return at, nil, pgctl.Errorf(pgctl.CodeInvalid, "the body of command %s is damaged: %v", kind, err)
		}
		if err := c.check(); err != nil {
			return at, nil, err
		}
		cmds = append(cmds, c)
	}
	if r.err != nil || len(r.data) > 0 {
		return at, nil, pgctl.Errorf(pgctl.CodeInvalid, "the change is damaged")
	}
	return at, cmds, nil
}

// encodeEntry packs units into one Raft entry.
func encodeEntry(batch []*pending) []byte {
	size := 16
	for _, p := range batch {
		size += len(p.unit) + binary.MaxVarintLen32
	}
	entry := append(make([]byte, 0, size), wireVersion)
	entry = binary.AppendUvarint(entry, uint64(len(batch)))
	for _, p := range batch {
		entry = appendBytes(entry, p.unit)
	}
	return entry
}

// decodeEntry is the reverse of encodeEntry, for bytes from anywhere. The units alias the entry.
func decodeEntry(entry []byte) ([][]byte, error) {
	r := wireReader{data: entry}
	v, n := r.byte(), r.uvarint()
	if v != wireVersion || n > uint64(len(entry)) {
		return nil, fmt.Errorf("entry of version %d with %d units", v, n)
	}
	units := make([][]byte, 0, n)
	for range n {
		units = append(units, r.bytes())
	}
	if r.err != nil || len(r.data) > 0 {
		return nil, fmt.Errorf("entry with %d units is damaged", n)
	}
	return units, nil
}

func appendBytes(to, data []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(data))), data...)
}

// wireReader reads what the append functions of encoding/binary wrote; after the first error
// everything read is zero.
type wireReader struct {
	data []byte
	err  error
}

func (r *wireReader) fail() {
	r.data, r.err = nil, fmt.Errorf("damaged")
}

func (r *wireReader) byte() byte {
	if len(r.data) == 0 {
		r.fail()
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *wireReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *wireReader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *wireReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		r.fail()
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$`)

// checkName bounds what becomes a key, a file name and a host name.
func checkName(field, name string, limit int) error {
	if len(name) > limit || !namePattern.MatchString(name) {
		return pgctl.Errorf(pgctl.CodeInvalid, "%.80q is not a name: 1 to %d letters, digits, '-', '_' and '.', "+
			"a letter or digit first and last", name, limit).At(field)
	}
	return nil
}

// expectRevision compares a row's revision (0: there is none) with what a command expected (nil: any).
func expectRevision(what string, expect *uint64, have uint64) error {
	switch {
	case expect == nil || *expect == have:
		return nil
	case *expect == 0:
		return pgctl.Errorf(pgctl.CodeConflict, "%s exists already", what).At("revision")
	case have == 0:
		return pgctl.Errorf(pgctl.CodeNotFound, "there is no %s", what)
	}
	return pgctl.Errorf(pgctl.CodeConflict, "%s was changed meanwhile: revision %d, not %d", what, have, *expect).
		At("revision").WithHint("read it again and repeat the change")
}
