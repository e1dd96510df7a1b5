// Package sha256pair computes SHA-256 of two streams at once on one core.
//
// A processor with SHA instructions spends most of the time of one stream
// waiting: each two rounds need the result of the two before, which takes four
// cycles, while another could begin every second one (Fog, Instruction tables:
// SHA256RNDS2, of Intel's since Ice Lake and AMD's since Zen). The rounds of a
// second, independent stream fit into the gaps, so that two streams take as
// long as one. Where there are no such instructions it is crypto/sha256.
//
// The digests are plain SHA-256, as sha256sum prints them; the tests hold every
// one of them against crypto/sha256.
package sha256pair

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Size is the bytes of a digest.
const Size = 32

const block = 64

// initial are the first 32 bits of the fractions of the square roots of the
// first eight primes (FIPS 180-4, 5.3.3).
var initial = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

// Hash is the SHA-256 of one stream. It is not safe for use by several
// goroutines at once.
type Hash struct {
	// plain does the work where there are no instructions for it.
	plain hash.Hash

	state  [8]uint32
	length uint64
	// rest is what is no whole block yet: the last length%block bytes.
	rest [block]byte
}

// New returns the Hash of an empty stream.
func New() *Hash { return newHash(Fast()) }

func newHash(fast bool) *Hash {
	h := &Hash{}
	if !fast {
		h.plain = sha256.New()
	}
	h.Reset()
	return h
}

// Reset makes h the Hash of an empty stream.
func (h *Hash) Reset() {
	h.state, h.length = initial, 0
	if h.plain != nil {
		h.plain.Reset()
	}
}

// Write adds p to the stream. It never fails.
func (h *Hash) Write(p []byte) {
	if h.plain != nil {
		_, _ = h.plain.Write(p) // a hash never fails
		return
	}
	whole := h.take(p)
	var idle [8]uint32
	blocks(&h.state, &idle, whole, whole)
}

// WritePair adds p to one stream and q to another, in the time of the longer.
func WritePair(a *Hash, p []byte, b *Hash, q []byte) {
	if a.plain != nil || b.plain != nil || a == b {
		a.Write(p)
		b.Write(q)
		return
	}
	p, q = a.take(p), b.take(q)
	n := min(len(p), len(q))
	blocks(&a.state, &b.state, p[:n], q[:n])
	var idle [8]uint32
	blocks(&a.state, &idle, p[n:], p[n:])
	blocks(&b.state, &idle, q[n:], q[n:])
}

// take adds p to the stream except for whole blocks at its beginning, which it
// returns: those are the caller's to add.
func (h *Hash) take(p []byte) (whole []byte) {
	have := int(h.length % block)
	h.length += uint64(len(p))
	if have > 0 {
		n := copy(h.rest[have:], p)
		if have+n < block {
			return nil
		}
		var idle [8]uint32
		blocks(&h.state, &idle, h.rest[:], h.rest[:])
		p = p[n:]
	}
	n := len(p) / block * block
	copy(h.rest[:], p[n:])
	return p[:n]
}

// Sum returns the digest of the stream so far, which can go on.
func (h *Hash) Sum() [Size]byte {
	if h.plain != nil {
		return [Size]byte(h.plain.Sum(nil))
	}
	// A one bit, zeros, and the length in bits as the last eight bytes of a
	// block (FIPS 180-4, 5.1.1).
	var padded [2 * block]byte
	n := copy(padded[:], h.rest[:h.length%block])
	padded[n] = 0x80
	end := block
	if n+1+8 > block {
		end = 2 * block
	}
	binary.BigEndian.PutUint64(padded[end-8:], h.length*8)
	state, idle := h.state, [8]uint32{}
	blocks(&state, &idle, padded[:end], padded[:end])
	var sum [Size]byte
	for i, word := range state {
		binary.BigEndian.PutUint32(sum[4*i:], word)
	}
	return sum
}

// blocks adds the whole blocks p to a and q, as many, to b.
func blocks(a, b *[8]uint32, p, q []byte) {
	if len(p) == 0 {
		return
	}
	pair(a, b, &p[0], &q[0], len(p))
}
