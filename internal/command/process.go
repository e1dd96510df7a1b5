package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Starter starts programs that go on beside us, such as a server. Start returns
// a *NotFoundError when the program is not installed, a *RefusedError when the
// starter forbids it, and an *Error when it could not be started.
type Starter interface {
	Start(cmd Cmd) (*Process, error)
}

// Process is a program that was started. The kernel kills it when we die,
// however that comes (prctl(2), PR_SET_PDEATHSIG), and whoever started it calls
// Stop.
type Process struct {
	argv  []string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
	said  tail
}

// Start implements Starter. Stdin, Inputs and Timeout of cmd play no part.
func (Local) Start(cmd Cmd) (*Process, error) {
	path, err := find(cmd.Name)
	if err != nil {
		return nil, err
	}
	p := &Process{argv: append([]string{cmd.Name}, cmd.Args...), ended: make(chan struct{})}
	p.cmd = exec.Command(path, cmd.Args...)
	p.cmd.Env = append(os.Environ(), append([]string{"LC_ALL=C"}, cmd.Env...)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = grace
	started := make(chan error)
	go func() {
		// The signal comes when the thread that started the program ends, not
		// the process: the thread is kept until the program has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, &Error{Argv: p.argv, ExitCode: -1, Err: err}
	}
	return p, nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.ended }

// Pid is its process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Said is what the program printed last, trimmed.
func (p *Process) Said() string { return p.said.String() }

// Err says how the program ended, as an *Error, or nil if it exited 0. It is
// called once Done is closed.
func (p *Process) Err() error {
	if p.err == nil {
		return nil
	}
	code := -1
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		code = exit.ExitCode()
	}
	return &Error{Argv: p.argv, ExitCode: code, Stderr: p.Said(), Err: p.err}
}

// Stop ends the program and waits until it has ended: first by SIGTERM, and
// after so long by SIGKILL. One that the kernel can't end, since it waits for a
// disk, is an error.
func (p *Process) Stop(patience time.Duration) error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		// A stopped process takes SIGTERM only when it goes on; SIGKILL it
		// takes at once. An error says that it has ended.
		_ = p.cmd.Process.Signal(signal)
		select {
		case <-p.ended:
			return nil
		case <-time.After(patience):
		}
	}
	return fmt.Errorf("%s (process %d) can't be ended: the kernel holds it, most likely waiting for a disk", p.argv[0], p.Pid())
}

// Start implements Starter: it refuses what is not marked as changing nothing.
func (r ReadOnly) Start(cmd Cmd) (*Process, error) {
	if !cmd.ReadOnly {
		return nil, &RefusedError{Argv: append([]string{cmd.Name}, cmd.Args...)}
	}
	return start(r.Runner, cmd)
}

// Start implements Starter, and writes a debug record.
func (l Log) Start(cmd Cmd) (*Process, error) {
	p, err := start(l.Runner, cmd)
	l.Logger.LogAttrs(context.Background(), slog.LevelDebug, "started", slog.String("command", cmd.String()), slog.Any("error", err))
	return p, err
}

func start(runner Runner, cmd Cmd) (*Process, error) {
	starter, ok := runner.(Starter)
	if !ok {
		return nil, &RefusedError{Argv: append([]string{cmd.Name}, cmd.Args...)}
	}
	return starter.Start(cmd)
}

// tailBytes is how much of what a program prints is kept: its last words.
const tailBytes = 4096

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
