// Package wire is what the test host's agent and the harness say to each other.
//
// An Event of the agent is JSON, one a line, on the host's serial line. Bytes
// travel as base64, so nothing in a line can be taken for its end.
//
// A Request of the harness is a file in a folder that both see, and its number
// on the serial line tells the agent to read it. It does not go over the line
// itself, for user-mode Linux stops listening for good on a serial line that
// once had 4 KiB waiting on it: its line_throttle drops the interrupt and
// line_unthrottle does not bring it back. Hence also the Took events: the
// harness has only a few numbers under way at a time.
//
// Both bear the number of the command they are about, so that many commands
// can run at once.
package wire

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Op says what a Request asks for.
type Op string

// What the harness may ask of the agent.
const (
	// Start runs Argv with Env added to the agent's environment.
	Start Op = "start"
	// Stdin hands Data to the command's standard input; without Data it
	// closes that input.
	Stdin Op = "stdin"
	// Signal sends signal number Signal to the command itself, not its children.
	Signal Op = "signal"
	// Resize tells the command's terminal its new Size.
	Resize Op = "resize"
	// Halt ends the agent, upon which the host halts.
	Halt Op = "halt"
)

// Size is a terminal's, in characters.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Request goes from the harness to the agent.
type Request struct {
	ID     int      `json:"id,omitempty"`
	Op     Op       `json:"op"`
	Argv   []string `json:"argv,omitempty"`
	Env    []string `json:"env,omitempty"`
	Pty    *Size    `json:"pty,omitempty"`
	Data   []byte   `json:"data,omitempty"`
	Signal int      `json:"signal,omitempty"`
}

// Kind says what an Event tells.
type Kind string

// What the agent may tell the harness.
const (
	// Ready is the first event: the host is up.
	Ready Kind = "ready"
	// Took says that one request was read off the serial line.
	Took Kind = "took"
	// Stdout and Stderr carry what a command printed, as Data.
	Stdout Kind = "stdout"
	// Stderr is as Stdout; a command on a terminal has none.
	Stderr Kind = "stderr"
	// Exit is a command's last event; its Code, or -1 and the Signal's number.
	Exit Kind = "exit"
	// Failed is the last event of a command that could not be started.
	Failed Kind = "failed"
)

// Event goes from the agent to the harness.
type Event struct {
	ID     int    `json:"id,omitempty"`
	Kind   Kind   `json:"kind"`
	Data   []byte `json:"data,omitempty"`
	Code   int    `json:"code,omitempty"`
	Signal int    `json:"signal,omitempty"`
	Error  string `json:"error,omitempty"`
}

// ChunkSize is the most bytes of Data that an Event carries, so that a command
// that prints much does not keep the others waiting.
const ChunkSize = 16 << 10

// EventWriter sends events; many goroutines may share one.
type EventWriter struct {
	mu   sync.Mutex
	line io.Writer
}

// NewEventWriter returns an EventWriter that sends over line.
func NewEventWriter(line io.Writer) *EventWriter { return &EventWriter{line: line} }

// Send sends one event.
func (w *EventWriter) Send(event Event) error {
	text, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.line.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("send an event: %w", err)
	}
	return nil
}

// EventReader receives events.
type EventReader struct{ lines *bufio.Scanner }

// NewEventReader returns an EventReader that receives over line.
func NewEventReader(line io.Reader) *EventReader {
	lines := bufio.NewScanner(line)
	lines.Buffer(nil, 1<<20)
	return &EventReader{lines: lines}
}

// Receive returns the next event, or io.EOF after the last.
func (r *EventReader) Receive() (Event, error) {
	if !r.lines.Scan() {
		if err := r.lines.Err(); err != nil {
			return Event{}, fmt.Errorf("receive an event: %w", err)
		}
		return Event{}, io.EOF
	}
	var event Event
	if err := json.Unmarshal(r.lines.Bytes(), &event); err != nil {
		return Event{}, fmt.Errorf("the serial line carried %.200q: %w", r.lines.Bytes(), err)
	}
	return event, nil
}
