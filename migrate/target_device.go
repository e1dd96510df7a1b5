package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// checkDevice sees that a device that was there before is still the one that
// was planned with, and that nobody has put anything on it since. From the
// format on it bears the job's header; a crash in the format leaves it blank or
// with that.
func (j *Job) checkDevice(ctx context.Context, disk *DiskPlan) (Standing, error) {
	what := disk.Volume.what()
	facts, err := j.Devices.Inspect(ctx, disk.Volume.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if lv, err := j.inactiveLV(ctx, disk); err != nil || lv {
			return Partial, err // as after a reboot without auto-activation
		}
		return Absent, &ConflictError{What: what, Reason: "it is not there any more"}
	}
	if err != nil {
		return Absent, err
	}
	if !facts.Block || facts.Size != disk.Volume.Size {
		return Absent, &ConflictError{What: what, Reason: fmt.Sprintf("it has %d bytes and was planned with %d", facts.Size, disk.Volume.Size)}
	}
	if j.isDone(key(Format, disk)) {
		return Present, nil // that step knows the header
	}
	signatures, err := j.Encryption.Signatures(ctx, disk.Volume.Path)
	if err != nil {
		return Absent, err
	}
	for _, s := range signatures {
		if !s.Ours(disk.LUKSUUID) {
			return Absent, &ConflictError{What: what, Reason: fmt.Sprintf("it is not blank any more, it bears %s", s)}
		}
	}
	return Present, nil
}

// inactiveLV says whether a device that is not there is a logical volume that
// is, and only not active.
func (j *Job) inactiveLV(ctx context.Context, disk *DiskPlan) (bool, error) {
	if disk.Volume.VG == "" {
		return false, nil
	}
	_, err := j.Volumes.LV(ctx, disk.Volume.VG, disk.Volume.Name)
	var missing *lvm.NotFoundError
	if errors.As(err, &missing) && missing.Kind != "volume group" {
		return false, nil
	}
	return err == nil, err
}

// deviceGone brings a device about that was there before the job, so that its
// header can be taken away. gone is true where that is a volume that was
// removed; a device that is not there may come back with its header.
func (j *Job) deviceGone(ctx context.Context, disk *DiskPlan) (gone bool, err error) {
	_, err = j.Devices.Inspect(ctx, disk.Volume.Path)
	if !errors.Is(err, fs.ErrNotExist) || disk.Volume.VG == "" {
		return false, err
	}
	there, err := j.inactiveLV(ctx, disk)
	if err != nil || !there {
		return err == nil, err
	}
	return false, j.Volumes.Activate(ctx, disk.Volume.VG, disk.Volume.Name)
}
