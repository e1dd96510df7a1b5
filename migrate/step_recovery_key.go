package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmmigrate/vmmigrate/luks"
)

// RecoveryKey is the step that --recovery-key adds before the header backup,
// which so holds the second key slot too. It is not among StepNames, since no
// other job has it.
const RecoveryKey StepName = "recovery-key"

// recoveryKey adds one generated key to all disks of a VM, and hands it over.
// The key exists nowhere on this host but in the slots: neither journal nor
// plan has it. So a step that was not recorded as done is done anew with
// another key, and the one before it, if any was handed over, opens nothing.
type recoveryKey struct{}

var _ Step = recoveryKey{}

func (recoveryKey) Name() StepName { return RecoveryKey }

// recoveryNote is recorded for a disk before its slot is filled, so that a slot
// that is found filled is known to be the job's own.
type recoveryNote struct {
	Slot int `json:"slot"`
}

// recoverySlot is the key slot of a recovery key, the one after that of
// luksFormat. Like systemd-cryptenroll we make no stretching of 256 random
// bits: it would protect nothing and cost a second and a gigabyte at every
// unlock.
func recoverySlot() luks.AddKeyOptions {
	return luks.AddKeyOptions{Slot: 1, PBKDF: "pbkdf2", PBKDFForceIterations: 1000}
}

// Check goes by the record, as only that says that the key was handed over.
func (recoveryKey) Check(_ context.Context, job *Job, _ *DiskPlan) (Standing, error) {
	if job.isDone(stepKey{step: RecoveryKey}) {
		return Present, nil
	}
	return Absent, nil
}

func (recoveryKey) Do(ctx context.Context, job *Job, _ *DiskPlan, _ Standing) error {
	if job.KeySlots == nil || job.Recovery == nil {
		return errors.New("there is nowhere to hand a recovery key over")
	}
	key, err := job.unlockKey(ctx, false)
	if err != nil {
		return err
	}
	recovery, err := luks.NewRecoveryKey(job.Random)
	if err != nil {
		return err
	}
	defer recovery.Wipe()
	for i := range job.Plan.Disks {
		if err := fillSlot(ctx, job, &job.Plan.Disks[i], key, recovery); err != nil {
			return err
		}
	}
	if err := job.Recovery.Deliver(ctx, job.Plan.VM, recovery); err != nil {
		return fmt.Errorf("hand the recovery key over: %w", err)
	}
	job.say(RecoveryKey, nil, "in key slot %d; vmmigrate keeps no copy of it", recoverySlot().Slot)
	return nil
}

// fillSlot puts the key into a disk's slot, in place of one that the job put
// there before.
func fillSlot(ctx context.Context, job *Job, disk *DiskPlan, key, recovery luks.Key) error {
	options := recoverySlot()
	header, err := job.Encryption.Header(ctx, disk.headerAt())
	if err != nil {
		return err
	}
	var note recoveryNote
	ours, err := job.noted(RecoveryKey, disk, &note)
	if err != nil {
		return err
	}
	switch {
	case header.HasSlot(options.Slot) && !ours:
		return &ConflictError{
			What: fmt.Sprintf("key slot %d of %s", options.Slot, disk.headerAt()), Reason: "it was filled by somebody else",
		}
	case header.HasSlot(options.Slot):
		if err := job.KeySlots.KillSlot(ctx, disk.headerAt(), key, options.Slot); err != nil {
			return err
		}
	}
	if err := job.note(RecoveryKey, disk, recoveryNote{options.Slot}); err != nil {
		return err
	}
	return job.KeySlots.AddKey(ctx, disk.headerAt(), key, recovery, options)
}

// Undo does nothing: the slots go with the volumes they are on.
func (recoveryKey) Undo(context.Context, *Job, *DiskPlan) error { return nil }
