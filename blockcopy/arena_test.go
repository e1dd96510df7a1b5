package blockcopy

import (
	"context"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resident is how many bytes of memory are backed by pages (mincore(2)).
func resident(t *testing.T, memory []byte) int {
	t.Helper()
	page := unix.Getpagesize()
	pages := make([]byte, (len(memory)+page-1)/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&memory[0])), uintptr(len(memory)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	n := 0
	for _, p := range pages {
		n += int(p&1) * page
	}
	return n
}

func TestATuningKeepsNoMemoryOfTheOneBefore(t *testing.T) {
	a, err := newArena(ChunkSize)
	if err != nil {
		t.Fatal(err)
	}
	defer a.free()
	// Both as crew has them: each worker touches all of its buffer.
	for _, use := range []tuning{{4, 4 << 20}, {8, 1 << 20}, {1, 1<<20 + 512}} {
		err := crew(t.Context(), use, a, manner{}, func(_ context.Context, h *hand) (bool, error) {
			clear(h.buffer)
			return false, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// A huge page may reach behind the last buffer.
		if got := resident(t, a.buffers); got > use.workers*int(use.block)+arenaAlign {
			t.Errorf("%d workers with %d bytes each take %d", use.workers, use.block, got)
		}
	}
}
