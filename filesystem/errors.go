package filesystem

import (
	"fmt"
	"strings"
)

// BusyError says that a file system can't be unmounted, since it is in use.
type BusyError struct {
	// Dir is where it is mounted.
	Dir string
	// Holders say who uses it, as far as could be found out: a process with
	// its number, a loop device, another mount below.
	Holders []string
}

func (e *BusyError) Error() string {
	if len(e.Holders) == 0 {
		return fmt.Sprintf("%s can't be unmounted: it is in use", e.Dir)
	}
	return fmt.Sprintf("%s can't be unmounted: it is in use by %s", e.Dir, strings.Join(e.Holders, ", "))
}

// DirError says that a folder can't be mounted on.
type DirError struct {
	Dir string
	// Reason is a sentence without a full stop that begins behind the folder.
	Reason string
}

func (e *DirError) Error() string { return e.Dir + " can't be mounted on: it " + e.Reason }

// MountError says that the kernel did not mount a file system.
type MountError struct {
	// Device has the file system, of that Type, and Dir is the folder.
	Device, Dir string
	Type        Type
	Err         error
}

func (e *MountError) Error() string {
	return fmt.Sprintf("the %s on %s can't be mounted on %s: %v", e.Type, e.Device, e.Dir, e.Err)
}

// Unwrap returns what the kernel said.
func (e *MountError) Unwrap() error { return e.Err }
