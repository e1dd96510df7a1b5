package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// The steps of a cutover, package succession.
const (
	KeepDefinitions StepName = "keep-definitions"
	StepAside       StepName = "step-aside"
	MoveTPM         StepName = "move-tpm"
	TakePlace       StepName = "take-place"
	Autostart       StepName = "autostart"
	LeavePlace      StepName = "leave-place"
)

// The steps of a retirement, package succession.
const (
	PutAway    StepName = "put-away"
	Wipe       StepName = "wipe"
	ReadBack   StepName = "read-back"
	RemoveDisk StepName = "remove-disk"
	TidyUp     StepName = "tidy-up"
	NoteDown   StepName = "note-down"
)

// Shelf keeps the journaled jobs of one kind that are no migrations, such as
// cutovers: one folder a job, like those below jobs.
type Shelf struct {
	Store Store
	// Name is the folder's in the state directory.
	Name string
}

// Errand is a job on a shelf that this process works on: it holds its locks.
type Errand struct {
	*journal.Journal
	// Dir is its folder.
	Dir string

	store Store
	locks *locks
}

func (s Shelf) dir() string         { return filepath.Join(s.Store.Dir, s.Name) }
func (s Shelf) of(id string) string { return filepath.Join(s.dir(), id) }
func (s Shelf) lockOf(id string) [2]string {
	return [2]string{"job " + id, "the job " + id}
}

// prepare makes the folders, and removes what killed processes left there.
func (s Shelf) prepare() error {
	if err := s.Store.prepare(); err != nil {
		return err
	}
	if err := makeFolders(s.dir(), 0o700); err != nil {
		return err
	}
	if err := private(s.dir()); err != nil {
		return err
	}
	return journal.Sweep(s.dir(), func(id string) bool {
		_, held := journal.Held(s.Store.lockPath("job " + id))
		return held
	})
}

// Lock takes the locks of a job that is about to begin: its own and those in
// names, each with what it is on in words. The Errand has no journal before
// Begin. It returns a *journal.LockedError while another process holds one.
func (s Shelf) Lock(id string, names ...[2]string) (*Errand, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	held, err := s.Store.lockAll(append([][2]string{s.lockOf(id)}, names...))
	if err != nil {
		return nil, err
	}
	return &Errand{Dir: s.of(id), store: s.Store, locks: held}, nil
}

// Begin writes the journal's first record, which holds plan.
func (e *Errand) Begin(plan any) (err error) {
	e.Journal, err = journal.Create(e.Dir, plan, e.store.Now)
	return err
}

// Open takes the locks of a job and reads its journal; plan is filled with what
// it began with, and names gives the further locks then.
func (s Shelf) Open(id string, plan any, names func() [][2]string) (*Errand, error) {
	info, begin := s.Store.standing(s.of(id), id)
	if begin == nil {
		return nil, info.Err
	}
	if err := json.Unmarshal(begin, plan); err != nil {
		return nil, fmt.Errorf("the plan in the journal of job %s: %w", id, err)
	}
	errand, err := s.Lock(id, names()...)
	if err != nil {
		return nil, err
	}
	if errand.Journal, err = journal.Open(errand.Dir, s.Store.Now); err != nil {
		errand.Close()
		return nil, err
	}
	return errand, nil
}

// Hold returns a context in which the programs that change something hold the
// job's lock too, as those of a migration do.
func (e *Errand) Hold(ctx context.Context) context.Context { return e.locks.hold(ctx) }

// Close ends the work on the job; its journal stays.
func (e *Errand) Close() {
	if e.Journal != nil {
		_ = e.Journal.Close() // every record was flushed as it was written
	}
	e.locks.release()
}

// Discard removes the job.
func (e *Errand) Discard() error {
	if err := journal.Discard(e.Dir); err != nil {
		return err
	}
	e.locks.release()
	e.store.tidy()
	return nil
}

// Forget ends the work on a job that has not begun, and leaves nothing of it.
func (e *Errand) Forget() {
	e.locks.release()
	e.store.tidy()
}

// Remove removes a job that this process does not work on, such as one that is
// taken back by another.
func (s Shelf) Remove(id string) error { return journal.Discard(s.of(id)) }

// Jobs lists all jobs of the shelf, oldest first, each with what it began with.
func (s Shelf) Jobs() ([]JobInfo, []json.RawMessage, error) {
	ids, err := journal.List(s.dir())
	if err != nil {
		return nil, nil, err
	}
	jobs, plans := make([]JobInfo, len(ids)), make([]json.RawMessage, len(ids))
	for i, id := range ids {
		jobs[i], plans[i] = s.Store.standing(s.of(id), id)
	}
	return jobs, plans, nil
}
