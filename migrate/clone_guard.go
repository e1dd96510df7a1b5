package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

// guardClone keeps a rollback from destroying what a started clone's guest has
// written. The evidence is that the clone runs, or that its payload no longer
// has the digests of the copy. A payload that is locked can't be compared, and
// is taken for started.
func (j *Job) guardClone(ctx context.Context, force bool) error {
	if err := j.needed(ctx); err != nil {
		return err
	}
	domain, found, err := j.clone(ctx)
	if isConflict(err) || err == nil && !found {
		return nil
	}
	if err != nil {
		return err
	}
	started := &CloneStartedError{Clone: domain.Name}
	if domain.State.Active() {
		started.Running = true
		return started
	}
	if force {
		return nil
	}
	for i := range j.Plan.Disks {
		disk := &j.Plan.Disks[i]
		evidence, err := j.written(ctx, disk)
		if err != nil {
			return fmt.Errorf("compare %s with what was copied: %w", disk.Device, err)
		}
		if evidence != "" {
			started.Evidence = evidence
			return started
		}
	}
	return nil
}

// written says how a payload shows that it was written since the copy, or "".
func (j *Job) written(ctx context.Context, disk *DiskPlan) (evidence string, err error) {
	mapping, err := j.mapping(ctx, disk)
	if err != nil {
		return "", err
	}
	if !mapping.open || !strings.EqualFold(mapping.UUID, disk.LUKSUUID) {
		return fmt.Sprintf("its disk %s is locked, so that it can't be compared with the copy", disk.Target), nil
	}
	chunks, err := blockcopy.LoadChunks(j.chunksPath(disk))
	if errors.Is(err, os.ErrNotExist) {
		return "the record of the copy is gone", nil
	}
	if err != nil {
		return "", err
	}
	defer chunks.Close() // it was only read
	_, err = j.Copier.Verify(ctx, VerifyRequest{Payload: disk.Device, Bytes: disk.Payload, Chunks: chunks, Progress: j.progress(Verify, disk)})
	var differs *blockcopy.MismatchError
	if errors.As(err, &differs) {
		return fmt.Sprintf("its disk %s differs from the copy: %v", disk.Target, err), nil
	}
	return "", err
}
