package succession

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// Outcome is what came of a cutover or its undo.
type Outcome struct {
	// Job is its id, or "" when it was so already.
	Job string
	// Undo is whether a cutover was taken back.
	Undo bool
	// Clone and Original are what the two are called now; Original is "" when
	// it was so already.
	Clone, Original string
}

// Cutover has the clone of that name take its original's place, or with undo
// gives both back what they had. What an interrupted one has left it finishes.
//
// It returns an *lifecycle.UnknownCloneError, and before anything is changed a
// *PartyError, *NoOriginalError, *NameTakenError, *SiblingError, *HalfError, *RetiringError,
// *journal.LockedError, or what is wrong with one of the clone's disks; later a
// *StepError.
func (e *Env) Cutover(ctx context.Context, name string, undo bool) (Outcome, error) {
	half, err := Half(e.Store, name)
	if err != nil {
		return Outcome{}, err
	}
	if half != nil {
		if half.Exchange.Undo != undo || half.State != migrate.StateInterrupted {
			return Outcome{}, half.error(name)
		}
		return e.Resume(ctx, half.ID)
	}
	retiring, err := halfRetired(e.Store, name)
	if err != nil {
		return Outcome{}, err
	}
	if retiring != nil {
		return Outcome{}, &RetiringError{Job: retiring.ID, Original: retiring.Retirement.Original}
	}
	clone, err := e.Clones.Find(ctx, name)
	if err != nil {
		return Outcome{}, err
	}
	d, err := e.decide(ctx, clone, undo)
	if errors.Is(err, errSo) {
		return Outcome{Undo: undo, Clone: clone.Name}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	errand, err := shelf(e.Store).Lock(d.Job, d.locks()...)
	if err != nil {
		return Outcome{}, err
	}
	defer errand.Close()
	if undo {
		d.Of = e.cutoverOf(d.Exchange)
	}
	if err := errand.Begin(d.Exchange); err != nil {
		errand.Forget()
		return Outcome{}, err
	}
	x := e.exchanging(d.Exchange, errand)
	x.report(migrate.Event{Event: migrate.JobStarted, Message: x.title()})
	for _, warning := range d.warnings {
		x.report(migrate.Event{Event: migrate.Warning, Message: warning})
	}
	return x.forward(errand.Hold(ctx))
}

func (j *Job) error(name string) error {
	return &HalfError{VM: name, Job: j.ID, Undo: j.Exchange.Undo, Back: j.State == migrate.StateRollingBack, Running: j.State == migrate.StateRunning}
}

// Ready returns a *HalfError when a domain of that name or UUID is part of an
// exchange that is not finished: it must not be started then.
func Ready(store migrate.Store, name string) error {
	half, err := Half(store, name)
	if err != nil || half == nil {
		return err
	}
	return half.error(name)
}

// cutoverOf finds the job whose exchange another takes back.
func (e *Env) cutoverOf(x *Exchange) string {
	jobs, _ := Jobs(e.Store) // the job is only a memory: it stays then
	for _, job := range jobs {
		if job.Exchange != nil && !job.Exchange.Undo && job.State == migrate.StateDone && job.Exchange.Holder.After.UUID == x.Comer.Before.UUID {
			return job.ID
		}
	}
	return ""
}

// Resume goes on with a job from wherever it stopped. It returns what Cutover
// returns, and an *EndedError or *HalfError for a job that is not to be resumed.
func (e *Env) Resume(ctx context.Context, id string) (Outcome, error) {
	x, err := e.open(id)
	if err != nil {
		return Outcome{}, err
	}
	defer x.errand.Close()
	for _, r := range slices.Backward(x.errand.Records()) {
		if r.Kind == journal.Undoing {
			return Outcome{}, &HalfError{VM: x.clone().Before.Name, Job: id, Undo: x.Undo, Back: true}
		}
	}
	found, err := x.load(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if !found {
		// The crash came before anything was done: begin anew, with what the
		// two are now.
		if err := x.errand.Discard(); err != nil {
			return Outcome{}, err
		}
		return e.Cutover(ctx, x.clone().Before.Name, x.Undo)
	}
	x.report(migrate.Event{Event: migrate.JobStarted, Message: "resumed: " + x.title()})
	return x.forward(x.errand.Hold(ctx))
}

// Rollback takes back what an unfinished job has done. It can be repeated.
func (e *Env) Rollback(ctx context.Context, id string) error {
	x, err := e.open(id)
	if err != nil {
		return err
	}
	defer x.errand.Close()
	began := e.Now()
	x.report(migrate.Event{Event: migrate.JobStarted, Message: "rollback"})
	if _, err := x.load(ctx); err != nil {
		return err
	}
	if err := x.back(x.errand.Hold(ctx), true); err != nil {
		return err
	}
	x.report(migrate.Event{Event: migrate.JobDone, Message: "both are as they were; done", Duration: e.Now().Sub(began)})
	return nil
}

// open locks a job that is not done, and reads its journal.
func (e *Env) open(id string) (*exchanging, error) {
	exchange := new(Exchange)
	errand, err := shelf(e.Store).Open(id, exchange, exchange.locks)
	if err != nil {
		return nil, err
	}
	records := errand.Records()
	if records[len(records)-1].Kind == journal.End {
		errand.Close()
		return nil, &EndedError{Job: id, Clone: exchange.clone().After.Name, Undo: exchange.Undo}
	}
	return e.exchanging(exchange, errand), nil
}

func (e *Env) exchanging(exchange *Exchange, errand *migrate.Errand) *exchanging {
	x := &exchanging{Env: e, Exchange: exchange, errand: errand, done: make(map[migrate.StepName]bool)}
	for _, r := range errand.Records() {
		switch r.Kind {
		case journal.Done:
			x.done[migrate.StepName(r.Step)] = true
		case journal.Intent, journal.Undoing, journal.Undone:
			delete(x.done, migrate.StepName(r.Step))
		case journal.Begin, journal.Note, journal.Failed, journal.End:
		}
	}
	return x
}

// title says in words what the job does.
func (x *exchanging) title() string {
	return fmt.Sprintf("%s becomes %s, and %s becomes %s", x.Comer.Before.Name, x.Comer.After.Name, x.Holder.Before.Name, x.Holder.After.Name)
}

func (x *exchanging) report(event migrate.Event) {
	event.Time, event.Job, event.VM = x.Now(), x.Job, x.clone().Before.Name
	x.Reporter.Report(event)
}

// forward runs the steps whose effect does not stand, and ends the job.
func (x *exchanging) forward(ctx context.Context) (Outcome, error) {
	began := x.Now()
	for _, s := range steps() {
		if err := x.step(ctx, s); err != nil {
			return Outcome{}, x.stopped(ctx, s, err)
		}
	}
	if err := x.errand.Append(journal.End, "", "", nil); err != nil {
		return Outcome{}, &StepError{Job: x.Job, VM: x.clone().Before.Name, Step: migrate.LeavePlace, Aftermath: migrate.Kept, Err: err}
	}
	x.report(migrate.Event{Event: migrate.JobDone, Message: x.ended(), Duration: x.Now().Sub(began)})
	if x.Undo {
		// Nothing is left of either: what they say is so no longer.
		if x.Of != "" {
			_ = shelf(x.Store).Remove(x.Of) // it says that it is done, and is only a memory
		}
		_ = x.errand.Discard() // likewise
	}
	return Outcome{Job: x.Job, Undo: x.Undo, Clone: x.clone().After.Name, Original: x.original().After.Name}, nil
}

func (x *exchanging) ended() string {
	if x.Undo {
		return fmt.Sprintf("the clone is called %s again, and the original %s; done", x.clone().After.Name, x.original().After.Name)
	}
	return fmt.Sprintf("the clone is called %s now, and the original %s; done", x.clone().After.Name, x.original().After.Name)
}

func (x *exchanging) step(ctx context.Context, s step) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	began := x.Now()
	standing, err := s.Check(ctx, x)
	if err != nil {
		return err
	}
	if standing == migrate.Present {
		if x.done[s.Name()] {
			return nil
		}
		return x.errand.Append(journal.Done, string(s.Name()), "", nil)
	}
	x.report(migrate.Event{Event: migrate.StepStarted, Step: s.Name()})
	if err := x.errand.Append(journal.Intent, string(s.Name()), "", nil); err != nil {
		return err
	}
	if err := s.Do(ctx, x); err != nil {
		return err
	}
	if err := x.errand.Append(journal.Done, string(s.Name()), "", nil); err != nil {
		return err
	}
	x.report(migrate.Event{Event: migrate.StepDone, Step: s.Name(), Duration: x.Now().Sub(began)})
	return nil
}

// undoTime bounds the undo of what failed, so that a hung daemon does not keep
// the error from the user.
const undoTime = 2 * time.Minute

// stopped decides what becomes of a job that failed: it is taken back, unless it
// was interrupted, so that the user may want to go on, or the journal can't be
// written, so that an undo could not be recorded.
func (x *exchanging) stopped(ctx context.Context, s step, err error) error {
	failure := &StepError{Job: x.Job, VM: x.clone().Before.Name, Step: s.Name(), Aftermath: migrate.Kept, Err: err}
	// If the journal can't take it, that is what the error says already.
	_ = x.errand.Append(journal.Failed, string(s.Name()), "", err.Error())
	var unwritable *journal.WriteError
	var changed *ChangedError
	if ctx.Err() != nil || errors.As(err, &unwritable) || errors.As(err, &changed) && s.Name() != migrate.StepAside {
		return failure
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if undoErr := x.back(ctx, false); undoErr != nil {
		failure.Aftermath, failure.UndoErr = migrate.UndoFailed, undoErr
		return failure
	}
	failure.Aftermath = migrate.TakenBack
	return failure
}

// cameTo says whether a step may have acted: its intent is on disk before it does.
func (x *exchanging) cameTo(s step) bool {
	return slices.ContainsFunc(x.errand.Records(), func(r journal.Record) bool {
		return r.Step == string(s.Name()) && (r.Kind == journal.Intent || r.Kind == journal.Done)
	})
}

// back goes backward through all steps and removes the job. It stops at the
// first that can't be undone: what lies under it rests on it.
func (x *exchanging) back(ctx context.Context, loud bool) error {
	for _, s := range slices.Backward(steps()) {
		err := context.Cause(ctx)
		if err == nil {
			err = x.backOne(ctx, s, loud)
		}
		if err != nil {
			return &StepError{Job: x.Job, VM: x.clone().Before.Name, Step: s.Name(), Aftermath: migrate.Kept, Back: true, Err: err}
		}
	}
	return x.errand.Discard()
}

func (x *exchanging) backOne(ctx context.Context, s step, loud bool) error {
	if !x.cameTo(s) {
		return nil
	}
	// A full state directory must not keep a definition from coming back: undo
	// looks at the world and not at these records.
	_ = x.errand.Append(journal.Undoing, string(s.Name()), "", nil)
	began := x.Now()
	if err := s.Undo(ctx, x); err != nil {
		return err
	}
	_ = x.errand.Append(journal.Undone, string(s.Name()), "", nil)
	if loud {
		x.report(migrate.Event{Event: migrate.StepDone, Step: s.Name(), Duration: x.Now().Sub(began)})
	}
	return nil
}
