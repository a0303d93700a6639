// Package peer is how daemons talk to each other: heartbeats and their answers in encrypted datagrams,
// and calls of methods over HTTPS with host certificates.
package peer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
)

// A datagram is: version (1 byte), session (16), sequence (8), and encrypted with authentication of
// these: kind (1), token (16), lane (4), beat (8), part (2), parts (2), host and boot (1 byte of length
// and text), then the payloads (length as uvarint, bytes). Numbers are big-endian. Each session, which
// is one open socket, encrypts with a key of its own, so that the sequence can serve as nonce.
const (
	frameVersion = 1
	headerSize   = 1 + tokenSize + 8
	tokenSize    = 16
	tagSize      = 16
	fixedSize    = 1 + tokenSize + 4 + 8 + 2 + 2
	nameLimit    = math.MaxUint8

	kindBeat      = 1
	kindChallenge = 2 // the receiver's: only beats that repeat its payload count
	kindAnswer    = 3
)

// token is a random number that nobody draws twice: of a session, or a challenge.
type token [tokenSize]byte

// frame is the encrypted part of a datagram. Its slices point into the datagram.
type frame struct {
	kind        byte
	token       token  // beat: the challenge, zero if none is known; otherwise the session it is for
	lane        uint32 // by which the sender of a beat knows whom it sent it to
	beat        uint64
	part, parts uint16 // part counts from 1
	host, boot  []byte
	payloads    [][]byte
}

var (
	errFrame   = errors.New("not a heartbeat of this version")
	errForeign = errors.New("not encrypted with our key")
)

// keys makes the ciphers of sessions from the key that all daemons share.
type keys struct{ root []byte }

func newKeys(shared []byte) (keys, error) {
	root, err := hkdf.Extract(sha256.New, shared, []byte("pgctl heartbeats 1"))
	return keys{root}, err
}

func (k keys) session(id token) (cipher.AEAD, error) {
	key, err := hkdf.Expand(sha256.New, k.root, string(id[:]), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonce(sequence uint64) (n [12]byte) {
	binary.BigEndian.PutUint64(n[4:], sequence)
	return n
}

// seal appends a datagram to buf[:0] and returns it.
func seal(buf []byte, aead cipher.AEAD, session token, sequence uint64, f *frame) []byte {
	buf = append(buf[:0], frameVersion)
	buf = append(buf, session[:]...)
	buf = binary.BigEndian.AppendUint64(buf, sequence)
	buf = append(buf, f.kind)
	buf = append(buf, f.token[:]...)
	buf = binary.BigEndian.AppendUint32(buf, f.lane)
	buf = binary.BigEndian.AppendUint64(buf, f.beat)
	buf = binary.BigEndian.AppendUint16(buf, f.part)
	buf = binary.BigEndian.AppendUint16(buf, f.parts)
	buf = append(append(buf, byte(len(f.host))), f.host...)
	buf = append(append(buf, byte(len(f.boot))), f.boot...)
	for _, p := range f.payloads {
		buf = append(binary.AppendUvarint(buf, uint64(len(p))), p...)
	}
	n := nonce(sequence)
	return aead.Seal(buf[:headerSize], n[:], buf[headerSize:], buf[:headerSize])
}

// header reads the part of a datagram that is not encrypted.
func header(datagram []byte) (session token, sequence uint64, err error) {
	if len(datagram) < headerSize+fixedSize+2+tagSize || datagram[0] != frameVersion {
		return session, 0, errFrame
	}
	copy(session[:], datagram[1:])
	return session, binary.BigEndian.Uint64(datagram[1+tokenSize:]), nil
}

// open decrypts a datagram in place and reads it into f, whose payload slice it uses again.
func open(datagram []byte, aead cipher.AEAD, sequence uint64, f *frame) error {
	n := nonce(sequence)
	plain, err := aead.Open(datagram[headerSize:headerSize], n[:], datagram[headerSize:], datagram[:headerSize])
	if err != nil {
		return errForeign
	}
	return decode(plain, f)
}

func decode(plain []byte, f *frame) error {
	if len(plain) < fixedSize+2 {
		return errFrame
	}
	f.kind = plain[0]
	plain = plain[1:]
	plain = plain[copy(f.token[:], plain):]
	f.lane = binary.BigEndian.Uint32(plain)
	f.beat = binary.BigEndian.Uint64(plain[4:])
	f.part = binary.BigEndian.Uint16(plain[12:])
	f.parts = binary.BigEndian.Uint16(plain[14:])
	plain = plain[16:]
	var ok1, ok2 bool
	f.host, plain, ok1 = text(plain)
	f.boot, plain, ok2 = text(plain)
	if !ok1 || !ok2 || f.kind < kindBeat || f.kind > kindAnswer {
		return errFrame
	}
	f.payloads = f.payloads[:0]
	for len(plain) > 0 {
		size, used := binary.Uvarint(plain)
		if used <= 0 || size > uint64(len(plain)-used) {
			return errFrame
		}
		end := used + int(size)
		f.payloads = append(f.payloads, plain[used:end:end])
		plain = plain[end:]
	}
	return nil
}

func text(plain []byte) (value, rest []byte, ok bool) {
	if len(plain) == 0 || len(plain) < 1+int(plain[0]) {
		return nil, nil, false
	}
	end := 1 + int(plain[0])
	return plain[1:end], plain[end:], true
}
