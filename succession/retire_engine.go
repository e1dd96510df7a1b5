package succession

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// retiring is a retirement under way.
type retiring struct {
	*Env
	*Retirement
	errand *migrate.Errand
	done   map[retireKey]bool
	notes  map[retireKey]journal.Record
	said   string // what the step under way found worth saying
}

type retireKey struct {
	step migrate.StepName
	disk string
}

// retireStep is one act of a retirement: of a disk, or with nil of the VM. There
// is no Undo: once a disk is being wiped there is no way back, and before that
// only the original's definition is away.
type retireStep struct {
	name migrate.StepName
	// each is whether it is about each disk in turn.
	each bool
	do   func(r *retiring, ctx context.Context, disk *Retiree) error
}

// THE ordered list of a retirement. The original is put away first, so that
// nothing starts it while it is being wiped; each disk is wiped, read back and
// removed before the next.
func retireSteps() []retireStep {
	return []retireStep{
		{name: migrate.PutAway, do: (*retiring).putAway},
		{name: migrate.Wipe, each: true, do: (*retiring).wipe},
		{name: migrate.ReadBack, each: true, do: (*retiring).readBack},
		{name: migrate.RemoveDisk, each: true, do: (*retiring).removeDisk},
		{name: migrate.TidyUp, do: (*retiring).tidyUp},
		{name: migrate.NoteDown, do: (*retiring).noteDown},
	}
}

// retireAct is one step of one disk.
type retireAct struct {
	retireStep
	disk *Retiree
}

func (r *retiring) acts() []retireAct {
	var acts []retireAct
	steps := retireSteps()
	add := func(each bool, disk *Retiree, some []retireStep) {
		for _, s := range some {
			if s.each == each {
				acts = append(acts, retireAct{s, disk})
			}
		}
	}
	add(false, nil, steps[:1])
	for i := range r.Disks {
		add(true, &r.Disks[i], steps)
	}
	add(false, nil, steps[1:])
	return acts
}

func (a retireAct) key() retireKey {
	if a.disk == nil {
		return retireKey{step: a.name}
	}
	return retireKey{a.name, a.disk.Target}
}

// HalfRetired returns the unfinished retirement that a name means, or nil.
func (e *Env) HalfRetired(name string) (*RetireJob, error) { return halfRetired(e.Store, name) }

// Retire carries a plan of Judge's out, and returns the path of the record that it
// leaves. It returns a *journal.LockedError, or a *RetireError; what it has
// begun Resume finishes.
func (e *Env) Retire(ctx context.Context, plan *Retirement) (record string, err error) {
	errand, err := retireShelf(e.Store).Lock(plan.Job, plan.locks()...)
	if err != nil {
		return "", err
	}
	defer errand.Close()
	if err := errand.Begin(plan); err != nil {
		errand.Forget()
		return "", err
	}
	r := e.retiring(plan, errand)
	if plan.Defined {
		if err := writeFile(filepath.Join(errand.Dir, definitionFile), plan.definition); err != nil {
			return "", r.failed(retireAct{retireStep: retireSteps()[0]}, err)
		}
	}
	r.report(migrate.Event{Event: migrate.JobStarted, Message: r.title()})
	return r.forward(ctx)
}

// ResumeRetire goes on with a retirement from wherever it stopped. It returns
// what Retire does, and a *RetiredError for one that is done.
func (e *Env) ResumeRetire(ctx context.Context, id string) (record string, err error) {
	r, err := e.openRetire(id)
	if err != nil {
		return "", err
	}
	defer r.errand.Close()
	r.report(migrate.Event{Event: migrate.JobStarted, Message: "resumed: " + r.title()})
	return r.forward(ctx)
}

// RollbackRetire brings the original's definition back, as long as no disk has
// been wiped. It returns a *WipedError after that.
func (e *Env) RollbackRetire(ctx context.Context, id string) error {
	r, err := e.openRetire(id)
	if err != nil {
		return err
	}
	defer r.errand.Close()
	if r.wiping() {
		return &WipedError{Job: id, Original: r.Original}
	}
	began := e.Now()
	r.report(migrate.Event{Event: migrate.JobStarted, Message: "rollback"})
	if err := r.bringBack(r.errand.Hold(ctx)); err != nil {
		return &RetireError{Job: id, Clone: r.Clone, Original: r.Original, Step: migrate.PutAway, Back: true, Err: err}
	}
	if err := r.errand.Discard(); err != nil {
		return err
	}
	r.report(migrate.Event{Event: migrate.JobDone, Message: "the original is as it was; done", Duration: e.Now().Sub(began)})
	return nil
}

func (e *Env) openRetire(id string) (*retiring, error) {
	plan := new(Retirement)
	errand, err := retireShelf(e.Store).Open(id, plan, plan.locks)
	if err != nil {
		return nil, err
	}
	r := e.retiring(plan, errand)
	records := errand.Records()
	if records[len(records)-1].Kind == journal.End {
		errand.Close()
		return nil, &RetiredError{Job: id, Original: plan.Original, Record: r.recordPath()}
	}
	return r, nil
}

func (e *Env) retiring(plan *Retirement, errand *migrate.Errand) *retiring {
	r := &retiring{Env: e, Retirement: plan, errand: errand, done: make(map[retireKey]bool), notes: make(map[retireKey]journal.Record)}
	for _, record := range errand.Records() {
		k := retireKey{migrate.StepName(record.Step), record.Disk}
		switch record.Kind {
		case journal.Done:
			r.done[k] = true
		case journal.Intent:
			delete(r.done, k)
		case journal.Note:
			r.notes[k] = record
		case journal.Begin, journal.Failed, journal.End, journal.Undoing, journal.Undone:
		}
	}
	return r
}

// wiping says whether any disk may have been written: before that, its step takes
// a note.
func (r *retiring) wiping() bool {
	return slices.ContainsFunc(r.errand.Records(), func(record journal.Record) bool {
		return record.Kind == journal.Note && record.Step == string(migrate.Wipe)
	})
}

func (r *retiring) title() string {
	after := "and removed"
	if r.Keep {
		after = "and kept"
	}
	disks := "the disk of " + r.Original + " is"
	if len(r.Disks) > 1 {
		disks = fmt.Sprintf("the %d disks of %s are", len(r.Disks), r.Original)
	}
	return fmt.Sprintf("%s wiped (%s) %s; %s stays", disks, r.Method, after, r.Clone)
}

func (r *retiring) report(event migrate.Event) {
	event.Time, event.Job, event.VM, event.Disks = r.Now(), r.Job, r.Original, len(r.Disks)
	for i := range r.Disks {
		if r.Disks[i].Target == event.Disk {
			event.DiskIndex = i + 1
		}
	}
	r.Reporter.Report(event)
}

func (r *retiring) forward(ctx context.Context) (string, error) {
	ctx = r.errand.Hold(ctx)
	began := r.Now()
	for _, a := range r.acts() {
		if err := r.step(ctx, a); err != nil {
			if why := context.Cause(ctx); why != nil && !errors.Is(err, why) {
				// What was stopped tells it in words of its own.
				err = fmt.Errorf("%w: %w", why, err)
			}
			return "", r.failed(a, err)
		}
	}
	if err := r.errand.Append(journal.End, "", "", nil); err != nil {
		return "", r.failed(retireAct{retireStep: retireSteps()[5]}, err)
	}
	r.report(migrate.Event{Event: migrate.JobDone, Message: fmt.Sprintf("retired: %s; done", r.ended()), Duration: r.Now().Sub(began)})
	return r.recordPath(), nil
}

func (r *retiring) ended() string {
	disks, they := "its disk is", "it is"
	if len(r.Disks) > 1 {
		disks, they = "its disks are", "they are"
	}
	if r.Keep {
		return disks + " wiped and kept, and the VM is gone"
	}
	return fmt.Sprintf("%s wiped and %s gone, and so is the VM", disks, they)
}

func (r *retiring) step(ctx context.Context, a retireAct) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	k := a.key()
	if r.done[k] {
		return nil
	}
	began := r.Now()
	r.report(migrate.Event{Event: migrate.StepStarted, Step: k.step, Disk: k.disk})
	if err := r.errand.Append(journal.Intent, string(k.step), k.disk, nil); err != nil {
		return err
	}
	r.said = ""
	if err := a.do(r, ctx, a.disk); err != nil {
		return err
	}
	if err := r.errand.Append(journal.Done, string(k.step), k.disk, nil); err != nil {
		return err
	}
	r.done[k] = true
	r.report(migrate.Event{Event: migrate.StepDone, Step: k.step, Disk: k.disk, Duration: r.Now().Sub(began), Message: r.said})
	return nil
}

// failed records why a retirement stopped and makes the error that says so.
func (r *retiring) failed(a retireAct, err error) error {
	k := a.key()
	// If the journal can't take it, that is what the error says already.
	_ = r.errand.Append(journal.Failed, string(k.step), k.disk, err.Error())
	return &RetireError{Job: r.Job, Clone: r.Clone, Original: r.Original, Step: k.step, Disk: k.disk, Wiped: r.wiping(), Err: err}
}

// note records a fact of a step, to be found again with noted.
func (r *retiring) note(step migrate.StepName, disk *Retiree, data any) error {
	k := retireAct{retireStep{name: step}, disk}.key()
	if err := r.errand.Append(journal.Note, string(step), k.disk, data); err != nil {
		return err
	}
	records := r.errand.Records()
	r.notes[k] = records[len(records)-1]
	return nil
}
