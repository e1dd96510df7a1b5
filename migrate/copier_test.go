package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

func newChaCha(seed [32]byte) *rand.ChaCha8 { return rand.NewChaCha8(seed) }

func sum(bytes []byte) string {
	digest := sha256.Sum256(bytes)
	return hex.EncodeToString(digest[:])
}

// payload is what a decrypted device holds.
type payload struct {
	mu     sync.Mutex
	header string // the LUKS UUID it was written under
	live   []byte
	synced []byte // what survives a power cut
	// torn is an image that a power cut left damaged.
	torn bool
	// verified is set when a verification found it whole.
	verified bool
}

// payload is the one below a device, noise at first as dm-crypt's is.
func (w *world) payload(device string) (*payload, error) {
	mapping, err := w.luks.Mapping(context.Background(), strings.TrimPrefix(device, "/dev/mapper/"))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: device, Err: fs.ErrNotExist}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.payloads[mapping.Device]
	if p == nil {
		p = &payload{header: mapping.UUID, live: noise(mapping.UUID, mapping.Size)}
		p.synced = append([]byte(nil), p.live...)
		w.payloads[mapping.Device] = p
	}
	return p, nil
}

// disk is a source or payload as blockcopy sees it.
type disk struct {
	w       *world
	name    string
	source  []byte
	payload *payload
}

func (d *disk) Name() string { return d.name }

func (d *disk) Size() int64 {
	if d.payload != nil {
		return int64(len(d.payload.live))
	}
	return int64(len(d.source))
}

func (d *disk) ReadAt(p []byte, offset int64) (int, error) {
	content := d.source
	if d.payload != nil {
		d.payload.mu.Lock()
		defer d.payload.mu.Unlock()
		content = d.payload.live
	}
	if offset >= int64(len(content)) {
		return 0, io.EOF
	}
	n := copy(p, content[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *disk) WriteAt(p []byte, offset int64) (int, error) {
	return port(d.w, "bytes: write", func() (int, error) {
		if d.w.broken.Load() {
			return 0, syscall.EIO
		}
		d.payload.mu.Lock()
		defer d.payload.mu.Unlock()
		d.payload.verified = false
		return copy(d.payload.live[offset:], p), nil
	})
}

func (d *disk) Sync() error {
	return does(d.w, "bytes: flush", func() error {
		d.payload.mu.Lock()
		defer d.payload.mu.Unlock()
		d.payload.synced = append(d.payload.synced[:0], d.payload.live...)
		return nil
	})
}

// copier implements Copier with package blockcopy on slices. One worker makes
// the points it passes the same in every run.
type copier struct{ w *world }

var _ Copier = copier{}

const testBlock = 256 << 10

func (c copier) open(source string) (*disk, error) {
	s := c.w.source(source)
	if s == nil {
		return nil, &fs.PathError{Op: "open", Path: source, Err: fs.ErrNotExist}
	}
	return &disk{w: c.w, name: source, source: s.bytes}, nil
}

// target is what is at a path: an image or a payload.
func (c copier) target(path string, isImage bool) (*payload, error) {
	if !isImage {
		return c.w.payload(path)
	}
	if p := c.w.image(path); p != nil {
		return p, nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

func (c copier) Copy(ctx context.Context, r CopyRequest) (CopyResult, error) {
	return port(c.w, "bytes: copy", func() (CopyResult, error) {
		c.w.mustIntend(Copy)
		source, err := c.open(r.Source.Path)
		if err != nil {
			return CopyResult{}, err
		}
		p, err := c.target(r.Target, r.Image)
		if err != nil {
			return CopyResult{}, err
		}
		target := &disk{w: c.w, name: r.Target, payload: p}
		c.w.mu.Lock()
		c.w.trusting = r.Unchecked
		c.w.mu.Unlock()
		c.w.meanwhile(ctx, Copy)
		result, err := blockcopy.Copy(ctx, blockcopy.Job{
			Source: source, Size: r.Source.Size, Target: target, PayloadSize: r.Payload, Done: r.Chunks, Workers: 1, BlockSize: testBlock,
		})
		r.Progress(blockcopy.Progress{Done: result.Bytes, Total: r.Payload})
		return CopyResult{Result: result, Remarks: c.w.remark}, err
	})
}

// meanwhile does what a test wants to happen while bytes move.
func (w *world) meanwhile(ctx context.Context, step StepName) {
	w.mu.Lock()
	during := w.during
	w.mu.Unlock()
	if during != nil {
		during(ctx, step)
	}
}

func (c copier) Verify(ctx context.Context, r VerifyRequest) (blockcopy.Result, error) {
	return port(c.w, "bytes: verify", func() (blockcopy.Result, error) {
		p, err := c.target(r.Payload, r.Image)
		if err != nil {
			return blockcopy.Result{}, err
		}
		c.w.meanwhile(ctx, Verify)
		job := blockcopy.VerifyJob{
			Payload: &disk{w: c.w, name: r.Payload, payload: p}, PayloadSize: r.Bytes, Chunks: r.Chunks, Workers: 1, BlockSize: testBlock,
		}
		if r.Source != nil {
			source, err := c.open(r.Source.Path)
			if err != nil {
				return blockcopy.Result{}, err
			}
			job.Source, job.Size = source, r.Source.Size
		}
		result, err := blockcopy.Verify(ctx, job)
		p.mu.Lock()
		p.verified = err == nil
		p.mu.Unlock()
		return result, err
	})
}

// WriteRate finds dm-crypt's work queues to cost what w.queues says.
func (c copier) WriteRate(_ context.Context, payload string, bytes int64) (float64, error) {
	return port(c.w, "bytes: measure", func() (float64, error) {
		p, err := c.w.payload(payload)
		if err != nil {
			return 0, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		clear(p.live[:min(bytes, int64(len(p.live)))])
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		if c.w.opened[strings.TrimPrefix(payload, "/dev/mapper/")].NoWriteWorkqueue {
			return 100 * c.w.queues, nil
		}
		return 100, nil
	})
}

func (c copier) SourceDigests(_ context.Context, source SourcePlan, payload int64, chunks []int64, _ Pace) ([]blockcopy.Digest, error) {
	return port(c.w, "bytes: digest", func() ([]blockcopy.Digest, error) {
		opened, err := c.open(source.Path)
		if err != nil {
			return nil, err
		}
		var digests []blockcopy.Digest
		for _, chunk := range chunks {
			offset := chunk * blockcopy.ChunkSize
			content := make([]byte, min(payload-offset, blockcopy.ChunkSize))
			if offset < source.Size {
				copy(content, opened.source[offset:source.Size])
			}
			digests = append(digests, sha256.Sum256(content))
		}
		return digests, nil
	})
}

// checkBeforeDefine fails unless all payloads are whole, flushed and verified
// and the original is off: invariant 4.
func (w *world) checkBeforeDefine() {
	w.mustIntend(Define)
	for id, records := range w.journals() {
		var plan Plan
		if err := json.Unmarshal(records[0].Data, &plan); err != nil {
			w.t.Fatalf("%s: %v", id, err)
		}
		intended := false
		for _, r := range records {
			intended = r.Kind == journal.Intent && r.Step == string(Define)
		}
		if !intended {
			continue // another job's
		}
		if original := w.virt.find(plan.VM); plan.Adopted == nil && original.State != hypervisor.ShutOff {
			w.t.Errorf("the clone is defined while the original is %+v", original)
		}
		for i := range plan.Disks {
			disk := &plan.Disks[i]
			if problem := w.compare(disk); problem != "" {
				w.t.Errorf("the clone is defined although %s is not whole: %s", disk.Target, problem)
				continue
			}
			w.mu.Lock()
			p := w.payloads[w.luks.Resolve(disk.Volume.Path)]
			if disk.Filesystem != nil {
				p = w.imageOf(disk)
			}
			verified := p.verified
			w.mu.Unlock()
			if plan.Options.Verify != VerifyNone && !verified {
				w.t.Errorf("the clone is defined although %s was not verified", disk.Target)
			}
		}
	}
}
