package lifecycle

import (
	"fmt"

	"github.com/vmmigrate/vmmigrate/boot"
)

// AutostartOtherwiseError says that a clone is unlocked at boot in another way.
type AutostartOtherwiseError struct {
	Clone       string
	Now, Wanted boot.Unlock
}

func (e *AutostartOtherwiseError) Error() string {
	return fmt.Sprintf("%q is set up to be %s already", e.Clone, unlockWords(e.Now))
}

// HeaderApartError says that clevis can't unlock a disk at boot whose header is
// in a file of its own: it looks for its token on the volume.
type HeaderApartError struct {
	Clone, Disk string
	// File is the header's.
	File string
}

func (e *HeaderApartError) Error() string {
	return fmt.Sprintf("a tang server can't unlock disk %s of %q: clevis looks for its token in a header on the volume, and that disk has its header in %s", e.Disk, e.Clone, e.File)
}

// NeedsLUKS2Error says that a volume's header can't hold what a method of
// unlocking needs.
type NeedsLUKS2Error struct {
	Clone, Disk, Volume string
	Method              boot.Method
}

func (e *NeedsLUKS2Error) Error() string {
	return fmt.Sprintf("disk %s of %q (%s) has a LUKS1 header, which has no room for what %s unlocks it with", e.Disk, e.Clone, e.Volume, e.Method)
}

// AutostartError says that nothing was set up or taken away: what had been
// made before it failed was taken back.
type AutostartError struct {
	Clone string
	Err   error
}

func (e *AutostartError) Error() string {
	return fmt.Sprintf("the autostart of %q: %v", e.Clone, e.Err)
}

// Unwrap returns the cause.
func (e *AutostartError) Unwrap() error { return e.Err }

// AutostartPartlyError says that an autostart is set up in part.
type AutostartPartlyError struct {
	Clone string
	// Disabling is whether it was to be taken away.
	Disabling bool
	Err       error
}

func (e *AutostartPartlyError) Error() string {
	verb := "set up"
	if e.Disabling {
		verb = "taken away"
	}
	return fmt.Sprintf("the autostart of %q is %s in part: %v", e.Clone, verb, e.Err)
}

// Unwrap returns the cause.
func (e *AutostartPartlyError) Unwrap() error { return e.Err }

// NotUnlockedError says that a disk is still locked when its guest is to start
// at boot: the unit that was to unlock it has not.
type NotUnlockedError struct {
	Clone string
}

func (e *NotUnlockedError) Error() string {
	return fmt.Sprintf("a disk of %q is locked, and its unit was to unlock it", e.Clone)
}
