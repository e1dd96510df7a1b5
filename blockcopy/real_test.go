//go:build realhost

package blockcopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests need root and device-mapper, as a test host has them. They make
// the devices they use: files on loop devices, with tables on top.

func sh(t *testing.T, argv ...string) string {
	t.Helper()
	c := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

// loopOf puts a loop device on a file of b.
func loopOf(t *testing.T, b []byte, options ...string) string {
	t.Helper()
	device := sh(t, append([]string{"losetup", "--find", "--show"}, append(options, write(t, b))...)...)
	t.Cleanup(func() { sh(t, "losetup", "--detach", device) })
	return device
}

// mapped makes a device-mapper device of table.
func mapped(t *testing.T, table string) string {
	t.Helper()
	name := fmt.Sprintf("blockcopy-%d", rand.Uint32())
	sh(t, "dmsetup", "create", name, "--table", table)
	t.Cleanup(func() { sh(t, "dmsetup", "remove", "--retry", name) })
	return "/dev/mapper/" + name
}

// withBadSector maps device, with one sector that fails every I/O.
func withBadSector(t *testing.T, device string, size, bad int64) string {
	t.Helper()
	var table strings.Builder
	if bad > 0 {
		fmt.Fprintf(&table, "0 %d linear %s 0\n", bad, device)
	}
	fmt.Fprintf(&table, "%d 1 error\n", bad)
	if rest := size/512 - bad - 1; rest > 0 {
		fmt.Fprintf(&table, "%d %d linear %s %d\n", bad+1, rest, device, bad+1)
	}
	return mapped(t, table.String())
}

const realSize = 6*ChunkSize + 512*7

// closed opens both, copies, closes both.
func closed(t *testing.T, source, target string, job Job) (Result, error) {
	t.Helper()
	s, err := OpenSource(source)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	d, err := OpenTarget(target, job.PayloadSize)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if !s.Direct() || !d.Direct() {
		t.Fatalf("direct I/O: %v and %v", s.Direct(), d.Direct())
	}
	job.Source, job.Target = s, d
	return Copy(t.Context(), job)
}

func contents(t *testing.T, path string, n int64) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestARealBadSectorIsNamedAndTheCopyResumesOnceItIsGood(t *testing.T) {
	for range 3 {
		bad := rand.Int64N(realSize / 512)
		data := pattern(realSize)
		source, target := loopOf(t, data), loopOf(t, noise(realSize))

		done := NewChunks(realSize)
		_, err := closed(t, withBadSector(t, source, realSize, bad), target, Job{Done: done, Retries: 1})
		var re *ReadError
		if !errors.As(err, &re) || re.Sector != bad || re.Attempts != 2 || !errors.Is(err, syscall.EIO) {
			t.Fatalf("source's sector %d is bad, but: %v", bad, err)
		}
		if _, err := closed(t, source, target, Job{Done: done}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(contents(t, target, realSize), data) {
			t.Fatal("the target differs after the resume")
		}

		done = NewChunks(realSize)
		_, err = closed(t, source, withBadSector(t, target, realSize, bad), Job{Done: done})
		var we *WriteError
		if !errors.As(err, &we) || we.Sector != bad || !errors.Is(err, syscall.EIO) {
			t.Fatalf("target's sector %d is bad, but: %v", bad, err)
		}
		if done.Done(bad * 512 / ChunkSize) {
			t.Fatal("the chunk that failed is recorded")
		}
	}
}

func TestARealPayloadOnDmCryptHoldsEveryZero(t *testing.T) {
	// Seven holes of eight, the odd ones within a chunk.
	data := make([]byte, realSize)
	for at := 0; at < realSize; at += 800 << 10 {
		copy(data[at:], pattern(100<<10))
	}
	path := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < realSize; at += 800 << 10 {
		if _, err := f.WriteAt(pattern(100 << 10)[:min(100<<10, realSize-at)], at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(realSize), f.Close()); err != nil {
		t.Fatal(err)
	}
	payload := int64(realSize+4095) / 4096 * 4096
	under := loopOf(t, noise(payload))
	crypt := mapped(t, fmt.Sprintf("0 %d crypt aes-xts-plain64 %s 0 %s 0", payload/512, strings.Repeat("5a", 64), under))
	s, d := openBoth(t, path, crypt, payload)
	done := NewChunks(payload)
	r, err := Copy(t.Context(), Job{Source: s, Target: d, PayloadSize: payload, Done: done})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, crypt, payload), padded(data, payload)) {
		t.Fatal("the payload differs")
	}
	if v, err := Verify(t.Context(), VerifyJob{Payload: d, Chunks: done, Source: s}); err != nil || v.Digest != r.Digest {
		t.Fatalf("verify: %v", err)
	}
	byHand := sh(t, "sh", "-c", `head -c "$1" "$0" | split -b 4M --filter='sha256sum | cut -c1-64' | xxd -r -p | sha256sum | cut -c1-64`, crypt, fmt.Sprint(payload))
	if byHand != r.Digest.String() {
		t.Fatalf("the documented shell lines give %s, not %s", byHand, r.Digest)
	}
}

func TestRealWritesThatAreDroppedInSilenceAreFound(t *testing.T) {
	data := pattern(realSize)
	source, under := loopOf(t, data), loopOf(t, noise(realSize))
	// Up for no second and down for an hour, in which writes are dropped and
	// reads served (Documentation/admin-guide/device-mapper/dm-flakey.rst).
	flaky := mapped(t, fmt.Sprintf("0 %d flakey %s 0 0 3600 1 drop_writes", realSize/512, under))
	done := NewChunks(realSize)
	if _, err := closed(t, source, flaky, Job{Done: done}); err != nil {
		t.Fatal(err)
	}
	p, err := OpenSource(flaky)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	var m *MismatchError
	if _, err := Verify(t.Context(), VerifyJob{Payload: p, Chunks: done}); !errors.As(err, &m) || m.Chunk != 0 || m.Name != flaky {
		t.Fatalf("want the first chunk to differ, got %v", err)
	}
}

func TestARealSuspendedDeviceOnlyDelays(t *testing.T) {
	data := pattern(realSize)
	source, under := loopOf(t, data), loopOf(t, noise(realSize))
	target := mapped(t, fmt.Sprintf("0 %d linear %s 0", realSize/512, under))
	s, d := openBoth(t, source, target, realSize)
	sh(t, "dmsetup", "suspend", target)
	resumed := make(chan error, 1)
	time.AfterFunc(2*time.Second, func() { resumed <- exec.Command("dmsetup", "resume", target).Run() })
	begin := time.Now()
	_, err := Copy(t.Context(), Job{Source: s, Target: d})
	if err := <-resumed; err != nil {
		t.Fatal(err)
	}
	if err != nil || time.Since(begin) < 1900*time.Millisecond || !bytes.Equal(contents(t, target, realSize), data) {
		t.Fatalf("after %s: %v", time.Since(begin), err)
	}
}

func TestARealDeviceThatVanishesEndsTheCopy(t *testing.T) {
	source, under := loopOf(t, pattern(realSize)), loopOf(t, noise(realSize))
	target := mapped(t, fmt.Sprintf("0 %d linear %s 0", realSize/512, under))
	s, d := openBoth(t, source, target, realSize)
	gone := make(chan error, 1)
	time.AfterFunc(500*time.Millisecond, func() { gone <- exec.Command("dmsetup", "wipe_table", target).Run() })
	_, err := Copy(t.Context(), Job{Source: s, Target: d, MaxRate: 8 << 20})
	if err := <-gone; err != nil {
		t.Fatal(err)
	}
	var we *WriteError
	if !errors.As(err, &we) || we.Name != target {
		t.Fatalf("want a *WriteError, got %v", err)
	}
}

func TestARealTargetThatIsInUseIsRefused(t *testing.T) {
	under := loopOf(t, noise(realSize))
	top := mapped(t, fmt.Sprintf("0 %d linear %s 0", realSize/512, under))
	_, err := OpenTarget(under, realSize)
	var oe *OpenError
	if !errors.As(err, &oe) || !oe.Busy || oe.Path != under {
		t.Fatalf("want a busy device, got %v", err)
	}
	var se *SizeError
	if _, err := OpenTarget(top, realSize+512); !errors.As(err, &se) || se.Size != realSize || se.Need != realSize+512 {
		t.Fatalf("one sector too small: %v", err)
	}
	d, err := OpenTarget(top, realSize)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := OpenTarget(top, realSize); !errors.As(err, &oe) || !oe.Busy {
		t.Fatalf("opened twice: %v", err)
	}
}

func TestARealDiskOf4096ByteSectorsTakesASourceOf512(t *testing.T) {
	data := pattern(realSize)
	payload := int64(realSize+4095) / 4096 * 4096
	source, target := loopOf(t, data), loopOf(t, noise(payload), "--sector-size", "4096")
	r, err := closed(t, source, target, Job{PayloadSize: payload})
	if err != nil || !bytes.Equal(contents(t, target, payload), padded(data, payload)) || r.Digest != digestOf(padded(data, payload), ChunkSize) {
		t.Fatalf("copy: %v", err)
	}
}
