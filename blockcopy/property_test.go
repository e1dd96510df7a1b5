package blockcopy

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// scene is a source, a target and a job drawn at random. Chunks are small, so
// that a few KiB have many of them.
type scene struct {
	source mappedDisk
	target *disk
	want   []byte
	job    Job
}

func drawScene(t *rapid.T) scene {
	chunk := rapid.SampledFrom([]int64{512, 1024, 4096, 8192}).Draw(t, "chunk")
	size := rapid.Int64Range(1, 10*chunk).Draw(t, "size")
	if rapid.Bool().Draw(t, "whole sectors") {
		size = (size + 511) / 512 * 512
	}
	payload := size
	if rapid.Bool().Draw(t, "padded") {
		payload += rapid.Int64Range(1, 4096).Draw(t, "padding")
	}
	beyond := rapid.Int64Range(0, 4096).Draw(t, "room beyond the payload")

	data := pattern(size)
	mapped, withMap := drawHoles(t, data)
	s := scene{source: mappedDisk{newDisk("source", data)}, target: newDisk("target", noise(payload+beyond)), want: padded(data, payload)}
	s.source.mapped = mapped
	s.source.align = rapid.SampledFrom([]int{0, 512}).Draw(t, "source's alignment")
	s.target.align = rapid.SampledFrom([]int{0, 512}).Draw(t, "target's alignment")
	s.job = Job{
		Source: s.source, Target: s.target, PayloadSize: payload, ChunkSize: chunk,
		Workers:   rapid.IntRange(0, 9).Draw(t, "workers"),
		BlockSize: 512 * rapid.Int64Range(0, 20).Draw(t, "block in sectors"),
	}
	if !withMap {
		s.job.Source = s.source.disk
	}
	if rapid.Bool().Draw(t, "kernel can zero") {
		s.target.zeroOut = func(d *disk, offset, length int64) error {
			d.put(make([]byte, length), offset)
			return nil
		}
	}
	return s
}

// drawHoles puts holes into data and returns the map of what is not.
func drawHoles(t *rapid.T, data []byte) (mapped []span, withMap bool) {
	size := int64(len(data))
	for at := int64(0); at < size; {
		end := min(size, at+rapid.Int64Range(1, size).Draw(t, "stretch"))
		if rapid.Bool().Draw(t, "hole") {
			clear(data[at:end])
		} else {
			mapped = append(mapped, span{at, end})
		}
		at = end
	}
	return mapped, rapid.Bool().Draw(t, "source knows its holes")
}

func (s scene) check(t *rapid.T, r Result, err error) {
	if err != nil {
		t.Fatalf("copy: %v", err)
	}
	n := len(s.want)
	if !bytes.Equal(s.target.durable[:n], s.want) {
		t.Fatal("the payload does not hold the source, or was not flushed")
	}
	if !bytes.Equal(s.target.data[n:], noise(int64(len(s.target.data)-n))) {
		t.Fatal("something was written beyond the payload")
	}
	if want := digestOf(s.want, s.job.ChunkSize); !r.Digested || r.Digest != want {
		t.Fatalf("digest %s, want %s", r.Digest, want)
	}
	if r.Bytes != int64(n) {
		t.Fatalf("%d bytes counted of %d", r.Bytes, n)
	}
}

func TestAnyCopyWritesEachByteOnceAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		r, err := Copy(t.Context(), s.job)
		s.check(t, r, err)
		for i, n := range s.target.written[:len(s.want)] {
			if n != 1 {
				t.Fatalf("byte %d was written %d times", i, n)
			}
		}
		if !bytes.Equal(s.source.data, s.source.durable) || len(s.source.log) > 0 {
			t.Fatal("the source was written")
		}
	})
}

func TestACopyThatFailsAnywhereRecordsOnlyWhatIsDurableAndResumes(t *testing.T) {
	broken := errors.New("input/output error")
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		s.job.Done = newChunks(header{payload: s.job.PayloadSize, chunk: s.job.ChunkSize})
		at := rapid.Int64Range(0, s.job.PayloadSize-1).Draw(t, "bad byte")
		fail := func(offset, length int64) error {
			if offset <= at && at < offset+length {
				return broken
			}
			return nil
		}
		reading := rapid.Bool().Draw(t, "the source fails")
		if reading {
			s.source.readFails = fail
		} else {
			s.target.writeFails = fail
			s.target.zeroOut = nil
		}
		_, err := Copy(t.Context(), s.job)
		var re *ReadError
		var we *WriteError
		switch {
		case err == nil && !reading:
			t.Fatal("a write that failed passed for success")
		case errors.As(err, &re):
			if at < re.Offset || at >= re.Offset+re.Length || re.Sector != re.Offset/512 || re.Length > 512 || !errors.Is(err, broken) {
				t.Fatalf("byte %d is bad, but: %v", at, err)
			}
		case errors.As(err, &we):
			if at < we.Offset || at >= we.Offset+we.Length || we.Sector != we.Offset/512 || we.Length > 512 || !errors.Is(err, broken) {
				t.Fatalf("byte %d is bad, but: %v", at, err)
			}
		case err != nil:
			t.Fatalf("not told as a read or write error: %v", err)
		}
		checkRecord(t, s.job.Done, s.target.durable, s.want)

		before := map[int64]bool{}
		for i := range s.job.Done.Len() {
			before[i] = s.job.Done.Done(i)
		}
		s.source.readFails, s.target.writeFails, s.target.log = nil, nil, nil
		r, err := Copy(t.Context(), s.job)
		r.Bytes = int64(len(s.want)) // this run's share is checked below
		s.check(t, r, err)
		for _, w := range s.target.log {
			if before[w.start/s.job.ChunkSize] {
				t.Fatalf("chunk %d was recorded and is written again", w.start/s.job.ChunkSize)
			}
		}
	})
}

// checkRecord checks that each recorded chunk is durable and has its digest.
func checkRecord(t rapid.TB, c *Chunks, durable, want []byte) {
	t.Helper()
	for i := range c.Len() {
		if !c.Done(i) {
			continue
		}
		start, end := i*c.chunk, i*c.chunk+c.length(i)
		if !bytes.Equal(durable[start:end], want[start:end]) {
			t.Fatalf("chunk %d is recorded, but was not flushed", i)
		}
		got, err := c.Digest(i)
		if err != nil || digestOf(want[start:end], c.chunk) != digestOf0(got) {
			t.Fatalf("chunk %d is recorded with a wrong digest (%v)", i, err)
		}
	}
}

// digestOf0 is the job digest of a job of the one chunk with digest d.
func digestOf0(d Digest) Digest {
	c := newChunks(header{payload: 1, chunk: 512})
	_ = c.add([]finished{{digest: d, hashed: true}}) // it has no file to fail
	whole, _ := c.JobDigest()
	return whole
}

func TestVerifyFindsAnyByteThatDiffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		s.job.Done = newChunks(header{payload: s.job.PayloadSize, chunk: s.job.ChunkSize})
		r, err := Copy(t.Context(), s.job)
		s.check(t, r, err)
		check := VerifyJob{
			Payload: s.target, PayloadSize: s.job.PayloadSize, ChunkSize: s.job.ChunkSize, Workers: s.job.Workers, BlockSize: s.job.BlockSize,
		}
		mode := rapid.SampledFrom([]string{"target", "full", "without a record"}).Draw(t, "mode")
		if mode != "without a record" {
			check.Chunks = s.job.Done
		}
		if mode != "target" {
			check.Source = s.job.Source
		}
		v, err := Verify(t.Context(), check)
		if err != nil || !v.Digested || v.Digest != r.Digest || v.Bytes != int64(len(s.want)) {
			t.Fatalf("a good payload: %v, digest %s, %d bytes", err, v.Digest, v.Bytes)
		}

		var bad []int64
		for _, at := range rapid.SliceOfN(rapid.Int64Range(0, s.job.PayloadSize-1), 1, 3).Draw(t, "bad bytes") {
			s.target.data[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			if !bytes.Equal(s.target.data[:len(s.want)], s.want) {
				bad = append(bad, at/s.job.ChunkSize)
			}
		}
		_, err = Verify(t.Context(), check)
		var m *MismatchError
		if len(bad) == 0 { // a bit was turned twice
			return
		}
		lowest := slices.Min(bad)
		if bytes.Equal(s.target.data[lowest*s.job.ChunkSize:][:s.job.Done.length(lowest)], s.want[lowest*s.job.ChunkSize:][:s.job.Done.length(lowest)]) {
			return // the same, further down
		}
		if !errors.As(err, &m) {
			t.Fatalf("chunk %d differs, but: %v", lowest, err)
		}
		if m.Chunk != lowest || m.Offset != lowest*s.job.ChunkSize || m.Length != s.job.Done.length(lowest) || m.Name != "target" || m.Want == m.Got {
			t.Fatalf("chunk %d differs, but: %v", lowest, err)
		}
	})
}

func TestTheLowestChunkThatDiffersIsToldEvenIfItIsReadLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, target, job := small()
		if _, err := Copy(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		for _, chunk := range []int{3, 4, 5} {
			target.data[chunk*512] ^= 1
		}
		target.readFails = func(offset, _ int64) error {
			time.Sleep(time.Hour - time.Duration(offset)*time.Second/512)
			return nil
		}
		_, err := Verify(t.Context(), VerifyJob{Payload: target, Source: source, ChunkSize: 512, Workers: 8})
		var m *MismatchError
		if !errors.As(err, &m) || m.Chunk != 3 {
			t.Fatalf("want chunk 3 to differ, got %v", err)
		}
	})
}

func TestVerifyFullFindsASourceThatChanged(t *testing.T) {
	data := pattern(20 * 512)
	source, target := newDisk("source", data), newDisk("target", noise(20*512))
	done := newChunks(header{payload: 20 * 512, chunk: 1024})
	if _, err := Copy(t.Context(), Job{Source: source, Target: target, ChunkSize: 1024, Done: done}); err != nil {
		t.Fatal(err)
	}
	source.data[5000] ^= 1
	if _, err := Verify(t.Context(), VerifyJob{Payload: target, Chunks: done}); err != nil {
		t.Fatalf("the payload alone: %v", err)
	}
	_, err := Verify(t.Context(), VerifyJob{Payload: target, Chunks: done, Source: source})
	var m *MismatchError
	if !errors.As(err, &m) || m.Name != "source" || m.Chunk != 4 {
		t.Fatalf("want the source to differ in chunk 4, got %v", err)
	}
}

func TestVerifyNeedsDigests(t *testing.T) {
	source, target := newDisk("source", pattern(4096)), newDisk("target", noise(4096))
	done := newChunks(header{payload: 4096, chunk: 1024})
	r, err := Copy(t.Context(), Job{Source: source, Target: target, ChunkSize: 1024, Done: done, NoDigest: true})
	if err != nil || r.Digested || !bytes.Equal(target.durable, source.data) {
		t.Fatalf("copy without digests: %v, digested %v", err, r.Digested)
	}
	var none *IncompleteError
	if _, err = Verify(t.Context(), VerifyJob{Payload: target, Chunks: done}); !errors.As(err, &none) {
		t.Fatalf("want an *IncompleteError, got %v", err)
	}
}
