package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

// verifyDisk reads the payload back and holds it against what was read from
// the source.
type verifyDisk struct{}

var _ Step = verifyDisk{}

func (verifyDisk) Name() StepName { return Verify }

// Check goes by the record, which is dropped whenever the copy is done anew.
func (verifyDisk) Check(_ context.Context, job *Job, disk *DiskPlan) (Standing, error) {
	if job.isDone(key(Verify, disk)) {
		return Present, nil
	}
	return Absent, nil
}

func (verifyDisk) Do(ctx context.Context, job *Job, disk *DiskPlan, _ Standing) error {
	if job.Plan.Options.Verify == VerifyNone {
		job.say(Verify, disk, "not asked for")
		return nil
	}
	// One that is gone or damaged by now has the next resume copy anew.
	chunks, err := job.recorded(disk)
	if err == nil && chunks == nil {
		err = fmt.Errorf("the record of what was copied is gone from %s", job.chunksPath(disk))
	}
	if err != nil {
		return err
	}
	defer chunks.Close() // it was only read
	ctx, stop := job.guardSource(ctx)
	defer stop()
	request := VerifyRequest{Payload: disk.Where(), Image: disk.Filesystem != nil, Bytes: disk.Bytes(), Chunks: chunks, Pace: job.Plan.Options.Pace, Progress: job.progress(Verify, disk)}
	if job.Plan.Options.Verify == VerifyFull {
		request.Source = &disk.Source
	}
	_, err = job.Copier.Verify(ctx, request)
	if err == nil {
		job.say(Verify, disk, "%s: every byte read back is what was read from the source", job.Plan.Options.Verify)
	}
	var differs *blockcopy.MismatchError
	if errors.As(err, &differs) {
		return &DifferenceError{Disk: disk.Target, Err: err}
	}
	return err
}

// Undo does nothing: a verification leaves nothing behind.
func (verifyDisk) Undo(context.Context, *Job, *DiskPlan) error { return nil }
