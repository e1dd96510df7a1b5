package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// Job is one migration under way: its plan, its journal and the world.
type Job struct {
	*Env
	Plan *Plan
	// Dir is the job's folder in the state directory.
	Dir string

	locks *locks
	began time.Time
	// forced is whether a rollback is: it gives up what can't be reached.
	forced bool

	// mu guards what follows: disks may move side by side.
	mu      sync.Mutex
	journal *journal.Journal
	done    map[stepKey]bool
	notes   map[stepKey]json.RawMessage
	remarks map[stepKey]string
	key     luks.Key
	// sure is set when the key is known to be the one that the job's volumes
	// have, or are to have.
	sure bool
}

// stepKey names a step of a disk, or with an empty disk of the VM.
type stepKey struct {
	step StepName
	disk string
}

func key(step StepName, disk *DiskPlan) stepKey {
	if disk == nil {
		return stepKey{step: step}
	}
	return stepKey{step, disk.Target}
}

// newJob builds the job's view from the journal's records.
func newJob(env *Env, plan *Plan, dir string, j *journal.Journal, held *locks) *Job {
	job := &Job{
		Env: env, Plan: plan, Dir: dir, journal: j, locks: held,
		done: make(map[stepKey]bool), notes: make(map[stepKey]json.RawMessage), remarks: make(map[stepKey]string), began: env.Now(),
	}
	for _, r := range j.Records() {
		k := stepKey{StepName(r.Step), r.Disk}
		switch r.Kind {
		case journal.Done:
			job.done[k] = true
		case journal.Note:
			job.notes[k] = r.Data
		case journal.Intent:
			job.forget(k)
		case journal.Undoing, journal.Undone:
			delete(job.done, k)
		case journal.Begin, journal.Failed, journal.End:
		}
	}
	return job
}

// forget drops what is recorded as done and rests on a step that is done anew.
// Only the steps whose effect can't be seen in the world go by the record; the
// others look. The caller holds mu, or is alone.
func (j *Job) forget(k stepKey) {
	switch k.step {
	case CreateVolume, Format:
		// A new header means a new volume key: all that was written is noise.
		delete(j.done, stepKey{Copy, k.disk})
		delete(j.done, stepKey{Verify, k.disk})
		delete(j.done, stepKey{step: HeaderBackup})
		delete(j.done, stepKey{step: RecoveryKey})
	case MakeFilesystem, CreateImage:
		delete(j.done, stepKey{Copy, k.disk})
		delete(j.done, stepKey{Verify, k.disk})
	case RecoveryKey:
		delete(j.done, stepKey{step: HeaderBackup})
	case Copy:
		delete(j.done, stepKey{Verify, k.disk})
	case Preflight, Open, Mount, Verify, HeaderBackup, Firmware, Define, Close:
	}
	delete(j.done, k)
}

// note records a fact of a step, to be found again with noted.
func (j *Job) note(step StepName, disk *DiskPlan, data any) error {
	k := key(step, disk)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.journal.Append(journal.Note, string(step), k.disk, data); err != nil {
		return err
	}
	records := j.journal.Records()
	j.notes[k] = records[len(records)-1].Data
	return nil
}

// noted reads back what note recorded; found is false if nothing was.
func (j *Job) noted(step StepName, disk *DiskPlan, into any) (found bool, err error) {
	j.mu.Lock()
	data, found := j.notes[key(step, disk)]
	j.mu.Unlock()
	if !found {
		return false, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, fmt.Errorf("the journal's note of %s: %w", step, err)
	}
	return true, nil
}

// chunksPath is where a disk's chunk digests are kept.
func (j *Job) chunksPath(disk *DiskPlan) string {
	return filepath.Join(j.Dir, safeName(disk.Target)+".chunks")
}

// headerPath is where the backup of a disk's LUKS header is kept.
func (j *Job) headerPath(disk *DiskPlan) string {
	return headerFile(j.Dir, disk)
}

func headerFile(jobDir string, disk *DiskPlan) string {
	return filepath.Join(jobDir, safeName(disk.Target)+".luks-header")
}

// safeName keeps a disk's target, which comes from XML, from being a path.
func safeName(target string) string { return filepath.Base(filepath.Clean("/" + target)) }

// unlockKey returns the key, asking for it the first time. fresh is as in
// Keyring.
func (j *Job) unlockKey(ctx context.Context, fresh bool) (luks.Key, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.key.Len() == 0 {
		key, err := j.Keyring.Key(command.Hold(ctx, nil), j.Plan.VM, fresh)
		if err != nil {
			return luks.Key{}, &KeyError{Err: err}
		}
		j.key = key
	}
	return j.key, nil
}

// formatKey returns the key to format with. Nothing tells a wrong one there, and a
// disk that nobody has the key of would come of it: one that was given to a
// resume has to unlock what the job has formatted before, or be typed twice.
func (j *Job) formatKey(ctx context.Context) (luks.Key, error) {
	if j.isSure() {
		return j.unlockKey(ctx, false)
	}
	formatted, err := j.formatted(ctx)
	if err != nil {
		return luks.Key{}, err
	}
	key, err := j.unlockKey(ctx, formatted == nil)
	if err != nil {
		return luks.Key{}, err
	}
	if formatted != nil {
		if err := j.Encryption.TestKey(ctx, formatted.headerAt(), key); err != nil {
			return luks.Key{}, err
		}
	}
	j.keyIsSure()
	return key, nil
}

func (j *Job) isSure() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.sure
}

func (j *Job) keyIsSure() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sure = true
}

// close ends the work on the job: the key is wiped, the locks are released.
func (j *Job) close() {
	j.key.Wipe()
	_ = j.journal.Close() // every record was flushed as it was written
	j.locks.release()
}

// report sends an event about the job.
func (j *Job) report(event Event) {
	event.Time, event.Job, event.VM = j.Now(), j.Plan.Job, j.Plan.VM
	event.Disks = len(j.Plan.Disks)
	for i := range j.Plan.Disks {
		if j.Plan.Disks[i].Target == event.Disk {
			event.DiskIndex = i + 1
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.Reporter.Report(event)
}

// say has the step that is being done say in a few words what it did.
func (j *Job) say(step StepName, disk *DiskPlan, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.remarks[key(step, disk)] = fmt.Sprintf(format, args...)
}

func (j *Job) reportStep(name EventName, a act, took time.Duration) {
	k := key(a.step.Name(), a.disk)
	j.mu.Lock()
	remark := j.remarks[k]
	delete(j.remarks, k)
	j.mu.Unlock()
	j.report(Event{Event: name, Step: k.step, Disk: k.disk, Duration: took, Message: remark})
}

// isDone says whether a step is recorded as done.
func (j *Job) isDone(k stepKey) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done[k]
}

// record writes that a step is about to act, or is done.
func (j *Job) record(kind journal.Kind, k stepKey) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if kind == journal.Intent {
		j.forget(k)
	}
	if err := j.journal.Append(kind, string(k.step), k.disk, nil); err != nil {
		return err
	}
	if kind == journal.Done {
		j.done[k] = true
	}
	return nil
}
