package blockcopy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"
)

// VerifyJob is one payload to read back.
type VerifyJob struct {
	// Payload is read and hashed. A *SourceDevice or *TargetDevice that is
	// Direct reads past the page cache; one that is not has its cached pages
	// dropped first.
	Payload Source
	// PayloadSize is how many bytes of it are compared; 0 means the record's
	// payload, or Size without one.
	PayloadSize int64

	// Chunks is the record the copy made, to compare with; nil compares with
	// Source alone.
	Chunks *Chunks
	// Source, if not nil, is read again and compared too: all of it. Its map of
	// holes is not believed, since the copy that is to be proved believed it.
	Source Source
	// Size is the source's bytes; 0 means Source.Size(). A source of another
	// size is a *SizeError.
	Size int64

	// ChunkSize, Workers, BlockSize, MaxRate, Throttle, IOIdle, Retries and
	// Progress are as in Job. MaxRate counts bytes of the payload.
	ChunkSize int64
	Workers   int
	BlockSize int64
	MaxRate   int64
	Throttle  *Throttle
	IOIdle    bool
	Retries   int
	Progress  func(Progress)

	// sysfs is "" for the kernel's own; tests have others.
	sysfs sysfs
}

// Verify reads the payload back and compares each chunk's SHA-256 with the one
// in Chunks, and with that of Source if there is one: together "full", without
// Source "target". Result.Digest is computed from what was read.
//
// The lowest chunk that differs is a *MismatchError, whose Name tells whether
// the payload differs from what was copied or the source has changed since. A
// chunk without a recorded digest is an *IncompleteError. Other errors are
// those of Copy.
func Verify(ctx context.Context, job VerifyJob) (Result, error) {
	v, err := newVerifier(job)
	if err != nil {
		return Result{}, err
	}
	result, err := v.run(ctx)
	return result, errors.Join(err, v.arena.free())
}

// cached is a device whose pages can be dropped from the page cache.
type cached interface{ DropCache() error }

// verifier is one verification under way.
type verifier struct {
	job      VerifyJob
	layout   *Chunks
	payload  content
	source   content
	arena    *arena
	throttle *Throttle
	meter    *meter
	align    int64
	manner   manner

	mu       sync.Mutex
	next     int64
	total    ordered
	mismatch *MismatchError

	count, retried atomic.Int64
}

func newVerifier(job VerifyJob) (*verifier, error) {
	if err := job.check(); err != nil {
		return nil, err
	}
	v := &verifier{
		job:      job,
		layout:   &Chunks{header: header{payload: job.PayloadSize, chunk: job.ChunkSize}},
		throttle: cmp.Or(job.Throttle, NewThrottle(job.MaxRate)),
		meter:    newMeter(0, job.PayloadSize, time.Now()),
		total:    ordered{sum: sha256.New(), waiting: map[int64]Digest{}},
		align:    alignOf(job.Payload),
		manner:   manner{idle: job.IOIdle, near: job.sysfs.near(job.Source, job.Payload)},
	}
	if job.Source != nil {
		v.align = max(v.align, alignOf(job.Source))
	}
	if job.ChunkSize%v.align != 0 {
		return nil, &JobError{Field: "ChunkSize", Reason: fmt.Sprintf("%d is no multiple of the devices' %d", job.ChunkSize, v.align)}
	}
	var err error
	if v.arena, err = newArena(job.ChunkSize); err != nil {
		return nil, err
	}
	v.payload = content{input: v.input(job.Payload), size: job.PayloadSize, zeros: v.arena.zeros}
	if job.Source != nil {
		v.source = content{input: v.input(job.Source), size: job.Size, zeros: v.arena.zeros}
	}
	return v, nil
}

func (v *verifier) input(s Source) input {
	return input{source: s, retries: v.job.Retries, unit: alignOf(s), retried: &v.retried}
}

// check fills in what is left open and refuses what makes no sense.
func (j *VerifyJob) check() error {
	if j.Payload == nil || j.Chunks == nil && j.Source == nil {
		return &JobError{Field: "Payload, Chunks, Source", Reason: "a payload is needed, and a record or a source to compare it with"}
	}
	if j.Source != nil && j.Size == 0 {
		j.Size = j.Source.Size()
	}
	if j.Chunks != nil {
		if j.PayloadSize == 0 {
			j.PayloadSize = j.Chunks.payload
		}
		if j.ChunkSize == 0 {
			j.ChunkSize = j.Chunks.chunk
		}
	}
	if j.PayloadSize == 0 {
		j.PayloadSize = j.Size
	}
	if j.sysfs == "" {
		j.sysfs = "/sys"
	}
	if j.ChunkSize == 0 {
		j.ChunkSize = ChunkSize
	}
	switch {
	case j.Source != nil && (j.Size < 0 || j.PayloadSize < j.Size):
		return &JobError{Field: "PayloadSize", Reason: fmt.Sprintf("%d bytes do not hold a source of %d", j.PayloadSize, j.Size)}
	case j.ChunkSize < SectorSize || j.ChunkSize > arenaSize || j.ChunkSize%SectorSize != 0:
		return &JobError{Field: "ChunkSize", Reason: fmt.Sprintf("%d is no multiple of %d up to %d", j.ChunkSize, SectorSize, arenaSize)}
	case j.Workers < 0 || j.Workers > MaxWorkers || j.BlockSize < 0 || j.BlockSize%SectorSize != 0 || j.MaxRate < 0 || j.Retries < 0:
		return &JobError{Field: "Workers, BlockSize, MaxRate, Retries", Reason: "one is out of range"}
	}
	if d := j.Chunks; d != nil && (d.payload != j.PayloadSize || d.chunk != j.ChunkSize) {
		return &RecordError{Path: d.path, Reason: fmt.Sprintf("it is about %d bytes in chunks of %d, not %d in chunks of %d",
			d.payload, d.chunk, j.PayloadSize, j.ChunkSize)}
	}
	if size := j.Payload.Size(); size < j.PayloadSize {
		return &SizeError{Name: j.Payload.Name(), Size: size, Need: j.PayloadSize}
	}
	if j.Source != nil && j.Source.Size() != j.Size {
		return &SizeError{Name: j.Source.Name(), Size: j.Source.Size(), Need: j.Size}
	}
	return nil
}

func (v *verifier) run(ctx context.Context) (Result, error) {
	begin := time.Now()
	if d, ok := v.job.Payload.(cached); ok && !directOf(v.job.Payload) {
		if err := d.DropCache(); err != nil {
			return Result{}, err
		}
	}
	stop := every(meterInterval, func() { v.report(time.Now()) })
	demand := demand{
		hashing: true, asked: tuning{v.job.Workers, v.job.BlockSize}, chunk: v.job.ChunkSize, align: v.align, maxRate: v.job.MaxRate,
		queues: []queue{v.job.sysfs.queueOf(v.job.Payload), v.job.sysfs.queueOf(v.job.Source)},
	}
	chosen, err := tuned(ctx, demand.plans(), v.meter, v.crew)
	stop()
	now := time.Now()
	v.meter.finish(now)
	v.report(now)
	r := Result{
		Chunks: v.count.Load(), Bytes: v.meter.done.Load(), Retried: v.retried.Load(),
		Elapsed: now.Sub(begin), Samples: v.meter.samples, TargetDirect: directOf(v.job.Payload),
		SourceDirect: v.job.Source != nil && directOf(v.job.Source), Workers: chosen.workers, BlockSize: chosen.block,
	}
	if v.mismatch != nil {
		err = v.mismatch
	}
	if err == nil {
		r.Digest, r.Digested = v.total.digest(), true
	}
	return r, err
}

func (v *verifier) report(now time.Time) {
	p := v.meter.tick(now)
	if v.job.Progress != nil {
		v.job.Progress(p)
	}
}

func (v *verifier) crew(ctx context.Context, t tuning, until func() bool) (more bool, err error) {
	err = crew(ctx, t, v.arena, v.manner, func(ctx context.Context, h *hand) (bool, error) {
		if until() {
			return false, nil
		}
		e, ok := v.take()
		if !ok {
			return false, nil
		}
		return true, v.compare(ctx, h, e)
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.next < v.layout.Len() && v.mismatch == nil, err
}

// take returns the next chunk. Once one differs there is none: the chunks
// before it are under way already, so the lowest that differs is found.
func (v *verifier) take() (errand, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.next >= v.layout.Len() || v.mismatch != nil {
		return errand{}, false
	}
	e := errand{index: v.next, start: v.next * v.job.ChunkSize}
	e.end = e.start + v.layout.length(v.next)
	v.next++
	return e, true
}

// compare reads one chunk and notes how it differs, if it does.
func (v *verifier) compare(ctx context.Context, h *hand, e errand) error {
	var source, payload Digest
	// Every other chunk begins with the source, so that neither device waits
	// while all workers read the other.
	for i := range int64(2) {
		var err error
		if (e.index+i)%2 == 0 {
			payload, err = v.hash(ctx, h, &v.payload, e, true)
		} else if v.job.Source != nil {
			source, err = v.hash(ctx, h, &v.source, e, false)
		}
		if err != nil {
			return err
		}
	}
	want := source
	if v.job.Chunks != nil {
		var err error
		if want, err = v.job.Chunks.Digest(e.index); err != nil {
			return err
		}
	}
	switch {
	case payload != want:
		v.differs(v.job.Payload, e, want, payload)
		return nil
	case v.job.Source != nil && source != want:
		v.differs(v.job.Source, e, want, source)
		return nil
	}
	v.count.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total.add(e.index, payload)
	return nil
}

// hash is the digest of one chunk of c, all of which is read. Only the payload's
// bytes count as progress.
func (v *verifier) hash(ctx context.Context, h *hand, c *content, e errand, counts bool) (Digest, error) {
	h.sum.Reset()
	whole := []span{{0, c.size}}
	for at := e.start; at < e.end; {
		n := min(int64(len(h.buffer)), e.end-at)
		if ctx.Err() != nil {
			return Digest{}, context.Cause(ctx)
		}
		if counts {
			if err := v.throttle.Wait(ctx, n); err != nil {
				return Digest{}, err
			}
		}
		b, err := c.block(ctx, h.buffer[:n], at, whole)
		if err != nil {
			return Digest{}, err
		}
		_, _ = h.sum.Write(b) // a hash never fails
		if counts {
			v.meter.done.Add(n)
		}
		at += n
	}
	return Digest(h.sum.Sum(nil)), nil
}

func (v *verifier) differs(s Source, e errand, want, got Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.mismatch == nil || e.index < v.mismatch.Chunk {
		v.mismatch = &MismatchError{Name: s.Name(), Chunk: e.index, Offset: e.start, Length: e.end - e.start, Want: want, Got: got}
	}
}

// ordered is the digest over chunk digests that come in any order. Only those
// that came early are kept.
type ordered struct {
	sum     hash.Hash
	next    int64
	waiting map[int64]Digest
}

func (o *ordered) add(index int64, d Digest) {
	o.waiting[index] = d
	for {
		d, ok := o.waiting[o.next]
		if !ok {
			return
		}
		_, _ = o.sum.Write(d[:]) // a hash never fails
		delete(o.waiting, o.next)
		o.next++
	}
}

func (o *ordered) digest() Digest { return Digest(o.sum.Sum(nil)) }
