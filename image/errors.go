package image

import (
	"fmt"
	"time"
)

// Error says that an image can't be read as it is. Nothing was changed.
type Error struct {
	// Path is the file it is about, which may be one behind the disk's own.
	Path string
	// Reason is a sentence without a full stop.
	Reason string
	// Remedy is the command that mends it, or "".
	Remedy string
	// Err is the cause, nil where it is the image itself.
	Err error
}

func (e *Error) Error() string { return e.Path + " " + e.Reason }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// LockedError says that another process has an image open for writing.
type LockedError struct {
	// Path is the disk's own image.
	Path string
	// Said is what QEMU said.
	Said string
}

func (e *LockedError) Error() string {
	return e.Path + " is in use: another process has it open for writing"
}

// ServeError says that qemu-nbd does not show an image.
type ServeError struct {
	// Path is the disk's own image.
	Path string
	// Said is what qemu-nbd printed, or "".
	Said string
	// Err is how it ended.
	Err error
}

func (e *ServeError) Error() string {
	if e.Said != "" {
		return fmt.Sprintf("qemu-nbd can't show %s: %s", e.Path, e.Said)
	}
	return fmt.Sprintf("qemu-nbd can't show %s: %v", e.Path, e.Err)
}

// Unwrap returns how it ended.
func (e *ServeError) Unwrap() error { return e.Err }

// HungError says that qemu-nbd did not answer. It was ended.
type HungError struct {
	// Path is the disk's own image, and After how long it was waited for.
	Path  string
	After time.Duration
}

func (e *HungError) Error() string {
	return fmt.Sprintf("qemu-nbd hangs: no answer within %s while reading %s", e.After, e.Path)
}

// ReadError says that a place of an image can't be read.
type ReadError struct {
	// Path is the disk's own image.
	Path string
	// Cluster is the number of the cluster of ClusterSize bytes, as the guest
	// sees the disk, and Offset the first byte of the read that failed.
	Cluster, ClusterSize, Offset int64
	// Said is what QEMU printed of it, or "".
	Said string
	// Err is its answer.
	Err error
}

func (e *ReadError) Error() string {
	text := fmt.Sprintf("cluster %d of %s (the %d bytes from byte %d of the guest's disk): %v", e.Cluster, e.Path, e.ClusterSize, e.Cluster*e.ClusterSize, e.Err)
	if e.Said != "" {
		text += "; QEMU said: " + e.Said
	}
	return text
}

// Unwrap returns QEMU's answer.
func (e *ReadError) Unwrap() error { return e.Err }
