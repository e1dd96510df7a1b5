//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// action is what is to happen at an instant.
type action int

const (
	// goOn lets the system call happen.
	goOn action = iota
	// killBefore kills the program, and the one it was about to start, before
	// the system call has any effect.
	killBefore
	// killDuring kills the program once the system call has had its effect: a
	// request is sent, a program that was started has its input and runs on
	// alone.
	killDuring
)

// ending is how a traced program ended.
type ending struct {
	// killed is true if it was killed at an instant.
	killed bool
	// code is its exit code, or -1.
	code int
}

// tracer follows one program, and the programs that it starts.
type tracer struct {
	pid int
	// threads are all that is traced: true for the program's own threads.
	threads map[int]bool
	// started are the processes that run another program by now.
	started map[int]bool
	// at is asked at each instant.
	at func(instant) action
	// where keeps the step that the journal was last told of.
	where *position

	doomed bool // it has been sent SIGKILL
	result ending
	// ended is called once, when the program has ended or can't be traced.
	ended func(error)
}

const traceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACECLONE |
	unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

// trace runs cmd, which is command under with a program, to its end, or to an
// instant where at says kill. Programs that are left at work then go on.
func trace(cmd *exec.Cmd, where *position, at func(instant) action) (ending, error) {
	t := &tracer{threads: map[int]bool{}, started: map[int]bool{}, at: at, where: where}
	done := make(chan error, 1)
	t.ended = func(err error) {
		done <- err
		t.ended = func(error) {}
	}
	go func() {
		// All of ptrace(2) has to come from the thread that started the
		// program, which goes on as long as anything of it is left.
		runtime.LockOSThread()
		t.ended(t.run(cmd))
	}()
	err := <-done
	return t.result, err
}

func (t *tracer) run(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	t.pid = cmd.Process.Pid
	t.where.pid = t.pid
	t.threads[t.pid] = true
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(t.pid, &status, 0, nil); err != nil {
		return fmt.Errorf("wait for the traced program: %w", err)
	}
	if err := syscall.PtraceSetOptions(t.pid, traceOptions); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	resume(t.pid, 0)
	for {
		pid, status, err := wait(0)
		if errors.Is(err, syscall.ECHILD) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.news(pid, status); err != nil {
			return err
		}
	}
}

// wait waits for news of what this thread traces, and of nothing else.
func wait(options int) (pid int, status syscall.WaitStatus, err error) {
	for {
		pid, err = syscall.Wait4(-1, &status, syscall.WALL|unix.WNOTHREAD|options, nil)
		if !errors.Is(err, syscall.EINTR) {
			return pid, status, err
		}
	}
}

// news handles the end or a stop of one thread.
func (t *tracer) news(pid int, status syscall.WaitStatus) error {
	if !status.Stopped() {
		delete(t.threads, pid)
		if pid == t.pid {
			t.result.code = status.ExitStatus() // -1 when killed
			t.ended(nil)
		}
		return nil
	}
	own, known := t.threads[pid]
	if !known {
		// A new thread's first stop; it may come before the news of it.
		t.threads[pid] = isThread(pid, t.pid)
		resume(pid, 0)
		return nil
	}
	signal, cause := status.StopSignal(), status.TrapCause()
	switch {
	case signal == syscall.SIGTRAP|0x80:
		// The end of the one system call that is to be the last.
		t.kill()
	case signal == syscall.SIGTRAP && cause == unix.PTRACE_EVENT_SECCOMP && own:
		last, err := t.call(pid)
		if last {
			return ignoreGone(syscall.PtraceSyscall(pid, 0))
		}
		if err != nil {
			return err
		}
	case signal == syscall.SIGTRAP && cause == unix.PTRACE_EVENT_EXEC && !own && !t.started[pid]:
		t.started[pid] = true
		if err := t.begins(pid); err != nil {
			return err
		}
	case signal == syscall.SIGTRAP, signal == syscall.SIGSTOP && !t.started[pid]:
		// News of a thread or a child, or its own first stop.
	default:
		resume(pid, signal)
		return nil
	}
	resume(pid, 0)
	return nil
}

// call handles a system call that has not begun. last is true if the program is
// to be killed when it has ended.
func (t *tracer) call(pid int) (last bool, err error) {
	if t.doomed {
		return false, nil
	}
	var regs unix.PtraceRegsAmd64
	if err := unix.PtraceGetRegsAmd64(pid, &regs); err != nil {
		return false, ignoreGone(fmt.Errorf("read the registers of %d: %w", pid, err))
	}
	now, ok := t.where.instantOf(t.pid, &regs)
	if !ok {
		return false, nil
	}
	switch t.at(now) {
	case killBefore:
		t.kill()
	case killDuring:
		return true, nil
	case goOn:
		t.where.passed(now)
	}
	return false, nil
}

// begins handles a program that was started and has not run an instruction.
func (t *tracer) begins(child int) error {
	argv, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/cmdline")
	if err != nil {
		return fmt.Errorf("read a program's name: %w", err)
	}
	if parent(child) != t.pid {
		return nil // one that a program of vmmigrate's started
	}
	if t.doomed {
		return ignoreGone(syscall.Kill(child, syscall.SIGKILL))
	}
	now := t.where.program(strings.Split(strings.TrimSuffix(string(argv), "\x00"), "\x00"))
	switch t.at(now) {
	case killBefore:
		t.kill()
		return ignoreGone(syscall.Kill(child, syscall.SIGKILL))
	case killDuring:
		// Its input first: what it needs of vmmigrate is then in the pipe.
		err := t.untilFed(child)
		t.kill()
		return err
	case goOn:
	}
	return nil
}

// untilFed lets the program go on until the standard input of its stopped
// child has something to read, or its end.
func (t *tracer) untilFed(child int) error {
	stdin, err := os.OpenFile("/proc/"+strconv.Itoa(child)+"/fd/0", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer stdin.Close()
	at := t.at
	t.at = func(instant) action { return goOn } // one fault at a time
	defer func() { t.at = at }()
	for begin := time.Now(); time.Since(begin) < 5*time.Second; {
		poll := []unix.PollFd{{Fd: int32(stdin.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 0); err == nil && n > 0 {
			return nil
		}
		pid, status, err := wait(syscall.WNOHANG)
		if err != nil {
			return err
		}
		if pid == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		if err := t.news(pid, status); err != nil {
			return err
		}
	}
	return errors.New("the program that was started got no input")
}

func (t *tracer) kill() {
	t.doomed, t.result.killed = true, true
	_ = syscall.Kill(t.pid, syscall.SIGKILL) // it is stopped, so it is there
}

func resume(pid int, signal syscall.Signal) {
	_ = syscall.PtraceCont(pid, int(signal)) // gone, if it fails
}

func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// isThread says whether pid is a thread of the process group leader of.
func isThread(pid, of int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", of, pid))
	return err == nil
}

// parent is a process's parent, or 0.
func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name in brackets may hold anything; what follows are STATE PPID.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	number, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return number
}
