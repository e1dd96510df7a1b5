package blockcopy

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// From linux/ioprio.h: the idle class, and whose priority is set.
const (
	ioprioClassShift = 13
	ioprioClassIdle  = 3
	ioprioWhoProcess = 1
)

// becomeIdle puts the calling goroutine's thread into the idle I/O class and
// keeps it for the goroutine: the thread ends with it, so no other goroutine
// inherits the class.
func becomeIdle() error {
	runtime.LockOSThread()
	_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioClassIdle<<ioprioClassShift)
	if errno != 0 {
		runtime.UnlockOSThread()
		return os.NewSyscallError("ioprio_set", errno)
	}
	return nil
}
