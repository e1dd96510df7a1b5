package succession

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// WipeRequest is one disk to wipe.
type WipeRequest struct {
	Path   string
	Size   int64
	Method Method
	// Discarded says that all of it was discarded before, by a run that was
	// interrupted after that; Told is called once it was.
	Discarded bool
	Told      func() error
	// Chunks is the record of what is done.
	Chunks *blockcopy.Chunks
	Pace   migrate.Pace
	// Random is where the key of Random's stream comes from. It is never
	// kept: what was written is known by its digests.
	Random   io.Reader
	Progress func(blockcopy.Progress)
}

// WipeResult is what a wipe did.
type WipeResult struct {
	blockcopy.Result
	// Overwritten are the bytes that were written by this run.
	Overwritten int64
}

// NoDiscardError says that a disk takes no discards.
type NoDiscardError struct{ Path string }

func (e *NoDiscardError) Error() string { return e.Path + " takes no discards" }

// discardStep is how much is discarded at once, so that an interruption is heard.
const discardStep = 1 << 30

// Wipe wipes a disk, flushes it and records the digest of every chunk. It goes on
// where Chunks says, and stops at a checkpoint when the context ends. It returns
// a *NoDiscardError, or the errors of blockcopy.OpenTarget and Copy.
func Wipe(ctx context.Context, r WipeRequest) (WipeResult, error) {
	target, err := blockcopy.OpenTarget(r.Path, r.Size)
	if err != nil {
		return WipeResult{}, err
	}
	result, err := wipe(ctx, r, target)
	if closeErr := target.Close(); err == nil {
		err = closeErr
	}
	return result, err
}

func wipe(ctx context.Context, r WipeRequest, target *blockcopy.TargetDevice) (WipeResult, error) {
	if size := target.Size(); size != r.Size {
		return WipeResult{}, &blockcopy.SizeError{Name: r.Path, Size: size, Need: r.Size}
	}
	job := blockcopy.Job{
		Source: zeros(r.Size), Target: target, PayloadSize: r.Size, Done: r.Chunks,
		MaxRate: r.Pace.MaxRate, IOIdle: r.Pace.Idle, Workers: r.Pace.Workers, BlockSize: r.Pace.BlockSize, Progress: r.Progress,
	}
	rest := &remains{TargetDevice: target}
	switch r.Method {
	case Random:
		stream, err := newStream(r.Random, r.Size)
		if err != nil {
			return WipeResult{}, err
		}
		job.Source = stream
	case Discard:
		if !r.Discarded {
			if err := discardAll(ctx, target, r.Size); err != nil {
				return WipeResult{}, err
			}
			if err := r.Told(); err != nil {
				return WipeResult{}, err
			}
		}
		job.Target = rest
	case Zero:
	}
	result, err := blockcopy.Copy(ctx, job)
	wiped := WipeResult{Result: result, Overwritten: result.Bytes}
	if r.Method == Discard {
		wiped.Overwritten = rest.written.Load()
	}
	return wiped, err
}

func discardAll(ctx context.Context, target *blockcopy.TargetDevice, size int64) error {
	for at := int64(0); at < size; at += discardStep {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := target.Discard(at, min(discardStep, size-at))
		if errors.Is(err, errors.ErrUnsupported) {
			return &NoDiscardError{Path: target.Name()}
		}
		if err != nil {
			return fmt.Errorf("discard %s: %w", target.Name(), err)
		}
	}
	return target.Sync()
}

// ReadBack reads a wiped disk and compares it with the record of what was
// written. It returns what blockcopy.Verify does.
func ReadBack(ctx context.Context, path string, chunks *blockcopy.Chunks, pace migrate.Pace, progress func(blockcopy.Progress)) (blockcopy.Result, error) {
	disk, err := blockcopy.OpenSource(path)
	if err != nil {
		return blockcopy.Result{}, err
	}
	defer disk.Close() // it was only read
	return blockcopy.Verify(ctx, blockcopy.VerifyJob{
		Payload: disk, Chunks: chunks, MaxRate: pace.MaxRate, IOIdle: pace.Idle, Workers: pace.Workers, BlockSize: pace.BlockSize, Progress: progress,
	})
}

// zeros is a source of that many zero bytes, without any data.
type zeros int64

func (z zeros) Name() string { return "zeros" }
func (z zeros) Size() int64  { return int64(z) }

func (z zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// Data implements blockcopy.Mapped.
func (z zeros) Data(int64) (start, end int64, err error) { return int64(z), int64(z), nil }

// remains is a disk that was discarded: zeros are written only where it does not
// read as zeros by itself.
type remains struct {
	*blockcopy.TargetDevice
	written atomic.Int64
}

// WriteAt implements blockcopy.Target, for zeros.
func (r *remains) WriteAt(p []byte, offset int64) (int, error) {
	is := make([]byte, len(p))
	if n, _ := r.ReadAt(is, offset); n == len(p) && bytes.Equal(is, p) {
		return len(p), nil
	}
	n, err := r.TargetDevice.WriteAt(p, offset)
	r.written.Add(int64(n))
	return n, err
}

// ZeroAt keeps the engine from asking the kernel: WriteAt looks first.
func (r *remains) ZeroAt(int64, int64) error { return errors.ErrUnsupported }

// stream is AES-256 in counter mode over a key that is drawn for it and kept
// nowhere: random bytes at the speed of the disk, any part of which can be made
// by itself.
type stream struct {
	block cipher.Block
	size  int64
}

func newStream(random io.Reader, size int64) (*stream, error) {
	key := make([]byte, 32)
	defer clear(key)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	return &stream{block, size}, err
}

func (s *stream) Name() string { return "random bytes" }
func (s *stream) Size() int64  { return s.size }

// Align implements blockcopy.Aligned: the stream can begin at any AES block.
func (s *stream) Align() int { return aes.BlockSize }

func (s *stream) ReadAt(p []byte, offset int64) (int, error) {
	if offset%aes.BlockSize != 0 {
		return 0, &os.PathError{Op: "read", Path: s.Name(), Err: os.ErrInvalid}
	}
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(offset/aes.BlockSize))
	clear(p)
	cipher.NewCTR(s.block, iv[:]).XORKeyStream(p, p)
	return len(p), nil
}
