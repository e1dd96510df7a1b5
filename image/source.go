package image

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/internal/nbd"
)

// Source is an image chain as the guest sees it, read through qemu-nbd. Its
// methods may be used by many goroutines at once.
type Source struct {
	chain  Chain
	server *command.Process
	client *nbd.Client
	// plain reads what it can without the server; nil is nothing.
	plain  *plain
	direct bool
	// first is the wait for qemu-nbd's first words.
	first  sync.Once
	close  sync.Once
	closed error
}

// Name is the path of the disk's own image.
func (s *Source) Name() string { return s.chain[0].Path }

// Size is what the guest sees, in bytes.
func (s *Source) Size() int64 { return s.client.Size() }

// Align is what reads should be multiples of: a smaller one makes QEMU read a
// page of the file all the same.
func (s *Source) Align() int { return 4096 }

// Direct tells whether QEMU reads past the page cache.
func (s *Source) Direct() bool { return s.direct }

// Data tells where there is something other than zeros, from QEMU's map of the
// chain: start and end of the first such range at or after offset.
func (s *Source) Data(offset int64) (start, end int64, err error) { return s.client.Data(offset) }

// ReadAt implements io.ReaderAt. What fails is a *ReadError, a *HungError, a
// *ServeError when qemu-nbd has ended, or an *Error when the image is not what
// it was.
func (s *Source) ReadAt(p []byte, offset int64) (int, error) {
	if s.plain == nil || offset < 0 || int64(len(p)) > s.Size()-offset {
		return s.serve(p, offset)
	}
	parts, err := s.plain.pieces(offset, int64(len(p)))
	if err != nil {
		return 0, err
	}
	if len(parts) == 0 {
		return s.serve(p, offset)
	}
	for _, e := range parts {
		part := p[e.start-offset : e.end-offset]
		n := len(part)
		switch {
		case e.zero:
			clear(part)
		case e.file < 0:
			n, err = s.serve(part, e.start)
		default:
			n, err = s.read(part, e)
		}
		if err != nil {
			return int(e.start-offset) + n, err
		}
	}
	return len(p), nil
}

// read reads an extent from its file. It counts only if qemu-nbd was there to
// hold its lock.
func (s *Source) read(p []byte, e extent) (int, error) {
	n, err := s.plain.files[e.file].ReadAt(p, e.offset)
	select {
	case <-s.server.Done():
		return 0, &ServeError{Path: s.Name(), Said: clean(s.server.Said()), Err: errors.New("it has ended, and its lock on the image with it")}
	default:
	}
	path := s.plain.paths[e.file]
	switch {
	case n == len(p):
		return n, nil
	case err == nil || errors.Is(err, io.EOF):
		return n, &Error{Path: path, Reason: fmt.Sprintf("was cut short while it was read: it ends before byte %d", e.offset+int64(len(p)))}
	}
	return n, s.unreadable(e.start+int64(n), "", fmt.Errorf("read byte %d of %s: %w", e.offset+int64(n), path, err))
}

// unreadable names the cluster that a place is in.
func (s *Source) unreadable(offset int64, said string, err error) *ReadError {
	unit := max(s.chain[0].Cluster, 4096)
	return &ReadError{Path: s.Name(), Cluster: offset / unit, ClusterSize: unit, Offset: offset, Said: said, Err: err}
}

// serve has qemu-nbd read.
func (s *Source) serve(p []byte, offset int64) (int, error) {
	n, err := s.client.ReadAt(p, offset)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	var stalled *nbd.StalledError
	var server *nbd.ServerError
	switch {
	case errors.As(err, &stalled):
		return n, &HungError{Path: s.Name(), After: stalled.After}
	case errors.As(err, &server):
		return n, s.unreadable(offset+int64(n), s.words(), server)
	}
	// It has ended or will now; its last words are on their way.
	select {
	case <-s.server.Done():
	case <-time.After(lastWords):
	}
	return n, &ServeError{Path: s.Name(), Said: clean(s.server.Said()), Err: err}
}

// lastWords is how long to wait for what qemu-nbd says at its end.
const lastWords = 300 * time.Millisecond

// words are what qemu-nbd has printed of what it can't read. They come another
// way than its answer, and may come later; the first are waited for.
func (s *Source) words() string {
	s.first.Do(func() {
		for end := time.Now().Add(lastWords); s.server.Said() == "" && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
	})
	return clean(s.server.Said())
}

// Close ends the connections and qemu-nbd, and closes the files.
func (s *Source) Close() error {
	s.close.Do(func() {
		plain := s.plain.close()
		s.client.Close()
		s.closed = errors.Join(plain, s.server.Stop(stopPatience))
	})
	return s.closed
}

// isRefused says that nobody listens on the socket yet.
func isRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
