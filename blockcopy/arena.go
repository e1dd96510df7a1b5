package blockcopy

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// arenaSize bounds the buffers of all workers together, in bytes. The
	// whole process is promised to stay under 64 MiB.
	arenaSize = 32 << 20
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
