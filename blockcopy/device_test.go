package blockcopy

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// write makes a file of b.
func write(t testing.TB, b []byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "disk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func openBoth(t testing.TB, source, target string, need int64) (*SourceDevice, *TargetDevice) {
	t.Helper()
	s, err := OpenSource(source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d, err := OpenTarget(target, need)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return s, d
}

func TestFilesOfOddSizesCopyWholeDirectAndBuffered(t *testing.T) {
	for _, size := range []int64{1, 511, 512, 513, 4095, 4096, 4097, 1<<20 - 1, ChunkSize - 512, ChunkSize, ChunkSize + 1, 2*ChunkSize + 4097} {
		for _, direct := range []bool{true, false} {
			data := pattern(size)
			payload := (size + 4095) / 4096 * 4096
			s, d := openBoth(t, write(t, data), write(t, noise(payload+100)), payload)
			if !direct {
				s.direct, d.direct = false, false
				s.fd, s.plain, d.fd, d.plain = s.plain, s.fd, d.plain, d.fd
			}
			for _, p := range []int64{size, payload} {
				done := NewChunks(p)
				r, err := Copy(t.Context(), Job{Source: s, Target: d, PayloadSize: p, Done: done})
				if err != nil {
					t.Fatalf("%d bytes, direct %v: %v", size, direct, err)
				}
				got, err := os.ReadFile(d.path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got[:p], padded(data, p)) || !bytes.Equal(got[payload:], noise(100)) {
					t.Fatalf("%d bytes, direct %v: the target differs", size, direct)
				}
				v, err := Verify(t.Context(), VerifyJob{Payload: d, Chunks: done, Source: s})
				if err != nil || v.Digest != r.Digest || r.Digest != digestOf(padded(data, p), ChunkSize) {
					t.Fatalf("%d bytes, direct %v: verify: %v", size, direct, err)
				}
			}
		}
	}
}

func TestADeviceTakesAnyOffsetLengthAndMemory(t *testing.T) {
	data := pattern(64 << 10)
	s, d := openBoth(t, write(t, data), write(t, noise(64<<10)), 64<<10)
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(0, 64<<10).Draw(t, "offset")
		length := rapid.Int64Range(0, 64<<10-offset).Draw(t, "length")
		p := make([]byte, length+8)[rapid.IntRange(0, 7).Draw(t, "skew"):][:length]
		if n, err := s.ReadAt(p, offset); int64(n) != length || err != nil {
			t.Fatalf("read %d: %v", n, err)
		}
		if !bytes.Equal(p, data[offset:offset+length]) {
			t.Fatal("read something else")
		}
		if n, err := d.WriteAt(p, offset); int64(n) != length || err != nil {
			t.Fatalf("wrote %d: %v", n, err)
		}
		got := make([]byte, length)
		if _, err := d.ReadAt(got, offset); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("read back something else (%v)", err)
		}
	})
}

func TestAWriteBeyondTheTargetIsRefused(t *testing.T) {
	path := write(t, noise(8192))
	_, d := openBoth(t, write(t, noise(1)), path, 8192)
	for _, offset := range []int64{-1, 4097, 8192, 1 << 62} {
		var se *SizeError
		if _, err := d.WriteAt(make([]byte, 4096), offset); !errors.As(err, &se) {
			t.Errorf("at %d: %v", offset, err)
		}
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, noise(8192)) {
		t.Error("the file was changed")
	}
}

func TestHolesOfAFileAreNotReadAndArriveAsZeros(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	data := pattern(1 << 20)
	const size = 10*ChunkSize + 512
	if _, err := f.WriteAt(data, 5*ChunkSize+4096); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	s, d := openBoth(t, path, write(t, noise(size)), size)
	r, err := Copy(t.Context(), Job{Source: s, Target: d})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(d.path)
	want, _ := os.ReadFile(path)
	if !bytes.Equal(got, want) || r.Digest != digestOf(want, ChunkSize) {
		t.Fatal("the target differs")
	}
	if _, _, err := s.Data(0); err == nil && r.Holes < 9*ChunkSize {
		t.Fatalf("only %d bytes of holes were seen", r.Holes)
	}
}

func TestOpeningRefusesWhatIsNoDisk(t *testing.T) {
	folder := t.TempDir()
	fifo := filepath.Join(folder, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{folder, fifo, filepath.Join(folder, "none"), "/dev/null"} {
		var oe *OpenError
		if _, err := OpenSource(path); !errors.As(err, &oe) || oe.Path != path {
			t.Errorf("source %s: %v", path, err)
		}
		if _, err := OpenTarget(path, 0); !errors.As(err, &oe) || oe.Path != path {
			t.Errorf("target %s: %v", path, err)
		}
	}
	small := write(t, noise(4095))
	var se *SizeError
	if _, err := OpenTarget(small, 4096); !errors.As(err, &se) || *se != (SizeError{small, 4095, 4096}) {
		t.Errorf("a target one byte too small: %v", err)
	}
}

func TestADiskIsNotCopiedOntoItself(t *testing.T) {
	path := write(t, noise(4096))
	other := filepath.Join(t.TempDir(), "other name")
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	s, d := openBoth(t, path, other, 4096)
	var same *SameDeviceError
	if _, err := Copy(t.Context(), Job{Source: s, Target: d}); !errors.As(err, &same) {
		t.Fatalf("want a *SameDeviceError, got %v", err)
	}
}

func TestIdleIOAndGivenTuningCopyTheSame(t *testing.T) {
	data := pattern(3*ChunkSize + 512)
	s, d := openBoth(t, write(t, data), write(t, noise(int64(len(data)))), int64(len(data)))
	r, err := Copy(t.Context(), Job{Source: s, Target: d, IOIdle: true, Workers: 3, BlockSize: 64 << 10})
	if err != nil || r.Workers != 3 || r.BlockSize != 64<<10 || r.Digest != digestOf(data, ChunkSize) {
		t.Fatalf("%v, %d workers, blocks of %d", err, r.Workers, r.BlockSize)
	}
}

func TestADiscardedFileReadsZerosWhereItWasDiscarded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	text := bytes.Repeat([]byte{7}, 64<<10)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	target, err := OpenTarget(path, int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if err := target.Discard(16<<10, 32<<10); err != nil {
		t.Fatal(err)
	}
	clear(text[16<<10 : 48<<10])
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
