package blockcopy

import (
	"context"
	"sync"

	"github.com/vmmigrate/vmmigrate/blockcopy/sha256pair"
)

// tuning is how work is spread.
type tuning struct {
	workers int
	block   int64
}

// hand is what one worker owns.
type hand struct {
	buffer []byte
	// sum is the digest of the chunk under way.
	sum *sha256pair.Hash

	pairs   *pairs
	request hashing
}

// halves are two buffers in place of one, so that one can be read into while
// the other is hashed. There is no other in a buffer of a single unit.
func (h *hand) halves(unit int64) (one, other []byte) {
	n := int64(len(h.buffer)) / 2 / unit * unit
	if n == 0 {
		return h.buffer, nil
	}
	return h.buffer[:n:n], h.buffer[n : 2*n : 2*n]
}

// crew runs t.workers goroutines that call work until it says that there is
// no more, fails, or the context ends. While one worker waits for a disk, the
// others keep the other disk and the processors busy. It returns the first
// error once all have ended.
func crew(ctx context.Context, t tuning, a *arena, m manner, work func(context.Context, *hand) (more bool, err error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	var once sync.Once
	var first error
	fail := func(err error) {
		once.Do(func() { first = err })
		cancel(err)
	}
	pairs := &pairs{}
	for i := range t.workers {
		group.Go(func() {
			if err := m.take(); err != nil {
				fail(err)
				return
			}
			h := &hand{buffer: a.buffer(i, t.block), sum: sha256pair.New(), pairs: pairs}
			h.request = hashing{sum: h.sum, done: make(chan struct{}, 1)}
			for {
				if ctx.Err() != nil {
					fail(context.Cause(ctx))
					return
				}
				more, err := work(ctx, h)
				if err != nil {
					fail(err)
				}
				if err != nil || !more {
					return
				}
			}
		})
	}
	group.Wait()
	return first
}
