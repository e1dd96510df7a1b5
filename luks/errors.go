package luks

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// WrongKeyError says that a key unlocks none of a volume's key slots.
type WrongKeyError struct {
	Device string
}

func (e *WrongKeyError) Error() string {
	return fmt.Sprintf("the key does not unlock %q", e.Device)
}

// NotLUKSError says that a device bears no LUKS header.
type NotLUKSError struct {
	Device string
}

func (e *NotLUKSError) Error() string { return fmt.Sprintf("%q is no LUKS volume", e.Device) }

// ForeignError says that a device is not erased, since it bears something else
// than the LUKS header that was to be.
type ForeignError struct {
	Device string
	// UUID is that header's, and Bears what is there.
	UUID  string
	Bears Signature
	// Header is whether that header is there as well.
	Header bool
}

func (e *ForeignError) Error() string {
	if e.Header {
		return fmt.Sprintf("%q bears %s beside the LUKS header %s, so neither is erased", e.Device, e.Bears, e.UUID)
	}
	return fmt.Sprintf("%q bears %s and not the LUKS header %s", e.Device, e.Bears, e.UUID)
}

// NotFoundError says that there is no such thing.
type NotFoundError struct {
	// Kind is "device", "mapping" or "header file".
	Kind string
	Name string
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("there is no %s %q", e.Kind, e.Name) }

// ExistsError says that a name is taken: a mapper name, or a backup's file.
type ExistsError struct {
	// Mapper is the mapping's name, or "".
	Mapper string
	// File is the file's path, or "".
	File string
}

func (e *ExistsError) Error() string {
	if e.File != "" {
		return fmt.Sprintf("the file %q exists already", e.File)
	}
	return fmt.Sprintf("a device-mapper device %q exists already", e.Mapper)
}

// InUseError says that a volume can't be formatted or opened because something
// has its device open: another mapping, a mount, a running guest.
type InUseError struct {
	Device string
	// Holders say who, as far as could be found out.
	Holders []string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("%q is in use%s", e.Device, by(e.Holders))
}

// BusyError says that a mapping could not be closed because it is open.
type BusyError struct {
	Mapper string
	// Holders say who has it open, as far as could be found out: a process
	// with its number, a mount, a device on top.
	Holders []string
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("the mapping %q is still in use%s", e.Mapper, by(e.Holders))
}

func by(holders []string) string {
	if len(holders) == 0 {
		return ""
	}
	return " by " + strings.Join(holders, ", ")
}

// TooSmallError says that a device has no room for a header and data.
type TooSmallError struct {
	Device string
	// Size is the device's, Need the least it would have to be; bytes.
	Size, Need int64
}

func (e *TooSmallError) Error() string {
	return fmt.Sprintf("%q has %d bytes and needs at least %d for a LUKS header and one block of data", e.Device, e.Size, e.Need)
}

// OffsetError says that a volume's data does not begin where it was told to,
// so its payload has not the size that was planned.
type OffsetError struct {
	Device string
	// Want and Got are bytes from the device's start.
	Want, Got int64
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("the data of %q begins at byte %d and not at %d as told", e.Device, e.Got, e.Want)
}

// SpecError says that a volume can't be formatted as asked; nothing was
// written.
type SpecError struct {
	// Field is the part of FormatSpec.
	Field, Reason string
}

func (e *SpecError) Error() string {
	return fmt.Sprintf("a volume can't be formatted so: %s: %s", e.Field, e.Reason)
}

// NameError says that a mapping can't have a name.
type NameError struct {
	Name, Reason string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("%q can't be a mapping's name: %s", e.Name, e.Reason)
}

// cryptsetup's exit codes (cryptsetup(8), RETURN CODES). The first stands for
// wrong parameters and much else, so its words are looked at as well.
const (
	wrongParameters = 1
	noPermission    = 2 // a key that does not fit
	wrongDevice     = 4 // no such device or mapping
	deviceBusy      = 5 // exists already, or in use
)

// recognise turns cryptsetup's failure into the error of this package that it
// stands for, judged by exit code and words both; any other stays as it is.
func recognise(err error, device, mapper string) error {
	var said *command.Error
	if !errors.As(err, &said) {
		return err
	}
	says := func(words string) bool { return strings.Contains(said.Stderr, words) }
	switch said.ExitCode {
	case noPermission:
		if says("No key available") {
			return &WrongKeyError{Device: device}
		}
	case wrongParameters:
		switch {
		case says("is not a valid LUKS device"):
			return &NotLUKSError{Device: device}
		case says("Cannot exclusively open"), says("device in use"):
			return &InUseError{Device: device}
		}
	case wrongDevice:
		switch {
		case says("is not active"):
			return &NotFoundError{Kind: "mapping", Name: mapper}
		case says("does not exist or access denied"):
			return &NotFoundError{Kind: "device", Name: device}
		}
	case deviceBusy:
		switch {
		case mapper != "" && says(fmt.Sprintf("Device %s already exists", mapper)):
			return &ExistsError{Mapper: mapper}
		case mapper != "" && says(fmt.Sprintf("Device %s is still in use", mapper)):
			return &BusyError{Mapper: mapper}
		case says("which is in use"), says("Cannot exclusively open"):
			return &InUseError{Device: device}
		}
	}
	return err
}
