package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
)

// define has libvirt define the clone.
type define struct{}

var _ Step = define{}

func (define) Name() StepName { return Define }

// Check: the domain of the clone's name has the clone's UUID, and its metadata
// name this job. One that is not recorded as done was not yet compared with
// what was meant.
func (define) Check(ctx context.Context, job *Job, _ *DiskPlan) (Standing, error) {
	_, found, err := job.clone(ctx)
	if err != nil || !found {
		return Absent, err
	}
	if !job.isDone(stepKey{step: Define}) {
		return Partial, nil
	}
	return Present, nil
}

// clone finds the clone; a domain of its name that is not the job's is a
// *ConflictError.
func (j *Job) clone(ctx context.Context) (domain hypervisor.Domain, found bool, err error) {
	clone := j.Plan.Clone
	domain, err = j.Hypervisor.Domain(ctx, clone.Name)
	if isGone(err) {
		return domain, false, nil
	}
	if err != nil {
		return domain, false, err
	}
	what := fmt.Sprintf("the VM %q", clone.Name)
	if domain.UUID != clone.UUID {
		return domain, false, &ConflictError{What: what, Reason: fmt.Sprintf("its UUID is %s and not %s", domain.UUID, clone.UUID)}
	}
	raw, err := j.Hypervisor.LiveXML(ctx, domain.UUID)
	if err != nil {
		return domain, false, err
	}
	origin, found, err := domainxml.ReadOrigin(raw)
	if err != nil {
		return domain, false, err
	}
	if !found || origin.Job != j.Plan.Job {
		return domain, false, &ConflictError{What: what, Reason: "its metadata do not name the job " + j.Plan.Job}
	}
	return domain, true, nil
}

func (define) Do(ctx context.Context, job *Job, _ *DiskPlan) error {
	// The last moment at which a source that was started in between still
	// keeps a clone from existing.
	if err := job.atRest(ctx, job.Plan); err != nil {
		return err
	}
	if err := job.sourcesAtRest(ctx); err != nil {
		return err
	}
	for i := range job.Plan.Disks {
		if err := job.sourceUnchanged(ctx, &job.Plan.Disks[i]); err != nil {
			return err
		}
	}
	rewritten, err := job.rewrite(ctx, job.Plan)
	if err != nil {
		return err
	}
	domain, found, err := job.clone(ctx)
	if err == nil && !found {
		domain, err = job.Hypervisor.Define(ctx, rewritten.XML)
	}
	if err != nil {
		return err
	}
	dumped, err := job.Hypervisor.XML(ctx, domain.UUID)
	if err != nil {
		return err
	}
	if job.Plan.Options.Autostart {
		if err := job.Hypervisor.SetAutostart(ctx, domain.UUID, true); err != nil {
			return err
		}
	}
	job.say(Define, nil, "%s", domain.Name)
	if err := job.kept(rewritten.XML, dumped); err != nil {
		if undoErr := job.Hypervisor.Undefine(ctx, domain.UUID); undoErr != nil {
			return errors.Join(err, fmt.Errorf("and the clone could not be undefined: %w", undoErr))
		}
		return err
	}
	return nil
}

// kept holds what libvirt defined against what it was given: additions and
// normalisation are its own, a loss is refused.
func (j *Job) kept(wanted, dumped []byte) error {
	comparison, err := domainxml.Compare(wanted, dumped)
	if err != nil {
		return err
	}
	if len(comparison.Lost) > 0 {
		return fmt.Errorf("libvirt did not keep %s of the clone's definition", comparison.Lost[0].Path)
	}
	return nil
}

// Undo undefines the clone if it is the job's. Another domain of that name
// stays: ours is gone then.
func (define) Undo(ctx context.Context, job *Job, _ *DiskPlan) error {
	domain, found, err := job.clone(ctx)
	if isConflict(err) || err == nil && !found {
		return nil
	}
	if err != nil {
		return err
	}
	return job.Hypervisor.Undefine(ctx, domain.UUID)
}
