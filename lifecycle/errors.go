package lifecycle

import (
	"fmt"
	"strings"
	"time"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// UnknownCloneError says that no clone has that name.
type UnknownCloneError struct {
	Name string
	// Job is what was asked for instead of a name.
	Job string
	// Defined is whether libvirt has a VM of that name, which is no clone.
	Defined bool
	// Clones are the clones of the VM of that name.
	Clones []string
	// Known are all clones of this host.
	Known []string
	// Orphans are volumes of ours that belong to no VM.
	Orphans []Orphan
}

func (e *UnknownCloneError) Error() string {
	if e.Job != "" {
		return fmt.Sprintf("libvirt has no VM that the job %s made", e.Job)
	}
	if e.Defined {
		return fmt.Sprintf("%q is no clone that vmmigrate made: its metadata name no encrypted disks", e.Name)
	}
	return fmt.Sprintf("libvirt has no VM %q", e.Name)
}

// NameTakenError says that the name of a disk's mapping is taken by another's.
type NameTakenError struct {
	Clone, Disk string
	// Mapper is the name, and Holds the LUKS UUID of what has it, or "" when
	// that is not of LUKS.
	Mapper, Holds string
	// Snapshot is the path of a snapshot of the disk's volume, if it has it.
	Snapshot string
}

func (e *NameTakenError) Error() string {
	what := "something that is no LUKS volume"
	if e.Holds != "" {
		what = "the LUKS volume " + e.Holds
	}
	if e.Snapshot != "" {
		what = "a snapshot of its volume, " + e.Snapshot
	}
	return fmt.Sprintf("disk %s of %q can't be unlocked as %s: that mapping opens %s", e.Disk, e.Clone, e.Mapper, what)
}

// OpenElsewhereError says that a disk is open, and not as its domain needs it.
type OpenElsewhereError struct {
	Clone, Disk string
	// Mapper is the mapping's name, and Want the one it should have.
	Mapper, Want string
	// ReadOnly is whether it can't be written.
	ReadOnly bool
}

func (e *OpenElsewhereError) Error() string {
	if e.ReadOnly {
		return fmt.Sprintf("disk %s of %q is open read-only as %s", e.Disk, e.Clone, e.Mapper)
	}
	return fmt.Sprintf("disk %s of %q is open already, by another name: as %s and not as %s", e.Disk, e.Clone, e.Mapper, e.Want)
}

// Group says what is wrong with a volume group.
type Group string

// What may be wrong with a volume group.
const (
	GroupMissing  Group = "missing"
	GroupExported Group = "exported"
	GroupPartial  Group = "partial"
)

// VolumeError says that a disk's volume is not there or can't be read.
type VolumeError struct {
	Clone, Disk string
	// Volume is VG/LV or a path, VG the group where that is what is wrong, and
	// LUKS the UUID in the header that was looked for.
	Volume, VG, LUKS string
	// Reason says it in words.
	Reason string
	// Group is what is wrong with the group, or "".
	Group Group
	Err   error
}

func (e *VolumeError) Error() string {
	text := fmt.Sprintf("the volume %s of disk %s of %q can't be used: %s", e.Volume, e.Disk, e.Clone, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause, if there is one.
func (e *VolumeError) Unwrap() error { return e.Err }

// HeaderFileError says that the file for a disk's LUKS header is there and can't
// be used: it holds another volume's header, or can't be read.
type HeaderFileError struct {
	Clone, Disk, File string
	// LUKS is the UUID of the disk's header, and Bears that in the file, or "".
	LUKS, Bears string
	Err         error
}

func (e *HeaderFileError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("the LUKS header of disk %s of %q, in the file %s, can't be read: %v", e.Disk, e.Clone, e.File, e.Err)
	}
	return fmt.Sprintf("the file %s holds the LUKS header of another volume, %s, and that of disk %s of %q is %s", e.File, e.Bears, e.Disk, e.Clone, e.LUKS)
}

// Unwrap returns the cause.
func (e *HeaderFileError) Unwrap() error { return e.Err }

// HeaderLostError says that a volume is there and bears no LUKS header: it was
// overwritten, or was in a file that is not there. Nothing but a backup of it opens the volume again.
type HeaderLostError struct {
	Clone, Disk, Volume string
	// LUKS is the UUID of the header that was there.
	LUKS string
	// File is the file that it was in, where that is not the volume, and Gone is
	// whether there is no such file.
	File string
	Gone bool
}

func (e *HeaderLostError) Error() string {
	switch {
	case e.Gone:
		return fmt.Sprintf("the LUKS header of %s, disk %s of %q, is not there: it belongs in the file %s", e.Volume, e.Disk, e.Clone, e.File)
	case e.File != "":
		return fmt.Sprintf("the LUKS header of %s, disk %s of %q, is damaged: the file %s holds none", e.Volume, e.Disk, e.Clone, e.File)
	}
	return fmt.Sprintf("the LUKS header of %s, disk %s of %q, is damaged or gone", e.Volume, e.Disk, e.Clone)
}

// KeyError says that no key unlocked a disk.
type KeyError struct {
	Clone, Disk, Volume string
	// Tries is how many were tried.
	Tries int
	// File is the key file that it came from, where that is known.
	File string
}

func (e *KeyError) Error() string {
	if e.Tries > 1 {
		return fmt.Sprintf("none of %d keys unlocks disk %s of %q (%s)", e.Tries, e.Disk, e.Clone, e.Volume)
	}
	if e.File != "" {
		return fmt.Sprintf("the key in %s does not unlock disk %s of %q (%s)", e.File, e.Disk, e.Clone, e.Volume)
	}
	return fmt.Sprintf("the key does not unlock disk %s of %q (%s)", e.Disk, e.Clone, e.Volume)
}

// ConflictError says that a clone must not be started beside what runs.
type ConflictError struct {
	Clone string
	// Other is the VM that runs.
	Other string
	// Original is whether that is the one the clone was made from. Otherwise
	// MACs are the hardware addresses, or Device the disk, that both have.
	Original bool
	MACs     []string
	Device   string
}

func (e *ConflictError) Error() string {
	switch {
	case e.Original:
		return fmt.Sprintf("%q can't be started: its original %q runs", e.Clone, e.Other)
	case e.Device != "":
		return fmt.Sprintf("%q can't be started: %q runs and has its disk %s", e.Clone, e.Other, e.Device)
	}
	return fmt.Sprintf("%q can't be started: %q runs with the same hardware address %s", e.Clone, e.Other, strings.Join(e.MACs, ", "))
}

// InUseError says that an unlocked disk is in use on the host, so that a guest
// that wrote to it as well would destroy it.
type InUseError struct {
	Clone, Disk, Mapper string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("%q can't be started: something on the host uses its disk %s (%s)", e.Clone, e.Disk, e.Mapper)
}

// RunningError says that a clone is running and must not be.
type RunningError struct {
	Clone string
	State hypervisor.State
}

func (e *RunningError) Error() string { return fmt.Sprintf("%q is %s", e.Clone, e.State) }

// StartError says that libvirt did not start a clone whose disks were unlocked.
type StartError struct {
	Clone string
	// LockedAgain is whether the disks that had been unlocked for it are
	// locked again.
	LockedAgain bool
	Err         error
}

func (e *StartError) Error() string { return fmt.Sprintf("%q did not start: %v", e.Clone, e.Err) }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// StillRunningError says that a guest that was asked to shut down has not.
type StillRunningError struct {
	Clone string
	// State is what it does.
	State hypervisor.State
	// After is how long was waited.
	After time.Duration
	// Err is what ended the wait before its time, or nil.
	Err error
}

func (e *StillRunningError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("%q was asked to shut down and is still %s: %v", e.Clone, e.State, e.Err)
	case e.After == 0:
		return fmt.Sprintf("%q is %s, so its guest can't shut down", e.Clone, e.State)
	}
	return fmt.Sprintf("%q was asked to shut down and is still %s after %s", e.Clone, e.State, e.After)
}

// Unwrap returns what ended the wait, if anything did.
func (e *StillRunningError) Unwrap() error { return e.Err }

// LockError says that a disk could not be locked.
type LockError struct {
	Clone, Disk, Mapper string
	Err                 error
}

func (e *LockError) Error() string {
	return fmt.Sprintf("disk %s of %q can't be locked: %v", e.Disk, e.Clone, e.Err)
}

// Unwrap returns the cause.
func (e *LockError) Unwrap() error { return e.Err }
