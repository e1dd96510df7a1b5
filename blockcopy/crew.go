package blockcopy

import (
	"context"
	"crypto/sha256"
	"hash"
	"sync"
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
	sum hash.Hash
}

// crew runs t.workers goroutines that call work until it says that there is
// no more, fails, or the context ends. A worker reads, hashes and writes one
// after another; the devices and processors are kept busy by the other
// workers, and every block is hashed while it is still in the cache. It
// returns the first error once all have ended.
func crew(ctx context.Context, t tuning, a *arena, m manner, work func(context.Context, *hand) (more bool, err error)) error {
	a.trim(int64(t.workers) * t.block)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	var once sync.Once
	var first error
	fail := func(err error) {
		once.Do(func() { first = err })
		cancel(err)
	}
	for i := range t.workers {
		group.Go(func() {
			if err := m.take(); err != nil {
				fail(err)
				return
			}
			h := &hand{buffer: a.buffer(i, t.block), sum: sha256.New()}
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
