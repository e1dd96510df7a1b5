package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// Store is the state directory: one folder a job below jobs, and the locks. Jobs
// that are no migrations are on a Shelf each.
//
//	jobs/ID/journal             what was intended and done
//	jobs/ID/TARGET.chunks       the digests of the chunks copied so far
//	jobs/ID/TARGET.luks-header  the backup of the new volume's LUKS header, and
//	                            beside it, in .sha256, what it is
//	jobs/ID/TARGET.header-note  the same, for when these were moved away
//	jobs/ID/clone.xml           the clone's definition, as libvirt was given it
//	locks/HASH                  held while a job works on a VM, LV or mapping
type Store struct {
	// Dir is the state directory, mode 0700.
	Dir string
	// Now is the clock.
	Now func() time.Time
}

// State says where a job stands.
type State string

// The states of a job.
const (
	// StateRunning: a process is at work on it.
	StateRunning State = "running"
	// StateInterrupted: it stopped half-way and can be resumed or rolled back.
	StateInterrupted State = "interrupted"
	// StateRollingBack: a rollback began and did not finish.
	StateRollingBack State = "rolling-back"
	// StateDone: the clone is defined and verified.
	StateDone State = "done"
	// StateDamaged: its journal can't be read.
	StateDamaged State = "damaged"
)

// JobInfo is what the store knows of one job without locking it.
type JobInfo struct {
	ID    string
	State State
	// Plan is the job's plan, nil if the journal is damaged.
	Plan *Plan
	// Step and Disk are the last ones recorded.
	Step StepName
	Disk string
	// Started and Updated are the times of the first and last record.
	Started, Updated time.Time
	// Failure is why it last stopped, if it said so.
	Failure string
	// Err is why its journal can't be read.
	Err error
}

// UnknownJobError says that no job has that name.
type UnknownJobError struct {
	// Name is what was asked for: a job's id, a VM or a clone.
	Name string
	// Known are the jobs there are.
	Known []JobInfo
}

func (e *UnknownJobError) Error() string {
	if e.Name == "" {
		return "there is no such job"
	}
	return fmt.Sprintf("there is no job %q, and none of a VM or clone of that name", e.Name)
}

// AmbiguousJobError says that several jobs fit, so one has to be named.
type AmbiguousJobError struct {
	// Name is what was asked for, or empty.
	Name string
	// Jobs are the ones that fit.
	Jobs []JobInfo
}

func (e *AmbiguousJobError) Error() string {
	ids := make([]string, len(e.Jobs))
	for i, job := range e.Jobs {
		ids[i] = job.ID
	}
	return fmt.Sprintf("several jobs fit, name one of them: %s", strings.Join(ids, ", "))
}

func (s Store) jobs() string            { return filepath.Join(s.Dir, "jobs") }
func (s Store) locks() string           { return filepath.Join(s.Dir, "locks") }
func (s Store) jobDir(id string) string { return filepath.Join(s.jobs(), id) }

// Definition is the file that keeps the clone's definition as its job has had it
// defined, or "" where there is none: virsh define brings the clone back from
// it. It holds passwords, such as those of consoles, and root alone may read it.
func (s Store) Definition(job string) string {
	path := filepath.Join(s.jobDir(job), definitionFile)
	if there, err := exists(path); err != nil || !there {
		return ""
	}
	return path
}

const definitionFile = "clone.xml"

// NewID makes a job's id: the time, so that they sort, and some of the UUID
// that was drawn for the clone, so that two are never the same. It holds only
// characters that an LVM tag takes (lvm(8), "Valid names").
func (s Store) NewID(cloneUUID string) string {
	return s.Now().UTC().Format("20060102-150405") + "-" + cloneUUID[:4]
}

// prepare makes the folders of the store, and removes what killed processes left
// in them.
func (s Store) prepare() error {
	if err := s.makeDir(); err != nil {
		return err
	}
	for _, dir := range []string{s.Dir, s.jobs(), s.locks()} {
		if err := makeFolders(dir, 0o700); err != nil {
			return err
		}
		if err := private(dir); err != nil {
			return err
		}
	}
	err := journal.Sweep(s.jobs(), func(id string) bool {
		_, held := journal.Held(s.lockPath("job " + id))
		return held
	})
	if err != nil {
		return err
	}
	return journal.SweepLocks(s.locks())
}

// tidy takes away the folders that prepare made, if nothing is in them. While
// anybody holds a lock both stay: the holder may be about to begin its job.
func (s Store) tidy() {
	// Not empty, or gone already: both are as they should be.
	if os.Remove(s.locks()) == nil && os.Remove(s.jobs()) == nil {
		s.removeDir()
	}
}

// locksOf are the locks that a job holds while it works.
func (s Store) locksOf(plan *Plan) [][2]string {
	locks := [][2]string{
		{"job " + plan.Job, fmt.Sprintf("the job %s", plan.Job)},
		{"vm " + plan.VMUUID, fmt.Sprintf("the VM %q", plan.VM)},
	}
	for _, disk := range plan.Disks {
		locks = append(locks,
			[2]string{disk.Volume.lockName(), disk.Volume.what()},
			[2]string{"mapper " + disk.Mapper, fmt.Sprintf("the mapping %s", disk.Mapper)})
		if disk.HeaderFile != "" {
			locks = append(locks, [2]string{"header " + disk.HeaderFile, "the header file " + disk.HeaderFile})
		}
	}
	return locks
}

// locks are the locks that a process holds while it works on a job.
type locks struct{ held []*journal.Lock }

// hold returns a context in which the programs that change something hold the
// job's lock too. A program that outlives a kill of this process is still about
// to change the world; until it has, nobody can judge where the job stands.
func (l *locks) hold(ctx context.Context) context.Context {
	return command.Hold(ctx, l.held[0].File())
}

func (l *locks) release() {
	for _, lock := range slices.Backward(l.held) {
		_ = lock.Release() // the lock itself ends with its descriptor
	}
	l.held = nil
}

// lock takes all locks of a job, or none. It returns a *journal.LockedError
// when another process works on the same thing.
func (s Store) lock(plan *Plan) (*locks, error) { return s.lockAll(s.locksOf(plan)) }

// lockAll takes locks, each a name and what it is on in words, or none.
func (s Store) lockAll(wanted [][2]string) (*locks, error) {
	all := new(locks)
	for _, lock := range wanted {
		taken, err := journal.Acquire(s.lockPath(lock[0]), lock[1])
		if errors.Is(err, fs.ErrNotExist) && len(all.held) == 0 {
			// Another job that ended has tidied up since our prepare.
			if err = s.prepare(); err == nil {
				taken, err = journal.Acquire(s.lockPath(lock[0]), lock[1])
			}
		}
		if err != nil {
			all.release()
			return nil, err
		}
		all.held = append(all.held, taken)
	}
	return all, nil
}

// lockPath hashes a name, which may hold a slash or be too long for a file.
func (s Store) lockPath(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(s.locks(), hex.EncodeToString(sum[:16]))
}

// Jobs lists all jobs, oldest first.
func (s Store) Jobs() ([]JobInfo, error) {
	ids, err := journal.List(s.jobs())
	if err != nil {
		return nil, err
	}
	jobs := make([]JobInfo, len(ids))
	for i, id := range ids {
		jobs[i] = s.info(id)
	}
	return jobs, nil
}

func (s Store) info(id string) JobInfo {
	info, begin := s.standing(s.jobDir(id), id)
	if info.Err != nil {
		return info
	}
	plan := new(Plan)
	if err := json.Unmarshal(begin, plan); err != nil {
		return JobInfo{ID: id, State: StateDamaged, Err: fmt.Errorf("the plan in the journal of job %s: %w", id, err)}
	}
	info.Plan = plan
	return info
}

// standing reads from a job's journal where it stands, and what it began with.
func (s Store) standing(dir, id string) (info JobInfo, begin json.RawMessage) {
	info = JobInfo{ID: id, State: StateInterrupted}
	records, err := journal.Read(dir)
	if err != nil {
		info.State, info.Err = StateDamaged, err
		return info, nil
	}
	info.Started, info.Updated = records[0].Time, records[len(records)-1].Time
	for _, r := range records {
		switch r.Kind {
		case journal.Intent, journal.Done:
			info.Step, info.Disk = StepName(r.Step), r.Disk
			info.State, info.Failure = StateInterrupted, ""
		case journal.Undoing, journal.Undone:
			info.Step, info.Disk = StepName(r.Step), r.Disk
			info.State = StateRollingBack
		case journal.Failed:
			_ = json.Unmarshal(r.Data, &info.Failure) // it is only for show
		case journal.End:
			info.State = StateDone
		case journal.Begin, journal.Note:
		}
	}
	if _, held := journal.Held(s.lockPath("job " + id)); held {
		info.State = StateRunning
	}
	return info, records[0].Data
}

// Find returns the job that name means: a job's id, or the name of a VM or its
// clone with one job that want accepts. An empty name means the only job that
// want accepts. The errors are *UnknownJobError and *AmbiguousJobError.
func (s Store) Find(name string, want func(JobInfo) bool) (JobInfo, error) {
	jobs, err := s.Jobs()
	if err != nil {
		return JobInfo{}, err
	}
	var fit []JobInfo
	for _, job := range jobs {
		if job.ID == name {
			return job, nil
		}
		named := name == "" || job.Plan != nil && (job.Plan.VM == name || job.Plan.Clone.Name == name)
		if named && want(job) {
			fit = append(fit, job)
		}
	}
	switch len(fit) {
	case 0:
		// The one that is meant may be at work, which its locks will tell.
		for _, job := range jobs {
			if name != "" && job.State == StateRunning && (job.Plan.VM == name || job.Plan.Clone.Name == name) {
				return job, nil
			}
		}
		return JobInfo{}, &UnknownJobError{Name: name, Known: jobs}
	case 1:
		return fit[0], nil
	default:
		return JobInfo{}, &AmbiguousJobError{Name: name, Jobs: fit}
	}
}

// Unfinished accepts the jobs that can be resumed.
func Unfinished(job JobInfo) bool { return job.State == StateInterrupted }

// Any accepts every job.
func Any(JobInfo) bool { return true }

// exists says whether path does.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
