//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watched are the system calls that can be instants, beside the openat that
// makes or empties a file.
var watched = []uint32{
	unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
	unix.SYS_FTRUNCATE, unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE, unix.SYS_WRITE, unix.SYS_PWRITE64,
	unix.SYS_WRITEV, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_FALLOCATE, unix.SYS_FCHMOD,
}

// filter stops a program at the watched system calls for its tracer and lets
// all others be: to stop at each takes longer than all the program does
// (seccomp(2), SECCOMP_RET_TRACE). The programs that it runs inherit the filter,
// so they have to be traced to their end; without a tracer, such a call fails.
func filter() []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		any   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		give  = unix.BPF_RET | unix.BPF_K
		// Offsets in struct seccomp_data: the call's number, and the lower
		// half of its third argument, openat's flags.
		number, flags = 0, 32
	)
	n := uint8(len(watched))
	program := []unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_OPENAT, Jt: n + 1},
	}
	for i, call := range watched {
		program = append(program, unix.SockFilter{Code: equal, K: call, Jt: n - uint8(i) + 2})
	}
	return append(program,
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: load, K: flags},
		unix.SockFilter{Code: any, K: unix.O_CREAT | unix.O_TRUNC, Jf: 1},
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_TRACE},
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW},
	)
}

// under becomes another program, under the filter.
func under(argv []string) error {
	// The filter is this thread's, which is the one that execs.
	runtime.LockOSThread()
	program := filter()
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return syscall.Exec(argv[0], argv, os.Environ())
}
