package migrate

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

// stopped is a job that stopped after a step, with its header apart.
func stopped(t *testing.T, after StepName) (*world, look, *Plan) {
	t.Helper()
	w := withHeaders(t)
	before := w.look()
	plan := w.planned()
	if _, err := w.run(plan, after); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	return w, before, plan
}

func TestAHeaderFileThatIsGoneIsNotMadeAnew(t *testing.T) {
	w, before, plan := stopped(t, Copy)
	kept := w.made[headerName]
	delete(w.made, headerName)
	var conflict *ConflictError
	if _, err := w.resume(plan.Job); !errors.As(err, &conflict) || !strings.Contains(err.Error(), "it is not there any more") {
		t.Errorf("without the file: %v", err)
	}
	w.made[headerName] = kept
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatalf("with the file back: %v", err)
	}
	w.wantMoved(before, plan, "with the file back")
}

func TestAHeaderWhoseFileSystemIsNotMountedIsWaitedFor(t *testing.T) {
	w, before, plan := stopped(t, Copy)
	kept := w.made
	w.made, w.unmounted = map[string]made{}, true
	for _, act := range []func() error{
		func() error { _, err := w.resume(plan.Job); return err },
		func() error { return w.rollback(plan.Job, false) },
	} {
		var conflict *ConflictError
		if err := act(); !errors.As(err, &conflict) || !strings.Contains(err.Error(), "may not be mounted") {
			t.Errorf("while it is not mounted: %v", err)
		}
	}
	w.made, w.unmounted = kept, false
	w.mustRollback(plan.Job, "mounted again")
	w.wantSame(before, "mounted again")
}

func TestAForcedRollbackGivesUpAHeaderThatCannotBeReached(t *testing.T) {
	w, _, plan := stopped(t, Copy)
	w.made, w.unmounted = map[string]made{}, true
	w.events = nil
	if err := w.rollback(plan.Job, true); err != nil {
		t.Fatal(err)
	}
	told := slices.ContainsFunc(w.events, func(e Event) bool {
		return e.Event == Warning && strings.Contains(e.Message, headerName+" can't be reached and was not removed")
	})
	if !told || len(w.jobs()) > 0 {
		t.Errorf("told %v, jobs %v", told, w.jobs())
	}
}

// What somebody else puts in the place of a header file is neither overwritten
// nor removed.
func TestSomebodyElsesFileInAHeadersPlaceStays(t *testing.T) {
	w, _, plan := stopped(t, CreateVolume)
	w.made[headerName] = made{size: 5, inode: "4711"}
	var conflict *ConflictError
	if _, err := w.resume(plan.Job); !errors.As(err, &conflict) || len(w.jobs()) > 0 { // nothing was copied: it is taken back
		t.Errorf("resumed: %v", err)
	}
	if file := w.made[headerName]; file.inode != "4711" || len(w.made) != 1 {
		t.Errorf("the folder has %v", w.made)
	}
}

func TestAForeignHeaderInAHeadersPlaceStays(t *testing.T) {
	w, _, plan := stopped(t, Copy)
	foreign := luks.FormatSpec{Device: headerName, UUID: "0b0b0b0b-0000-4000-8000-000000000000", Cipher: "aes-xts-plain64", KeySize: 512, SectorSize: 512, Offset: 16 * mib}
	w.made[headerName] = made{size: 20 * mib, inode: "4711"}
	key, err := luks.NewKey([]byte("foreign"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.luks.Format(t.Context(), foreign, key); err != nil {
		t.Fatal(err)
	}
	var conflict *ConflictError
	if _, err := w.resume(plan.Job); !errors.As(err, &conflict) || !strings.Contains(err.Error(), foreign.UUID) {
		t.Errorf("resumed: %v", err)
	}
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	if header, err := w.luks.Header(t.Context(), headerName); err != nil || header.UUID != foreign.UUID {
		t.Errorf("%+v, %v", header, err)
	}
}
