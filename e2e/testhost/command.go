package testhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Command is a program to run on a host, as an exec.Cmd is one to run on the
// machine. Set its fields, then call Start and Wait, or Run for both.
type Command struct {
	// Argv is the program and its arguments.
	Argv []string
	// Env is added to the host's environment, as NAME=value.
	Env []string
	// Stdin is read to its end in the background; nil is an empty input.
	Stdin io.Reader
	// Stdout and Stderr get what the program prints as it prints it; nil
	// keeps it for the Result. They are written to by one goroutine.
	Stdout, Stderr io.Writer
	// Pty, if set, runs the program on a terminal of that size, whose
	// output goes to Stdout alone.
	Pty *wire.Size

	host           *Host
	id             int
	stdout, stderr bytes.Buffer
	ended          chan struct{}
	last           wire.Event
}

// Result is what a program printed and how it ended.
type Result struct {
	// Stdout and Stderr are what it printed, unless the Command sent it
	// elsewhere.
	Stdout, Stderr string
	// ExitCode is its exit code, or -1 when Signal ended it.
	ExitCode int
	// Signal is what killed it, or 0.
	Signal syscall.Signal
}

// ExitError says that a program did not exit with code 0.
type ExitError struct {
	Argv []string
	Result
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit code %d", e.ExitCode)
	if e.Signal != 0 {
		how = e.Signal.String()
	}
	return fmt.Sprintf("on the test host: %s: %s\n%s%s", command.Quote(e.Argv), how, e.Stdout, e.Stderr)
}

// Run runs a program on the host. It returns an *ExitError, along with the
// Result, if the program did not exit with code 0. When ctx ends, the program
// is killed.
func (h *Host) Run(ctx context.Context, argv ...string) (Result, error) {
	return h.Command(argv...).Run(ctx)
}

// Output runs a program that has to succeed and returns what it printed,
// without the white space around it.
func (h *Host) Output(ctx context.Context, argv ...string) (string, error) {
	result, err := h.Run(ctx, argv...)
	return strings.TrimSpace(result.Stdout), err
}

// Shell runs a script under `sh -eu` and returns what it printed, without the
// white space around it. args are its $1, $2 and so on.
func (h *Host) Shell(ctx context.Context, script string, args ...string) (string, error) {
	return h.Output(ctx, append([]string{"sh", "-euc", script, "sh"}, args...)...)
}

// Command returns a Command that runs argv on the host.
func (h *Host) Command(argv ...string) *Command {
	return &Command{Argv: argv, host: h, ended: make(chan struct{})}
}

// Start starts the program. It fails with ErrGone on a host that has ended.
func (c *Command) Start() error {
	h := c.host
	h.mu.Lock()
	h.lastID++
	c.id = h.lastID
	h.commands[c.id] = c
	h.mu.Unlock()
	fmt.Fprintf(h.log, "test host# %.200s\n", strings.Join(strings.Fields(command.Quote(c.Argv)), " "))
	if err := h.to.Send(wire.Request{ID: c.id, Op: wire.Start, Argv: c.Argv, Env: c.Env, Pty: c.Pty}); err != nil {
		return err
	}
	go c.feed()
	return nil
}

func (c *Command) feed() {
	buffer := make([]byte, 1<<20)
	for c.Stdin != nil {
		n, err := c.Stdin.Read(buffer)
		if n > 0 {
			// It fails only when the host is gone, which Wait tells.
			_ = c.host.to.Send(wire.Request{ID: c.id, Op: wire.Stdin, Data: buffer[:n]})
		}
		if err != nil {
			break
		}
	}
	_ = c.host.to.Send(wire.Request{ID: c.id, Op: wire.Stdin})
}

// Signal sends the program, not its children, a signal. One that has ended
// already does not mind.
func (c *Command) Signal(signal syscall.Signal) error {
	return c.host.to.Send(wire.Request{ID: c.id, Op: wire.Signal, Signal: int(signal)})
}

// Resize tells the program's terminal its new size.
func (c *Command) Resize(size wire.Size) error {
	return c.host.to.Send(wire.Request{ID: c.id, Op: wire.Resize, Pty: &size})
}

// Wait waits for the program's end; see Host.Run for what it returns.
func (c *Command) Wait(ctx context.Context) (Result, error) {
	var lost error
	select {
	case <-c.ended:
		if c.last.Kind == wire.Failed {
			lost = errors.New(c.last.Error)
		}
	case <-c.host.gone:
		lost = ErrGone
	case <-ctx.Done():
		lost = errors.Join(context.Cause(ctx), c.Signal(syscall.SIGKILL))
	}
	if lost != nil {
		return Result{ExitCode: -1}, fmt.Errorf("on the test host: %s: %w", command.Quote(c.Argv), lost)
	}
	result := Result{
		Stdout: c.stdout.String(), Stderr: c.stderr.String(),
		ExitCode: c.last.Code, Signal: syscall.Signal(c.last.Signal),
	}
	if result.ExitCode != 0 {
		return result, &ExitError{Argv: c.Argv, Result: result}
	}
	return result, nil
}

// Run starts the program and waits for its end; see Host.Run.
func (c *Command) Run(ctx context.Context) (Result, error) {
	if err := c.Start(); err != nil {
		return Result{ExitCode: -1}, err
	}
	return c.Wait(ctx)
}

// take is told of each event about the command, in order.
func (c *Command) take(event wire.Event) {
	switch event.Kind {
	case wire.Stdout:
		c.print(c.Stdout, &c.stdout, event.Data)
	case wire.Stderr:
		c.print(c.Stderr, &c.stderr, event.Data)
	case wire.Exit, wire.Failed:
		c.last = event
		close(c.ended)
	}
}

func (c *Command) print(to io.Writer, kept *bytes.Buffer, data []byte) {
	if to == nil {
		to = kept
	}
	// A reader that has had enough does not end the program.
	_, _ = to.Write(data)
}

// WriteFile writes a file on the host, as os.WriteFile does.
func (h *Host) WriteFile(ctx context.Context, path string, data []byte, mode os.FileMode) error {
	c := h.Command("sh", "-euc", `umask 077; cat >"$1"; chmod "$2" "$1"`, "sh", path, fmt.Sprintf("%o", mode.Perm()))
	c.Stdin = bytes.NewReader(data)
	_, err := c.Run(ctx)
	return err
}

// ReadFile reads a file on the host, as os.ReadFile does.
func (h *Host) ReadFile(ctx context.Context, path string) ([]byte, error) {
	result, err := h.Run(ctx, "cat", "--", path)
	return []byte(result.Stdout), err
}
