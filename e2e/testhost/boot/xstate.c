/*
 * Lets Debian 12's linux.uml run on a CPU with AMX (Intel since Sapphire
 * Rapids). UML saves and restores the FPU state of the programs inside with
 * ptrace(PTRACE_SETREGSET, NT_X86_XSTATE) and a buffer of 2696 bytes. With
 * AMX the state is 11008 bytes, the machine's kernel takes only whole ones
 * (EFAULT, "ptrace set fp regs failed, errno = 14"), and init dies.
 *
 * Preloaded (ld.so(8), LD_PRELOAD), this lengthens the buffer with zeros. The
 * XSAVE header in what UML hands over names no AMX component, for no program
 * has asked for one (arch_prctl(2), ARCH_REQ_XCOMP_PERM), so the zeros are
 * never read; only the length matters.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static _Thread_local unsigned char whole[64 << 10];
static size_t whole_size; /* 0 until the kernel has told */

static long raw_ptrace(long request, long pid, unsigned long addr, void *data)
{
	return syscall(SYS_ptrace, request, pid, addr, data);
}

static long set_xstate(long pid, struct iovec *given)
{
	struct iovec all = { whole, sizeof(whole) };

	if (!whole_size) {
		if (raw_ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &all) < 0)
			return -1;
		whole_size = all.iov_len;
		memset(whole, 0, sizeof(whole));
	}
	if (given->iov_len >= whole_size)
		return raw_ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, given);
	memcpy(whole, given->iov_base, given->iov_len);
	all.iov_len = whole_size;
	return raw_ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list args;
	va_start(args, request);
	pid_t pid = va_arg(args, pid_t);
	void *addr = va_arg(args, void *);
	void *data = va_arg(args, void *);
	va_end(args);

	if (request == PTRACE_SETREGSET && (long)addr == NT_X86_XSTATE)
		return set_xstate(pid, data);
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		/* the kernel stores the word; the C library returns it (ptrace(2)) */
		long word;
		if (raw_ptrace(request, pid, (unsigned long)addr, &word) < 0)
			return -1;
		errno = 0;
		return word;
	}
	return raw_ptrace(request, pid, (unsigned long)addr, data);
}
