package blockcopy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// small is a job of twenty chunks of 512 bytes, one worker at a time.
func small() (source, target *disk, job Job) {
	source, target = newDisk("source", pattern(20*512)), newDisk("target", noise(20*512))
	return source, target, Job{Source: source, Target: target, ChunkSize: 512, Workers: 1, Done: newChunks(header{payload: 20 * 512, chunk: 512})}
}

func TestAShortReadIsNoSuccess(t *testing.T) {
	source, _, job := small()
	source.shortRead = 511
	_, err := Copy(t.Context(), job)
	var short *ShortError
	if !errors.As(err, &short) || short.Name != "source" || short.Offset != 511 || short.Missing != 1 {
		t.Fatalf("want a *ShortError at 511, got %v", err)
	}
}

func TestASourceThatShrinksMeanwhileIsTold(t *testing.T) {
	source, target, job := small()
	size := int64(len(source.data))
	job.Source = grown{source, size + 512}
	job.Target = newDisk("target", noise(size+512))
	job.Done = nil
	_, err := Copy(t.Context(), job)
	var short *ShortError
	if !errors.As(err, &short) || short.Offset != size {
		t.Fatalf("want a *ShortError at %d, got %v", size, err)
	}
	_ = target
}

// grown is a disk that says it is larger than it is.
type grown struct {
	*disk
	size int64
}

func (g grown) Size() int64 { return g.size }

func TestAShortWriteIsNoSuccess(t *testing.T) {
	_, target, job := small()
	target.shortWrite = 511
	_, err := Copy(t.Context(), job)
	var we *WriteError
	if !errors.As(err, &we) || !errors.Is(err, io.ErrShortWrite) {
		t.Fatalf("want a *WriteError about a short write, got %v", err)
	}
}

func TestAFullTargetEndsTheCopy(t *testing.T) {
	_, target, job := small()
	target.writeFails = func(offset, length int64) error {
		if offset+length > 7*512 {
			return syscall.ENOSPC
		}
		return nil
	}
	r, err := Copy(t.Context(), job)
	var we *WriteError
	if !errors.As(err, &we) || !errors.Is(err, syscall.ENOSPC) || we.Sector != 7 {
		t.Fatalf("want ENOSPC at sector 7, got %v", err)
	}
	if job.Done.DoneBytes() != 7*512 || r.Chunks != 7 || !bytes.Equal(target.durable[:7*512], target.data[:7*512]) {
		t.Fatalf("what was copied before is not kept: %d bytes", job.Done.DoneBytes())
	}
}

func TestWrongSizesAreRefusedBeforeTheFirstByte(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Job)
		want   SizeError
	}{
		{"target one sector too small", func(j *Job) { j.Target = newDisk("target", noise(19*512)) }, SizeError{"target", 19 * 512, 20 * 512}},
		{"target without room for the padding", func(j *Job) { j.PayloadSize = 20*512 + 1; j.Done = nil }, SizeError{"target", 20 * 512, 20*512 + 1}},
		{"source shrank", func(j *Job) { j.Size = 21 * 512; j.PayloadSize = 21 * 512 }, SizeError{"source", 20 * 512, 21 * 512}},
		{"source grew", func(j *Job) { j.Size = 19 * 512; j.PayloadSize = 20 * 512 }, SizeError{"source", 20 * 512, 19 * 512}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, target, job := small()
			c.change(&job)
			_, err := Copy(t.Context(), job)
			var se *SizeError
			if !errors.As(err, &se) || *se != c.want || len(target.log) > 0 {
				t.Fatalf("got %v after %d writes, want %v", err, len(target.log), &c.want)
			}
		})
	}
}

func TestAJobThatMakesNoSenseIsRefused(t *testing.T) {
	for field, change := range map[string]func(*Job){
		"Source, Target":                       func(j *Job) { j.Source = nil },
		"Size":                                 func(j *Job) { j.Size = -1 },
		"PayloadSize":                          func(j *Job) { j.PayloadSize = 19 * 512 },
		"ChunkSize":                            func(j *Job) { j.ChunkSize = 513 },
		"Workers":                              func(j *Job) { j.Workers = -1 },
		"BlockSize":                            func(j *Job) { j.BlockSize = 1 },
		"MaxRate, Retries, CheckpointInterval": func(j *Job) { j.MaxRate = -1 },
	} {
		_, target, job := small()
		change(&job)
		_, err := Copy(t.Context(), job)
		var je *JobError
		if !errors.As(err, &je) || je.Field != field || len(target.log) > 0 {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestARecordOfAnotherPayloadIsRefused(t *testing.T) {
	_, target, job := small()
	job.Done = newChunks(header{payload: 20 * 512, chunk: 1024})
	_, err := Copy(t.Context(), job)
	var re *RecordError
	if !errors.As(err, &re) || len(target.log) > 0 {
		t.Fatalf("want a *RecordError, got %v", err)
	}
}

func TestReadsAreTriedAgainAndWritesAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, target, job := small()
		failures := 0
		source.readFails = func(int64, int64) error {
			if failures < 3 {
				failures++
				return syscall.EIO
			}
			return nil
		}
		job.Retries = 3
		r, err := Copy(t.Context(), job)
		if err != nil || r.Retried != 3 || !bytes.Equal(source.data, target.durable) {
			t.Fatalf("three failed reads, three retries: %v, %d retried", err, r.Retried)
		}

		source, _, job = small()
		source.readFails = func(int64, int64) error { return syscall.EIO }
		job.Retries = 2
		_, err = Copy(t.Context(), job)
		var re *ReadError
		if !errors.As(err, &re) || re.Attempts != 3 || re.Name != "source" {
			t.Fatalf("want a *ReadError after 3 attempts, got %v", err)
		}

		_, target, job = small()
		failures = 0
		target.writeFails = func(int64, int64) error {
			failures++
			if failures == 1 {
				return syscall.EIO
			}
			return nil
		}
		job.Retries = 5
		var we *WriteError
		if _, err = Copy(t.Context(), job); !errors.As(err, &we) {
			t.Fatalf("a write that failed once passed: %v", err)
		}
	})
}

func TestAFlushThatFailsRecordsNothingEvenIfTheNextSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, target, job := small()
		source.readFails = func(int64, int64) error { time.Sleep(time.Second); return nil }
		calls := 0
		target.syncFails = func() error {
			if calls++; calls == 2 {
				return syscall.EIO
			}
			return nil
		}
		_, err := Copy(t.Context(), job)
		var fe *FlushError
		if !errors.As(err, &fe) || !errors.Is(err, syscall.EIO) || fe.Name != "target" {
			t.Fatalf("want a *FlushError, got %v", err)
		}
		if calls != 2 {
			t.Fatalf("flushed %d times: once more after the kernel told of a lost write", calls)
		}
		checkRecord(t, job.Done, target.durable, source.data)
		if n := job.Done.DoneBytes(); n == 0 || n > 5*512 {
			t.Fatalf("%d bytes are recorded, of one good flush after 5 s", n)
		}
	})
}

func TestChunksFinishedDuringAFlushWaitForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, target, job := small()
		source.readFails = func(int64, int64) error { time.Sleep(time.Second); return nil }
		target.onSync = func() { time.Sleep(3 * time.Second) }
		checks := 0
		job.Checkpoint = func(_ context.Context, done *Chunks) error {
			checks++
			checkRecord(t, done, target.durable, source.data)
			return nil
		}
		r, err := Copy(t.Context(), job)
		if err != nil || !bytes.Equal(target.durable, source.data) {
			t.Fatalf("copy: %v", err)
		}
		if int64(checks) != r.Checkpoints || checks < 3 {
			t.Fatalf("%d checkpoints told of %d in 20 s", checks, r.Checkpoints)
		}
	})
}

func TestACheckpointThatFailsEndsTheCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _, job := small()
		source.readFails = func(int64, int64) error { time.Sleep(time.Second); return nil }
		full := errors.New("no space left in the state folder")
		job.Checkpoint = func(context.Context, *Chunks) error { return full }
		r, err := Copy(t.Context(), job)
		var ce *CheckpointError
		if !errors.As(err, &ce) || !errors.Is(err, full) || r.Chunks > 6 {
			t.Fatalf("after %d chunks: %v", r.Chunks, err)
		}
	})
}

func TestInterruptionKeepsWhatIsDoneAndTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, target, job := small()
		source.readFails = func(int64, int64) error { time.Sleep(time.Second); return nil }
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("SIGTERM")
		begin := time.Now()
		time.AfterFunc(7500*time.Millisecond, func() { cancel(why) })
		job.Checkpoint = func(ctx context.Context, _ *Chunks) error { return ctx.Err() }
		r, err := Copy(ctx, job)
		var failed *CheckpointError
		if !errors.Is(err, why) || errors.As(err, &failed) {
			t.Fatalf("want the context's cause alone, got %v", err)
		}
		if took := time.Since(begin); took > 9*time.Second {
			t.Fatalf("it went on for %s after the context ended", took-7500*time.Millisecond)
		}
		if job.Done.DoneBytes() != r.Bytes || r.Bytes < 7*512 {
			t.Fatalf("%d bytes are recorded of %d written", job.Done.DoneBytes(), r.Bytes)
		}
		checkRecord(t, job.Done, target.durable, source.data)
	})
}

func TestAThrottledCopyKeepsItsRateAndCanBeInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, job := small()
		job.MaxRate, job.Workers = 1024, 0
		begin := time.Now()
		if _, err := Copy(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 9*time.Second || took > 10*time.Second {
			t.Fatalf("10 KiB at 1 KiB a second took %s", took)
		}
		_, _, job = small()
		job.MaxRate = 1
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin = time.Now()
		if _, err := Copy(ctx, job); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 61*time.Second {
			t.Fatalf("interrupted after %s: %v", time.Since(begin), err)
		}
	})
}

func TestCopiesThatShareAThrottleKeepItsRateTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, begin := NewThrottle(1024), time.Now()
		var group sync.WaitGroup
		for range 2 {
			_, target, job := small()
			job.MaxRate, job.Throttle = 1024, shared
			group.Go(func() {
				_, err := Copy(t.Context(), job)
				check := VerifyJob{Payload: target, Chunks: job.Done, ChunkSize: 512, Workers: 1, MaxRate: 1024, Throttle: shared}
				if _, verifyErr := Verify(t.Context(), check); err != nil || verifyErr != nil {
					t.Error(err, verifyErr)
				}
			})
		}
		group.Wait()
		if took := time.Since(begin); took < 39*time.Second || took > 41*time.Second {
			t.Errorf("twice 20 KiB at 1 KiB a second took %s", took)
		}
	})
}

func TestProgressNeverGoesBackAndEndsAtTheTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _, job := small()
		source.readFails = func(int64, int64) error { time.Sleep(time.Second); return nil }
		var seen []Progress
		var inside atomic.Int32
		job.Progress = func(p Progress) {
			if inside.Add(1) > 1 {
				t.Error("called by two goroutines at once")
			}
			seen = append(seen, p)
			inside.Add(-1)
		}
		r, err := Copy(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(seen); i++ {
			if seen[i].Done < seen[i-1].Done {
				t.Fatalf("from %+v to %+v", seen[i-1], seen[i])
			}
		}
		last, middle := seen[len(seen)-1], seen[len(seen)/2]
		if last.Done != last.Total || last.Total != 20*512 || last.ETA != 0 {
			t.Fatalf("it ends with %+v", last)
		}
		if middle.ETA < 8*time.Second || middle.ETA > 12*time.Second || middle.BytesPerSecond < 500 || middle.BytesPerSecond > 530 {
			t.Fatalf("half way through 20 s at 512 bytes a second: %+v", middle)
		}
		if _, median, _ := Rates(r.Samples); median != 512 || len(r.Samples) < 18 {
			t.Fatalf("a median rate of %v from %d samples in 20 s, not 512", median, len(r.Samples))
		}
	})
}

func TestAMapThatHidesDataIsFoundByReadingTheSourceAgain(t *testing.T) {
	source, target, job := small()
	source.mapped = []span{{0, 7 * 512}, {9 * 512, 20 * 512}}
	job.Source = mappedDisk{source}
	if _, err := Copy(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	check := VerifyJob{Payload: target, Chunks: job.Done, ChunkSize: 512, Workers: 1}
	if _, err := Verify(t.Context(), check); err != nil {
		t.Errorf("the payload is as it was copied: %v", err)
	}
	check.Source = mappedDisk{source}
	_, err := Verify(t.Context(), check)
	var differs *MismatchError
	if !errors.As(err, &differs) || differs.Name != "source" || differs.Chunk != 7 {
		t.Errorf("want the source to differ at chunk 7, got %v", err)
	}
	check.Chunks = nil
	if _, err = Verify(t.Context(), check); !errors.As(err, &differs) || differs.Name != "target" || differs.Chunk != 7 {
		t.Errorf("want the payload to differ at chunk 7, got %v", err)
	}
}
