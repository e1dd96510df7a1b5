package migrate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// storeOf has a job for each VM, in the state of its name.
func storeOf(t *testing.T, vms map[string][]journal.Kind) Store {
	t.Helper()
	store := Store{Dir: scratch(t), Now: noon}
	if err := store.prepare(); err != nil {
		t.Fatal(err)
	}
	for vm, kinds := range vms {
		name, _, _ := strings.Cut(vm, "#")
		j, err := journal.Create(store.jobDir("job-"+vm), &Plan{Job: "job-" + vm, VM: name, Clone: Clone{Name: name + "-luks"}}, noon)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range kinds {
			if err := j.Append(kind, string(Copy), "vda", "why"); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func TestAJobsStateFollowsFromItsRecords(t *testing.T) {
	want := map[string]State{
		"begun": StateInterrupted, "acting": StateInterrupted, "failed": StateInterrupted, "done": StateDone,
		"undoing": StateRollingBack, "undone": StateRollingBack, "done, then undoing": StateRollingBack,
	}
	store := storeOf(t, map[string][]journal.Kind{
		"begun": nil, "acting": {journal.Intent}, "failed": {journal.Intent, journal.Failed}, "done": {journal.Done, journal.End},
		"undoing": {journal.Done, journal.Undoing}, "undone": {journal.Undoing, journal.Undone}, "done, then undoing": {journal.End, journal.Undoing},
	})
	jobs, err := store.Jobs()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]State)
	for _, job := range jobs {
		got[job.Plan.VM] = job.State
		if (job.Failure == "why") != (job.Plan.VM == "failed") {
			t.Errorf("%s failed since %q", job.Plan.VM, job.Failure)
		}
		if job.State != StateInterrupted && (job.Step != Copy || job.Disk != "vda") {
			t.Errorf("%s is at %s of %s", job.Plan.VM, job.Step, job.Disk)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAJobIsFoundByWhatItIsCalled(t *testing.T) {
	store := storeOf(t, map[string][]journal.Kind{"imap": {journal.Intent}, "web": {journal.End}, "web#2": {journal.Intent}, "db#1": {journal.Intent}, "db#2": {journal.Intent}})
	for _, c := range []struct {
		name string
		want func(JobInfo) bool
		id   string // or the error
	}{
		{"imap", Any, "job-imap"},
		{"imap-luks", Unfinished, "job-imap"},
		{"job-web", Unfinished, "job-web"}, // an id is meant, whatever its state
		{"web", Unfinished, "job-web#2"},
		{"web", Any, "ambiguous job-web, job-web#2"},
		{"db", Unfinished, "ambiguous job-db#1, job-db#2"},
		{"", Unfinished, "ambiguous job-db#1, job-db#2, job-imap, job-web#2"},
		{"nobody", Any, "unknown nobody"},
		{"ima", Any, "unknown ima"},
		{"../jobs/job-imap", Any, "unknown ../jobs/job-imap"},
	} {
		job, err := store.Find(c.name, c.want)
		got := job.ID
		var unknown *UnknownJobError
		var ambiguous *AmbiguousJobError
		switch {
		case errors.As(err, &unknown):
			got = "unknown " + unknown.Name
			if len(unknown.Known) != 5 {
				t.Errorf("%q: known are %v", c.name, unknown.Known)
			}
		case errors.As(err, &ambiguous):
			got = "ambiguous " + strings.TrimPrefix(ambiguous.Error(), "several jobs fit, name one of them: ")
		case err != nil:
			t.Errorf("%q: %v", c.name, err)
		}
		if got != c.id {
			t.Errorf("%q is %q, not %q", c.name, got, c.id)
		}
	}
	one := storeOf(t, map[string][]journal.Kind{"imap": {journal.Intent}, "web": {journal.End}})
	if job, err := one.Find("", Unfinished); err != nil || job.ID != "job-imap" {
		t.Errorf("the only one: %v, %v", job.ID, err)
	}
}

func TestADamagedJobIsListedAndInNobodysWay(t *testing.T) {
	w, _, plan := moved(t, options())
	path := filepath.Join(w.state, "jobs", plan.Job, journal.FileName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[30] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	jobs := w.jobs()
	var damaged *journal.DamagedError
	if len(jobs) != 1 || jobs[0].State != StateDamaged || !errors.As(jobs[0].Err, &damaged) {
		t.Errorf("the jobs are %+v", jobs)
	}
	for name, act := range map[string]func() error{
		"resume":   func() error { _, err := w.resume(plan.Job); return err },
		"rollback": func() error { return w.rollback(plan.Job, true) },
		"verify":   func() error { _, err := w.verify(plan.Job); return err },
	} {
		if err := act(); !errors.As(err, &damaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	chosen := options()
	chosen.Clone, chosen.LV = "imap2", "imap2"
	if _, err := w.env().Gather(w.context()); err != nil {
		t.Error(err)
	}
}

func TestAJobThatDoesNotExistIsNotGoneOnWith(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	if _, err := w.resume("20260101-000000-none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("resumed: %v", err)
	}
	if err := w.rollback("20260101-000000-none", true); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("rolled back: %v", err)
	}
	w.wantSame(before, "asked for a job that does not exist")
}

// Two commands at once never work on the same job, VM, volume or mapping, and
// the second is told so before it changes anything.
func TestTwoAtOnceAreKeptApart(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan, same := w.planned(), w.planned()
	elsewhere := w.planned()
	elsewhere.VM, elsewhere.VMUUID = "twin", twinUUID // another VM that would have the same volume
	mapper := w.planned()
	mapper.VMUUID, mapper.Disks[0].Volume.Name, mapper.Disks[1].Volume.Name = twinUUID, "a", "b"
	var refused []string
	w.during = func(_ context.Context, step StepName) {
		if step != Copy || refused != nil {
			return
		}
		refused = []string{}
		second := &Engine{Env: w.env()}
		for _, act := range []func() error{
			func() error { _, err := second.Run(context.Background(), same); return err },
			func() error { _, err := second.Run(context.Background(), elsewhere); return err },
			func() error { _, err := second.Run(context.Background(), mapper); return err },
			func() error { _, err := second.Resume(context.Background(), plan.Job); return err },
			func() error { return second.Rollback(context.Background(), plan.Job, true) },
			func() error { _, err := second.Verify(context.Background(), plan.Job); return err },
		} {
			err := act()
			var locked *journal.LockedError
			if !errors.As(err, &locked) || locked.PID != os.Getpid() {
				t.Errorf("got %v", err)
				return
			}
			refused = append(refused, locked.What)
		}
		if jobs := w.jobs(); len(jobs) != 1 || jobs[0].State != StateRunning {
			t.Errorf("the jobs are %+v", jobs)
		}
	}
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	job := "the job " + plan.Job
	want := []string{`the VM "imap"`, "the volume vg0/imap-vda-luks", "the mapping cr_imap_vda", job, job, job}
	if diff := cmp.Diff(want, refused); diff != "" {
		t.Error(diff)
	}
	w.wantMoved(before, plan, "undisturbed")
}

// A second run that is refused must not take the folders away under the first.
func TestARefusedRunDoesNotDisturbAnother(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.planned()
	other := w.planned()
	other.VM, other.VMUUID = "nobody", twinUUID
	for i := range other.Disks {
		other.Disks[i].Volume = VolumePlan{VG: "vg1", Name: "other"}
		other.Disks[i].Mapper = "cr_other" + other.Disks[i].Target
	}
	other.Disks = other.Disks[:1]
	tried := false
	w.heard = func(event Event) {
		if event.Event == StepDone && event.Step == Preflight && !tried {
			tried = true
			_, err := (&Engine{Env: w.env()}).Run(context.Background(), other)
			w.wantStopped(err, Preflight, Refused, "the other")
		}
	}
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "undisturbed")
}

func TestAFullGroupAtTheLastMomentTakesEverythingBack(t *testing.T) {
	w := newWorld(t)
	plan := w.planned()
	group, err := w.lvm.VG(w.context(), "vg0")
	if err != nil {
		t.Fatal(err)
	}
	// Somebody takes all but the room for one disk.
	if _, err := w.lvm.Create(w.context(), lvm.Spec{VG: "vg0", Name: "somebody", Size: group.Free - 20*mib}); err != nil {
		t.Fatal(err)
	}
	before := w.look()
	_, err = w.run(plan, "")
	stopped := w.wantStopped(err, CreateVolume, TakenBack, "a full group")
	var full *lvm.NoSpaceError
	if !errors.As(err, &full) || stopped.Disk != "vdb" {
		t.Errorf("got %v", err)
	}
	w.wantSame(before, "a full group")
}
