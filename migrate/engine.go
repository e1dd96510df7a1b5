package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// Engine carries plans out: forward with Run and Resume, backward with
// Rollback.
type Engine struct {
	Env *Env
	// StopAfter ends a run, resumable, once the step of this name is done for
	// all its disks; empty goes to the end.
	StopAfter StepName
}

// Run carries out a plan that Decide made. It returns a *BlockedError for a
// plan with blockers, a *journal.LockedError while another process works on
// the same VM or volume, and otherwise a *StepError that says in what state the
// job is.
func (e *Engine) Run(ctx context.Context, plan *Plan) (*Summary, error) {
	if len(plan.Blockers) > 0 {
		return nil, &BlockedError{VM: plan.VM, Adopted: plan.Adopted != nil, Blockers: plan.Blockers}
	}
	store := e.Env.Store
	if err := store.prepare(); err != nil {
		return nil, err
	}
	held, err := store.lock(plan)
	if err != nil {
		return nil, err
	}
	report := func(event Event) {
		event.Time, event.Job, event.VM, event.Disks = e.Env.Now(), plan.Job, plan.VM, len(plan.Disks)
		e.Env.Reporter.Report(event)
	}
	report(Event{Event: JobStarted, Total: plan.Bytes()})
	for _, warning := range plan.Warnings {
		report(Event{Event: Warning, Disk: warning.Disk, Message: warning.String()})
	}
	began := e.Env.Now()
	report(Event{Event: StepStarted, Step: Preflight})
	if err := e.Env.preflight(ctx, plan, nil); err != nil {
		held.release()
		store.tidy()
		return nil, &StepError{Job: plan.Job, VM: plan.VM, Step: Preflight, Aftermath: Refused, Err: err}
	}
	report(Event{Event: StepDone, Step: Preflight, Duration: e.Env.Now().Sub(began)})

	// Asked for before anything is made, so that nobody has to wait for the
	// question, and a wrong answer leaves nothing behind.
	key, err := e.Env.Keyring.Key(ctx, plan.VM, true)
	if err != nil {
		held.release()
		store.tidy()
		return nil, &StepError{Job: plan.Job, VM: plan.VM, Step: Preflight, Aftermath: Refused, Err: &KeyError{Err: err}}
	}
	dir := store.jobDir(plan.Job)
	j, err := journal.Create(dir, plan, e.Env.Now)
	if err != nil {
		key.Wipe()
		held.release()
		store.tidy()
		return nil, &StepError{Job: plan.Job, VM: plan.VM, Step: Preflight, Aftermath: Refused, Err: err}
	}
	job := newJob(e.Env, plan, dir, j, held)
	job.began, job.key, job.sure = began, key, true
	defer job.close()
	return e.finish(held.hold(ctx), job)
}

// Resume goes on with a job from wherever it stopped, by the plan that was
// recorded. It returns what Run returns, and an *UndoneError or
// *FinishedError for a job that is not to be resumed.
func (e *Engine) Resume(ctx context.Context, id string) (*Summary, error) {
	job, err := e.open(id)
	if err != nil {
		return nil, err
	}
	defer job.close()
	ctx = job.locks.hold(ctx)
	// From the end: the rollback of a job that was done began after its end.
	for _, r := range slices.Backward(job.journal.Records()) {
		switch r.Kind {
		case journal.Undoing:
			return nil, &UndoneError{Job: id}
		case journal.End:
			return nil, &FinishedError{Job: id, Clone: job.Plan.Clone.Name}
		case journal.Begin, journal.Intent, journal.Done, journal.Undone, journal.Note, journal.Failed:
		}
	}
	job.report(Event{Event: JobStarted, Total: job.Plan.Bytes(), Message: "resumed"})
	if !job.isDone(stepKey{step: Define}) {
		job.report(Event{Event: StepStarted, Step: Preflight})
		began := e.Env.Now()
		if err := e.Env.preflight(ctx, job.Plan, job); err != nil {
			return nil, job.failed(act{step: preflightMark{}}, err, Kept)
		}
		job.report(Event{Event: StepDone, Step: Preflight, Duration: e.Env.Now().Sub(began)})
	}
	return e.finish(ctx, job)
}

// open locks a job and reads its journal.
func (e *Engine) open(id string) (*Job, error) {
	store := e.Env.Store
	info := store.info(id)
	if info.Plan == nil {
		return nil, info.Err
	}
	if err := store.prepare(); err != nil {
		return nil, err
	}
	held, err := store.lock(info.Plan)
	if err != nil {
		return nil, err
	}
	dir := store.jobDir(id)
	j, err := journal.Open(dir, e.Env.Now)
	if err != nil {
		held.release()
		return nil, err
	}
	plan := new(Plan)
	if err := json.Unmarshal(j.Records()[0].Data, plan); err != nil {
		_ = j.Close()
		held.release()
		return nil, fmt.Errorf("the plan in the journal of job %s: %w", id, err)
	}
	return newJob(e.Env, plan, dir, j, held), nil
}

// finish runs the steps that are not done and ends the job.
func (e *Engine) finish(ctx context.Context, job *Job) (*Summary, error) {
	if e.StopAfter == Preflight {
		return nil, job.failed(act{step: preflightMark{}}, ErrStopAfter, Kept)
	}
	defined, err := job.defined(ctx)
	if err != nil {
		return nil, job.failed(act{step: define{}}, err, Kept)
	}
	if !defined {
		if err := e.prepare(ctx, job); err != nil {
			return nil, err
		}
		if err := e.move(ctx, job); err != nil {
			return nil, err
		}
	}
	var last act
	for _, a := range diskActs(vmSteps(job.Plan.Options), nil) {
		last = a
		if defined && a.step.Name() != Close {
			continue
		}
		if err := e.forward(ctx, job, a); err != nil {
			return nil, e.stopped(ctx, job, a, err)
		}
		if e.StopAfter == a.step.Name() {
			return nil, job.failed(a, ErrStopAfter, Kept)
		}
	}
	return e.end(ctx, job, last)
}

// end records that the job is done and tells of it.
func (e *Engine) end(ctx context.Context, job *Job, last act) (*Summary, error) {
	if err := job.journal.Append(journal.End, "", "", nil); err != nil {
		return nil, job.failed(last, err, Kept)
	}
	summary, err := job.summary()
	if err != nil {
		return nil, err
	}
	if job.Plan.Options.Start {
		if err := job.Hypervisor.Start(ctx, job.Plan.Clone.UUID); err != nil {
			return nil, &StartError{Clone: job.Plan.Clone.Name, Err: err}
		}
	}
	job.report(Event{Event: JobDone, Duration: e.Env.Now().Sub(job.began), Summary: summary})
	return summary, nil
}

// prepare gives each disk in turn its open, encrypted volume.
func (e *Engine) prepare(ctx context.Context, job *Job) error {
	var last *act // that was asked to be the last; not every disk has each
	for i := range job.Plan.Disks {
		for _, a := range diskActs(readySteps(&job.Plan.Disks[i]), &job.Plan.Disks[i]) {
			if err := e.forward(ctx, job, a); err != nil {
				return e.stopped(ctx, job, a, err)
			}
			if e.StopAfter == a.step.Name() {
				last = &a
				break
			}
		}
	}
	if last != nil {
		return job.failed(*last, ErrStopAfter, Kept)
	}
	return nil
}

// defined says whether the clone was recorded and still is there. What comes
// before it is settled by then, and may have changed since through the clone: its
// disks locked, its guest at work.
func (j *Job) defined(ctx context.Context) (bool, error) {
	if !j.isDone(stepKey{step: Define}) {
		return false, nil
	}
	_, found, err := j.clone(ctx)
	return found, err
}

// forward brings one step's effect about, unless it stands already.
func (e *Engine) forward(ctx context.Context, job *Job, a act) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	k := key(a.step.Name(), a.disk)
	began := e.Env.Now()
	standing, err := a.step.Check(ctx, job, a.disk)
	if err != nil {
		return err
	}
	if standing == Present {
		if !job.isDone(k) {
			// The crash came between the act and its record.
			return job.record(journal.Done, k)
		}
		return nil
	}
	job.reportStep(StepStarted, a, 0)
	if err := job.record(journal.Intent, k); err != nil {
		return err
	}
	if err := a.step.Do(ctx, job, a.disk, standing); err != nil {
		return err
	}
	if err := job.record(journal.Done, k); err != nil {
		return err
	}
	job.reportStep(StepDone, a, e.Env.Now().Sub(began))
	return nil
}

// stopped decides what becomes of a job that failed at a step. Before any byte
// was copied there is nothing to keep, so what was made is taken back; an
// interruption, a wrong key or an unwritable journal keeps it all the same, the
// first two since the user may want to go on, the last since an undo could not be
// recorded.
func (e *Engine) stopped(ctx context.Context, job *Job, a act, err error) error {
	var unwritable *journal.WriteError
	var stopped *InterruptedError
	copied := false
	for i := range job.Plan.Disks {
		started, statErr := exists(job.chunksPath(&job.Plan.Disks[i]))
		copied = copied || started || statErr != nil || job.isDone(key(Copy, &job.Plan.Disks[i]))
	}
	if why := interrupted(ctx); why != nil && !errors.As(err, &stopped) {
		// What was stopped tells it in words of its own: "signal: killed".
		err = fmt.Errorf("%w: %w", why, err)
	}
	var noKey *KeyError
	var wrongKey *luks.WrongKeyError
	asked := errors.As(err, &noKey) || errors.As(err, &wrongKey)
	if ctx.Err() != nil || copied || asked || errors.As(err, &unwritable) || errors.As(err, &stopped) {
		return job.failed(a, err, Kept)
	}
	// The context may be about to end; taking back gets time of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	failure := job.failed(a, err, TakenBack)
	if undoErr := job.undo(ctx, false); undoErr != nil {
		failure.Aftermath, failure.UndoErr = UndoFailed, undoErr
	}
	return failure
}

// undoTime bounds the undo of a job that failed early, so that a hung daemon
// does not keep the error from the user.
const undoTime = 2 * time.Minute

// failed records why a job stopped and makes the error that says so.
func (j *Job) failed(a act, err error, aftermath Aftermath) *StepError {
	k := key(a.step.Name(), a.disk)
	j.mu.Lock()
	defer j.mu.Unlock()
	// If the journal can't take it, that is what the error says already.
	_ = j.journal.Append(journal.Failed, string(k.step), k.disk, err.Error())
	return &StepError{Job: j.Plan.Job, VM: j.Plan.VM, Step: k.step, Disk: k.disk, Aftermath: aftermath, Err: err}
}

// interrupted returns the context's cause as an error of ours.
func interrupted(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	cause := context.Cause(ctx)
	var stopped *InterruptedError
	if errors.As(cause, &stopped) {
		return cause
	}
	return &InterruptedError{Why: cause.Error()}
}

// preflightMark stands for preflight where a step is named.
type preflightMark struct{ Step }

func (preflightMark) Name() StepName { return Preflight }
