package migrate

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

// CopyRequest is one disk to copy.
type CopyRequest struct {
	// Source is the plain disk's path, and Size its bytes.
	Source string
	Size   int64
	// Target is the payload's path, and Payload its bytes.
	Target  string
	Payload int64
	// Chunks is the record of what is done.
	Chunks *blockcopy.Chunks
	// Pace is how hard it may press the disks.
	Pace Pace
	// Progress is called about twice a second.
	Progress func(blockcopy.Progress)
}

// Pace says how hard a copy may press the disks; its zero value is as hard as
// they let it.
type Pace struct {
	// MaxRate is the most bytes a second, 0 for no limit.
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
	// Payload is its path, and Bytes its size.
	Payload string
	Bytes   int64
	// Chunks are the digests to hold it against; nil compares with the source
	// alone.
	Chunks *blockcopy.Chunks
	// Source is the plain disk to read again, and Size its bytes; empty reads
	// the payload alone.
	Source string
	Size   int64
	// Pace is how hard it may press the disks.
	Pace Pace
	// Progress is called about twice a second.
	Progress func(blockcopy.Progress)
}

// BlockCopier copies with package blockcopy.
type BlockCopier struct{}

var _ Copier = BlockCopier{}

// Copy implements Copier.
func (BlockCopier) Copy(ctx context.Context, r CopyRequest) (CopyResult, error) {
	source, err := blockcopy.OpenSource(r.Source)
	if err != nil {
		return CopyResult{}, err
	}
	defer source.Close() // it was only read
	claim, err := claimSource(r.Source)
	if err != nil {
		return CopyResult{}, err
	}
	defer claim.Close() // it was only held
	target, err := blockcopy.OpenTarget(r.Target, r.Payload)
	if err != nil {
		return CopyResult{}, err
	}
	result, err := blockcopy.Copy(ctx, blockcopy.Job{
		Source: source, Size: r.Size, Target: target, PayloadSize: r.Payload, Done: r.Chunks,
		MaxRate: r.Pace.MaxRate, IOIdle: r.Pace.Idle, Retries: r.Pace.Retries, Workers: r.Pace.Workers, BlockSize: r.Pace.BlockSize,
		Progress: r.Progress,
	})
	if closeErr := target.Close(); err == nil {
		err = closeErr
	}
	remarked := CopyResult{Result: result}
	if err == nil && !result.SourceDirect {
		remarked.Remarks = append(remarked.Remarks, r.Source+" was read through the page cache: its filesystem has no direct I/O")
	}
	return remarked, err
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

// claimSource opens a source so that, if it is a block device, this host can
// neither mount nor map it for as long (open(2), O_EXCL). Of a file the flag
// means nothing.
func claimSource(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&os.ModeDevice == 0 {
		return os.Open(path)
	}
	return os.OpenFile(path, os.O_RDONLY|os.O_EXCL, 0)
}

// SourceDigest implements Copier. What lies between the source's end and the
// payload's is zeros.
func (BlockCopier) SourceDigest(_ context.Context, source string, size, payload, chunk int64) (blockcopy.Digest, error) {
	file, err := os.Open(source)
	if err != nil {
		return blockcopy.Digest{}, err
	}
	defer file.Close() // it was only read
	offset := chunk * blockcopy.ChunkSize
	content := make([]byte, min(blockcopy.ChunkSize, payload-offset))
	read := content[:max(0, min(int64(len(content)), size-offset))]
	if _, err := file.ReadAt(read, offset); err != nil {
		return blockcopy.Digest{}, fmt.Errorf("read the source again: %w", err)
	}
	return sha256.Sum256(content), nil
}

// Verify implements Copier.
func (BlockCopier) Verify(ctx context.Context, r VerifyRequest) (blockcopy.Result, error) {
	payload, err := blockcopy.OpenSource(r.Payload)
	if err != nil {
		return blockcopy.Result{}, err
	}
	defer payload.Close() // it was only read
	job := blockcopy.VerifyJob{
		Payload: payload, PayloadSize: r.Bytes, Chunks: r.Chunks, Size: r.Size, MaxRate: r.Pace.MaxRate, IOIdle: r.Pace.Idle,
		Retries: r.Pace.Retries, Workers: r.Pace.Workers, BlockSize: r.Pace.BlockSize, Progress: r.Progress,
	}
	if r.Source != "" {
		source, err := blockcopy.OpenSource(r.Source)
		if err != nil {
			return blockcopy.Result{}, err
		}
		defer source.Close() // it was only read
		job.Source = source
	}
	return blockcopy.Verify(ctx, job)
}
