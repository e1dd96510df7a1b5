package nbd

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// ProtocolError says that the server broke the protocol, or does not speak
// enough of it. The connection is of no use any more.
type ProtocolError struct{ Reason string }

func (e *ProtocolError) Error() string { return "NBD: " + e.Reason }

// ServerError is the server's answer to a request that it could not serve, such
// as a read of a damaged place.
type ServerError struct {
	// Errno is its error, which the protocol numbers as Linux does.
	Errno syscall.Errno
	// Message is what the server said of it, or "".
	Message string
}

func (e *ServerError) Error() string {
	if e.Message == "" {
		return e.Errno.Error()
	}
	return fmt.Sprintf("%v: %s", e.Errno, e.Message)
}

// Unwrap returns the errno.
func (e *ServerError) Unwrap() error { return e.Errno }

// ErrClosed says that the connection has ended: the server did, or Close.
var ErrClosed = errors.New("the NBD server closed the connection")

// StalledError says that requests were under way and the server sent nothing
// for so long. The connection was given up.
type StalledError struct{ After time.Duration }

func (e *StalledError) Error() string { return fmt.Sprintf("no answer within %s", e.After) }
