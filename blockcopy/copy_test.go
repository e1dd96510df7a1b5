package blockcopy

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"testing"
)

// pattern is n bytes in which no two stretches are alike.
func pattern(n int64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it never fails
	return b
}

// padded is data with zeros up to n.
func padded(data []byte, n int64) []byte {
	return append(bytes.Clone(data), make([]byte, n-int64(len(data)))...)
}

// digestOf is the documented digest, computed the plain way.
func digestOf(payload []byte, chunk int64) Digest {
	total := sha256.New()
	for len(payload) > 0 {
		n := min(int64(len(payload)), chunk)
		one := sha256.Sum256(payload[:n])
		total.Write(one[:])
		payload = payload[n:]
	}
	return Digest(total.Sum(nil))
}

func TestEveryByteArrivesAndTheDigestIsTheDocumentedOne(t *testing.T) {
	data := pattern(9<<20 + 512)
	source, target := newDisk("source", data), newDisk("target", noise(9<<20+4096))
	r, err := Copy(t.Context(), Job{Source: source, Target: target, PayloadSize: 9<<20 + 4096})
	if err != nil {
		t.Fatal(err)
	}
	want := padded(data, 9<<20+4096)
	if !bytes.Equal(target.durable, want) {
		t.Fatal("the target does not hold the source and its padding")
	}
	if !r.Digested || r.Digest != digestOf(want, ChunkSize) {
		t.Fatalf("digest %s, want %s", r.Digest, digestOf(want, ChunkSize))
	}
	v, err := Verify(t.Context(), VerifyJob{Payload: target, Source: source, PayloadSize: 9<<20 + 4096})
	if err != nil || v.Digest != r.Digest {
		t.Fatalf("verify: %v, digest %s", err, v.Digest)
	}
}
