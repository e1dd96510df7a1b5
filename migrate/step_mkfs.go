package migrate

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"
)

// makeFilesystem makes the file system that an image lies on, with the UUID that
// the plan fixed.
type makeFilesystem struct{}

var _ Step = makeFilesystem{}

func (makeFilesystem) Name() StepName { return MakeFilesystem }

// madeNote says whether mkfs has come to its end. It is not known from the
// record of the step: a new header makes noise of the file system and a volume
// that is activated again does not, and either comes before this step is looked
// at again.
type madeNote struct {
	Made bool `json:"made"`
}

// Check: the payload bears our UUID, and mkfs came to its end: it may write that
// before all the rest.
func (makeFilesystem) Check(ctx context.Context, job *Job, disk *DiskPlan) (Standing, error) {
	found, err := job.Filesystems.Identify(ctx, disk.Device)
	if err != nil {
		return Absent, err
	}
	var note madeNote
	if _, err := job.noted(MakeFilesystem, disk, &note); err != nil {
		return Absent, err
	}
	switch {
	case found.Is(disk.Filesystem.Type, disk.Filesystem.UUID) && note.Made:
		return Present, nil
	case found.Is(disk.Filesystem.Type, disk.Filesystem.UUID):
		return Partial, nil
	case note.Made && found.Type != "":
		return Absent, &ConflictError{What: "what lies on " + disk.Device, Reason: fmt.Sprintf("it is no longer the %s %s that was made there", disk.Filesystem.Type, disk.Filesystem.UUID)}
	}
	return Absent, nil // noise, or what the measurement of dm-crypt left
}

func (makeFilesystem) Do(ctx context.Context, job *Job, disk *DiskPlan, _ Standing) error {
	if err := job.mayOverwrite(disk, fmt.Errorf("the %s of %s is gone or damaged", disk.Filesystem.Type, disk.Filesystem.Mount)); err != nil {
		return err
	}
	if err := dropChunks(job, disk); err != nil {
		return err
	}
	if err := job.note(MakeFilesystem, disk, madeNote{}); err != nil {
		return err
	}
	if err := job.Filesystems.Make(ctx, disk.fsSpec()); err != nil {
		return err
	}
	if err := job.note(MakeFilesystem, disk, madeNote{Made: true}); err != nil {
		return err
	}
	job.say(MakeFilesystem, disk, "%s, %s", disk.Filesystem.Type, humanize.IBytes(uint64(disk.Payload)))
	return nil
}

// Undo does nothing: the file system goes with the volume it is on.
func (makeFilesystem) Undo(context.Context, *Job, *DiskPlan) error { return nil }
