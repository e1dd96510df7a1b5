package blockcopy

import (
	"context"
	"io"
	"slices"
	"time"
)

// ChunkSize is the unit of copy, digest and resume, in bytes.
const ChunkSize = 4 << 20

// Source is what is copied. ReadAt is called by many workers at once, at
// offsets and with buffers that are multiples of Aligned.Align, save for the
// last read of a source whose size is not.
type Source interface {
	io.ReaderAt
	// Name is how errors call it: a path.
	Name() string
	// Size is in bytes.
	Size() int64
}

// Target is what is written and, by Verify, read back. WriteAt and ReadAt are
// called by many workers at once, in ranges that never overlap.
type Target interface {
	Source
	io.WriterAt
	// Sync makes all that was written before it durable.
	Sync() error
}

// Aligned is a Source or Target whose offsets, lengths and memory should be
// multiples of Align bytes, a power of two.
type Aligned interface{ Align() int }

// Directed is a Source or Target that knows whether it passes the page cache.
type Directed interface{ Direct() bool }

// Mapped is a Source that knows where it has no data.
type Mapped interface {
	// Data returns the first range at or after offset that may hold data, as
	// its first byte and the byte after its last. start is Size or more when
	// there is none. An error means that it is not known; all is read then.
	Data(offset int64) (start, end int64, err error)
}

// Zeroer is a Target that can be told to hold zeros without being sent them.
type Zeroer interface {
	// ZeroAt makes length bytes at offset read back as zeros, or fails.
	ZeroAt(offset, length int64) error
}

// Job is one disk to copy.
type Job struct {
	Source Source
	Target Target
	// Size is the source's bytes; 0 means Source.Size(). A source that has
	// another size by now is a *SizeError.
	Size int64
	// PayloadSize is how many bytes of the target are written; 0 means Size.
	// Those beyond Size become zeros.
	PayloadSize int64

	// Done is the record of finished chunks: an empty one for a new copy, a
	// loaded one to resume. Its chunks are not copied again. nil keeps a
	// record in memory.
	Done *Chunks
	// Checkpoint, if not nil, is called after the target was flushed and the
	// chunks that were finished before that are in Done, which is durable by
	// then if it has a file. An error ends the copy. It is never called by
	// two goroutines at once.
	Checkpoint func(ctx context.Context, done *Chunks) error
	// CheckpointInterval is the time between two flushes; 0 means 5 s.
	CheckpointInterval time.Duration

	// ChunkSize is the chunk in bytes; 0 means ChunkSize, and the record and
	// the documented digest are about that. Tests use smaller ones.
	ChunkSize int64
	// Workers is how many chunks are under way at once and BlockSize how many
	// bytes one read or write has at most. 0 means that they are chosen by
	// measuring the first second of the copy, from what the devices' queues
	// (queue) can take.
	Workers   int
	BlockSize int64
	// NoDigest copies without hashing. The record then says which chunks are
	// done but not what they hold, so Verify can't use it.
	NoDigest bool

	// Unchecked says that no Verify will follow. The zeros of holes are then
	// written by Copy itself, never left to the kernel: all but the first of
	// those that it is asked for are read back by Verify alone.
	Unchecked bool

	// MaxRate is the most bytes to copy in a second; 0 means no limit.
	MaxRate int64
	// Throttle, if not nil, is what keeps to MaxRate: one of that rate that
	// other copies and verifications may share.
	Throttle *Throttle
	// IOIdle does the reads and writes in the idle I/O scheduling class
	// (ioprio_set(2)): they wait for everybody else's.
	IOIdle bool
	// Retries is how often a failed read is tried again. Writes never are.
	Retries int

	// Progress, if not nil, is called about twice a second and at the end,
	// never by two goroutines at once.
	Progress func(Progress)

	// sysfs is "" for the kernel's own; tests have others.
	sysfs sysfs
}

// Progress is how far a copy or verification is.
type Progress struct {
	// Done and Total are bytes of the payload; Done counts what an earlier
	// run finished.
	Done, Total int64
	// BytesPerSecond is the rate of the last seconds, 0 as long as unknown.
	BytesPerSecond float64
	// ETA is the time left at that rate, 0 as long as unknown.
	ETA time.Duration
}

// Sample is the throughput of one stretch of a copy.
type Sample struct {
	// At is when the stretch began, from the start of the copy, and Elapsed
	// how long it was.
	At, Elapsed time.Duration
	// Bytes is how many bytes were finished in it.
	Bytes int64
}

// Rate is the sample's bytes per second.
func (s Sample) Rate() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Bytes) / s.Elapsed.Seconds()
}

// Rates returns the lowest, median and highest bytes per second of samples, or
// zeros when there are none.
func Rates(samples []Sample) (low, median, high float64) {
	if len(samples) == 0 {
		return 0, 0, 0
	}
	rates := make([]float64, len(samples))
	for i, s := range samples {
		rates[i] = s.Rate()
	}
	slices.Sort(rates)
	return rates[0], rates[len(rates)/2], rates[len(rates)-1]
}

// Result is what a copy or verification did. It is filled as far as it came
// when there is an error.
type Result struct {
	// Digest is the job's digest and Digested whether there is one: not when
	// the copy did not end, or made no digests.
	Digest   Digest
	Digested bool
	// Chunks is how many chunks this run finished.
	Chunks int64
	// Bytes is how many bytes of the payload this run wrote (Verify: read).
	Bytes int64
	// Holes is how many of them Copy did not read because the source has a hole
	// there, Zeroed how many the kernel was told to zero.
	Holes, Zeroed int64
	// Retried is how many reads were tried again.
	Retried int64
	// Checkpoints is how many times the target was flushed.
	Checkpoints int64
	// Elapsed is the time from start to end, the last flush included.
	Elapsed time.Duration
	// Samples are the throughput over time, at least a second each and at
	// most MaxSamples of them.
	Samples []Sample
	// SourceDirect and TargetDirect tell whether I/O passed the page cache.
	SourceDirect, TargetDirect bool
	// Workers and BlockSize are those given, or those chosen.
	Workers   int
	BlockSize int64
}
