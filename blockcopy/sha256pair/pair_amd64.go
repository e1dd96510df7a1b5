package sha256pair

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"golang.org/x/sys/cpu"
)

// pair adds n bytes at p to the state a and n bytes at q to the state b. n is
// a multiple of 64 and not 0.
//
//go:noescape
func pair(a, b *[8]uint32, p, q *byte, n int)

// cpuid is the instruction (Intel, Software Developer's Manual, volume 2).
func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

// hasSHA is the bit that says that there are SHA instructions: leaf 7, EBX.
const hasSHA = 1 << 29

// Fast tells whether two streams at once are faster here than one after the
// other.
var Fast = sync.OnceValue(func() bool { return supported() && right() })

// supported tells whether the processor has what pair needs.
func supported() bool {
	if !cpu.X86.HasSSSE3 || !cpu.X86.HasSSE41 {
		return false
	}
	if highest, _, _, _ := cpuid(0, 0); highest < 7 {
		return false
	}
	_, ebx, _, _ := cpuid(7, 0)
	return ebx&hasSHA != 0
}

// right holds pair against crypto/sha256 on this very processor: a digest that
// is wrong everywhere would compare equal everywhere.
func right() bool {
	a, b := newHash(true), newHash(true)
	p, q := make([]byte, 5*block+3), make([]byte, 4*block+60)
	for i := range p {
		p[i] = byte(i * 7)
	}
	for i := range q {
		binary.LittleEndian.PutUint16(q[i/2*2:], uint16(i*i))
	}
	WritePair(a, p, b, q)
	return a.Sum() == sha256.Sum256(p) && b.Sum() == sha256.Sum256(q)
}
