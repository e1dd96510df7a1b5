package migrate

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// mountFilesystem mounts the file system, on a folder that the job makes.
type mountFilesystem struct{}

var _ Step = mountFilesystem{}

func (mountFilesystem) Name() StepName { return Mount }

// Check: what is under our mapping is mounted on our folder.
func (mountFilesystem) Check(ctx context.Context, job *Job, disk *DiskPlan) (Standing, error) {
	dirs, err := job.Filesystems.Mounts(ctx, disk.Device)
	if err == nil && slices.Contains(dirs, disk.Filesystem.Mount) {
		return Present, nil
	}
	return Absent, err
}

func (mountFilesystem) Do(ctx context.Context, job *Job, disk *DiskPlan, _ Standing) error {
	if err := job.Filesystems.MakeDir(ctx, disk.Filesystem.Mount); err != nil {
		return err
	}
	if err := job.Filesystems.Mount(ctx, job.Plan.mountSpec(disk)); err != nil {
		return err
	}
	job.say(Mount, disk, "%s", disk.Filesystem.Mount)
	return nil
}

// Undo unmounts it and removes the folder. One that has something in it, or that
// something else is mounted on, was not made for this and stays.
func (mountFilesystem) Undo(ctx context.Context, job *Job, disk *DiskPlan) error {
	if err := unmountOurs(ctx, job, disk); err != nil {
		return err
	}
	if !job.cameTo(key(Mount, disk)) {
		return nil
	}
	err := job.Filesystems.RemoveDir(ctx, disk.Filesystem.Mount)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

// unmountOurs unmounts what is under our mapping from our folder, if it is there.
func unmountOurs(ctx context.Context, job *Job, disk *DiskPlan) error {
	if disk.Filesystem == nil {
		return nil
	}
	mapping, err := job.mapping(ctx, disk)
	if err != nil || !mapping.open || !strings.EqualFold(mapping.UUID, disk.LUKSUUID) {
		return err
	}
	return job.Filesystems.Unmount(ctx, disk.Filesystem.Mount, disk.Device)
}

// cameTo says whether a step was ever begun.
func (j *Job) cameTo(k stepKey) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.journal.Records(), func(r journal.Record) bool {
		return r.Kind == journal.Intent && StepName(r.Step) == k.step && r.Disk == k.disk
	})
}

// readable says whether a disk's bytes can be read: its mapping is open, and ours,
// and the file system on it mounted.
func (j *Job) readable(ctx context.Context, disk *DiskPlan) (bool, error) {
	if open, err := j.openOurs(ctx, disk); err != nil || !open || disk.Filesystem == nil {
		return open, err
	}
	standing, err := mountFilesystem{}.Check(ctx, j, disk)
	return standing == Present, err
}
