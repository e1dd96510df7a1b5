package testhost

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestNoNoiseIsTakenForAPartitionTable(t *testing.T) {
	for _, size := range []int64{512, noiseFrom, noiseFrom + 4<<20} {
		path := filepath.Join(t.TempDir(), "disk")
		if err := makeDisk(path, Disk{Size: size, Noise: true}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || int64(len(data)) != size {
			t.Fatalf("a disk of %d bytes has %d: %v", size, len(data), err)
		}
		start, rest := data[:min(noiseFrom, size)], data[min(noiseFrom, size):]
		if bytes.Count(start, []byte{0}) != len(start) {
			t.Errorf("the start of a disk of %d bytes is not blank", size)
		}
		if len(rest) > 0 && bytes.Count(rest, []byte{0}) > len(rest)/64 {
			t.Errorf("a disk of %d bytes is hardly noise", size)
		}
	}
}
