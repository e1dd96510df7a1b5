package sha256pair

import (
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"
)

// bytesOf draws one stream as the pieces it is written in.
func bytesOf(t *rapid.T, name string) [][]byte {
	piece := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 130),
		rapid.Map(rapid.IntRange(0, 20), func(n int) []byte { return make([]byte, n*block) }),
	)
	return rapid.SliceOfN(piece, 0, 8).Draw(t, name)
}

func TestAnyTwoStreamsInAnyPiecesHaveTheirOwnSHA256(t *testing.T) {
	for _, fast := range []bool{false, Fast()} {
		rapid.Check(t, func(t *rapid.T) {
			a, b := newHash(fast), newHash(fast)
			wantA, wantB := sha256.New(), sha256.New()
			p, q := bytesOf(t, "first"), bytesOf(t, "second")
			for len(p) > 0 || len(q) > 0 {
				switch {
				case len(p) > 0 && len(q) > 0 && rapid.Bool().Draw(t, "together"):
					wantA.Write(p[0])
					wantB.Write(q[0])
					WritePair(a, p[0], b, q[0])
					p, q = p[1:], q[1:]
				case len(p) > 0:
					wantA.Write(p[0])
					a.Write(p[0])
					p = p[1:]
				default:
					wantB.Write(q[0])
					b.Write(q[0])
					q = q[1:]
				}
				if a.Sum() != [Size]byte(wantA.Sum(nil)) || b.Sum() != [Size]byte(wantB.Sum(nil)) {
					t.Fatalf("%x and %x, want %x and %x", a.Sum(), b.Sum(), wantA.Sum(nil), wantB.Sum(nil))
				}
			}
			a.Reset()
			if a.Sum() != sha256.Sum256(nil) {
				t.Fatal("Reset leaves something")
			}
		})
	}
}

// FIPS 180-4's own examples, at
// https://csrc.nist.gov/projects/cryptographic-standards-and-guidelines/example-values.
func TestTheStandardsExamples(t *testing.T) {
	a, b := New(), New()
	WritePair(a, []byte("abc"), b, []byte("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))
	for _, c := range []struct {
		sum  [Size]byte
		want string
	}{
		{a.Sum(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{b.Sum(), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	} {
		if got := hex(c.sum); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func hex(sum [Size]byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for _, b := range sum {
		s = append(s, digits[b>>4], digits[b&15])
	}
	return string(s)
}

func TestOneHashTwiceIsOneStream(t *testing.T) {
	h := New()
	WritePair(h, []byte("ab"), h, []byte("c"))
	if h.Sum() != sha256.Sum256([]byte("abc")) {
		t.Error("the second piece is lost")
	}
}

func BenchmarkOneStream(b *testing.B) {
	p, h := make([]byte, 1<<20), New()
	b.SetBytes(1 << 20)
	for b.Loop() {
		h.Write(p)
	}
}

func BenchmarkTwoStreams(b *testing.B) {
	p, q, x, y := make([]byte, 1<<20), make([]byte, 1<<20), New(), New()
	b.SetBytes(2 << 20)
	for b.Loop() {
		WritePair(x, p, y, q)
	}
}
