package blockcopy

import (
	"bytes"
	"context"
	"time"
)

// errand is one chunk to copy.
type errand struct {
	index, start, end int64
	// data is where it may hold data; none means that it is all zeros.
	data []span
}

// crew copies chunks until there are none left or until says stop.
func (c *copier) crew(ctx context.Context, t tuning, until func() bool) (more bool, err error) {
	err = crew(ctx, t, c.arena, c.manner, func(ctx context.Context, h *hand) (bool, error) {
		if until() {
			return false, nil
		}
		e, ok := c.take()
		if !ok {
			return false, nil
		}
		return true, c.copy(ctx, h, e)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next < c.chunks.Len(), err
}

// take returns the next chunk that is not done, in ascending order.
func (c *copier) take() (errand, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.next < c.chunks.Len() && c.chunks.Done(c.next) {
		c.next++
	}
	if c.next >= c.chunks.Len() {
		return errand{}, false
	}
	e := errand{index: c.next, start: c.next * c.job.ChunkSize}
	e.end = e.start + c.chunks.length(c.next)
	e.data = c.holes.within(e.start, e.end)
	c.next++
	return e, true
}

// copy copies one chunk and notes it as finished.
func (c *copier) copy(ctx context.Context, h *hand, e errand) error {
	var digest Digest
	var err error
	if len(e.data) == 0 {
		digest, err = c.zero(ctx, h, e)
	} else {
		digest, err = c.blocks(ctx, h, e)
	}
	if err != nil {
		return err
	}
	c.count.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, finished{index: e.index, digest: digest, hashed: !c.job.NoDigest})
	return nil
}

// blocks copies a chunk block by block.
func (c *copier) blocks(ctx context.Context, h *hand, e errand) (Digest, error) {
	h.sum.Reset()
	for at := e.start; at < e.end; {
		n := min(int64(len(h.buffer)), e.end-at)
		if err := c.pace(ctx, n); err != nil {
			return Digest{}, err
		}
		b, err := c.from.block(ctx, h.buffer[:n], at, e.data)
		if err != nil {
			return Digest{}, err
		}
		if !c.job.NoDigest {
			_, _ = h.sum.Write(b) // a hash never fails
		}
		if &b[0] != &h.buffer[0] {
			c.unread.Add(n)
		}
		if err := c.to.write(b, at); err != nil {
			return Digest{}, err
		}
		c.wrote(n)
		at += n
	}
	if c.job.NoDigest {
		return Digest{}, nil
	}
	return Digest(h.sum.Sum(nil)), nil
}

// pace waits until n more bytes may be copied, or returns the context's cause.
func (c *copier) pace(ctx context.Context, n int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.throttle.Wait(ctx, n)
}

func (c *copier) wrote(n int64) {
	c.bytes.Add(n)
	c.meter.done.Add(n)
}

// zero makes a chunk zeros, by whichever way is faster.
func (c *copier) zero(ctx context.Context, h *hand, e errand) (Digest, error) {
	length := e.end - e.start
	ask, trial := c.zeroing.choose()
	begin := time.Now()
	if ask {
		if err := c.pace(ctx, length); err != nil {
			return Digest{}, err
		}
		begin = time.Now()
		if c.ask(h, e, trial) {
			c.zeroed.Add(length)
			c.unread.Add(length)
			c.wrote(length)
			return c.zeroDigest(h, length), nil
		}
		c.zeroing.refuse()
	}
	for at := e.start; at < e.end; {
		n := min(int64(len(h.buffer)), e.end-at)
		if err := c.pace(ctx, n); err != nil {
			return Digest{}, err
		}
		if err := c.to.write(c.arena.zeros[:n], at); err != nil {
			return Digest{}, err
		}
		c.unread.Add(n)
		c.wrote(n)
		at += n
	}
	if trial && length == c.job.ChunkSize {
		c.zeroing.timed(false, time.Since(begin))
	}
	return c.zeroDigest(h, length), nil
}

// ask lets the kernel zero a chunk and tells whether it did. Any failure is
// met again, and named, by writing the chunk.
func (c *copier) ask(h *hand, e errand, trial bool) bool {
	begin := time.Now()
	if c.zeroing.zeroer.ZeroAt(e.start, e.end-e.start) != nil {
		return false
	}
	took := time.Since(begin)
	if !trial {
		return true
	}
	for at := e.start; at < e.end; {
		p := h.buffer[:min(int64(len(h.buffer)), e.end-at)]
		if n, _ := c.to.target.ReadAt(p, at); n != len(p) || !bytes.Equal(p, c.arena.zeros[:n]) {
			return false
		}
		at += int64(len(p))
	}
	if e.end-e.start == c.job.ChunkSize {
		c.zeroing.timed(true, took)
	}
	return true
}

// zeroDigest is the digest of length zeros, computed once for each of the two
// lengths there are.
func (c *copier) zeroDigest(h *hand, length int64) Digest {
	if c.job.NoDigest {
		return Digest{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.zeroSums[length]
	if !ok {
		h.sum.Reset()
		_, _ = h.sum.Write(c.arena.zeros[:length]) // a hash never fails
		d = Digest(h.sum.Sum(nil))
		c.zeroSums[length] = d
	}
	return d
}
