package filesystem

import (
	"testing"

	"pgregory.net/rapid"
)

func TestAFileSystemHasRoomForItsFilesAndItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(Types).Draw(t, "type")
		bytes := rapid.Int64Range(0, 1<<44).Draw(t, "bytes")
		size := Size(kind, bytes)
		if size < Least(kind) || size%mib != 0 || size < bytes+journal(kind, bytes)+32*mib {
			t.Fatalf("%d for %d bytes", size, bytes)
		}
		if Size(kind, bytes+1) < size {
			t.Fatalf("less for more")
		}
	})
}
