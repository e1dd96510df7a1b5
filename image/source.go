package image

import (
	"errors"
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
	direct bool
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

// ReadAt implements io.ReaderAt. What fails is a *ReadError, a *HungError, or
// a *ServeError when qemu-nbd has ended.
func (s *Source) ReadAt(p []byte, offset int64) (int, error) {
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
		unit := max(s.chain[0].Cluster, 4096)
		return n, &ReadError{
			Path: s.Name(), Cluster: (offset + int64(n)) / unit, ClusterSize: unit, Offset: offset + int64(n),
			Said: clean(s.server.Said()), Err: server,
		}
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

// Close ends the connections and qemu-nbd.
func (s *Source) Close() error {
	s.close.Do(func() {
		s.client.Close()
		s.closed = s.server.Stop(stopPatience)
	})
	return s.closed
}

// isRefused says that nobody listens on the socket yet.
func isRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
