package hypervisor

import (
	"fmt"
	"strings"
	"time"
)

// NotFoundError says that libvirt knows no such thing.
type NotFoundError struct {
	// Kind is "domain", "storage pool" or "storage volume".
	Kind string
	// Name is its name, or a domain's UUID when it was looked up by that.
	Name string
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("libvirt has no %s %q", e.Kind, e.Name) }

// ExistsError says that a domain can't be defined because there is one of its
// name or UUID, which would be replaced.
type ExistsError struct {
	// Name and UUID are those of the domain that exists.
	Name, UUID string
	// By is what the two have in common: "name" or "UUID".
	By string
}

func (e *ExistsError) Error() string {
	return fmt.Sprintf("a domain of that %s exists already: %q, UUID %s", e.By, e.Name, e.UUID)
}

// ActiveError says that a domain runs (or is paused, and so on) and must not.
type ActiveError struct {
	Name  string
	State State
}

func (e *ActiveError) Error() string { return fmt.Sprintf("domain %q is %s", e.Name, e.State) }

// URIError says that a connection URI can't be used.
type URIError struct {
	URI, Reason string
}

func (e *URIError) Error() string {
	return fmt.Sprintf("the libvirt URI %q can't be used: %s", e.URI, e.Reason)
}

// UnreachableError says that there is no connection to the daemon.
type UnreachableError struct {
	URI string
	// Sockets are those that were tried, in order.
	Sockets []string
	// Err is the cause; of several sockets, one error for each.
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no libvirt daemon answers for %s (tried %s): %v", e.URI, strings.Join(e.Sockets, ", "), e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// TimeoutError says that the daemon did not answer. What the call was to do
// may still happen.
type TimeoutError struct {
	// Call is what was asked for, in words.
	Call string
	// After is how long was waited.
	After time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("libvirt did not answer within %s when asked to %s", e.After, e.Call)
}

// Timeout is true: it makes a TimeoutError what net.Error calls a timeout.
func (e *TimeoutError) Timeout() bool { return true }

// LostError says that the connection broke in the middle of a call. What the
// call was to do may have happened: look.
type LostError struct {
	// Call is what was asked for, in words.
	Call string
	Err  error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("the connection to libvirt broke when it was asked to %s: %v", e.Call, e.Err)
}

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Err }

// RefusedError says that libvirt understood and said no.
type RefusedError struct {
	// Call is what was asked for, in words.
	Call string
	// Code is libvirt's error number (virErrorNumber), Message its words.
	Code    int
	Message string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("libvirt refused to %s: %s", e.Call, e.Message)
}
