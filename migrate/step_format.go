package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmmigrate/vmmigrate/luks"
)

// format writes the LUKS header, with the UUID and the payload's offset that
// the plan fixed, onto the volume or into a file of its own.
type format struct{}

var _ Step = format{}

func (format) Name() StepName { return Format }

// Check: the header has our UUID and offset, and a key slot. luksFormat writes
// the header before the key slot, so one without is half a format.
func (format) Check(ctx context.Context, job *Job, disk *DiskPlan) (Standing, error) {
	if _, err := job.Devices.Inspect(ctx, disk.Volume.Path); err != nil {
		return Absent, err
	}
	if disk.HeaderFile != "" {
		return job.checkHeader(ctx, disk)
	}
	header, err := job.Encryption.Header(ctx, disk.Volume.Path)
	var none *luks.NotLUKSError
	if errors.As(err, &none) {
		return Absent, nil
	}
	if err != nil {
		return Absent, err
	}
	if !strings.EqualFold(header.UUID, disk.LUKSUUID) {
		if disk.Volume.Kind == NewLV && !job.isDone(key(Format, disk)) {
			// Ours has never been there. lvcreate wipes what a volume's place
			// held before only once the volume exists, and a power cut in
			// between leaves, say, the header of a volume that was removed.
			return Absent, nil
		}
		return Absent, &ConflictError{
			What:   fmt.Sprintf("the LUKS header on %s", disk.Volume.Path),
			Reason: fmt.Sprintf("it has UUID %s and not %s", header.UUID, disk.LUKSUUID),
		}
	}
	if !whole(header, disk) {
		return Partial, nil
	}
	return Present, nil
}

// whole says that a header is the disk's, with the planned offset and a key slot.
func whole(header luks.Header, disk *DiskPlan) bool {
	return strings.EqualFold(header.UUID, disk.LUKSUUID) && len(header.Keyslots) > 0 && header.Offset == disk.Offset
}

// formatted is a disk of the job that bears its header, or nil.
func (j *Job) formatted(ctx context.Context) (*DiskPlan, error) {
	for i := range j.Plan.Disks {
		disk := &j.Plan.Disks[i]
		header, err := j.Encryption.Header(ctx, disk.headerAt())
		var none *luks.NotLUKSError
		var missing *luks.NotFoundError
		switch {
		case errors.As(err, &none), errors.As(err, &missing):
		case err != nil:
			return nil, err
		case whole(header, disk):
			return disk, nil
		}
	}
	return nil, nil
}

func (format) Do(ctx context.Context, job *Job, disk *DiskPlan, found Standing) error {
	// With a header backup what is under a damaged header can be had back.
	if err := job.mayOverwrite(disk, fmt.Errorf("its LUKS header in %s is gone or damaged; %s is the backup of it", disk.headerAt(), job.headerPath(disk))); err != nil {
		return err
	}
	key, err := job.formatKey(ctx)
	if err != nil {
		return err
	}
	// What was copied through an earlier header is noise under the new one.
	if err := dropChunks(job, disk); err != nil {
		return err
	}
	options := job.Plan.Options.LUKS
	if disk.HeaderFile != "" {
		job.say(Format, disk, "%s, %s, %d-bit key, header in %s", options.Type, options.Cipher, options.KeySize, disk.HeaderFile)
		return job.makeHeader(ctx, disk, key, found)
	}
	job.say(Format, disk, "%s, %s, %d-bit key", options.Type, options.Cipher, options.KeySize)
	_, err = job.Encryption.Format(ctx, job.Plan.formatSpec(disk), key)
	return err
}

// Undo makes a device blank again that was there before, or removes the header's
// file. Otherwise it does nothing: the header goes with the volume it is on.
func (format) Undo(ctx context.Context, job *Job, disk *DiskPlan) error {
	if disk.HeaderFile != "" {
		return job.removeHeader(ctx, disk)
	}
	if disk.Volume.Kind != OnDevice {
		return nil
	}
	gone, err := job.deviceGone(ctx, disk)
	if err != nil || gone {
		return err
	}
	err = job.Encryption.Erase(ctx, disk.Volume.Path, disk.LUKSUUID, disk.Offset)
	var foreign *luks.ForeignError
	if errors.As(err, &foreign) && !foreign.Header {
		return nil // ours is gone, and what somebody else put there stays
	}
	return err
}

// dropChunks forgets which chunks were copied.
func dropChunks(job *Job, disk *DiskPlan) error {
	// A kill in the making of a record leaves it under a name of its own, ".",
	// the record's and some digits: see blockcopy.CreateChunks.
	entries, err := os.ReadDir(job.Dir)
	if err != nil {
		return fmt.Errorf("forget what was copied: %w", err)
	}
	record, dropped := filepath.Base(job.chunksPath(disk)), false
	for _, entry := range entries {
		if entry.Name() != record && !strings.HasPrefix(entry.Name(), "."+record) {
			continue
		}
		if err := os.Remove(filepath.Join(job.Dir, entry.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("forget what was copied: %w", err)
		}
		dropped = true
	}
	if !dropped {
		return nil
	}
	// A power cut must not bring it back: of a new header's payload it would say
	// that noise is what was copied.
	if err := syncPath(job.Dir); err != nil {
		return fmt.Errorf("forget what was copied: %w", err)
	}
	return nil
}
