package migrate

import (
	"errors"
	"fmt"
)

// StepError says at which step a job stopped, and where that leaves it.
type StepError struct {
	// Job and VM name the job.
	Job, VM string
	// Step and Disk say where it stopped; Disk may be empty.
	Step StepName
	Disk string
	// Aftermath says what became of the job.
	Aftermath Aftermath
	// Err is the cause.
	Err error
	// UndoErr is what went wrong in taking back, if the aftermath is
	// UndoFailed.
	UndoErr error
}

// Aftermath says what became of a job that stopped.
type Aftermath string

// The ways a stopped job is left.
const (
	// Refused: nothing had been changed.
	Refused Aftermath = "refused"
	// TakenBack: what had been made was removed again.
	TakenBack Aftermath = "taken back"
	// UndoFailed: some of what had been made could not be removed.
	UndoFailed Aftermath = "undo failed"
	// Kept: everything is kept, to be resumed or rolled back.
	Kept Aftermath = "kept"
)

func (e *StepError) Error() string {
	where := string(e.Step)
	if e.Disk != "" {
		where += " of " + e.Disk
	}
	if e.UndoErr != nil {
		return fmt.Sprintf("%s: %s failed: %v; and taking back what was made failed too: %v", e.VM, where, e.Err, e.UndoErr)
	}
	return fmt.Sprintf("%s: %s failed: %v", e.VM, where, e.Err)
}

// Unwrap returns the cause and what went wrong in taking back.
func (e *StepError) Unwrap() []error {
	if e.UndoErr != nil {
		return []error{e.Err, e.UndoErr}
	}
	return []error{e.Err}
}

// StartError says that a clone, which is defined and verified, did not start.
type StartError struct {
	// Clone is the domain's name.
	Clone string
	// Err is what libvirt said.
	Err error
}

func (e *StartError) Error() string {
	return fmt.Sprintf("the clone %q is defined and verified, but did not start: %v", e.Clone, e.Err)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// InterruptedError says that the user, or a signal, stopped the job.
type InterruptedError struct {
	// Why is what stopped it, in words.
	Why string
}

func (e *InterruptedError) Error() string { return "interrupted: " + e.Why }

// ErrStopAfter is the cause of a stop that --stop-after asked for.
var ErrStopAfter = errors.New("stopped as --stop-after asked for")

// ConflictError says that something that the job did not make is where the job
// would make or remove its own. The job leaves it alone.
type ConflictError struct {
	// What is the thing, in words: "the volume vg0/imap-vda-luks".
	What string
	// Reason says how it differs from what the job would have made.
	Reason string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s is not this job's: %s", e.What, e.Reason)
}

func isConflict(err error) bool {
	var conflict *ConflictError
	return errors.As(err, &conflict)
}

// KeyError says that the key could not be had.
type KeyError struct{ Err error }

func (e *KeyError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *KeyError) Unwrap() error { return e.Err }

// SourceChangedError says that the source is no longer what was planned or
// copied: going on would mix two states of a disk.
type SourceChangedError struct {
	// Disk and Path name the source.
	Disk, Path string
	// Reason says what changed.
	Reason string
}

func (e *SourceChangedError) Error() string {
	return fmt.Sprintf("the source of %s has changed since the job began: %s: %s", e.Disk, e.Path, e.Reason)
}

// SourceStartedError says that a VM that uses the source is running, so that
// the copy may mix two states of the disk.
type SourceStartedError struct {
	// VM is the domain that is running.
	VM string
}

func (e *SourceStartedError) Error() string {
	return fmt.Sprintf("the VM %q, which uses the source, was started meanwhile", e.VM)
}

// CloneStartedError says that a rollback would remove a clone that has been
// started: its guest may have written what exists nowhere else.
type CloneStartedError struct {
	// Clone is the domain's name.
	Clone string
	// Running is true if it runs now; then not even force removes it.
	Running bool
	// Evidence says how it is known.
	Evidence string
	// Locked is the disk that can't be compared since it is not open, nil where
	// that is not the evidence.
	Locked *DiskPlan
	// Job is the job, and Undefined says that libvirt no longer has its clone.
	// Definition is the file that brings it back then, or "".
	Job        string
	Undefined  bool
	Definition string
}

func (e *CloneStartedError) Error() string {
	if e.Running {
		return fmt.Sprintf("the clone %q is running", e.Clone)
	}
	if e.Undefined {
		return fmt.Sprintf("the clone %q is not defined, and may have been started since the copy (%s), so its disk may hold what exists nowhere else", e.Clone, e.Evidence)
	}
	return fmt.Sprintf("the clone %q may have been started since the copy (%s), so its disk may hold what exists nowhere else", e.Clone, e.Evidence)
}

// CloneRenamedError says that a job's clone has another identity by now, as after
// a cutover, so that its rollback would remove what is in use.
type CloneRenamedError struct {
	// Clone is what the job called it, and Now what it is called.
	Clone, Now string
}

func (e *CloneRenamedError) Error() string {
	return fmt.Sprintf("the clone %q has another identity by now: it is %q, as after a cutover", e.Clone, e.Now)
}

// OriginalRetiredError says that a rollback would remove the only disks that are
// left: the original's are wiped, or being wiped.
type OriginalRetiredError struct {
	// Clone is the domain's name.
	Clone string
	// Undefined says that libvirt no longer has it, and Definition is the file
	// that brings it back then, or "".
	Undefined  bool
	Definition string
}

func (e *OriginalRetiredError) Error() string {
	return fmt.Sprintf("the original of %q was retired: the clone's disks are the only ones left", e.Clone)
}

// UndoneError says that a job can't be resumed because its rollback has begun.
type UndoneError struct {
	// Job is its id.
	Job string
}

func (e *UndoneError) Error() string {
	return fmt.Sprintf("the rollback of job %s has begun, so it can't be resumed", e.Job)
}

// FinishedError says that a job is done already.
type FinishedError struct {
	// Job is its id, and Clone the domain it made.
	Job, Clone string
}

func (e *FinishedError) Error() string {
	return fmt.Sprintf("job %s is done already: its clone is %q", e.Job, e.Clone)
}

// DifferenceError says that payload and source, or payload and record, differ.
type DifferenceError struct {
	// Disk is the target name.
	Disk string
	// Err says where, with both digests.
	Err error
}

func (e *DifferenceError) Error() string { return fmt.Sprintf("verification of %s: %v", e.Disk, e.Err) }

// Unwrap returns the cause.
func (e *DifferenceError) Unwrap() error { return e.Err }

// GuestWroteError says that a disk would have to be copied anew, and that the
// clone had been defined on it by then: its guest may have written there.
type GuestWroteError struct {
	// Clone is its name, and Disk the target.
	Clone, Disk string
	// Definition is the file that the clone can be defined from again, or "".
	Definition string
	// Err is why it would have to be copied anew.
	Err error
}

func (e *GuestWroteError) Error() string {
	return fmt.Sprintf("the guest of %s may have written to its disk %s, which is not copied over: %v", e.Clone, e.Disk, e.Err)
}

// Unwrap returns why it would have to be copied anew.
func (e *GuestWroteError) Unwrap() error { return e.Err }
