package succession

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

const mib = 1 << 20

// plainDisk is a file of that size full of noise.
func plainDisk(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plain.raw")
	noise := make([]byte, size)
	_, _ = rand.Read(noise) // it never fails
	no(t, os.WriteFile(path, noise, 0o600))
	return path
}

func request(t *testing.T, path string, size int64, method Method) WipeRequest {
	t.Helper()
	chunks, err := blockcopy.CreateChunks(filepath.Join(t.TempDir(), "chunks"), size, "id")
	no(t, err)
	t.Cleanup(func() { _ = chunks.Close() })
	return WipeRequest{Path: path, Size: size, Method: method, Chunks: chunks, Random: rand.Reader, Told: func() error { return nil }}
}

func TestEachMethodLeavesNoneOfTheOldBytesAndReadsBack(t *testing.T) {
	for _, size := range []int64{9*mib + 512*7, 5*mib + 333} {
		for _, method := range Methods() {
			path := plainDisk(t, size)
			before, err := os.ReadFile(path)
			no(t, err)
			r := request(t, path, size, method)
			result, err := Wipe(t.Context(), r)
			no(t, err)
			after, err := os.ReadFile(path)
			no(t, err)
			if int64(len(after)) != size {
				t.Fatalf("%s: it has %d bytes", method, len(after))
			}
			isZero := bytes.Equal(after, make([]byte, size))
			if isZero != (method != Random) {
				t.Errorf("%s: zero is %v", method, isZero)
			}
			for at := 0; at+4096 <= len(after); at += 4096 {
				if bytes.Equal(after[at:at+4096], before[at:at+4096]) {
					t.Fatalf("%s: what was at %d is still there", method, at)
				}
			}
			if want := map[Method]int64{Zero: size, Random: size}[method]; result.Overwritten != want {
				t.Errorf("%s: %d bytes overwritten, not %d", method, result.Overwritten, want)
			}
			read, err := ReadBack(t.Context(), path, r.Chunks, r.Pace, nil)
			if err != nil || !read.Digested || read.Digest != result.Digest {
				t.Errorf("%s: read back %+v, %v", method, read, err)
			}
			after[size/2]++
			no(t, os.WriteFile(path, after, 0o600))
			var differs *blockcopy.MismatchError
			if _, err := ReadBack(t.Context(), path, r.Chunks, r.Pace, nil); !errors.As(err, &differs) {
				t.Errorf("%s: a byte that is another is not seen: %v", method, err)
			}
		}
	}
}

// A device that forgets nothing at a discard is overwritten.
func TestWhatADiscardLeavesIsOverwritten(t *testing.T) {
	const size = 6 * mib
	path := plainDisk(t, size)
	r := request(t, path, size, Discard)
	r.Discarded = true // as if the device had taken it and done nothing
	result, err := Wipe(t.Context(), r)
	no(t, err)
	after, err := os.ReadFile(path)
	no(t, err)
	if !bytes.Equal(after, make([]byte, size)) || result.Overwritten != size {
		t.Errorf("%d bytes overwritten", result.Overwritten)
	}
}

func TestAWipeThatIsInterruptedGoesOn(t *testing.T) {
	const size = 40 * mib
	for _, method := range Methods() {
		path := plainDisk(t, size)
		r := request(t, path, size, method)
		r.Pace.Workers, r.Pace.BlockSize = 1, 64<<10
		r.Pace.MaxRate = 24 * mib
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		r.Progress = func(p blockcopy.Progress) {
			if p.Done > 4*mib {
				cancel(stopped)
			}
		}
		told := 0
		r.Told = func() error { told++; return nil }
		if _, err := Wipe(ctx, r); !errors.Is(err, stopped) {
			t.Fatalf("%s: %v", method, err)
		}
		half := r.Chunks.DoneBytes()
		if half == 0 || half == size {
			t.Fatalf("%s: %d bytes are done", method, half)
		}
		r.Pace.MaxRate, r.Progress, r.Discarded = 0, nil, told > 0
		result, err := Wipe(t.Context(), r)
		no(t, err)
		if method != Discard && result.Bytes != size-half {
			t.Errorf("%s: %d bytes after %d", method, result.Bytes, half)
		}
		if _, err := ReadBack(t.Context(), path, r.Chunks, r.Pace, nil); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestADiskOfAnotherSizeIsNotWiped(t *testing.T) {
	path := plainDisk(t, 2*mib)
	before, err := os.ReadFile(path)
	no(t, err)
	for _, size := range []int64{mib, 3 * mib} {
		var other *blockcopy.SizeError
		if _, err := Wipe(t.Context(), request(t, path, size, Zero)); !errors.As(err, &other) {
			t.Error(err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Error("it was written")
	}
}

// No two runs and no two places of one have the same bytes.
func TestTheRandomStreamIsTheSameInPartsAndNeverTwice(t *testing.T) {
	a, err := newStream(rand.Reader, mib)
	no(t, err)
	whole, part := make([]byte, mib), make([]byte, 4096)
	_, err = a.ReadAt(whole, 0)
	no(t, err)
	_, err = a.ReadAt(part, 512*1024)
	no(t, err)
	if !bytes.Equal(part, whole[512*1024:][:4096]) || bytes.Equal(part, whole[:4096]) {
		t.Error("a part is not what the whole has there")
	}
	b, err := newStream(rand.Reader, mib)
	no(t, err)
	_, err = b.ReadAt(part, 512*1024)
	no(t, err)
	if bytes.Equal(part, whole[512*1024:][:4096]) {
		t.Error("two streams are one")
	}
}
