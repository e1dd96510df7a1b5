package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// guardClone keeps a rollback from destroying what a started clone's guest has
// written. The evidence is that the clone runs, or that its payload no longer
// has the digests of the copy. A payload that is locked can't be compared, and
// is taken for started.
func (j *Job) guardClone(ctx context.Context, force bool) error {
	domain, err := j.idleClone(ctx)
	if domain == nil || err != nil || force {
		return err
	}
	for i := range j.Plan.Disks {
		disk := &j.Plan.Disks[i]
		evidence, err := j.written(ctx, disk)
		if err != nil {
			return fmt.Errorf("compare %s with what was copied: %w", disk.Device, err)
		}
		if evidence != "" {
			return &CloneStartedError{Clone: domain.Name, Evidence: evidence}
		}
	}
	return nil
}

// guardQuickly is guardClone without reading a payload: what can be told before
// somebody is asked whether they mean it.
func (j *Job) guardQuickly(ctx context.Context, force bool) error {
	domain, err := j.idleClone(ctx)
	if domain == nil || err != nil || force {
		return err
	}
	for i := range j.Plan.Disks {
		disk := &j.Plan.Disks[i]
		evidence, chunks, err := j.incomparable(ctx, disk)
		if err != nil {
			return err
		}
		if chunks != nil {
			_ = chunks.Close() // nothing was done with it
		}
		if evidence != "" {
			return &CloneStartedError{Clone: domain.Name, Evidence: evidence}
		}
	}
	return nil
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
	_, err = j.Copier.Verify(ctx, VerifyRequest{Payload: disk.Device, Bytes: disk.Payload, Chunks: chunks, Progress: j.progress(Verify, disk)})
	var differs *blockcopy.MismatchError
	if errors.As(err, &differs) {
		return fmt.Sprintf("its disk %s differs from the copy: %v", disk.Target, err), nil
	}
	return "", err
}

// incomparable says why a payload can't be compared with what was copied, or
// returns the record to compare it with.
func (j *Job) incomparable(ctx context.Context, disk *DiskPlan) (evidence string, chunks *blockcopy.Chunks, err error) {
	mapping, err := j.mapping(ctx, disk)
	if err != nil {
		return "", nil, err
	}
	if !mapping.open || !strings.EqualFold(mapping.UUID, disk.LUKSUUID) {
		return fmt.Sprintf("its disk %s is locked, so that it can't be compared with the copy", disk.Target), nil, nil
	}
	chunks, err = blockcopy.LoadChunks(j.chunksPath(disk))
	if errors.Is(err, os.ErrNotExist) {
		return "the record of the copy is gone", nil, nil
	}
	return "", chunks, err
}
