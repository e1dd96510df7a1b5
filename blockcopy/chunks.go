package blockcopy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Chunks is the record of the chunks of one payload that are written and
// flushed, with their digests. It is safe for use by several goroutines. One
// with a file holds only a few bits a chunk in memory.
type Chunks struct {
	header
	path string

	mu sync.Mutex
	// file is nil for a record in memory; memory then has all its pages.
	file   recordFile
	memory map[int64]page
	// done has a bit a chunk.
	done  []uint64
	bytes int64
}

// recordFile is what a record needs of its file, an *os.File.
type recordFile interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Close() error
}

// finished is a chunk that was written.
type finished struct {
	index  int64
	digest Digest
	hashed bool
}

// NewChunks returns an empty record in memory, for payload bytes in chunks of
// ChunkSize.
func NewChunks(payload int64) *Chunks { return newChunks(header{payload: payload, chunk: ChunkSize}) }

func newChunks(h header) *Chunks {
	n := chunkCount(h.payload, h.chunk)
	return &Chunks{header: h, memory: map[int64]page{}, done: make([]uint64, (n+63)/64)}
}

// CreateChunks makes an empty record in the file path, replacing one that is
// there, and returns once the file will survive a power cut. identity, of at
// most 1024 bytes (else a *JobError), says what the record is about (a LUKS UUID, say); who loads
// it should compare. The file has mode 0600.
func CreateChunks(path string, payload int64, identity string) (*Chunks, error) {
	return createChunks(path, header{payload: payload, chunk: ChunkSize, identity: identity})
}

func createChunks(path string, h header) (*Chunks, error) {
	if len(h.identity) > maxIdentity {
		return nil, &JobError{Field: "identity", Reason: fmt.Sprintf("%d bytes, more than %d", len(h.identity), maxIdentity)}
	}
	// Beside its own place: renameio would try /tmp first, where nobody looks for
	// what a kill leaves.
	t, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o600), renameio.IgnoreUmask())
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.Cleanup() }() // does nothing after the replacement
	c := newChunks(h)
	size := (firstPage + pages(c.Len())) * pageSize
	if err := t.Truncate(size); err != nil {
		return nil, err
	}
	// Where the filesystem can't reserve the room, a checkpoint that finds
	// none fails with ENOSPC, which is as safe and only less early.
	err = unix.Fallocate(int(t.Fd()), 0, 0, size)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, &os.PathError{Op: "fallocate", Path: path, Err: err}
	}
	if _, err := t.WriteAt(h.encode(), 0); err != nil {
		return nil, err
	}
	if err := t.CloseAtomicallyReplace(); err != nil {
		return nil, err
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	c.path, c.file, c.memory = path, f, nil
	return c, nil
}

// syncFolder makes a rename in folder durable, which renameio leaves undone.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // nothing was written through it
	return d.Sync()
}

// LoadChunks reads the record in the file path and puts right what a power cut
// left half written. It returns a *RecordError when the file is damaged beyond
// that, or no record, and the system's error (fs.ErrNotExist, say) when it
// can't be read.
func LoadChunks(path string) (*Chunks, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	c, err := loadChunks(f, path)
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		return nil, err
	}
	return c, nil
}

func loadChunks(f *os.File, path string) (*Chunks, error) {
	b := make([]byte, firstPage*pageSize)
	if n, err := f.ReadAt(b, 0); errors.Is(err, io.EOF) {
		return nil, &RecordError{Path: path, Offset: int64(n), Reason: "the file ends early"}
	} else if err != nil {
		return nil, err
	}
	h, reason := decodeHeader(b)
	if reason != "" {
		return nil, &RecordError{Path: path, Reason: reason}
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// The file's own size is compared before anything is allocated by what
	// its header says.
	if want := (firstPage + pages(chunkCount(h.payload, h.chunk))) * pageSize; info.Size() != want {
		return nil, &RecordError{Path: path, Offset: info.Size(), Reason: fmt.Sprintf("the file has %d bytes, not %d", info.Size(), want)}
	}
	c := newChunks(h)
	c.path, c.file, c.memory = path, f, nil
	journal := readJournal(b[pageSize:])
	for i := range pages(c.Len()) {
		p, err := c.read(i)
		if err != nil {
			saved, ok := journal[i]
			if !ok {
				return nil, err
			}
			if err := c.write([]page{saved}); err != nil {
				return nil, err
			}
			p = saved
		}
		c.note(p, i)
	}
	return c, nil
}

// readJournal returns the whole pages of the journal, the newest of each.
func readJournal(b []byte) map[int64]page {
	found := map[int64]page{}
	for ; len(b) >= pageSize; b = b[pageSize:] {
		p := page(b[:pageSize])
		if !p.whole() {
			continue
		}
		if old, ok := found[p.index()]; !ok || old.version() < p.version() {
			found[p.index()] = p
		}
	}
	return found
}

// read returns page i of the file, or a blank one that was never written.
func (c *Chunks) read(i int64) (page, error) {
	p := make(page, pageSize)
	offset := (firstPage + i) * pageSize
	if n, err := c.file.ReadAt(p, offset); errors.Is(err, io.EOF) {
		return nil, &RecordError{Path: c.path, Offset: offset + int64(n), Reason: "the file ends early"}
	} else if err != nil {
		return nil, err
	}
	if p.blank() {
		return newPage(i), nil
	}
	if !p.whole() || p.index() != i {
		return nil, &RecordError{Path: c.path, Offset: offset, Reason: "a page of digests is damaged"}
	}
	return p, nil
}

// page returns page i for reading or change.
func (c *Chunks) page(i int64) (page, error) {
	if c.file != nil {
		return c.read(i)
	}
	if p, ok := c.memory[i]; ok {
		return p, nil
	}
	return newPage(i), nil
}

// note takes over which chunks page p, number i, says are done.
func (c *Chunks) note(p page, i int64) {
	for slot := range int64(pageChunks) {
		index := i*pageChunks + slot
		if index >= c.Len() {
			return
		}
		if p.bit(pageDone, slot) && !c.has(index) {
			c.done[index/64] |= 1 << (index % 64)
			c.bytes += c.length(index)
		}
	}
}

// add records batch. It is durable on return, if the record has a file. The
// caller has flushed the target before.
func (c *Chunks) add(batch []finished) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := map[int64]page{}
	for _, f := range batch {
		i := f.index / pageChunks
		p, ok := changed[i]
		if !ok {
			var err error
			if p, err = c.page(i); err != nil {
				return err
			}
			changed[i] = p
		}
		p.set(f.index%pageChunks, f)
	}
	for _, i := range slices.Sorted(maps.Keys(changed)) {
		changed[i].seal()
	}
	if c.file == nil {
		maps.Copy(c.memory, changed)
	} else {
		order := slices.Sorted(maps.Keys(changed))
		for group := range slices.Chunk(order, journalPages) {
			var list []page
			for _, i := range group {
				list = append(list, changed[i])
			}
			if err := c.write(list); err != nil {
				return err
			}
		}
	}
	for i, p := range changed {
		c.note(p, i)
	}
	return nil
}

// write puts at most journalPages sealed pages first into the journal and then
// in their places, each durable before the next begins.
func (c *Chunks) write(list []page) error {
	for n, p := range list {
		if _, err := c.file.WriteAt(p, int64(1+n)*pageSize); err != nil {
			return err
		}
	}
	if err := c.file.Sync(); err != nil {
		return err
	}
	for _, p := range list {
		if _, err := c.file.WriteAt(p, (firstPage+p.index())*pageSize); err != nil {
			return err
		}
	}
	return c.file.Sync()
}

func (c *Chunks) has(index int64) bool { return c.done[index/64]&(1<<(index%64)) != 0 }

// length is the bytes of chunk index: the last one may be short.
func (c *Chunks) length(index int64) int64 { return min(c.chunk, c.payload-index*c.chunk) }

// Len is how many chunks the payload has.
func (c *Chunks) Len() int64 { return chunkCount(c.payload, c.chunk) }

// Payload is the payload's size in bytes.
func (c *Chunks) Payload() int64 { return c.payload }

// Identity is what CreateChunks was given.
func (c *Chunks) Identity() string { return c.identity }

// Path is the record's file, "" if it is in memory.
func (c *Chunks) Path() string { return c.path }

// Done tells whether chunk index, from 0, is recorded.
func (c *Chunks) Done(index int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return index >= 0 && index < c.Len() && c.has(index)
}

// DoneBytes is how many bytes of the payload the recorded chunks have.
func (c *Chunks) DoneBytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// Complete tells whether every chunk is recorded.
func (c *Chunks) Complete() bool { return c.DoneBytes() == c.payload }

// Digest is the recorded digest of chunk index. It returns an
// *IncompleteError when there is none, a *RecordError when the file is damaged.
func (c *Chunks) Digest(index int64) (Digest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if index < 0 || index >= c.Len() {
		return Digest{}, &IncompleteError{Chunk: index}
	}
	p, err := c.page(index / pageChunks)
	if err != nil {
		return Digest{}, err
	}
	if !p.bit(pageHashed, index%pageChunks) {
		return Digest{}, &IncompleteError{Chunk: index}
	}
	return p.digest(index % pageChunks), nil
}

// JobDigest is the SHA-256 over the digests of all chunks in order. It returns
// an *IncompleteError when one is missing, a *RecordError when the file is
// damaged.
func (c *Chunks) JobDigest() (Digest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := sha256.New()
	for i := range pages(c.Len()) {
		p, err := c.page(i)
		if err != nil {
			return Digest{}, err
		}
		for slot := range min(pageChunks, c.Len()-i*pageChunks) {
			if !p.bit(pageHashed, slot) {
				return Digest{}, &IncompleteError{Chunk: i*pageChunks + slot}
			}
			d := p.digest(slot)
			_, _ = sum.Write(d[:]) // a hash never fails
		}
	}
	return Digest(sum.Sum(nil)), nil
}

// Close closes the record's file. What was recorded is durable already.
func (c *Chunks) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
