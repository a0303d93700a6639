package guard

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// A slot has two records. The daemon always writes the older one, whole, and its checksum last: whenever
// it is stopped, even in the middle of a write, the other one is whole. Readers take the newest whole one.
// Numbers are little-endian; texts end at their first zero byte.
//
//	0 checksum (4) of all that follows · 4 format (4) · 8 sequence (8) · 16 state (4) · 24 deadline (8,
//	ns of CLOCK_BOOTTIME) · 32 epoch (8) · 40 pid (4) · 48 its start (8, clock ticks since the boot) ·
//	56 device and 64 inode of the data directory (8 each) · 72 life (8) · 80 boot (40) · 120 instance (72) ·
//	192 cluster (64) · 256 control group (192) · 448 directory (128, its end, for people) ·
//	576 reserved (64): the address that is to be dropped before the kill
const (
	recordSize   = 640
	recordFormat = 1

	stateDisarmed = 1
	stateArmed    = 2
)

// record is what a slot says about one instance.
type record struct {
	Sequence      uint64 // of the write; the higher one of a slot's two counts
	State         uint32
	Deadline      time.Duration // CLOCK_BOOTTIME
	Epoch         uint64
	PID           int32
	Started       uint64 // clock ticks since the boot
	Device, Inode uint64 // of the data directory
	Life          [8]byte
	Boot          [40]byte
	Instance      [72]byte
	Cluster       [64]byte
	Group         [192]byte // control group of its own, below the unified hierarchy; empty: none
	Directory     [128]byte
	whole         bool
}

// of says whether the record was written in that boot.
func (r *record) of(boot string) bool { return string(upToZero(r.Boot[:])) == boot }

func (r *record) instance() []byte  { return upToZero(r.Instance[:]) }
func (r *record) directory() []byte { return upToZero(r.Directory[:]) }

func upToZero(b []byte) []byte {
	for i, c := range b {
		if c == 0 {
			return b[:i]
		}
	}
	return b
}

// encode writes the record into its place, the checksum last.
func (r *record) encode(to []byte) {
	var b [recordSize]byte
	le := binary.LittleEndian
	le.PutUint32(b[4:], recordFormat)
	le.PutUint64(b[8:], r.Sequence)
	le.PutUint32(b[16:], r.State)
	le.PutUint64(b[24:], uint64(r.Deadline))
	le.PutUint64(b[32:], r.Epoch)
	le.PutUint32(b[40:], uint32(r.PID))
	le.PutUint64(b[48:], r.Started)
	le.PutUint64(b[56:], r.Device)
	le.PutUint64(b[64:], r.Inode)
	copy(b[72:], r.Life[:])
	copy(b[80:], r.Boot[:])
	copy(b[120:], r.Instance[:])
	copy(b[192:], r.Cluster[:])
	copy(b[256:], r.Group[:])
	copy(b[448:], r.Directory[:])
	le.PutUint32(to, 0)
	copy(to[4:], b[4:])
	le.PutUint32(to, checksum(b[4:]))
}

// decode reads a record through a buffer, since others may write it meanwhile; whole says whether it is one.
func (r *record) decode(from []byte, b *[recordSize]byte) {
	copy(b[:], from)
	le := binary.LittleEndian
	r.whole = le.Uint32(b[:]) == checksum(b[4:]) && le.Uint32(b[4:]) == recordFormat
	if !r.whole {
		return
	}
	r.Sequence, r.State = le.Uint64(b[8:]), le.Uint32(b[16:])
	r.Deadline, r.Epoch = time.Duration(le.Uint64(b[24:])), le.Uint64(b[32:])
	r.PID, r.Started = int32(le.Uint32(b[40:])), le.Uint64(b[48:])
	r.Device, r.Inode = le.Uint64(b[56:]), le.Uint64(b[64:])
	copy(r.Life[:], b[72:])
	copy(r.Boot[:], b[80:])
	copy(r.Instance[:], b[120:])
	copy(r.Cluster[:], b[192:])
	copy(r.Group[:], b[256:])
	copy(r.Directory[:], b[448:])
}

// checksum is never that of a record of zeroes.
func checksum(b []byte) uint32 { return ^crc32.ChecksumIEEE(b) | 1 }

func appendNumber(b []byte, n uint64) []byte {
	if n >= 10 {
		b = appendNumber(b, n/10)
	}
	return append(b, byte('0'+n%10))
}
