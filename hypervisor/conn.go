package hypervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/digitalocean/go-libvirt"
)

const (
	// defaultTimeout is how long a call may go without an answer.
	defaultTimeout = 30 * time.Second
	// longest bounds the calls that may take long, as long as the daemon
	// answers others meanwhile: the first define or start after a boot has
	// libvirt try out every QEMU that is installed.
	longest = 10 * time.Minute
	// grace is how long after a connection's end an answer is waited for
	// that came before it.
	grace = 200 * time.Millisecond
)

// Options are how to reach the daemon.
type Options struct {
	// URI is the connection's, such as qemu:///system, which is also what ""
	// means; qemu:///session is that of this user. With ?socket=PATH the
	// daemon is asked there.
	URI string
	// Timeout is how long a call may go without an answer; 0 is 30 seconds.
	Timeout time.Duration
}

// Conn is a connection to the daemon. It may be used by several goroutines.
type Conn struct {
	target  target
	timeout time.Duration

	dialing sync.Mutex // held while connecting, so that only one does
	mu      sync.Mutex // guards what follows, and is never held for long
	session *session   // nil before the first
	closed  bool
}

// session is one connection, until it breaks.
type session struct {
	rpc  *libvirt.Libvirt
	wire *wire
}

// errClosed is what a call on a closed Conn returns.
var errClosed = errors.New("the connection to libvirt was closed")

// Dial connects to the daemon. It returns a *URIError for a URI that can't be
// used, an *UnreachableError when nothing answers at its sockets, and a
// *TimeoutError when something does but says nothing.
func Dial(ctx context.Context, options Options) (*Conn, error) {
	to, err := resolve(options.URI, os.Getenv)
	if err != nil {
		return nil, err
	}
	c := &Conn{target: to, timeout: options.Timeout}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if _, err := c.connected(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// URI is the connection's, as it was given.
func (c *Conn) URI() string { return c.target.uri }

// Close ends the connection. It never waits for the daemon, and a call that
// is under way ends with an error.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.session != nil {
		c.session.wire.cut()
	}
}

// connected is the session in use, or a new one when that broke.
func (c *Conn) connected(ctx context.Context) (*session, error) {
	c.dialing.Lock()
	defer c.dialing.Unlock()
	c.mu.Lock()
	s, closed := c.session, c.closed
	c.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if s != nil && !s.wire.isGone() {
		return s, nil
	}
	s, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		s.wire.cut()
		return nil, errClosed
	}
	c.session = s
	return s, nil
}

// dial tries one socket after the other.
func (c *Conn) dial(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, &TimeoutError{Call: "connect", After: c.timeout})
	defer cancel()
	var failures []error
	for _, socket := range c.target.sockets {
		raw, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			failures = append(failures, err)
			continue
		}
		s := &session{wire: newWire(raw)}
		s.rpc = libvirt.NewWithDialer(given{s.wire})
		_, err = wait(ctx, s, func() (none, error) { return none{}, s.rpc.ConnectToURI(libvirt.ConnectURI(c.target.name)) })
		close(s.wire.settled)
		if err == nil {
			return s, nil
		}
		s.wire.cut()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		failures = append(failures, fmt.Errorf("%s: %w", socket, err))
	}
	return nil, &UnreachableError{URI: c.target.uri, Sockets: c.target.sockets, Err: errors.Join(failures...)}
}

// given is a Dialer for a connection that is there already, so that it can be
// cut from outside.
type given struct{ wire *wire }

// Dial implements socket.Dialer.
func (g given) Dial() (net.Conn, error) { return g.wire, nil }

// none is the result of a call that has none.
type none struct{}

// wait runs f, which blocks on the daemon, and returns before f does when ctx
// ends or the connection breaks. What f returns later is dropped.
func wait[T any](ctx context.Context, s *session, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		// The decoder of what the daemon sends was not written for
		// nonsense; here it ends as an error.
		defer func() {
			if bad := recover(); bad != nil {
				done <- answer{err: fmt.Errorf("the answer can't be read: %v", bad)}
			}
		}()
		value, err := f()
		done <- answer{value, err}
	}()
	var zero T
	gone := s.wire.gone
	for {
		select {
		case a := <-done:
			return a.value, a.err
		case <-ctx.Done():
			return zero, context.Cause(ctx)
		case <-gone:
			// An answer may have come just before the end; if not,
			// go-libvirt lets its callers go now.
			gone = nil
			timer := time.AfterFunc(grace, func() { done <- answer{err: libvirt.ErrInterrupted} })
			defer timer.Stop()
		}
	}
}

// how tells what kind of call it is.
type how int

const (
	looks   how = iota // changes nothing, and may be asked again
	changes            // must not be repeated unseen
	slow               // as changes, and may take minutes
)

// ask asks the daemon for something. What names the thing in words for the
// errors; f does it, and may run on after ask has returned.
func ask[T any](ctx context.Context, c *Conn, what string, kind how, f func(*libvirt.Libvirt) (T, error)) (T, error) {
	for try := 1; ; try++ {
		s, err := c.connected(ctx)
		if err != nil {
			var zero T
			return zero, err
		}
		value, err := bounded(ctx, c, s, what, kind, func() (T, error) { return f(s.rpc) })
		if err == nil {
			return value, nil
		}
		err = c.explain(what, s, err)
		var lost *LostError
		if errors.As(err, &lost) && kind == looks && try == 1 && ctx.Err() == nil {
			continue // the daemon was restarted
		}
		return value, err
	}
}

// bounded runs f under the time limit of its kind.
func bounded[T any](ctx context.Context, c *Conn, s *session, what string, kind how, f func() (T, error)) (T, error) {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin := time.Now()
	go func() {
		timer := time.NewTimer(c.timeout)
		defer timer.Stop()
		for {
			select {
			case <-inner.Done():
				return
			case <-timer.C:
			}
			if kind != slow || time.Since(begin) > longest || !c.alive(inner, s) {
				cancel(&TimeoutError{Call: what, After: time.Since(begin).Round(time.Millisecond)})
				return
			}
			timer.Reset(c.timeout)
		}
	}()
	value, err := wait(inner, s, f)
	var limit *TimeoutError
	if errors.As(err, &limit) {
		// Whatever else waits on this connection would wait in vain.
		s.wire.cut()
	}
	return value, err
}

// alive says whether the daemon answers anything at all within the time limit.
func (c *Conn) alive(ctx context.Context, s *session) bool {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err := wait(ctx, s, s.rpc.ConnectGetLibVersion)
	return err == nil
}

// explain turns a failure into the error of this package that it stands for.
func (c *Conn) explain(what string, s *session, err error) error {
	var said libvirt.Error
	var limit *TimeoutError
	switch {
	case errors.As(err, &said):
		return &RefusedError{Call: what, Code: int(said.Code), Message: said.Message}
	case errors.As(err, &limit), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, libvirt.ErrUnsupported):
		return &RefusedError{Call: what, Code: int(libvirt.ErrNoSupport), Message: "this libvirt is too old for it"}
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return errClosed
	}
	var network *net.OpError
	if errors.As(err, &network) || errors.Is(err, syscall.EINVAL) || errors.Is(err, libvirt.ErrInterrupted) {
		// A write that failed may be noticed before the reader's end is;
		// EINVAL is go-libvirt's word for a connection that has ended.
		s.wire.cut()
	}
	if s.wire.isGone() {
		return &LostError{Call: what, Err: err}
	}
	return fmt.Errorf("libvirt was asked to %s: %w", what, err)
}

// is says whether err is libvirt's refusal with that error number.
func is(err error, code libvirt.ErrorNumber) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Code == int(code)
}
