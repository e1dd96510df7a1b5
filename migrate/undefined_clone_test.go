package migrate

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// Its definition may be gone: what its guest wrote is not.
func TestAnUndefinedCloneThatMayHaveWrittenIsRemovedOnlyWithForce(t *testing.T) {
	for evidence, change := range map[string]func(*world, *Plan){
		"its disk vda differs from the copy": func(w *world, plan *Plan) { w.guestWrites(plan.Disks[0].Device) },
		"its disk vda is locked":             func(w *world, _ *Plan) { w.cutPower() },
		"its disk vdb is locked":             func(w *world, plan *Plan) { _ = w.luks.Close(w.context(), plan.Disks[1].Mapper) },
	} {
		w, before, plan := moved(t, options())
		change(w, plan)
		w.virt.remove(t, "imap-luks")
		after := w.look()
		var started *CloneStartedError
		if err := w.rollback(plan.Job, false); !errors.As(err, &started) || !started.Undefined || started.Job != plan.Job || !strings.HasPrefix(started.Evidence, evidence) {
			t.Fatalf("%s: %v", evidence, err)
		}
		if locked := strings.Contains(evidence, "locked"); locked != (started.Locked != nil) {
			t.Errorf("%s: the locked disk is %v", evidence, started.Locked)
		}
		started = nil
		if err := (&Engine{Env: w.env()}).Refusal(w.context(), plan.Job, false); errors.As(err, &started) == strings.Contains(evidence, "differs") {
			t.Errorf("%s, at once: %v", evidence, err)
		}
		w.wantSame(after, evidence)
		if err := w.rollback(plan.Job, true); err != nil {
			t.Errorf("%s, with force: %v", evidence, err)
		}
		w.wantSame(before, evidence)
	}
}

// The file in the job's folder is the clone as it was.
func TestAnUndefinedCloneIsDefinedAgainFromItsJobsFolder(t *testing.T) {
	w, before, plan := moved(t, options())
	file := w.env().Store.Definition(plan.Job)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(file, err)
	}
	was := w.look()["domain imap-luks"]
	w.virt.remove(t, "imap-luks")
	if err := w.luks.Close(w.context(), plan.Disks[0].Mapper); err != nil {
		t.Fatal(err)
	}
	var started *CloneStartedError
	if err := w.rollback(plan.Job, false); !errors.As(err, &started) || started.Definition != file {
		t.Fatalf("%v: %+v", err, started)
	}
	xml, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.virt.add(t, xml)
	if diff := cmp.Diff(was, w.look()["domain imap-luks"]); diff != "" {
		t.Error(diff)
	}
	if err := w.rollback(plan.Job, true); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "rolled back")
	if file := w.env().Store.Definition(plan.Job); file != "" {
		t.Errorf("%s is left", file)
	}
}

// One that never ran may go with its job, and disks that are gone hold nothing.
func TestAnUndefinedCloneThatNeverRanIsRemovedWithItsJob(t *testing.T) {
	w, before, plan := moved(t, options())
	w.virt.remove(t, "imap-luks")
	if err := errors.Join(w.luks.Close(w.context(), plan.Disks[1].Mapper), w.lvm.Remove(w.context(), "vg0", plan.Disks[1].Volume.Name, plan.Tag())); err != nil {
		t.Fatal(err)
	}
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "rolled back")
}

// A rollback that has undefined the clone goes on where it stopped: it had looked
// at the disks that it has locked since.
func TestARollbackThatHasUndefinedTheCloneGoesOn(t *testing.T) {
	all := points(t, newWorld, func(w *world) {
		plan := w.planned()
		_, _ = w.run(plan, "")
		w.disarm()
		_ = w.rollback(plan.Job, false)
	})
	w, before, plan := moved(t, options())
	w.arm(slices.Index(all, "act: remove"), failBefore)
	var incomplete *RollbackError
	if err := w.rollback(plan.Job, false); !errors.As(err, &incomplete) {
		t.Fatalf("got %v", err)
	}
	w.disarm()
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "again")
}

// The mark in the metadata goes with the definition, and a definition that is
// brought back does not have it.
func TestARetirementIsKnownWithoutTheClonesMetadata(t *testing.T) {
	for name, record := range map[string]map[string]string{
		"of this job":              {"job": "r1", "move": "JOB", "clone_uuid": twinUUID},
		"of before jobs were told": {"job": "r1", "clone_uuid": "CLONE"},
	} {
		for _, undefined := range []bool{true, false} {
			w, _, plan := moved(t, options())
			for k, v := range record {
				record[k] = strings.NewReplacer("JOB", plan.Job, "CLONE", plan.Clone.UUID).Replace(v)
			}
			w.retirement(record)
			if undefined {
				w.virt.remove(t, "imap-luks")
			}
			after := w.look()
			for _, force := range []bool{false, true} {
				var only *OriginalRetiredError
				if err := w.rollback(plan.Job, force); !errors.As(err, &only) || only.Undefined != undefined || (only.Definition != "") != undefined {
					t.Errorf("%s, undefined %v, force %v: %v", name, undefined, force, err)
				}
				if err := (&Engine{Env: w.env()}).Refusal(w.context(), plan.Job, force); !errors.As(err, &only) {
					t.Errorf("%s, undefined %v, force %v, at once: %v", name, undefined, force, err)
				}
			}
			w.wantSame(after, name)
		}
	}
}

func TestARetirementOfAnotherCloneIsNone(t *testing.T) {
	w, _, plan := moved(t, options())
	w.retirement(map[string]string{"job": "r1", "move": "another", "clone_uuid": plan.Clone.UUID})
	w.retirement(map[string]string{"job": "r2", "clone_uuid": twinUUID})
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
}

// A retirement whose journal can't be read may be the one that wiped this
// original.
func TestARetirementThatCantBeReadStopsARollback(t *testing.T) {
	w, _, plan := moved(t, options())
	dir := w.retirement(map[string]string{"job": "r1", "move": "another"})
	path := filepath.Join(dir, journal.FileName)
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.Replace(text, []byte("another"), []byte("AN0THER"), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	after := w.look()
	var damaged *journal.DamagedError
	if err := w.rollback(plan.Job, true); !errors.As(err, &damaged) {
		t.Errorf("%v", err)
	}
	w.wantSame(after, "refused")
}

// retirement begins one, with what its journal begins with, and returns its folder.
func (w *world) retirement(record map[string]string) string {
	w.t.Helper()
	errand, err := w.env().Store.Retirements().Lock(record["job"])
	if err == nil {
		err = errand.Begin(record)
	}
	if err == nil {
		err = errand.Append(journal.Intent, string(PutAway), "", nil)
	}
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	errand.Close()
	return errand.Dir
}

// A record that is lost or damaged by then is no reason to copy over what the
// clone's guest has written. Under a new header there is nothing of it left.
func TestNothingIsCopiedOverADiskThatACloneWasDefinedOn(t *testing.T) {
	for what, lose := range map[string]func(path string) error{
		"damaged": func(path string) error { return os.WriteFile(path, []byte("rubbish"), 0o600) },
		"lost":    os.Remove,
	} {
		w := newWorld(t)
		plan := w.planned()
		if _, err := w.run(plan, Define); !errors.Is(err, ErrStopAfter) {
			t.Fatal(err)
		}
		w.guestWrites(plan.Disks[0].Device)
		w.virt.remove(t, "imap-luks")
		if err := lose(filepath.Join(w.env().Store.jobDir(plan.Job), "vda.chunks")); err != nil {
			t.Fatal(err)
		}
		content := func() string {
			p, err := w.payload(plan.Disks[0].Device)
			if err != nil {
				t.Fatal(err)
			}
			return sum(p.live)
		}
		before := content()
		var wrote *GuestWroteError
		if _, err := w.resume(plan.Job); !errors.As(err, &wrote) || wrote.Disk != "vda" || wrote.Definition == "" {
			t.Errorf("%s: %v", what, err)
		}
		if content() != before {
			t.Errorf("%s: what the guest wrote was copied over", what)
		}
		if err := errors.Join(w.luks.Close(w.context(), plan.Disks[0].Mapper), w.lvm.Remove(w.context(), "vg0", plan.Disks[0].Volume.Name, plan.Tag())); err != nil {
			t.Fatal(err)
		}
		if _, err := w.resume(plan.Job); err != nil {
			t.Errorf("%s, with its volume gone: %v", what, err)
		}
	}
}

// undefined has a job come as far as the definition of its clone, which somebody
// takes away before the power is cut.
func (w *world) undefined(t *testing.T) *Plan {
	t.Helper()
	plan := w.planned()
	if _, err := w.run(plan, Define); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	w.virt.remove(t, "imap-luks")
	w.cutPower()
	return plan
}

// Nor is a header made anew: with the backup of the old one what is under it can
// be had back, and under another it is noise.
func TestNoHeaderIsMadeOverADiskThatACloneWasDefinedOn(t *testing.T) {
	w := newWorld(t)
	plan := w.undefined(t)
	w.luks.Forget("/dev/vg0/imap-vda-luks")
	var wrote *GuestWroteError
	if _, err := w.resume(plan.Job); !errors.As(err, &wrote) || !strings.Contains(wrote.Error(), "vda.luks-header") {
		t.Errorf("%v", err)
	}
	if is, err := w.luks.IsLUKS(w.context(), "/dev/vg0/imap-vda-luks"); is || err != nil {
		t.Errorf("there is a header: %v, %v", is, err)
	}
}
