package blockcopy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// disk is a device in memory that records every write and flush, fails where
// it is told to, and loses at crash what was not flushed.
type disk struct {
	name  string
	align int

	mu sync.Mutex
	// data is what reads return, durable what the last flush made safe.
	data, durable []byte
	// written counts how often each byte was written.
	written []int
	flushes int
	reads   int
	log     []span
	// readFails and writeFails are asked before each I/O. No hook is called
	// with mu held: some sleep.
	readFails  func(offset, length int64) error
	writeFails func(offset, length int64) error
	syncFails  func() error
	// shortWrite and shortRead are the most bytes one call takes or gives.
	shortWrite, shortRead int64
	// data ranges, for a source with a map of its holes.
	mapped  []span
	mapFail error
	// onSync is called within a flush, before it takes effect.
	onSync func()
	// zeroOut is what ZeroAt does; nil is errors.ErrUnsupported.
	zeroOut func(d *disk, offset, length int64) error
}

func newDisk(name string, data []byte) *disk {
	return &disk{name: name, data: data, durable: slices.Clone(data), written: make([]int, len(data))}
}

// noise is a fresh dm-crypt device: no byte of it is zero.
func noise(n int64) []byte { return bytes.Repeat([]byte{0xa5}, int(n)) }

func (d *disk) Name() string { return d.name }
func (d *disk) Size() int64  { return int64(len(d.data)) }
func (d *disk) Align() int   { return d.align }

func (d *disk) ReadAt(p []byte, offset int64) (int, error) {
	if d.readFails != nil {
		if err := d.readFails(offset, int64(len(p))); err != nil {
			return 0, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	if offset >= int64(len(d.data)) {
		return 0, io.EOF
	}
	if d.shortRead > 0 && int64(len(p)) > d.shortRead {
		return copy(p[:d.shortRead], d.data[offset:]), nil
	}
	n := copy(p, d.data[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *disk) WriteAt(p []byte, offset int64) (int, error) {
	if offset < 0 || offset+int64(len(p)) > int64(len(d.data)) {
		return 0, fmt.Errorf("write of %d bytes at %d goes beyond %d", len(p), offset, len(d.data))
	}
	if d.writeFails != nil {
		if err := d.writeFails(offset, int64(len(p))); err != nil {
			return 0, err
		}
	}
	if d.shortWrite > 0 && int64(len(p)) > d.shortWrite {
		p = p[:d.shortWrite]
	}
	d.put(p, offset)
	return len(p), nil
}

func (d *disk) put(p []byte, offset int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.data[offset:], p)
	for i := range p {
		d.written[offset+int64(i)]++
	}
	d.log = append(d.log, span{offset, offset + int64(len(p))})
}

func (d *disk) Sync() error {
	d.mu.Lock()
	now := slices.Clone(d.data)
	d.mu.Unlock()
	if d.onSync != nil {
		d.onSync()
	}
	if d.syncFails != nil {
		if err := d.syncFails(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// Only what was written before the flush began is safe: what comes
	// during it may be lost.
	d.durable = now
	d.flushes++
	return nil
}

func (d *disk) ZeroAt(offset, length int64) error {
	if d.zeroOut == nil {
		return errors.ErrUnsupported
	}
	return d.zeroOut(d, offset, length)
}

// mappedDisk is a disk that knows its holes.
type mappedDisk struct{ *disk }

func (d mappedDisk) Data(offset int64) (start, end int64, err error) {
	if d.mapFail != nil {
		return 0, 0, d.mapFail
	}
	for _, s := range d.mapped {
		if s.end > offset {
			return max(s.start, offset), s.end, nil
		}
	}
	return d.Size(), d.Size(), nil
}
