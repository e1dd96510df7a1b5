package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
)

// processes are the commands that run now, by the harness's numbers.
type processes struct {
	out *wire.EventWriter
	mu  sync.Mutex
	all map[int]*process
}

type process struct {
	cmd *exec.Cmd
	// stdin is a queue, so that a command that does not read its input
	// can't hold up the requests to the others.
	stdin *queue
	// terminal is the pty's master, nil for a command on pipes.
	terminal *os.File
	// drained is closed when the terminal has given all it will.
	drained chan struct{}
}

func newProcesses(out *wire.EventWriter) *processes {
	return &processes{out: out, all: map[int]*process{}}
}

func (ps *processes) handle(r wire.Request) {
	if r.Op == wire.Start {
		ps.start(r)
		return
	}
	ps.mu.Lock()
	p := ps.all[r.ID]
	ps.mu.Unlock()
	if p == nil {
		return // it ended while the request was under way
	}
	switch r.Op {
	case wire.Stdin:
		p.stdin.put(r.Data)
	case wire.Signal:
		// It fails only for a process that has just ended.
		_ = p.cmd.Process.Signal(syscall.Signal(r.Signal))
	case wire.Resize:
		if p.terminal != nil && r.Pty != nil {
			_ = setSize(p.terminal, *r.Pty) // only how it looks
		}
	}
}

func (ps *processes) start(r wire.Request) {
	p, err := ps.launch(r)
	if err != nil {
		ps.tell(wire.Event{ID: r.ID, Kind: wire.Failed, Error: err.Error()})
		return
	}
	ps.mu.Lock()
	ps.all[r.ID] = p
	ps.mu.Unlock()
	go func() {
		event := p.wait(r.ID)
		ps.mu.Lock()
		delete(ps.all, r.ID)
		ps.mu.Unlock()
		ps.tell(event)
	}()
}

// outputGrace is how long a command's output is waited for after its end, if
// a daemon that it left behind keeps the pipe open.
const outputGrace = time.Second

func (ps *processes) launch(r wire.Request) (*process, error) {
	cmd := exec.Command(r.Argv[0], r.Argv[1:]...)
	cmd.Env = append(os.Environ(), r.Env...)
	cmd.Dir = "/root"
	cmd.WaitDelay = outputGrace
	p := &process{cmd: cmd}
	if r.Pty != nil {
		return p, p.launchOnTerminal(*r.Pty, output{ps, r.ID, wire.Stdout})
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = output{ps, r.ID, wire.Stdout}, output{ps, r.ID, wire.Stderr}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.stdin = newQueue(stdin)
	return p, nil
}

func (p *process) wait(id int) wire.Event {
	err := p.cmd.Wait()
	if p.terminal != nil {
		p.waitTerminal()
	}
	p.stdin.stop()
	state := p.cmd.ProcessState
	if state == nil {
		return wire.Event{ID: id, Kind: wire.Failed, Error: err.Error()}
	}
	event := wire.Event{ID: id, Kind: wire.Exit, Code: state.ExitCode()}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		event.Signal = int(status.Signal())
	}
	return event
}

// tell sends an event. A serial line that fails has lost its harness, and
// nobody is left to be told.
func (ps *processes) tell(event wire.Event) { _ = ps.out.Send(event) }

// output sends on what a command writes.
type output struct {
	ps   *processes
	id   int
	kind wire.Kind
}

func (o output) Write(data []byte) (int, error) {
	for sent := 0; sent < len(data); {
		n := min(len(data)-sent, wire.ChunkSize)
		if err := o.ps.out.Send(wire.Event{ID: o.id, Kind: o.kind, Data: data[sent : sent+n]}); err != nil {
			return sent, err
		}
		sent += n
	}
	return len(data), nil
}

// queue writes to a command's input in a goroutine of its own.
type queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	chunks  [][]byte
	ended   bool
}

func newQueue(to io.WriteCloser) *queue {
	q := &queue{}
	q.changed = sync.NewCond(&q.mu)
	go func() {
		defer to.Close()
		for {
			chunk, ok := q.take()
			if !ok {
				return
			}
			// A command may end without reading all of its input.
			if _, err := to.Write(chunk); err != nil && !errors.Is(err, syscall.EINTR) {
				q.stop()
				return
			}
		}
	}()
	return q
}

// put adds a chunk; an empty one ends the input.
func (q *queue) put(chunk []byte) {
	if len(chunk) == 0 {
		q.stop()
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.chunks = append(q.chunks, chunk)
	q.changed.Signal()
}

func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.changed.Signal()
}

func (q *queue) take() (chunk []byte, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.chunks) == 0 && !q.ended {
		q.changed.Wait()
	}
	if len(q.chunks) == 0 {
		return nil, false
	}
	chunk, q.chunks = q.chunks[0], q.chunks[1:]
	return chunk, true
}
