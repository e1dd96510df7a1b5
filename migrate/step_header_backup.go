package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vmmigrate/vmmigrate/luks"
)

// headerBackup copies the LUKS headers into the job's folder: a damaged header
// loses the whole volume, and until now there was none to lose.
type headerBackup struct{}

var _ Step = headerBackup{}

func (headerBackup) Name() StepName { return HeaderBackup }

// backupFiles are what is kept of a disk's header: the backup, what it is beside
// it, and the same once more for when both are moved off this host.
func (j *Job) backupFiles(disk *DiskPlan) (backup, beside, note string) {
	backup = j.headerPath(disk)
	return backup, backup + luks.Beside, filepath.Join(j.Dir, safeName(disk.Target)+luks.Note)
}

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
		if err := job.Encryption.HeaderBackup(ctx, disk.headerAt(), job.headerPath(disk)); err != nil {
			return err
		}
		if err := job.describeBackup(disk); err != nil {
			return fmt.Errorf("say what the header backup is: %w", err)
		}
	}
	// The files are on disk by now; that they have names there takes this.
	if err := syncPath(job.Dir); err != nil {
		return fmt.Errorf("flush the header backups: %w", err)
	}
	job.say(HeaderBackup, nil, "in %s; move it off this host", job.Dir)
	return nil
}

// describeBackup writes what a header backup is beside it.
func (j *Job) describeBackup(disk *DiskPlan) error {
	backup, beside, note := j.backupFiles(disk)
	digest, size, err := luks.DigestFile(backup)
	if err != nil {
		return err
	}
	said := luks.Backup{
		File: backup, Bytes: size, SHA256: digest, Made: j.Now().UTC(), VM: j.Plan.Clone.Name, Disk: disk.Target, Volume: disk.Volume.String(),
		LUKS: disk.LUKSUUID, Type: j.Plan.Options.LUKS.Type, Offset: disk.Offset, VolumeSize: disk.Volume.Size,
	}
	for _, path := range []string{beside, note} {
		if err := writeWhole(path, said.Text()); err != nil {
			return err
		}
	}
	return nil
}

// Undo removes the backups. With the volume gone they would only keep its key
// slots where nobody looks for them.
func (headerBackup) Undo(_ context.Context, job *Job, _ *DiskPlan) error {
	for i := range job.Plan.Disks {
		backup, beside, note := job.backupFiles(&job.Plan.Disks[i])
		for _, path := range []string{backup, beside, note} {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("remove the header backup: %w", err)
			}
		}
	}
	return nil
}
