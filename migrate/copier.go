package migrate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/image"
)

// CopyRequest is one disk to copy.
type CopyRequest struct {
	// Source is the plain disk.
	Source SourcePlan
	// Target is the payload's path, and Payload its bytes.
	// Image says that it is a qcow2 image instead, and Payload what is seen of it.
	Target  string
	Image   bool
	Payload int64
	// Chunks is the record of what is done.
	Chunks *blockcopy.Chunks
	// Unchecked says that the payload will not be read back.
	Unchecked bool
	// Pace is how hard it may press the disks.
	Pace Pace
	// Progress is called about twice a second.
	Progress func(blockcopy.Progress)
}

// Pace says how hard a copy may press the disks; its zero value is as hard as
// they let it.
type Pace struct {
	// MaxRate is the most bytes a second, of all disks that move at once
	// together; 0 is no limit.
	MaxRate int64 `json:"max_rate,omitempty"`
	// Idle leaves the disks to everybody else first.
	Idle bool `json:"idle,omitempty"`
	// Retries is how often a failed read is tried again.
	Retries int `json:"retries,omitempty"`
	// Workers and BlockSize fix what is measured otherwise; 0 measures.
	Workers   int   `json:"workers,omitempty"`
	BlockSize int64 `json:"block_size,omitempty"`
}

// CopyResult is what a copy did.
type CopyResult struct {
	blockcopy.Result
	// Remarks are what the user should know of how it was done.
	Remarks []string
}

// VerifyRequest is one payload to check.
type VerifyRequest struct {
	// Payload is its path, and Bytes its size. Image says that it is a qcow2
	// image, of which so much is seen.
	Payload string
	Image   bool
	Bytes   int64
	// Chunks are the digests to hold it against; nil compares with the source
	// alone.
	Chunks *blockcopy.Chunks
	// Source is the plain disk to read again; nil reads the payload alone.
	Source *SourcePlan
	// Pace is how hard it may press the disks.
	Pace Pace
	// Progress is called about twice a second.
	Progress func(blockcopy.Progress)
}

// BlockCopier copies with package blockcopy.
type BlockCopier struct {
	// Images are the programs that images are read with.
	Images image.Tools
	// Rates has all copies and verifications keep to one Pace.MaxRate together;
	// without it each keeps to it alone.
	Rates *Rates
}

// Rates are limits that everything which moves at once under the same
// Pace.MaxRate keeps to together: disks side by side, and VMs. The zero value is
// ready to use.
type Rates struct {
	mu  sync.Mutex
	all map[int64]*blockcopy.Throttle
}

// throttle is the one for a rate, or nil where there is nothing to share.
func (r *Rates) throttle(rate int64) *blockcopy.Throttle {
	if r == nil || rate <= 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[int64]*blockcopy.Throttle)
	}
	if r.all[rate] == nil {
		r.all[rate] = blockcopy.NewThrottle(rate)
	}
	return r.all[rate]
}

var _ Copier = BlockCopier{}

// Copy implements Copier.
func (b BlockCopier) Copy(ctx context.Context, r CopyRequest) (copied CopyResult, err error) {
	source, err := b.openSource(ctx, r.Source, r.Pace)
	if err != nil {
		return CopyResult{}, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	claim, err := claimSource(r.Source)
	if err != nil {
		return CopyResult{}, err
	}
	defer claim.Close() // it was only held
	target, err := b.openTarget(ctx, r)
	if err != nil {
		return CopyResult{}, err
	}
	result, err := blockcopy.Copy(ctx, blockcopy.Job{
		Source: source, Size: r.Source.Size, Target: target, PayloadSize: r.Payload, Done: r.Chunks, Unchecked: r.Unchecked,
		MaxRate: r.Pace.MaxRate, Throttle: b.Rates.throttle(r.Pace.MaxRate), IOIdle: r.Pace.Idle,
		Retries: r.Pace.Retries, Workers: r.Pace.Workers, BlockSize: r.Pace.BlockSize,
		Progress: r.Progress,
	})
	if closeErr := target.Close(); err == nil {
		err = closeErr
	}
	remarked := CopyResult{Result: result}
	if err == nil && !result.SourceDirect {
		remarked.Remarks = append(remarked.Remarks, r.Source.Path+" was read through the page cache: its filesystem has no direct I/O")
	}
	return remarked, err
}

// Target is where a copy goes, a device or an image.
type Target interface {
	blockcopy.Target
	io.Closer
}

func (b BlockCopier) openTarget(ctx context.Context, r CopyRequest) (Target, error) {
	if !r.Image {
		return blockcopy.OpenTarget(r.Target, r.Payload)
	}
	tools := b.Images
	tools.Idle = r.Pace.Idle
	return tools.OpenTarget(ctx, r.Target)
}

// openPayload opens what a copy went to, to read it back.
func (b BlockCopier) openPayload(ctx context.Context, r VerifyRequest) (Source, error) {
	if !r.Image {
		return blockcopy.OpenSource(r.Payload)
	}
	chain, err := image.Inspect(r.Payload, image.QCOW2)
	if err != nil {
		return nil, err
	}
	return b.openSource(ctx, SourcePlan{Path: r.Payload, Chain: chain}, r.Pace)
}

// WriteRate implements Copier.
func (BlockCopier) WriteRate(ctx context.Context, payload string, bytes int64) (float64, error) {
	target, err := blockcopy.OpenTarget(payload, bytes)
	if err != nil {
		return 0, err
	}
	result, err := blockcopy.Copy(ctx, blockcopy.Job{Source: zeros(bytes), Target: target, NoDigest: true})
	if closeErr := target.Close(); err == nil {
		err = closeErr
	}
	return float64(bytes) / max(result.Elapsed.Seconds(), 1e-6), err
}

// zeros is a source of that many zero bytes.
type zeros int64

func (z zeros) Name() string { return "zeros" }
func (z zeros) Size() int64  { return int64(z) }

func (z zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// SourceDigests implements Copier. What lies between the source's end and the
// payload's is zeros.
func (b BlockCopier) SourceDigests(ctx context.Context, plan SourcePlan, payload int64, chunks []int64, pace Pace) (digests []blockcopy.Digest, err error) {
	source, err := b.openSource(ctx, plan, pace)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	throttle := cmp.Or(b.Rates.throttle(pace.MaxRate), blockcopy.NewThrottle(pace.MaxRate))
	for _, chunk := range chunks {
		if err := interrupted(ctx); err != nil {
			return digests, err
		}
		if err := throttle.Wait(ctx, blockcopy.ChunkSize); err != nil {
			return digests, err
		}
		offset := chunk * blockcopy.ChunkSize
		content := make([]byte, min(blockcopy.ChunkSize, payload-offset))
		read := content[:max(0, min(int64(len(content)), plan.Size-offset))]
		if n, err := source.ReadAt(read, offset); n < len(read) {
			return digests, fmt.Errorf("read the source again: %w", err)
		}
		digests = append(digests, sha256.Sum256(content))
	}
	return digests, nil
}

// Verify implements Copier.
func (b BlockCopier) Verify(ctx context.Context, r VerifyRequest) (result blockcopy.Result, err error) {
	payload, err := b.openPayload(ctx, r)
	if err != nil {
		return blockcopy.Result{}, err
	}
	defer payload.Close() // it was only read
	job := blockcopy.VerifyJob{
		Payload: payload, PayloadSize: r.Bytes, Chunks: r.Chunks, MaxRate: r.Pace.MaxRate, Throttle: b.Rates.throttle(r.Pace.MaxRate),
		IOIdle: r.Pace.Idle, Retries: r.Pace.Retries, Workers: r.Pace.Workers, BlockSize: r.Pace.BlockSize, Progress: r.Progress,
	}
	if r.Source != nil {
		source, err := b.openSource(ctx, *r.Source, r.Pace)
		if err != nil {
			return blockcopy.Result{}, err
		}
		defer func() { err = errors.Join(err, source.Close()) }()
		job.Source, job.Size = source, r.Source.Size
	}
	return blockcopy.Verify(ctx, job)
}
