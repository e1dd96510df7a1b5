package boot

import "fmt"

// NotBootedError says that systemd is not this host's process 1.
type NotBootedError struct{}

func (*NotBootedError) Error() string {
	return "this host was not booted with systemd, whose units unlock and start guests at boot"
}

// NoUnitError says that the unit that guests are started by is not installed.
type NoUnitError struct {
	// Unit is its name, and Folders are where it was looked for.
	Unit    string
	Folders []string
}

func (e *NoUnitError) Error() string { return fmt.Sprintf("the unit %s is not installed", e.Unit) }

// WordError says that a word can't be written into a crypttab.
type WordError struct {
	// What is meant by it, and Reason is what is wrong with it.
	What, Word, Reason string
}

func (e *WordError) Error() string {
	return fmt.Sprintf("the %s %q can't stand in a crypttab: %s", e.What, e.Word, e.Reason)
}

// ClashError says that a crypttab has a line of somebody else's for the same
// mapping or volume.
type ClashError struct {
	Path string
	Line Line
	// Mapper is the mapping that was to be added.
	Mapper string
}

func (e *ClashError) Error() string {
	if e.Line.Mapper == e.Mapper {
		return fmt.Sprintf("line %d of %s has the mapping %s already, for %s", e.Line.Number, e.Path, e.Mapper, e.Line.Source)
	}
	return fmt.Sprintf("line %d of %s opens the same volume already, as %s and not as %s", e.Line.Number, e.Path, e.Line.Mapper, e.Mapper)
}

// FileError says that one of the host's files could not be read or changed. It
// is as it was.
type FileError struct {
	Path string
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// RecordError says that what is set up for a guest can't be read back.
type RecordError struct {
	Path, Reason string
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("%s does not say what is set up for its guest: %s", e.Path, e.Reason)
}

// KeyFileError says that a key file is not fit to unlock disks at boot.
type KeyFileError struct {
	Path, Reason string
	// Fix is the command that mends it, or nil.
	Fix []string
	// Forced is whether --force makes it acceptable.
	Forced bool
}

func (e *KeyFileError) Error() string { return fmt.Sprintf("the key file %s: %s", e.Path, e.Reason) }
