package blockcopy

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// input reads a device block by block, each block whole or not at all.
type input struct {
	source  Source
	retries int
	unit    int64
	retried *atomic.Int64
}

// Pauses between tries: long enough for a path to fail over or a drive to
// spin up, short enough to lose no evening over a dead sector.
const (
	retryPause    = 200 * time.Millisecond
	retryPauseMax = 5 * time.Second
)

// read fills p from offset, or returns a *ShortError, a *ReadError or the
// context's cause.
func (in *input) read(ctx context.Context, p []byte, offset int64) error {
	pause := retryPause
	for attempt := 1; ; attempt++ {
		n, err := in.source.ReadAt(p, offset)
		if n == len(p) {
			return nil // io.ReaderAt may tell of the end along with the last byte
		}
		if err == nil || errors.Is(err, io.EOF) {
			return &ShortError{Name: in.source.Name(), Offset: offset + int64(n), Missing: int64(len(p) - n)}
		}
		if attempt > in.retries {
			at, length := narrow(offset, int64(len(p)), in.unit, func(at, length int64) bool {
				n, _ := in.source.ReadAt(p[at-offset:at-offset+length], at)
				return int64(n) == length
			})
			return &ReadError{Name: in.source.Name(), Offset: at, Length: length, Sector: at / SectorSize, Attempts: attempt, Err: err}
		}
		in.retried.Add(1)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, retryPauseMax)
	}
}

// output writes a device block by block.
type output struct {
	target Target
	unit   int64
}

// write writes p at offset, or returns a *WriteError. To name the sector, a
// block that failed is written again in pieces; it counts as failed whatever
// comes of that.
func (out *output) write(p []byte, offset int64) error {
	n, err := out.target.WriteAt(p, offset)
	if err == nil && n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	at, length := narrow(offset, int64(len(p)), out.unit, func(at, length int64) bool {
		n, err := out.target.WriteAt(p[at-offset:at-offset+length], at)
		return err == nil && int64(n) == length
	})
	return &WriteError{Name: out.target.Name(), Offset: at, Length: length, Sector: at / SectorSize, Err: err}
}

// narrow finds the first piece of length bytes at offset, down to unit, for
// which try fails. It gives up where all pieces of a piece that failed succeed.
func narrow(offset, length, unit int64, try func(offset, length int64) bool) (at, n int64) {
	for length > unit {
		piece := max(unit, (length/16+unit-1)/unit*unit)
		end, failed := offset+length, false
		for at := offset; at < end && !failed; at += piece {
			n := min(piece, end-at)
			if !try(at, n) {
				offset, length, failed = at, n, true
			}
		}
		if !failed {
			break
		}
	}
	return offset, length
}

// alignOf is what a device's I/O should be aligned to, in bytes.
func alignOf(d any) int64 {
	if a, ok := d.(Aligned); ok && a.Align() > 0 {
		return int64(a.Align())
	}
	return SectorSize
}

// directOf tells whether a device passes the page cache.
func directOf(d any) bool {
	a, ok := d.(Directed)
	return ok && a.Direct()
}

// content is a source seen as the payload it becomes: data, holes and padding.
type content struct {
	input
	size  int64
	zeros []byte
}

// block returns the payload's bytes at offset at, len(p) of them, read into p
// or, where there is no data, zeros that must not be written to.
func (c *content) block(ctx context.Context, p []byte, at int64, data []span) ([]byte, error) {
	end := at + int64(len(p))
	holds := false
	for _, s := range data {
		holds = holds || s.start < end && s.end > at
	}
	if !holds {
		return c.zeros[:len(p)], nil
	}
	n := min(end, c.size) - at
	if err := c.read(ctx, p[:n], at); err != nil {
		return nil, err
	}
	clear(p[n:])
	return p, nil
}
