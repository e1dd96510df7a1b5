package migrate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
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

// clone finds the clone, under whatever name once it was defined; a domain of
// its name that is not the job's is a *ConflictError.
func (j *Job) clone(ctx context.Context) (domain hypervisor.Domain, found bool, err error) {
	if domain, found, err = j.cloneByName(ctx); err == nil && found || !j.cameToDefine() {
		return domain, found, err
	}
	if err != nil && !isConflict(err) {
		return domain, false, err
	}
	// It may be called otherwise by now. Its disks are the job's volumes all the
	// same.
	elsewhere, renamed, lookErr := j.cloneElsewhere(ctx)
	if lookErr != nil || renamed {
		return elsewhere, renamed, lookErr
	}
	return domain, false, err
}

// needed returns a *CloneRenamedError when the clone has its original's place, or
// half of it, and an *OriginalRetiredError when the original's disks are wiped or
// about to be: the clone's are the only ones then.
func (j *Job) needed(ctx context.Context) error {
	if !j.cameToDefine() {
		return nil
	}
	domain, found, err := j.cloneElsewhere(ctx)
	if err != nil {
		return err
	}
	retired, err := j.Store.retired(j.Plan)
	switch {
	case err != nil:
		return err
	case retired && !found:
		return &OriginalRetiredError{Clone: j.Plan.Clone.Name, Undefined: true, Definition: j.Store.Definition(j.Plan.Job)}
	case retired:
		return &OriginalRetiredError{Clone: domain.Name}
	case !found:
		return nil
	}
	raw, err := j.Hypervisor.XML(ctx, domain.UUID)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	origin, _, err := domainxml.ReadOrigin(raw)
	switch {
	case err != nil:
		return err
	case origin.Retired != nil:
		return &OriginalRetiredError{Clone: domain.Name}
	case domain.UUID != j.Plan.Clone.UUID:
		return &CloneRenamedError{Clone: j.Plan.Clone.Name, Now: domain.Name}
	}
	return nil
}

// cameToDefine says whether the clone may ever have been defined.
func (j *Job) cameToDefine() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.journal.Records(), func(r journal.Record) bool {
		return StepName(r.Step) == Define && r.Kind == journal.Intent
	})
}

// undefinedIt says whether a rollback has taken the clone's definition away. It
// had seen by then that nothing on the disks was to be kept.
func (j *Job) undefinedIt() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range slices.Backward(j.journal.Records()) {
		if StepName(r.Step) == Define {
			return r.Kind == journal.Undone
		}
	}
	return false
}

// cloneElsewhere looks through all domains for the one that was cut over from the
// clone, or has its UUID. A copy that somebody made of the clone has its metadata
// too, and is neither.
func (j *Job) cloneElsewhere(ctx context.Context) (renamed hypervisor.Domain, found bool, err error) {
	domains, err := j.Hypervisor.Domains(ctx)
	if err != nil {
		return renamed, false, err
	}
	for _, domain := range domains {
		raw, err := j.Hypervisor.XML(ctx, domain.UUID)
		if isGone(err) {
			continue
		}
		if err != nil {
			return renamed, false, err
		}
		// What can't be read as a QEMU domain is no clone of ours.
		origin, ok, err := domainxml.ReadOrigin(raw)
		switch {
		case err != nil || !ok || origin.Job != j.Plan.Job:
		case origin.Cutover != nil && origin.Cutover.UUID == j.Plan.Clone.UUID:
			return domain, true, nil
		case domain.UUID == j.Plan.Clone.UUID:
			renamed, found = domain, true
		}
	}
	return renamed, found, nil
}

func (j *Job) cloneByName(ctx context.Context) (domain hypervisor.Domain, found bool, err error) {
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

func (define) Do(ctx context.Context, job *Job, _ *DiskPlan, _ Standing) error {
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
	// Should somebody undefine the clone, its disks are no good without it.
	if err := job.keepDefinition(rewritten.XML); err != nil {
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

// keepDefinition puts the clone's definition into the job's folder.
func (j *Job) keepDefinition(xml []byte) error {
	path := filepath.Join(j.Dir, definitionFile)
	if err := writeWhole(path, xml); err != nil {
		return err
	}
	if err := syncPath(j.Dir); err != nil {
		return &journal.WriteError{Path: path, Err: err}
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
	if err := job.needed(ctx); err != nil {
		return err
	}
	return job.Hypervisor.Undefine(ctx, domain.UUID)
}
