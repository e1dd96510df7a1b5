package blockcopy

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// arenaSize bounds the buffers of all workers of a copy together, in bytes,
	// whatever is asked for. One that hashes, as those do that move disks side by
	// side, stays within measuredSize unless more is asked for: the whole process
	// is promised to stay under 64 MiB, with two of them too.
	arenaSize    = 32 << 20
	measuredSize = 16 << 20
	// arenaAlign is the size of a huge page, and a multiple of every logical
	// block.
	arenaAlign = 2 << 20
)

// arena is the memory all buffers are cut from. It is mapped once, outside the
// collector's heap, and takes up no more than is used of it.
type arena struct {
	mapped []byte
	// buffers is the aligned part of mapped.
	buffers []byte
	// zeros is never written, so that the kernel backs all of it with its one
	// page of zeros.
	zeros []byte
	// zeroMap is the mapping that zeros is in.
	zeroMap []byte
}

func newArena(zeros int64) (*arena, error) {
	a := &arena{}
	var err error
	a.mapped, err = unix.Mmap(-1, 0, arenaSize+arenaAlign, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map copy buffers: %w", err)
	}
	a.zeroMap, err = unix.Mmap(-1, 0, int(zeros)+unix.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map zeros: %w", err), a.free())
	}
	// In huge pages a block is pinned for direct I/O in two steps rather than
	// a thousand. It is advice: small pages do as well.
	_ = unix.Madvise(a.mapped, unix.MADV_HUGEPAGE)
	skip := -int(uintptr(unsafe.Pointer(&a.mapped[0]))) & (arenaAlign - 1)
	a.buffers = a.mapped[skip : skip+arenaSize : skip+arenaSize]
	a.zeros = a.zeroMap[:zeros:zeros]
	return a, nil
}

// buffer is the buffer of worker number i among those that use block bytes
// each.
func (a *arena) buffer(i int, block int64) []byte {
	start := int64(i) * block
	return a.buffers[start : start+block : start+block]
}

// trim gives the memory back that the first n bytes of the buffers do not take:
// what a tuning that was tried before took more of. What that was read into is
// read anew in any case.
func (a *arena) trim(n int64) {
	page := int64(unix.Getpagesize())
	if rest := a.buffers[min((n+page-1)/page*page, arenaSize):]; len(rest) > 0 {
		_ = unix.Madvise(rest, unix.MADV_DONTNEED) // it is kept, at worst
	}
}

func (a *arena) free() error {
	var errs []error
	for _, m := range [][]byte{a.mapped, a.zeroMap} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	a.mapped, a.buffers, a.zeroMap, a.zeros = nil, nil, nil, nil
	return errors.Join(errs...)
}
