package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// createVolume makes the target volume, tagged with the job. Of a device that
// was there before it only sees that it is, and still blank.
type createVolume struct{}

var _ Step = createVolume{}

func (createVolume) Name() StepName { return CreateVolume }

// Check: the volume of that name bears the job's tag and has the planned size.
func (createVolume) Check(ctx context.Context, job *Job, disk *DiskPlan) (Standing, error) {
	switch disk.Volume.Kind {
	case OnDevice:
		return job.checkDevice(ctx, disk)
	case OnFile:
		return job.checkFile(ctx, disk)
	case NewLV:
	}
	lv, err := job.Volumes.LV(ctx, disk.Volume.VG, disk.Volume.Name)
	var missing *lvm.NotFoundError
	if errors.As(err, &missing) {
		return Absent, nil
	}
	if err != nil {
		return Absent, err
	}
	what := fmt.Sprintf("the volume %s/%s", lv.VG, lv.Name)
	if !slices.Contains(lv.Tags, job.Plan.Tag()) {
		return Absent, &ConflictError{What: what, Reason: fmt.Sprintf("it does not bear the tag %s", job.Plan.Tag())}
	}
	if lv.Size != disk.Volume.Size {
		return Absent, &ConflictError{What: what, Reason: fmt.Sprintf("it has %d bytes and was made with %d", lv.Size, disk.Volume.Size)}
	}
	if !lv.Active {
		return Partial, nil // as after a reboot without auto-activation
	}
	return Present, nil
}

func (createVolume) Do(ctx context.Context, job *Job, disk *DiskPlan, standing Standing) error {
	if disk.Volume.Kind == OnDevice && standing != Partial {
		return fmt.Errorf("%s is not there", disk.Volume.what())
	}
	if standing == Partial {
		return job.Volumes.Activate(ctx, disk.Volume.VG, disk.Volume.Name)
	}
	// A header in a file of its own outlives the volume that was copied to.
	if err := dropChunks(job, disk); err != nil {
		return err
	}
	if disk.Volume.Kind == OnFile {
		return job.makeFile(ctx, disk)
	}
	// Whatever comes later: from here on there is nothing of an earlier one.
	if err := job.note(CreateVolume, disk, struct{}{}); err != nil {
		return err
	}
	lv, err := job.Volumes.Create(ctx, job.Plan.volumeSpec(disk))
	if err != nil {
		return err
	}
	if lv.Size != disk.Volume.Size {
		// The payload's offset was chosen for the planned size.
		return fmt.Errorf("lvcreate made %s/%s with %d bytes where %d were asked for", lv.VG, lv.Name, lv.Size, disk.Volume.Size)
	}
	job.say(CreateVolume, disk, "%s/%s, %s", lv.VG, lv.Name, humanize.IBytes(uint64(lv.Size)))
	return nil
}

// Undo removes the volume, which has to bear the tag. A device that was there
// before stays.
func (createVolume) Undo(ctx context.Context, job *Job, disk *DiskPlan) error {
	switch disk.Volume.Kind {
	case OnDevice:
		return nil
	case OnFile:
		return job.removeFile(ctx, disk)
	case NewLV:
	}
	_, err := job.Volumes.LV(ctx, disk.Volume.VG, disk.Volume.Name)
	var missing *lvm.NotFoundError
	if err != nil && (!errors.As(err, &missing) || missing.Kind == "volume group") {
		// A group's disks may only be away for now, and come back with the
		// volume.
		return err
	}
	err = job.Volumes.Remove(ctx, disk.Volume.VG, disk.Volume.Name, job.Plan.Tag())
	var foreign *lvm.NotOursError
	if errors.As(err, &foreign) {
		// Ours is gone, and somebody made another of that name: it stays.
		return nil
	}
	return err
}
