package succession

import (
	"fmt"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// Code is what a reason against a retirement is.
type Code string

// The reasons.
const (
	// NotRun: nothing shows that the clone has ever run.
	NotRun Code = "not-run"
	// OriginalActive and OriginalSnapshots are about the original.
	OriginalActive    Code = "original-active"
	OriginalSnapshots Code = "original-snapshots"
	// NoBackup: a header backup is missing or no good.
	NoBackup Code = "no-header-backup"
	// Gone: a plain disk is not there. Other: it is not the one that was
	// copied. Unknown: nothing tells whether it is.
	Gone    Code = "gone"
	Other   Code = "other"
	Unknown Code = "unknown"
	// Used: something else uses it.
	Used Code = "used"
	// Elsewhere: its bytes are in other files than its own.
	Elsewhere Code = "elsewhere"
	// NoDiscards and NoRoom are about the method.
	NoDiscards Code = "no-discards"
	NoRoom     Code = "no-room"
)

// Reason is one thing that is against a retirement.
type Reason struct {
	Code Code
	// Disk is the target, or "" where the VM is meant.
	Disk string
	// Text says it in a sentence without a full stop, and Remedy is what helps,
	// or "".
	Text, Remedy string
}

// RetireBlockedError says why an original can't be retired. Nothing has been
// changed.
type RetireBlockedError struct {
	Clone, Original string
	Reasons         []Reason
}

func (e *RetireBlockedError) Error() string {
	return fmt.Sprintf("the original of %q can't be retired", e.Clone)
}

// RetireError says at which step a retirement stopped. It can be resumed.
type RetireError struct {
	Job, Clone, Original string
	Step                 migrate.StepName
	// Disk is the target, or "".
	Disk string
	// Wiped says that a disk may have been written.
	Wiped bool
	// Back is whether it was being taken back.
	Back bool
	Err  error
}

func (e *RetireError) Error() string {
	where := string(e.Step)
	if e.Disk != "" {
		where += " of " + e.Disk
	}
	if e.Back {
		return fmt.Sprintf("%s: taking back %s failed: %v", e.Original, where, e.Err)
	}
	return fmt.Sprintf("%s: %s failed: %v", e.Original, where, e.Err)
}

// Unwrap returns the cause.
func (e *RetireError) Unwrap() error { return e.Err }

// WipedError says that a retirement can't be taken back: the wiping of a disk has
// begun.
type WipedError struct{ Job, Original string }

func (e *WipedError) Error() string {
	return fmt.Sprintf("the disks of %q are wiped in part, so that its retirement can't be taken back", e.Original)
}

// RetiringError says that an original's retirement has begun, so that nothing can
// change places with it.
type RetiringError struct{ Job, Original string }

func (e *RetiringError) Error() string {
	return fmt.Sprintf("the retirement of %q has begun (job %s): nothing changes places with it any more", e.Original, e.Job)
}

// OtherwiseError says that a retirement that has begun is another than the one
// that is asked for now.
type OtherwiseError struct {
	Job, Original string
	// Method and Keep are how it has begun.
	Method Method
	Keep   bool
}

func (e *OtherwiseError) Error() string {
	fate := "removed"
	if e.Keep {
		fate = "kept"
	}
	return fmt.Sprintf("the retirement of %q has begun otherwise (job %s): its disks are wiped by --method %s and %s", e.Original, e.Job, e.Method, fate)
}

// RetiredError says that a retirement is done.
type RetiredError struct{ Job, Original, Record string }

func (e *RetiredError) Error() string {
	return fmt.Sprintf("job %s is done already: %q is retired", e.Job, e.Original)
}
