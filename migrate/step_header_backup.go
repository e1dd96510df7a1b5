package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// headerBackup copies the LUKS headers into the job's folder: a damaged header
// loses the whole volume, and until now there was none to lose.
type headerBackup struct{}

var _ Step = headerBackup{}

func (headerBackup) Name() StepName { return HeaderBackup }

// Check goes by the record: cryptsetup writes the file in one go, but a crash
// may leave half of it.
func (headerBackup) Check(_ context.Context, job *Job, _ *DiskPlan) (Standing, error) {
	if !job.isDone(stepKey{step: HeaderBackup}) {
		return Absent, nil
	}
	for i := range job.Plan.Disks {
		there, err := exists(job.headerPath(&job.Plan.Disks[i]))
		if err != nil || !there {
			return Absent, err
		}
	}
	return Present, nil
}

func (h headerBackup) Do(ctx context.Context, job *Job, _ *DiskPlan, _ Standing) error {
	// cryptsetup refuses to replace a file.
	if err := h.Undo(ctx, job, nil); err != nil {
		return err
	}
	for i := range job.Plan.Disks {
		disk := &job.Plan.Disks[i]
		if err := job.Encryption.HeaderBackup(ctx, disk.Volume.Path, job.headerPath(disk)); err != nil {
			return err
		}
	}
	// The files are on disk by now; that they have names there takes this.
	if err := syncPath(job.Dir); err != nil {
		return fmt.Errorf("flush the header backups: %w", err)
	}
	job.say(HeaderBackup, nil, "in %s; move it off this host", job.Dir)
	return nil
}

// Undo removes the backups. With the volume gone they would only keep its key
// slots where nobody looks for them.
func (headerBackup) Undo(_ context.Context, job *Job, _ *DiskPlan) error {
	for i := range job.Plan.Disks {
		if err := os.Remove(job.headerPath(&job.Plan.Disks[i])); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the header backup: %w", err)
		}
	}
	return nil
}
