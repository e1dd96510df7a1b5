package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// Rollback takes back all that a job made, newest first, and then forgets the
// job. It goes on past a step that can't be undone, returns all such errors
// joined, and can be repeated. A clone that was started since is kept: the
// error is a *CloneStartedError, unless force is set and it does not run. A
// volume with snapshots is kept in any case, with a *lvm.SnapshotError.
func (e *Engine) Rollback(ctx context.Context, id string, force bool) error {
	job, err := e.open(id)
	if err != nil {
		return err
	}
	defer job.close()
	ctx = job.locks.hold(ctx)
	job.forced = force
	job.report(Event{Event: JobStarted, Message: "rollback"})
	if err := job.guardClone(ctx, force); err != nil {
		return err
	}
	if err := job.undo(ctx, true); err != nil {
		return &RollbackError{Job: id, VM: job.Plan.VM, Err: err}
	}
	job.report(Event{Event: JobDone, Duration: e.Env.Now().Sub(job.began), Message: "rolled back"})
	return nil
}

// Refusal is the error that a Rollback would be refused with, as far as it can
// be told at once, without reading a payload: nobody has to be asked whether they
// mean what is refused anyway.
func (e *Engine) Refusal(ctx context.Context, id string, force bool) error {
	job, err := e.open(id)
	if err != nil {
		return err
	}
	defer job.close()
	return job.guardQuickly(job.locks.hold(ctx), force)
}

// RollbackError says that a rollback could not take everything back. It can be
// repeated.
type RollbackError struct {
	// Job and VM name the job.
	Job, VM string
	// Err joins what went wrong.
	Err error
}

func (e *RollbackError) Error() string {
	return fmt.Sprintf("%s: the rollback of job %s is not complete: %v", e.VM, e.Job, e.Err)
}

// Unwrap returns the causes.
func (e *RollbackError) Unwrap() error { return e.Err }

// undo goes backward through all steps, whatever the journal says was done: a
// step that has no effect in the world is undone already. loud reports each.
func (j *Job) undo(ctx context.Context, loud bool) error {
	var errs []error
	failed := make(map[string]bool) // disks with an undo that failed
	defined := false                // the clone could not be undefined
	for _, a := range slices.Backward(acts(j.Plan)) {
		k := key(a.step.Name(), a.disk)
		// What lies under something that is still there stays: a volume
		// under a mapping that could not be closed, a disk under a clone
		// that could not be undefined.
		if failed[k.disk] || defined {
			continue
		}
		if err := interrupted(ctx); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if err := j.undoOne(ctx, a, loud); err != nil {
			errs = append(errs, fmt.Errorf("undo %s%s: %w", k.step, ofDisk(k.disk), err))
			if a.disk != nil {
				failed[k.disk] = true
			}
			defined = defined || k.step == Define
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := journal.Discard(j.Dir); err != nil {
		return err
	}
	j.locks.release()
	j.Store.tidy()
	return nil
}

func (j *Job) undoOne(ctx context.Context, a act, loud bool) error {
	k := key(a.step.Name(), a.disk)
	// A full state directory must not keep a volume from being removed: undo
	// looks at the world and not at these records, which only keep a later
	// resume from going on with half a job.
	_ = j.record(journal.Undoing, k)
	if loud {
		j.reportStep(StepStarted, a, 0)
	}
	began := j.Now()
	if err := a.step.Undo(ctx, j, a.disk); err != nil {
		return err
	}
	if loud {
		j.reportStep(StepDone, a, j.Now().Sub(began))
	}
	_ = j.record(journal.Undone, k)
	return nil
}

func ofDisk(target string) string {
	if target == "" {
		return ""
	}
	return " of " + target
}
