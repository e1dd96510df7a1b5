package migrate

import "context"

// StepName names a step, in the journal, in events and in messages.
type StepName string

// The steps, in their order.
const (
	Preflight    StepName = "preflight"
	CreateVolume StepName = "create-volume"
	Format       StepName = "format"
	Open         StepName = "open"
	// The three of a disk that stays an image.
	MakeFilesystem StepName = "mkfs"
	Mount          StepName = "mount"
	CreateImage    StepName = "create-image"

	Copy         StepName = "copy"
	Verify       StepName = "verify"
	HeaderBackup StepName = "header-backup"
	Firmware     StepName = "firmware"
	Define       StepName = "define"
	Close        StepName = "close"
)

// Standing is what a step's Check found.
type Standing int

const (
	// Absent means that the step's effect is not there: Do has to act.
	Absent Standing = iota
	// Partial means that it is there by half, as after a crash. Do brings it
	// about from there.
	Partial
	// Present means that it stands, whole and ours.
	Present
)

// Step is one reversible act of a job. disk is nil for a step that is about
// the whole VM.
//
// Every method looks at the world first and can be repeated. None of them ever
// touches what the job did not make: where something else stands in the way
// they return a *ConflictError.
type Step interface {
	Name() StepName
	// Check says whether the step's effect stands.
	Check(ctx context.Context, job *Job, disk *DiskPlan) (Standing, error)
	// Do brings the effect about, from where Check just found it, and returns
	// when it is on disk.
	Do(ctx context.Context, job *Job, disk *DiskPlan, found Standing) error
	// Undo takes it back; an effect that is not there is a success.
	Undo(ctx context.Context, job *Job, disk *DiskPlan) error
}
