package succession

import (
	"fmt"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// PartyError says what about one of the two domains keeps them from exchanging
// their identities. Nothing has been changed.
type PartyError struct {
	// VM is the domain, and Clone the clone, which it may be itself.
	VM, Clone string
	// Problem is what is wrong, and State what it does if that is it.
	Problem Problem
	State   hypervisor.State
}

// Problem is what may be wrong with a party.
type Problem string

// The problems.
const (
	Active      Problem = "active"
	Transient   Problem = "transient"
	ManagedSave Problem = "managed-save"
	Snapshots   Problem = "snapshots"
	Checkpoints Problem = "checkpoints"
)

func (e *PartyError) Error() string {
	switch e.Problem {
	case Active:
		return fmt.Sprintf("%q is %s, and has to be off", e.VM, e.State)
	case Transient:
		return fmt.Sprintf("%q is transient: it has no definition that outlives it", e.VM)
	case ManagedSave:
		return fmt.Sprintf("%q has a managed save image, which belongs to its name", e.VM)
	case Snapshots:
		return fmt.Sprintf("%q has snapshots, which belong to its name and UUID", e.VM)
	case Checkpoints:
		return fmt.Sprintf("%q has checkpoints, which belong to its name and UUID", e.VM)
	}
	return fmt.Sprintf("%q: %s", e.VM, e.Problem)
}

// NoOriginalError says that a clone's original is not defined.
type NoOriginalError struct {
	// Clone is the clone's name, and Original and UUID what its metadata say.
	Clone, Original, UUID string
	// Taken says that a VM of the original's name is there, and is another.
	Taken bool
	// Retired says that it was retired.
	Retired bool
	// Adopted says that there never was one: the clone was made of images.
	Adopted bool
}

func (e *NoOriginalError) Error() string {
	switch {
	case e.Adopted:
		return fmt.Sprintf("%q was made of disk images and has no original to change places with", e.Clone)
	case e.Retired:
		return fmt.Sprintf("the original of %q was retired: nothing is left to change places with", e.Clone)
	case e.Taken:
		return fmt.Sprintf("the original of %q is not defined: the VM %q of today has another UUID than %s", e.Clone, e.Original, e.UUID)
	}
	return fmt.Sprintf("the original of %q, %q with the UUID %s, is not defined", e.Clone, e.Original, e.UUID)
}

// NameTakenError says that a name or UUID that a party is to get is another
// domain's.
type NameTakenError struct {
	// Name is what is wanted, and By the domain that has it.
	Name, By string
}

func (e *NameTakenError) Error() string {
	if e.Name == e.By {
		return fmt.Sprintf("there is a VM named %q already", e.Name)
	}
	return fmt.Sprintf("the UUID %s is that of the VM %q", e.Name, e.By)
}

// ChangedError says that a domain is not what the exchange left or found there:
// somebody has changed or replaced it meanwhile.
type ChangedError struct {
	// VM and UUID name the domain.
	VM, UUID string
	// Reason says what is different.
	Reason string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("the VM %q (%s) was changed meanwhile: %s", e.VM, e.UUID, e.Reason)
}

// HalfError says that a domain is part of an exchange that is not finished.
type HalfError struct {
	// VM is the name that was asked for, and Job the unfinished one.
	VM, Job string
	// Undo is whether that takes a cutover back.
	Undo bool
	// Back is whether its rollback has begun.
	Back bool
	// Running is whether a process works on it now.
	Running bool
}

func (e *HalfError) Error() string {
	what := "a cutover"
	if e.Undo {
		what = "the undo of a cutover"
	}
	if e.Running {
		return fmt.Sprintf("%s of %q is under way (job %s)", what, e.VM, e.Job)
	}
	return fmt.Sprintf("%s of %q is not finished (job %s)", what, e.VM, e.Job)
}

// StepError says at which step an exchange stopped, and where that leaves it.
type StepError struct {
	// Job and VM name it.
	Job, VM string
	Step    migrate.StepName
	// Aftermath is migrate.TakenBack where both are as they were, and
	// migrate.Kept where it is to be resumed or rolled back.
	Aftermath migrate.Aftermath
	// Back is whether it was being taken back.
	Back bool
	Err  error
	// UndoErr is what went wrong in taking back.
	UndoErr error
}

func (e *StepError) Error() string {
	if e.UndoErr != nil {
		return fmt.Sprintf("%s: %s failed: %v; and taking it back failed too: %v", e.VM, e.Step, e.Err, e.UndoErr)
	}
	if e.Back {
		return fmt.Sprintf("%s: taking back %s failed: %v", e.VM, e.Step, e.Err)
	}
	return fmt.Sprintf("%s: %s failed: %v", e.VM, e.Step, e.Err)
}

// Unwrap returns the causes.
func (e *StepError) Unwrap() []error {
	if e.UndoErr != nil {
		return []error{e.Err, e.UndoErr}
	}
	return []error{e.Err}
}

// SiblingError says that an original has several clones: the others would no
// longer find theirs.
type SiblingError struct {
	Clone, Other, Original string
}

func (e *SiblingError) Error() string {
	return fmt.Sprintf("%q has another clone, %q, which would take %q for its original", e.Original, e.Other, e.Clone)
}

// EndedError says that a job is done, so that it is neither resumed nor rolled
// back.
type EndedError struct {
	Job string
	// Clone is what the clone is called now, and Undo whether the job took a
	// cutover back.
	Clone string
	Undo  bool
}

func (e *EndedError) Error() string {
	if e.Undo {
		return fmt.Sprintf("job %s is done already: %q has its own name again", e.Job, e.Clone)
	}
	return fmt.Sprintf("job %s is done already: the clone is called %q", e.Job, e.Clone)
}
