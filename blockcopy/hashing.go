package blockcopy

import (
	"slices"
	"sync"

	"github.com/vmmigrate/vmmigrate/blockcopy/sha256pair"
)

// pairs brings together blocks of different chunks to be hashed two at a time,
// which takes a processor no longer than one (see package sha256pair).
//
// A worker hands in its block before it goes to the disk with the next thing it
// has to do there. When it is back, another may have hashed the block with its
// own; if not, it hashes its own, and with it another that still waits. So no
// worker waits for a second block, and no goroutine is needed to hash.
type pairs struct {
	mu      sync.Mutex
	waiting []*hashing
}

// hashing is one block on its way into a chunk's digest.
type hashing struct {
	sum   *sha256pair.Hash
	block []byte
	// done is sent to by another worker that has hashed the block.
	done chan struct{}
}

// add lets r be hashed by whoever comes first.
func (p *pairs) add(r *hashing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, r)
}

// take returns r if it still waits, and then another that waits longest.
func (p *pairs) take(r *hashing) (mine bool, other *hashing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, r)
	if i < 0 {
		return false, nil
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	if len(p.waiting) > 0 {
		other = p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
	}
	return true, other
}

// finish returns once r is hashed.
func (p *pairs) finish(r *hashing) {
	mine, other := p.take(r)
	switch {
	case !mine:
		<-r.done
	case other == nil:
		r.sum.Write(r.block)
	default:
		sha256pair.WritePair(r.sum, r.block, other.sum, other.block)
		other.done <- struct{}{}
	}
}

// hash hands b in to be added to the chunk's digest. Until hashed returns, b
// must not be changed, nor another block be handed in.
func (h *hand) hash(b []byte) {
	h.request.block = b
	h.pairs.add(&h.request)
}

// hashed returns once what was handed in last is hashed.
func (h *hand) hashed() { h.pairs.finish(&h.request) }
