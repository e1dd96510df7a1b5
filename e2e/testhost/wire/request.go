package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// ErrGone says that there is no agent any more.
var ErrGone = errors.New("the test host is gone")

// underWay is how many requests may be unread: their numbers have to stay far
// below 4 KiB.
const underWay = 64

// RequestWriter sends requests; many goroutines may share one.
type RequestWriter struct {
	folder string
	slots  chan struct{}
	ended  <-chan struct{}

	mu   sync.Mutex
	line io.Writer
	last int
}

// NewRequestWriter returns a RequestWriter that puts requests into folder and
// their numbers on line. It gives up when ended is closed.
func NewRequestWriter(line io.Writer, folder string, ended <-chan struct{}) *RequestWriter {
	return &RequestWriter{folder: folder, line: line, ended: ended, slots: make(chan struct{}, underWay)}
}

// Took is to be called for each Took event.
func (w *RequestWriter) Took() { <-w.slots }

// Send sends one request. It returns ErrGone if the agent is gone.
func (w *RequestWriter) Send(request Request) error {
	text, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode a request: %w", err)
	}
	select {
	case <-w.ended:
		return ErrGone
	case w.slots <- struct{}{}:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.ended: // both were so, and select took the other
		return ErrGone
	default:
	}
	w.last++
	name := fmt.Sprint(w.last)
	if err := os.WriteFile(filepath.Join(w.folder, name), text, 0o600); err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	if _, err := io.WriteString(w.line, name+"\n"); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// RequestReader receives requests.
type RequestReader struct {
	folder string
	line   *bufio.Reader
}

// NewRequestReader returns a RequestReader that gets the numbers from line and
// the requests from folder.
func NewRequestReader(line io.Reader, folder string) *RequestReader {
	return &RequestReader{folder: folder, line: bufio.NewReader(line)}
}

// Receive returns the next request and removes its file.
func (r *RequestReader) Receive() (Request, error) {
	name, err := r.line.ReadString('\n')
	if err != nil {
		return Request{}, fmt.Errorf("read the number of a request: %w", err)
	}
	path := filepath.Join(r.folder, strings.TrimSpace(name))
	text, err := os.ReadFile(path)
	if err != nil {
		return Request{}, fmt.Errorf("read a request: %w", err)
	}
	var request Request
	if err := json.Unmarshal(text, &request); err != nil {
		return Request{}, fmt.Errorf("request %q: %w", name, err)
	}
	return request, os.Remove(path)
}
