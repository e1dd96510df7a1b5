package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/image"
)

// createImage makes the empty image that a disk is copied into.
type createImage struct{}

var _ Step = createImage{}

func (createImage) Name() StepName { return CreateImage }

// Check: there is a qcow2 image of the planned size. One whose header can't be
// read is made anew: nothing is in it that is not in the source.
func (createImage) Check(ctx context.Context, job *Job, disk *DiskPlan) (Standing, error) {
	chain, err := job.Devices.Chain(ctx, disk.Filesystem.Image, image.QCOW2)
	var bad *image.Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Absent, nil
	case errors.As(err, &bad):
		return Partial, nil
	case err != nil:
		return Absent, err
	case len(chain) != 1 || chain[0].Size != disk.Source.Size:
		return Absent, &ConflictError{What: "the image " + disk.Filesystem.Image, Reason: fmt.Sprintf("it is not the one of %d bytes that the job made", disk.Source.Size)}
	}
	return Present, nil
}

// Do makes it under a name of its own first: one of the right name is whole.
func (createImage) Do(ctx context.Context, job *Job, disk *DiskPlan, _ Standing) error {
	if err := job.mayOverwrite(disk, fmt.Errorf("its image %s is gone or damaged", disk.Filesystem.Image)); err != nil {
		return err
	}
	if err := dropChunks(job, disk); err != nil {
		return err
	}
	path := disk.Filesystem.Image
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
	for _, old := range []string{part, path} {
		if err := job.Files.Remove(ctx, old); err != nil {
			return err
		}
	}
	if err := job.Images.CreateImage(ctx, part, disk.imageSpec()); err != nil {
		return err
	}
	if err := job.Files.Move(ctx, part, path); err != nil {
		return err
	}
	job.say(CreateImage, disk, "%s, %s for the guest", path, humanize.IBytes(uint64(disk.Source.Size)))
	return nil
}

// Undo does nothing: the image goes with the file system it is on.
func (createImage) Undo(context.Context, *Job, *DiskPlan) error { return nil }

// mendImage readies an image for the rest of a copy. A power cut may have left
// space in it that is lost, which is taken back; one that is damaged is made anew
// and not trusted.
func (j *Job) mendImage(ctx context.Context, disk *DiskPlan) error {
	begun, err := exists(j.chunksPath(disk))
	if err != nil || !begun || disk.Filesystem == nil {
		return err
	}
	err = j.Images.MendImage(ctx, disk.Filesystem.Image)
	var bad *image.Error
	if !errors.As(err, &bad) {
		return err
	}
	j.report(Event{Event: Warning, Step: Copy, Disk: disk.Target, Message: fmt.Sprintf("the copy begins anew: %v", err)})
	return createImage{}.Do(ctx, j, disk, Partial)
}

// beside says what is on a disk's file system besides what was copied, or "":
// snapshots, in the image or in files beside it. They do not show in what the
// guest sees.
func (j *Job) beside(ctx context.Context, disk *DiskPlan) (evidence string, err error) {
	f := disk.Filesystem
	if f == nil {
		return "", nil
	}
	chain, err := j.Devices.Chain(ctx, f.Image, image.QCOW2)
	if err != nil {
		return fmt.Sprintf("its image %s is not as it was made: %v", f.Image, err), nil
	}
	if n := chain[0].Snapshots; n > 0 {
		return fmt.Sprintf("its image %s has %s inside", f.Image, count(n, "snapshot")), nil
	}
	folder, err := j.Files.Folder(ctx, f.Mount)
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(folder.Has)) {
		if name != filepath.Base(f.Image) && name != "lost+found" {
			return fmt.Sprintf("there is %s beside its image %s", name, f.Image), nil
		}
	}
	return "", nil
}
