package blockcopy

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// manner is how the threads of a copy are run.
type manner struct {
	// idle puts a thread's reads and writes into the idle I/O class.
	idle bool
	// near, unless nil, is the processors that it may run on. Its buffer is
	// then near, too: the kernel takes memory from the node of the processor
	// that touches it first.
	near *unix.CPUSet
}

// take makes the calling goroutine's thread one of that manner and keeps it for
// the goroutine: the thread ends with it, so no other goroutine inherits it.
func (m manner) take() error {
	if !m.idle && m.near == nil {
		return nil
	}
	runtime.LockOSThread()
	if m.near != nil {
		// Where it fails, as in a control group whose processors have been
		// changed meanwhile, a copy from afar is only slower.
		_ = unix.SchedSetaffinity(0, m.near)
	}
	if m.idle {
		return becomeIdle()
	}
	return nil
}

// From linux/ioprio.h: the idle class, and whose priority is set.
const (
	ioprioClassShift = 13
	ioprioClassIdle  = 3
	ioprioWhoProcess = 1
)

// becomeIdle puts the calling thread into the idle I/O class.
func becomeIdle() error {
	_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioClassIdle<<ioprioClassShift)
	if errno != 0 {
		return os.NewSyscallError("ioprio_set", errno)
	}
	return nil
}
