package journal

import "fmt"

// DamagedError says that a journal can't be trusted: a record in its middle
// is damaged. A torn last record is no damage.
type DamagedError struct {
	// Path is the journal file.
	Path string
	// Offset is where the damage begins, in bytes.
	Offset int64
	// Reason says what was found there.
	Reason string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the journal %s is damaged at byte %d: %s", e.Path, e.Offset, e.Reason)
}

// VersionError says that a journal was written by a newer vmmigrate.
type VersionError struct {
	// Path is the journal file.
	Path string
	// Version is the format it names.
	Version int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the journal %s has format %d, and this vmmigrate reads formats up to %d", e.Path, e.Version, Version)
}

// EmptyError says that a job's folder holds no whole record: the crash came
// before the plan was on disk, so nothing had been done.
type EmptyError struct {
	// Path is the journal file.
	Path string
}

func (e *EmptyError) Error() string {
	return fmt.Sprintf("the journal %s holds no whole record: the job had not begun", e.Path)
}

// LockedError says that another process holds a lock.
type LockedError struct {
	// Path is the lock file.
	Path string
	// What is what the lock is on, in words, such as `the VM "imap"`.
	What string
	// PID is the holder's process id as it wrote it, or 0 if it could not be read.
	PID int
	// Left is true if that process was killed, and a program that it had
	// started is still at work.
	Left bool
}

func (e *LockedError) Error() string {
	if e.Left {
		return fmt.Sprintf("%s is in use by a program that a killed vmmigrate (process %d) left at work: try again when it has ended", e.What, e.PID)
	}
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another vmmigrate", e.What)
	}
	return fmt.Sprintf("%s is in use by another vmmigrate (process %d)", e.What, e.PID)
}

// WriteError says that the journal could not be made durable. Whatever was to
// follow the record must not be done.
type WriteError struct {
	// Path is the file that could not be written or flushed.
	Path string
	// Err is the cause, such as ENOSPC or EROFS.
	Err error
}

func (e *WriteError) Error() string {
	return fmt.Sprintf("the journal could not be written: %s: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }
