package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// guardClone keeps a rollback from destroying what a started clone's guest has
// written. The evidence is that the clone runs, or that its payload no longer
// has the digests of the copy. A payload that is locked can't be compared, and
// is taken for started. That the clone is no longer defined makes no difference:
// its disks are what counts.
func (j *Job) guardClone(ctx context.Context, force bool) error {
	return j.guard(ctx, force, func(disk *DiskPlan) (string, error) { return j.written(ctx, disk) })
}

// guardQuickly is guardClone without reading a payload: what can be told before
// somebody is asked whether they mean it.
func (j *Job) guardQuickly(ctx context.Context, force bool) error {
	return j.guard(ctx, force, func(disk *DiskPlan) (string, error) {
		evidence, chunks, err := j.incomparable(ctx, disk)
		if chunks != nil {
			_ = chunks.Close() // nothing was done with it
		}
		return evidence, err
	})
}

// guard refuses a rollback when look finds evidence on a disk.
func (j *Job) guard(ctx context.Context, force bool, look func(*DiskPlan) (evidence string, err error)) error {
	domain, err := j.idleClone(ctx)
	if err == nil {
		err = j.guardSnapshots(ctx)
	}
	if err != nil || force || domain == nil && (!j.cameToDefine() || j.undefinedIt()) {
		return err
	}
	started := &CloneStartedError{Clone: j.Plan.Clone.Name, Job: j.Plan.Job, Undefined: domain == nil}
	if domain != nil {
		started.Clone = domain.Name
	} else {
		started.Definition = j.Store.Definition(j.Plan.Job)
	}
	for i := range j.Plan.Disks {
		disk := &j.Plan.Disks[i]
		if domain == nil {
			if there, err := j.holdsData(ctx, disk); err != nil || !there {
				if err != nil {
					return err
				}
				continue
			}
		}
		evidence, err := look(disk)
		if err != nil {
			return fmt.Errorf("compare %s with what was copied: %w", disk.Where(), err)
		}
		if evidence != "" {
			started.Evidence = evidence
			if open, err := j.readable(ctx, disk); err == nil && !open {
				started.Locked = disk
			}
			return started
		}
	}
	return nil
}

// guardSnapshots returns a *lvm.SnapshotError for a volume of the job's of which
// somebody has made a snapshot since: it would go with the volume, and it is not
// the job's. That is told before anything is taken back.
func (j *Job) guardSnapshots(ctx context.Context) error {
	volumes, err := j.Volumes.LVs(ctx)
	if err != nil {
		return err
	}
	for _, lv := range volumes {
		if !lv.HasTag(j.Plan.Tag()) {
			continue
		}
		if snapshots := lv.Dependent(volumes); len(snapshots) > 0 {
			return &lvm.SnapshotError{VG: lv.VG, Name: lv.Name, Snapshots: snapshots}
		}
	}
	return nil
}

// holdsData says whether there is anything on a disk's volume that a rollback
// would remove. A volume that is only not to be seen may come back.
func (j *Job) holdsData(ctx context.Context, disk *DiskPlan) (bool, error) {
	if disk.Volume.Kind == NewLV {
		lv, err := j.Volumes.LV(ctx, disk.Volume.VG, disk.Volume.Name)
		var missing *lvm.NotFoundError
		if errors.As(err, &missing) {
			return missing.Kind == "volume group", nil
		}
		return err == nil && slices.Contains(lv.Tags, j.Plan.Tag()), err
	}
	_, err := j.Devices.Inspect(ctx, disk.Volume.Path)
	if !errors.Is(err, fs.ErrNotExist) || disk.Volume.Kind == OnDevice {
		return true, nil
	}
	var note fileNote
	if found, err := j.noted(CreateVolume, disk, &note); err != nil || !found {
		return false, err
	}
	return j.sameFolder(ctx, disk, note) != nil, nil
}

// idleClone is the job's clone, or nil if there is none. One that runs, or whose
// disks are the only ones left, is an error that no force helps against.
func (j *Job) idleClone(ctx context.Context) (*hypervisor.Domain, error) {
	if err := j.needed(ctx); err != nil {
		return nil, err
	}
	domain, found, err := j.clone(ctx)
	if isConflict(err) || err == nil && !found {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if domain.State.Active() {
		return nil, &CloneStartedError{Clone: domain.Name, Running: true}
	}
	return &domain, nil
}

// written says how a payload shows that it was written since the copy, or "".
func (j *Job) written(ctx context.Context, disk *DiskPlan) (evidence string, err error) {
	evidence, chunks, err := j.incomparable(ctx, disk)
	if evidence != "" || err != nil {
		return evidence, err
	}
	defer chunks.Close() // it was only read
	_, err = j.Copier.Verify(ctx, VerifyRequest{Payload: disk.Where(), Image: disk.Filesystem != nil, Bytes: disk.Bytes(), Chunks: chunks, Pace: j.Plan.Options.Pace, Progress: j.progress(Verify, disk)})
	var differs *blockcopy.MismatchError
	if errors.As(err, &differs) {
		return fmt.Sprintf("its disk %s differs from the copy: %v", disk.Target, err), nil
	}
	return "", err
}

// incomparable says why a payload can't be compared with what was copied, or
// returns the record to compare it with.
func (j *Job) incomparable(ctx context.Context, disk *DiskPlan) (evidence string, chunks *blockcopy.Chunks, err error) {
	open, err := j.readable(ctx, disk)
	if err != nil {
		return "", nil, err
	}
	if !open {
		return fmt.Sprintf("its disk %s is locked, so that it can't be compared with the copy", disk.Target), nil, nil
	}
	if evidence, err := j.beside(ctx, disk); evidence != "" || err != nil {
		return evidence, nil, err
	}
	chunks, err = blockcopy.LoadChunks(j.chunksPath(disk))
	if errors.Is(err, os.ErrNotExist) {
		return "the record of the copy is gone", nil, nil
	}
	return "", chunks, err
}

// mayOverwrite returns a *GuestWroteError for a disk that the clone was defined on
// as it is: whatever is the matter with our record of it, its guest may have run
// since. A volume or a header that was made after that has nothing of it.
func (j *Job) mayOverwrite(disk *DiskPlan, why error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	defined := false
	for _, r := range j.journal.Records() {
		switch {
		case StepName(r.Step) == Define && r.Kind == journal.Intent:
			defined = true
		case StepName(r.Step) == Define && r.Kind == journal.Undone:
			defined = false
		case r.Disk == disk.Target && (StepName(r.Step) == CreateVolume && r.Kind == journal.Note || StepName(r.Step) == Format && r.Kind == journal.Done):
			defined = false
		}
	}
	if !defined {
		return nil
	}
	return &GuestWroteError{Clone: j.Plan.Clone.Name, Disk: disk.Target, Definition: j.Store.Definition(j.Plan.Job), Err: why}
}

// openOurs says whether the mapping of a disk's name is open, and of its volume.
func (j *Job) openOurs(ctx context.Context, disk *DiskPlan) (bool, error) {
	mapping, err := j.mapping(ctx, disk)
	if err != nil || !mapping.open || !strings.EqualFold(mapping.UUID, disk.LUKSUUID) {
		return false, err
	}
	return j.liesOn(ctx, mapping.Mapping, disk)
}
