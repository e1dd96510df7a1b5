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
	// orphan is the process id of the program that was left running, or 0.
	orphan int
}

// tracer follows one program.
type tracer struct {
	pid     int
	threads map[int]*thread
	// at is asked at each instant.
	at func(instant) action
	// where keeps the step that the journal was last told of.
	where *position

	doomed bool // it has been sent SIGKILL
	result ending
}

// thread is a thread of the program, or the child it makes to start another.
type thread struct {
	inside bool // between the entry and the exit of a system call
	child  bool
	// after is an action that waits for the end of the system call.
	after action
}

const traceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEVFORK |
	unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

// trace runs cmd to its end, or to an instant where at says kill.
func trace(cmd *exec.Cmd, where *position, at func(instant) action) (ending, error) {
	// All of ptrace(2) has to come from the thread that started the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return ending{}, err
	}
	t := &tracer{pid: cmd.Process.Pid, threads: map[int]*thread{}, at: at, where: where}
	t.threads[t.pid] = &thread{}
	where.pid = t.pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(t.pid, &status, 0, nil); err != nil {
		return ending{}, fmt.Errorf("wait for the traced program: %w", err)
	}
	if err := syscall.PtraceSetOptions(t.pid, traceOptions); err != nil {
		return ending{}, fmt.Errorf("trace: %w", err)
	}
	t.resume(t.pid, 0)
	err := t.loop()
	_ = cmd.Process.Release() // it has been waited for
	return t.result, err
}

func (t *tracer) loop() error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WALL, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the traced program: %w", err)
		}
		switch {
		case status.Exited() || status.Signaled():
			delete(t.threads, pid)
			if pid == t.pid {
				t.result.code = status.ExitStatus() // -1 when killed
				return nil
			}
		case status.Stopped():
			if err := t.stopped(pid, status); err != nil {
				return err
			}
		}
	}
}

// stopped handles one stop of one thread, and lets it go on.
func (t *tracer) stopped(pid int, status syscall.WaitStatus) error {
	one := t.threads[pid]
	if one == nil {
		// A new thread's first stop; it may come before the news of it.
		one = &thread{child: !isThread(pid, t.pid)}
		t.threads[pid] = one
		t.resume(pid, 0)
		return nil
	}
	signal := status.StopSignal()
	switch {
	case signal == syscall.SIGTRAP|0x80:
		if !one.child {
			if err := t.call(pid, one); err != nil {
				return err
			}
		}
	case signal == syscall.SIGTRAP && status.TrapCause() == syscall.PTRACE_EVENT_EXEC && one.child:
		return t.started(pid)
	case signal == syscall.SIGTRAP && status.TrapCause() > 0:
	case signal == syscall.SIGTRAP:
	case signal == syscall.SIGSTOP:
		// A new thread's first stop, after the news of it.
	default:
		t.resume(pid, signal)
		return nil
	}
	t.resume(pid, 0)
	return nil
}

// call handles the entry or the exit of a system call.
func (t *tracer) call(pid int, one *thread) error {
	one.inside = !one.inside
	if !one.inside {
		if one.after == killDuring {
			t.kill()
		}
		one.after = goOn
		return nil
	}
	if t.doomed {
		return nil
	}
	var regs unix.PtraceRegsAmd64
	if err := unix.PtraceGetRegsAmd64(pid, &regs); err != nil {
		return ignoreGone(fmt.Errorf("read the registers of %d: %w", pid, err))
	}
	now, ok := t.where.instantOf(t.pid, &regs)
	if !ok {
		return nil
	}
	switch t.at(now) {
	case killBefore:
		t.kill()
	case killDuring:
		one.after = killDuring
	case goOn:
		t.where.passed(now)
	}
	return nil
}

// started handles a program that was started and has not run an instruction.
func (t *tracer) started(child int) error {
	argv, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/cmdline")
	if err != nil {
		return fmt.Errorf("read a program's name: %w", err)
	}
	now := t.where.program(strings.Split(strings.TrimSuffix(string(argv), "\x00"), "\x00"))
	if t.doomed {
		return ignoreGone(syscall.Kill(child, syscall.SIGKILL))
	}
	switch t.at(now) {
	case killBefore:
		t.kill()
		return ignoreGone(syscall.Kill(child, syscall.SIGKILL))
	case killDuring:
		// Its input first: what it needs of vmmigrate is then in the pipe.
		if err := t.untilFed(child); err != nil {
			return err
		}
		t.kill()
		t.result.orphan = child
	case goOn:
	}
	delete(t.threads, child)
	return ignoreGone(syscall.PtraceDetach(child))
}

// untilFed lets the program go on until the standard input of its stopped
// child has something to read, or its end.
func (t *tracer) untilFed(child int) error {
	stdin, err := os.OpenFile("/proc/"+strconv.Itoa(child)+"/fd/0", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer stdin.Close()
	for begin := time.Now(); time.Since(begin) < 5*time.Second; {
		poll := []unix.PollFd{{Fd: int32(stdin.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 0); err == nil && n > 0 {
			return nil
		}
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WALL|syscall.WNOHANG, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if pid <= 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		if status.Stopped() && pid != child {
			at := t.at
			t.at = func(instant) action { return goOn } // one fault at a time
			err := t.stopped(pid, status)
			t.at = at
			if err != nil {
				return err
			}
		}
	}
	return errors.New("the program that was started got no input")
}

func (t *tracer) kill() {
	t.doomed, t.result.killed = true, true
	_ = syscall.Kill(t.pid, syscall.SIGKILL) // it is stopped, so it is there
}

func (t *tracer) resume(pid int, signal syscall.Signal) {
	one := t.threads[pid]
	if one != nil && one.child {
		_ = syscall.PtraceCont(pid, int(signal)) // gone, if it fails
		return
	}
	_ = syscall.PtraceSyscall(pid, int(signal)) // gone, if it fails
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
