package migrate

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// The points at which something may go wrong are found by counting them in a
// run that goes well, so a step that is new is in the table by itself.

// points are the calls of one act in a world where nothing goes wrong.
func points(t *testing.T, host func(*testing.T) *world, act func(*world)) []string {
	t.Helper()
	w := host(t)
	act(w)
	return append([]string(nil), w.names...)
}

// modes are the faults that make sense at a point. A question has no effect, so
// it makes no difference whether it was answered, and to die there is to die
// after the act before it.
func modes(point string) []mode {
	switch {
	case point == record:
		return []mode{dieBefore, fillState, interrupt}
	case strings.HasPrefix(point, "act: "), strings.HasPrefix(point, "bytes: "):
		return []mode{dieBefore, dieAfter, failBefore, failAfter}
	default:
		return []mode{failBefore}
	}
}

// everywhere runs try for every point and mode, on all processors.
func everywhere(t *testing.T, points []string, try func(t *testing.T, what string, at int, mode mode)) {
	t.Helper()
	var tried atomic.Int64
	began := time.Now()
	t.Run("points", func(t *testing.T) {
		const shares = 4
		for share := range shares {
			t.Run(fmt.Sprint(share), func(t *testing.T) {
				t.Parallel()
				for at := share; at < len(points); at += shares {
					for _, mode := range modes(points[at]) {
						try(t, fmt.Sprintf("%s point %d (%s)", mode, at, points[at]), at, mode)
						tried.Add(1)
					}
				}
			})
		}
	})
	t.Logf("%d faults at %d points in %v", tried.Load(), len(points), time.Since(began).Round(time.Millisecond))
}

func TestWhateverFailsInARunTheJobCanBeResumed(t *testing.T) {
	t.Parallel()
	everyTarget(t, whateverFailsInARunTheJobCanBeResumed)
}

func whateverFailsInARunTheJobCanBeResumed(t *testing.T, host func(*testing.T) *world) {
	t.Helper()
	all := points(t, host, func(w *world) { _, _ = w.run(w.planned(), "") })
	everywhere(t, all, func(t *testing.T, what string, at int, mode mode) {
		w := host(t)
		before := w.look()
		plan := w.planned()
		w.arm(at, mode)
		_, err := w.run(plan, "")
		w.settle(before, plan, err, what, at%2 == 0)
		defined := w.virt.find(plan.Clone.Name).Name != ""
		if len(w.jobs()) == 0 { // nothing was begun, or all was taken back
			plan = w.planned()
			if _, err := w.run(plan, ""); err != nil {
				t.Fatalf("%s: again: %v", what, err)
			}
		} else if _, err := w.resume(plan.Job); err != nil && !isFinished(err) {
			t.Fatalf("%s: resumed: %v", what, err)
		}
		if defined {
			// Once define is recorded nothing is opened again: what a power
			// cut closed is for the clone's owner to unlock.
			plan.Options.Close = w.look()["mapping "+plan.Disks[0].Mapper] == ""
		}
		w.wantMoved(before, plan, what)
	})
}

func TestWhateverFailsInARunTheJobCanBeRolledBack(t *testing.T) {
	t.Parallel()
	everyTarget(t, whateverFailsInARunTheJobCanBeRolledBack)
}

func whateverFailsInARunTheJobCanBeRolledBack(t *testing.T, host func(*testing.T) *world) {
	t.Helper()
	all := points(t, host, func(w *world) { _, _ = w.run(w.planned(), "") })
	everywhere(t, all, func(t *testing.T, what string, at int, mode mode) {
		w := host(t)
		before := w.look()
		plan := w.planned()
		w.arm(at, mode)
		_, err := w.run(plan, "")
		w.settle(before, plan, err, what, at%2 == 0)
		if len(w.jobs()) > 0 {
			w.mustRollback(plan.Job, what)
			w.wantSame(before, what)
		}
	})
}

func TestWhateverFailsInARollbackItCanBeRepeated(t *testing.T) {
	t.Parallel()
	everyTarget(t, whateverFailsInARollbackItCanBeRepeated)
}

func whateverFailsInARollbackItCanBeRepeated(t *testing.T, host func(*testing.T) *world) {
	t.Helper()
	done := func(t *testing.T) (*world, look, *Plan) {
		w := host(t)
		before := w.look()
		plan := w.planned()
		if _, err := w.run(plan, ""); err != nil {
			t.Fatal(err)
		}
		w.disarm()
		return w, before, plan
	}
	all := points(t, host, func(w *world) {
		plan := w.planned()
		_, _ = w.run(plan, "")
		w.disarm()
		_ = w.rollback(plan.Job, false)
	})
	everywhere(t, all, func(t *testing.T, what string, at int, mode mode) {
		w, before, plan := done(t)
		w.arm(at, mode)
		err := w.rollback(plan.Job, false)
		if w.hit && err == nil && (mode == failBefore || mode == failAfter) {
			t.Fatalf("%s: the failure is not told", what)
		}
		w.restart(w.dead && at%2 == 0)
		if jobs := w.jobs(); len(jobs) > 0 && jobs[0].State == StateRollingBack {
			var undone *UndoneError
			if _, err := w.resume(plan.Job); !errors.As(err, &undone) {
				t.Fatalf("%s: half a rollback was resumed: %v", what, err)
			}
		}
		if len(w.jobs()) > 0 {
			w.mustRollback(plan.Job, what)
		} else {
			w.sweep()
		}
		w.wantSame(before, what)
	})
}

// planned is a plan, after which the count of points begins.
func (w *world) planned() *Plan {
	w.t.Helper()
	w.disarm()
	chosen := options()
	chosen.Disks, chosen.Dir, chosen.Layout = w.chosen, w.folder, w.layout
	plan := w.plan(chosen)
	w.disarm()
	return plan
}

// settle checks what a run says that met a fault, and begins a new process if
// the old one died.
func (w *world) settle(before look, plan *Plan, err error, what string, powerCut bool) {
	w.t.Helper()
	died, full := w.dead, w.full
	if died {
		w.restart(powerCut)
		if len(w.jobs()) == 0 {
			w.sweep()
			w.wantSame(before, what)
		}
		return
	}
	w.disarm()
	if err == nil {
		w.wantMoved(before, plan, what)
		return
	}
	var stopped *StepError
	if !errors.As(err, &stopped) {
		w.t.Fatalf("%s: %v", what, err)
	}
	jobs := w.jobs()
	switch stopped.Aftermath {
	case Refused, TakenBack:
		if len(jobs) > 0 {
			w.t.Fatalf("%s: %s, and yet there is a job: %v", what, stopped.Aftermath, err)
		}
		if stopped.Aftermath == Refused && stopped.Step != Preflight {
			w.t.Fatalf("%s: refused at %s", what, stopped.Step)
		}
		if !stopsEarly(stopped.Step) {
			w.t.Fatalf("%s: what was copied was taken back: %v", what, err)
		}
		w.wantSame(before, what)
	case Kept:
		if len(jobs) != 1 || jobs[0].State != StateInterrupted {
			w.t.Fatalf("%s: the jobs are %+v", what, jobs)
		}
		var interrupted *InterruptedError
		var unwritable *journal.WriteError
		if stopsEarly(stopped.Step) && !errors.As(err, &interrupted) && !errors.As(err, &unwritable) {
			w.t.Fatalf("%s: kept although nothing was copied: %v", what, err)
		}
		if !full && jobs[0].Failure == "" {
			w.t.Fatalf("%s: the journal does not say why", what)
		}
	default:
		w.t.Fatalf("%s: %s: %v", what, stopped.Aftermath, err)
	}
}

// stopsEarly says whether a job that fails at a step has copied nothing yet.
func stopsEarly(step StepName) bool {
	return step == Preflight || step == CreateVolume || step == Format || step == Open || step == MakeFilesystem || step == Mount || step == CreateImage
}

func isFinished(err error) bool {
	var finished *FinishedError
	return errors.As(err, &finished)
}

// mustRollback rolls a job back, with force only where its disks are locked.
func (w *world) mustRollback(job, what string) {
	w.t.Helper()
	err := w.rollback(job, false)
	var started *CloneStartedError
	if errors.As(err, &started) && strings.Contains(started.Evidence, "locked") {
		err = w.rollback(job, true)
	}
	if err != nil {
		w.t.Fatalf("%s: rolled back: %v", what, err)
	}
}

// sweep is what the next command does about what a crash left in the state
// directory before a job began or after it ended: a job's folder without its
// name, and locks that nobody holds.
func (w *world) sweep() {
	w.t.Helper()
	store := w.env().Store
	if err := store.prepare(); err != nil {
		w.t.Fatalf("sweep: %v", err)
	}
	locks, err := filepath.Glob(filepath.Join(store.locks(), "*"))
	if err != nil {
		w.t.Fatalf("sweep: %v", err)
	}
	for _, path := range locks {
		lock, err := journal.Acquire(path, "a stale lock")
		if err != nil {
			w.t.Fatalf("a lock that nobody holds: %v", err)
		}
		if err := lock.Release(); err != nil {
			w.t.Fatalf("sweep: %v", err)
		}
	}
	store.tidy()
}

func TestAFailureIsToldWithItsStepAndDisk(t *testing.T) {
	want := map[string][]string{
		"act: create": {"create-volume of vda", "create-volume of vdb"}, "act: format": {"format of vda", "format of vdb"},
		"act: open": {"open of vda", "open of vdb"}, "bytes: copy": {"copy of vda", "copy of vdb"}, "bytes: verify": {"verify of vda", "verify of vdb"},
		"act: header backup": {"header-backup", "header-backup"}, "act: define": {"define"},
	}
	all := points(t, newWorld, func(w *world) { _, _ = w.run(w.planned(), "") })
	got := make(map[string][]string)
	for at, point := range all {
		if want[point] == nil {
			continue
		}
		w := newWorld(t)
		plan := w.planned()
		w.arm(at, failBefore)
		_, err := w.run(plan, "")
		var stopped *StepError
		if !errors.As(err, &stopped) || !errors.Is(err, errFailed) || stopped.Job != plan.Job || stopped.VM != "imap" {
			t.Fatalf("%s: %v", point, err)
		}
		where := string(stopped.Step)
		if stopped.Disk != "" {
			where += " of " + stopped.Disk
		}
		if !strings.Contains(err.Error(), "imap: "+where+" failed: injected failure") {
			t.Errorf("%s: %v", point, err)
		}
		got[point] = append(got[point], where)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
