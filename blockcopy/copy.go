package blockcopy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// defaultInterval is the time between two checkpoints: what a power cut costs.
const defaultInterval = 5 * time.Second

// Copy copies job.Source onto job.Target and returns when every byte of the
// payload is written, flushed and recorded. When the context ends it stops
// within the current blocks, flushes and records what is finished, and returns
// the context's cause; it does the same after any error that lets it.
//
// Before the first byte it may return a *JobError, *SizeError, *SameDeviceError
// or *RecordError; later a *ReadError, *ShortError, *WriteError, *FlushError or
// *CheckpointError. An error of the last flush is joined to the one before.
func Copy(ctx context.Context, job Job) (Result, error) {
	c, err := newCopier(job)
	if err != nil {
		return Result{}, err
	}
	result, err := c.run(ctx)
	return result, errors.Join(err, c.arena.free())
}

// copier is one copy under way.
type copier struct {
	job      Job
	chunks   *Chunks
	from     content
	to       output
	arena    *arena
	throttle *Throttle
	meter    *meter
	zeroing  *zeroing
	align    int64
	manner   manner

	// next is the chunk to look at next; it and the map of holes are under
	// mu, and so is what is finished but not yet flushed.
	mu       sync.Mutex
	next     int64
	holes    *holes
	pending  []finished
	zeroSums map[int64]Digest

	// flushing is held during a checkpoint; broken is why there can be none.
	flushing    sync.Mutex
	broken      error
	checkpoints int64

	bytes, count, unread, zeroed, retried atomic.Int64
}

func newCopier(job Job) (*copier, error) {
	if err := job.check(); err != nil {
		return nil, err
	}
	c := &copier{job: job, chunks: job.Done, throttle: cmp.Or(job.Throttle, NewThrottle(job.MaxRate)), zeroSums: map[int64]Digest{}}
	if c.chunks == nil {
		c.chunks = newChunks(header{payload: job.PayloadSize, chunk: job.ChunkSize})
	}
	c.align = max(alignOf(job.Source), alignOf(job.Target))
	if job.ChunkSize%c.align != 0 {
		return nil, &JobError{Field: "ChunkSize", Reason: fmt.Sprintf("%d is no multiple of the devices' %d", job.ChunkSize, c.align)}
	}
	var err error
	if c.arena, err = newArena(job.ChunkSize); err != nil {
		return nil, err
	}
	c.from = content{
		input: input{source: job.Source, retries: job.Retries, unit: alignOf(job.Source), retried: &c.retried},
		size:  job.Size, zeros: c.arena.zeros,
	}
	c.to = output{target: job.Target, unit: alignOf(job.Target)}
	c.holes = newHoles(job.Source, job.Size)
	c.zeroing = newZeroing(job)
	c.manner = manner{idle: job.IOIdle, near: job.sysfs.near(job.Source, job.Target)}
	c.meter = newMeter(c.chunks.DoneBytes(), job.PayloadSize, time.Now())
	return c, nil
}

// check fills in what is left open and refuses what makes no sense.
func (j *Job) check() error {
	if j.Source == nil || j.Target == nil {
		return &JobError{Field: "Source, Target", Reason: "both are needed"}
	}
	if j.Size == 0 {
		j.Size = j.Source.Size()
	}
	if j.PayloadSize == 0 {
		j.PayloadSize = j.Size
	}
	if j.ChunkSize == 0 {
		j.ChunkSize = ChunkSize
	}
	if j.sysfs == "" {
		j.sysfs = "/sys"
	}
	if j.CheckpointInterval == 0 {
		j.CheckpointInterval = defaultInterval
	}
	switch {
	case j.Size < 0:
		return &JobError{Field: "Size", Reason: "it is negative"}
	case j.PayloadSize < j.Size:
		return &JobError{Field: "PayloadSize", Reason: fmt.Sprintf("%d bytes do not hold a source of %d", j.PayloadSize, j.Size)}
	case j.ChunkSize < SectorSize || j.ChunkSize > arenaSize || j.ChunkSize%SectorSize != 0:
		return &JobError{Field: "ChunkSize", Reason: fmt.Sprintf("%d is no multiple of %d up to %d", j.ChunkSize, SectorSize, arenaSize)}
	case j.Workers < 0 || j.Workers > MaxWorkers:
		return &JobError{Field: "Workers", Reason: fmt.Sprintf("%d is not between 0 and %d", j.Workers, MaxWorkers)}
	case j.BlockSize < 0 || j.BlockSize%SectorSize != 0:
		return &JobError{Field: "BlockSize", Reason: fmt.Sprintf("%d is no multiple of %d", j.BlockSize, SectorSize)}
	case j.MaxRate < 0 || j.Retries < 0 || j.CheckpointInterval < 0:
		return &JobError{Field: "MaxRate, Retries, CheckpointInterval", Reason: "one is negative"}
	}
	s, isSource := j.Source.(*SourceDevice)
	t, isTarget := j.Target.(*TargetDevice)
	if isSource && isTarget && s.same(&t.device) {
		return &SameDeviceError{Source: s.path, Target: t.path}
	}
	// A source that grew would lose its new end without a word, so it is
	// refused as one that shrank is.
	if size := j.Source.Size(); size != j.Size {
		return &SizeError{Name: j.Source.Name(), Size: size, Need: j.Size}
	}
	if size := j.Target.Size(); size < j.PayloadSize {
		return &SizeError{Name: j.Target.Name(), Size: size, Need: j.PayloadSize}
	}
	if d := j.Done; d != nil && (d.payload != j.PayloadSize || d.chunk != j.ChunkSize) {
		return &RecordError{Path: d.path, Reason: fmt.Sprintf("it is about %d bytes in chunks of %d, not %d in chunks of %d",
			d.payload, d.chunk, j.PayloadSize, j.ChunkSize)}
	}
	return nil
}

func (c *copier) run(ctx context.Context) (Result, error) {
	begin := time.Now()
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := c.watch(working, cancel)

	demand := demand{
		hashing: !c.job.NoDigest, asked: tuning{c.job.Workers, c.job.BlockSize}, chunk: c.job.ChunkSize, align: c.align, maxRate: c.job.MaxRate,
		queues: []queue{c.job.sysfs.queueOf(c.job.Source), c.job.sysfs.queueOf(c.job.Target)},
	}
	chosen, err := tuned(working, demand.plans(), c.meter, c.crew)
	stop()
	// The caller's context may have ended; the last checkpoint is what it
	// waits for.
	if last := c.checkpoint(context.WithoutCancel(ctx)); last != nil && !errors.Is(err, last) {
		err = errors.Join(err, last)
	}
	now := time.Now()
	c.meter.finish(now)
	c.report(now)
	r := Result{
		Chunks: c.count.Load(), Bytes: c.bytes.Load(), Holes: c.unread.Load(), Zeroed: c.zeroed.Load(),
		Retried: c.retried.Load(), Checkpoints: c.checkpoints, Elapsed: now.Sub(begin), Samples: c.meter.samples,
		SourceDirect: directOf(c.job.Source), TargetDirect: directOf(c.job.Target),
		Workers: chosen.workers, BlockSize: chosen.block,
	}
	if err != nil {
		return r, err
	}
	for i := range c.chunks.Len() {
		if !c.chunks.Done(i) {
			return r, &IncompleteError{Chunk: i}
		}
	}
	digest, err := c.chunks.JobDigest()
	if none := (*IncompleteError)(nil); errors.As(err, &none) {
		return r, nil // made, now or earlier, without digests
	}
	r.Digest, r.Digested = digest, err == nil
	return r, err
}

// watch reports progress and makes checkpoints until the function it returns
// is called. A checkpoint that fails ends the copy.
func (c *copier) watch(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	reports := every(meterInterval, func() { c.report(time.Now()) })
	checkpoints := every(c.job.CheckpointInterval, func() {
		if err := c.checkpoint(ctx); err != nil {
			cancel(err)
		}
	})
	return func() {
		reports()
		checkpoints()
	}
}

func (c *copier) report(now time.Time) {
	p := c.meter.tick(now)
	if c.job.Progress != nil {
		c.job.Progress(p)
	}
}

// checkpoint flushes the target and then records what was finished before the
// flush began; the workers go on meanwhile.
func (c *copier) checkpoint(ctx context.Context) error {
	c.flushing.Lock()
	defer c.flushing.Unlock()
	if c.broken != nil {
		return c.broken
	}
	c.mu.Lock()
	batch := c.pending
	c.pending = nil
	c.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	if err := c.job.Target.Sync(); err != nil {
		// The kernel tells of a lost write once. A later flush that succeeds
		// says nothing about what was written before this one, so none is
		// believed any more.
		c.broken = &FlushError{Name: c.job.Target.Name(), Err: err}
		return c.broken
	}
	if err := c.chunks.add(batch); err != nil {
		c.broken = &CheckpointError{Err: err}
		return c.broken
	}
	c.checkpoints++
	if c.job.Checkpoint == nil {
		return nil
	}
	if err := c.job.Checkpoint(ctx, c.chunks); err != nil {
		c.broken = &CheckpointError{Err: err}
		return c.broken
	}
	return nil
}
