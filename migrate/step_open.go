package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/vmmigrate/vmmigrate/luks"
)

// open maps the payload.
type open struct{}

var _ Step = open{}

func (open) Name() StepName { return Open }

// Check: a mapping of that name has our LUKS UUID and the planned size, and lies
// on the disk's volume.
func (open) Check(ctx context.Context, job *Job, disk *DiskPlan) (Standing, error) {
	mapping, err := job.mapping(ctx, disk)
	if err != nil || !mapping.open {
		return Absent, err
	}
	if err := planned(mapping.Mapping, disk); err != nil {
		return Absent, err
	}
	on, err := job.liesOn(ctx, mapping.Mapping, disk)
	if err == nil && !on {
		err = elsewhere(mapping.Mapping, disk)
	}
	if err != nil {
		return Absent, err
	}
	return Present, nil
}

// liesOn says whether a mapping lies on the disk's volume: one of a copy of that,
// or of a snapshot, opens the same header and is not ours. Where the volume itself
// is not there, nothing speaks against it.
func (j *Job) liesOn(ctx context.Context, mapping luks.Mapping, disk *DiskPlan) (bool, error) {
	volume, err := j.Devices.Inspect(ctx, disk.Volume.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	below, err := j.Devices.Inspect(ctx, cmp.Or(mapping.File, mapping.Device))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return below.ID == volume.ID, err
}

func elsewhere(mapping luks.Mapping, disk *DiskPlan) error {
	return &ConflictError{
		What: fmt.Sprintf("the mapping %s", disk.Mapper), Reason: fmt.Sprintf("it lies on %s and not on %s", cmp.Or(mapping.File, mapping.Device), disk.Volume.Path),
	}
}

// planned returns a *ConflictError for a mapping that does not show what the plan
// says.
func planned(mapping luks.Mapping, disk *DiskPlan) error {
	what := fmt.Sprintf("the mapping %s", disk.Mapper)
	if !strings.EqualFold(mapping.UUID, disk.LUKSUUID) {
		return &ConflictError{What: what, Reason: fmt.Sprintf("it opens the LUKS volume %s and not %s", mapping.UUID, disk.LUKSUUID)}
	}
	if mapping.Size != disk.Payload || mapping.Offset != disk.Offset {
		return &ConflictError{What: what, Reason: fmt.Sprintf("it shows %d bytes from offset %d, and the plan says %d from %d",
			mapping.Size, mapping.Offset, disk.Payload, disk.Offset)}
	}
	return nil
}

func (o open) Do(ctx context.Context, job *Job, disk *DiskPlan, _ Standing) error {
	key, err := job.unlockKey(ctx, false)
	if err != nil {
		return err
	}
	openings, err := job.openings(ctx, disk)
	if err != nil {
		return err
	}
	for i, options := range openings {
		if i == 0 {
			err = job.Encryption.Open(ctx, disk.Volume.Path, disk.Mapper, key, options)
		} else {
			err = job.reopen(ctx, disk, key, options)
		}
		if err != nil {
			return err
		}
	}
	job.keyIsSure()
	job.say(Open, disk, "%s", disk.Device)
	probe, err := job.wantsProbe(disk)
	if err == nil && probe {
		err = job.probe(ctx, disk, key)
	}
	if err != nil {
		return err
	}
	if disk.Volume.Kind == OnFile {
		// Without it the host caches every block twice.
		if err := job.Encryption.DirectIO(ctx, disk.Mapper); err != nil {
			job.report(Event{Event: Warning, Step: Open, Disk: disk.Target, Message: fmt.Sprintf("the loop device of %s goes through the page cache: %v", disk.Volume.Path, err)})
		}
	}
	// Invariant 2: the payload is exactly as large as planned.
	standing, err := o.Check(ctx, job, disk)
	if err == nil && standing != Present {
		err = fmt.Errorf("the mapping %s is not there although cryptsetup opened it", disk.Mapper)
	}
	return err
}

// Undo closes the mapping if it is ours; a guest's own volume groups on it,
// which the host may have activated, are deactivated first.
func (open) Undo(ctx context.Context, job *Job, disk *DiskPlan) error {
	return closeOurs(ctx, job, disk)
}

func closeOurs(ctx context.Context, job *Job, disk *DiskPlan) error {
	mapping, err := job.mapping(ctx, disk)
	if err != nil {
		return err
	}
	if !mapping.open || !strings.EqualFold(mapping.UUID, disk.LUKSUUID) {
		return nil
	}
	if on, err := job.liesOn(ctx, mapping.Mapping, disk); err != nil || !on {
		return err
	}
	if err := unmountOurs(ctx, job, disk); err != nil {
		return err
	}
	var busy *luks.BusyError
	for try := 1; ; try++ {
		groups, err := job.Volumes.Deactivate(ctx, disk.Device)
		if err != nil {
			return err
		}
		if busy != nil && len(groups) == 0 {
			return busy // something else holds it
		}
		if err = job.Encryption.Close(ctx, disk.Mapper); !errors.As(err, &busy) || try == closeTries {
			return err
		}
	}
}

// closeTries is how often a mapping is closed that a guest's volume group keeps
// open: the host's LVM activates one a moment after udev tells it of the mapping,
// and so perhaps just after there was none to be seen.
const closeTries = 3
