package migrate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// run carries out a plan in this world.
func (w *world) run(plan *Plan, stopAfter StepName) (*Summary, error) {
	return (&Engine{Env: w.env(), StopAfter: stopAfter}).Run(w.context(), plan)
}

func (w *world) resume(id string) (*Summary, error) {
	return (&Engine{Env: w.env()}).Resume(w.context(), id)
}

func (w *world) rollback(id string, force bool) error {
	w.back = true
	defer func() { w.back = false }()
	return (&Engine{Env: w.env()}).Rollback(w.context(), id, force)
}

// jobs are those in the store.
func (w *world) jobs() []JobInfo {
	w.t.Helper()
	jobs, err := w.env().Store.Jobs()
	if err != nil {
		w.t.Fatalf("list the jobs: %v", err)
	}
	return jobs
}

// variants are the ways to migrate that go through different steps.
func variants() map[string]Options {
	closed, full, none := options(), options(), options()
	closed.Close = true
	full.Verify = VerifyFull
	none.Verify, none.VG, none.KeepMAC = VerifyNone, "vg1", true
	image := options()
	image.Layout = FilesystemLayout
	return map[string]Options{"an image": image, "plain": options(), "closed at the end": closed, "verified in full": full, "not verified, in another group": none}
}

// hostFor has a VM that the options are for.
func hostFor(t *testing.T, options Options) *world {
	t.Helper()
	if options.Layout == FilesystemLayout {
		return withImage(t)
	}
	return newWorld(t)
}

func TestARunMovesAVMAndChangesNothingElse(t *testing.T) {
	for name, options := range variants() {
		w := hostFor(t, options)
		before := w.look()
		plan := w.plan(options)
		w.wantSame(before, "after the plan")
		w.disarm()
		summary, err := w.run(plan, "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.wantMoved(before, plan, name)
		if w.trusting != (options.Verify == VerifyNone) {
			t.Errorf("%s: the copy was told wrongly whether it is read back", name)
		}
		if summary.Clone != "imap-luks" || len(summary.Disks) != len(plan.Disks) {
			t.Errorf("%s: the summary is %+v", name, summary)
		}
		for i, disk := range summary.Disks {
			if disk.Digest == "" || disk.Target != plan.Disks[i].Target || disk.Bytes != plan.Disks[i].Bytes() || disk.Device != plan.Disks[i].Where() {
				t.Errorf("%s: the summary of a disk is %+v", name, disk)
			}
		}
		if jobs := w.jobs(); len(jobs) != 1 || jobs[0].State != StateDone || jobs[0].ID != plan.Job {
			t.Errorf("%s: the jobs are %+v", name, jobs)
		}
		if w.asked != 1 {
			t.Errorf("%s: the key was asked for %d times", name, w.asked)
		}
		var finished *FinishedError
		if _, err := w.resume(plan.Job); !errors.As(err, &finished) || finished.Clone != "imap-luks" {
			t.Errorf("%s: a job that is done is resumed: %v", name, err)
		}
		if err := w.rollback(plan.Job, options.Close); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.wantSame(before, name+", rolled back")
	}
}

func TestAStopAfterAnyStepIsResumedToTheSameEnd(t *testing.T) {
	for name, options := range variants() {
		for _, step := range StepNames() {
			what := fmt.Sprintf("%s, stopped after %s", name, step)
			w := hostFor(t, options)
			before := w.look()
			plan := w.plan(options)
			w.disarm()
			_, err := w.run(plan, step)
			if !slices.Contains(StepNamesOf(options), step) {
				continue // there is no such step, so the run goes to its end
			}
			w.wantStopped(err, step, Kept, what)
			if jobs := w.jobs(); len(jobs) != 1 || jobs[0].State != StateInterrupted || jobs[0].Failure == "" {
				t.Fatalf("%s: the jobs are %+v", what, jobs)
			}
			if _, err := w.resume(plan.Job); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			w.wantMoved(before, plan, what)
		}
	}
}

func TestAStopAfterAnyStepIsRolledBackToTheStart(t *testing.T) {
	for name, options := range variants() {
		for _, step := range StepNames() {
			what := fmt.Sprintf("%s, stopped after %s", name, step)
			w := hostFor(t, options)
			before := w.look()
			plan := w.plan(options)
			w.disarm()
			_, err := w.run(plan, step)
			if !slices.Contains(StepNamesOf(options), step) {
				continue
			}
			w.wantStopped(err, step, Kept, what)
			// The disks are closed then, so nothing tells that the clone
			// was not started.
			force := step == Close
			if force {
				var started *CloneStartedError
				if err := w.rollback(plan.Job, false); !errors.As(err, &started) || started.Running {
					t.Errorf("%s: a clone whose disks are locked was removed: %v", what, err)
				}
			}
			if err := w.rollback(plan.Job, force); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			w.wantSame(before, what)
		}
	}
}

// wantStopped fails unless err says that a job stopped at step as given.
func (w *world) wantStopped(err error, step StepName, aftermath Aftermath, what string) *StepError {
	w.t.Helper()
	var stopped *StepError
	if !errors.As(err, &stopped) {
		w.t.Fatalf("%s: %v", what, err)
	}
	if stopped.Step != step || stopped.Aftermath != aftermath {
		w.t.Fatalf("%s: stopped at %s, %s: %v", what, stopped.Step, stopped.Aftermath, err)
	}
	return stopped
}

func TestARollbackThatBeganIsNotResumed(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.plan(options())
	w.disarm()
	_, err := w.run(plan, Verify)
	w.wantStopped(err, Verify, Kept, "the run")
	w.luks.Hold(plan.Disks[1].Mapper, "a curious administrator")
	var incomplete *RollbackError
	if err := w.rollback(plan.Job, false); !errors.As(err, &incomplete) || incomplete.Job != plan.Job {
		t.Fatalf("a mapping that is in use was closed: %v", err)
	}
	// The other disk is gone, the one in use, which came first, is whole.
	if now := w.look(); now["volume vg0/imap-vda-luks"] != "" || now["volume vg0/imap-vdb-luks"] == "" {
		t.Errorf("left: %v", now)
	}
	var undone *UndoneError
	if _, err := w.resume(plan.Job); !errors.As(err, &undone) {
		t.Errorf("resumed: %v", err)
	}
	if jobs := w.jobs(); len(jobs) != 1 || jobs[0].State != StateRollingBack {
		t.Errorf("the jobs are %+v", jobs)
	}
	w.luks.Hold(plan.Disks[1].Mapper)
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "rolled back at the second try")
}

func TestAResumedJobGoesByTheRecordedPlan(t *testing.T) {
	w := newWorld(t)
	plan := w.plan(options())
	w.disarm()
	_, err := w.run(plan, Open)
	w.wantStopped(err, Open, Kept, "the run")
	// A new group would be chosen now, and another name for the clone.
	w.lvm.Set("vg0", func(vg *lvm.VG) { vg.Exported = true })
	if jobs := w.jobs(); !cmp.Equal(jobs[0].Plan, plan) {
		t.Error(cmp.Diff(jobs[0].Plan, plan))
	}
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyIsAskedForOnlyToFormatOrOpen(t *testing.T) {
	w := newWorld(t)
	plan := w.plan(options())
	w.disarm()
	_, err := w.run(plan, Copy)
	w.wantStopped(err, Copy, Kept, "the run")
	w.asked = 0
	if _, err := w.resume(plan.Job); err != nil || w.asked != 0 {
		t.Errorf("asked %d times, %v", w.asked, err)
	}
}

func TestABlockedPlanIsNotRun(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.plan(options())
	plan.block(Active, "", "", "it runs")
	var blocked *BlockedError
	if _, err := w.run(plan, ""); !errors.As(err, &blocked) || blocked.VM != "imap" {
		t.Errorf("got %v", err)
	}
	w.wantSame(before, "blocked")
}

func TestAWrongKeyOnResumeIsSaidAndKeepsTheCopy(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.plan(options())
	w.disarm()
	_, err := w.run(plan, Copy)
	w.wantStopped(err, Copy, Kept, "the run")
	w.cutPower()
	w.secret = "falsch"
	_, err = w.resume(plan.Job)
	w.wantStopped(err, Open, Kept, "with the wrong key")
	w.secret = "geheim"
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "with the right key")
}

func TestARollbackGoesOnPastWhatIsAboutTheVMAsAWhole(t *testing.T) {
	for _, test := range []struct {
		step StepName
		// left says that the disks stay, under a clone that uses them.
		left bool
	}{{HeaderBackup, false}, {Define, true}} {
		w := newWorld(t)
		before := w.look()
		plan := w.planned()
		if _, err := w.run(plan, ""); err != nil {
			t.Fatal(err)
		}
		backup := filepath.Join(w.state, "jobs", plan.Job, "vda.luks-header")
		switch test.step {
		case HeaderBackup: // a folder that is not empty is not removed as a file is
			if err := errors.Join(os.Remove(backup), os.MkdirAll(filepath.Join(backup, "in the way"), 0o700)); err != nil {
				t.Fatal(err)
			}
		default:
			w.arm(slices.Index(points(t, newWorld, func(w *world) {
				plan := w.planned()
				_, _ = w.run(plan, "")
				w.disarm()
				_ = w.rollback(plan.Job, false)
			}), "act: undefine"), failBefore)
		}
		var incomplete *RollbackError
		if err := w.rollback(plan.Job, false); !errors.As(err, &incomplete) {
			t.Fatalf("%s: %v", test.step, err)
		}
		if left := w.look()["volume "+plan.Disks[0].Volume.String()] != ""; left != test.left {
			t.Errorf("%s could not be undone, and the volume is there: %v", test.step, left)
		}
		w.disarm()
		if err := os.RemoveAll(backup); err != nil {
			t.Fatal(err)
		}
		if err := w.rollback(plan.Job, false); err != nil {
			t.Fatalf("%s: again: %v", test.step, err)
		}
		w.wantSame(before, string(test.step))
	}
}
