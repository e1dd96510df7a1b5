package migrate

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// Every name of a step is in the list, and every step of the list acts in a
// run, so that what walks through StepNames forgets none.
func TestTheListOfStepsIsWhatARunGoesThrough(t *testing.T) {
	w := withImage(t)
	chosen := options()
	chosen.Close, chosen.Layout = true, FilesystemLayout
	plan := w.plan(chosen)
	w.disarm()
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	seen, listed, named := make(map[string]string), make(map[string]string), make(map[string]string)
	for _, event := range w.events {
		if event.Event == StepDone {
			seen[string(event.Step)] = ""
		}
	}
	for _, name := range StepNames() {
		listed[string(name)] = ""
	}
	for _, name := range constants(t, "step.go", "StepName") {
		named[name] = ""
	}
	if diff := cmp.Diff(listed, seen) + cmp.Diff(listed, named); diff != "" {
		t.Error(diff)
	}
}

func TestWhatStandsInTheWayIsNeverReplaced(t *testing.T) {
	for what, c := range map[string]struct {
		step StepName
		add  func(*world, *Plan)
	}{
		"a volume of our name": {CreateVolume, func(w *world, plan *Plan) {
			_, _ = w.lvm.Create(w.context(), lvm.Spec{VG: "vg0", Name: plan.Disks[1].Volume.Name, Size: mib})
		}},
		"a volume of our name and size": {CreateVolume, func(w *world, plan *Plan) {
			_, _ = w.lvm.Create(w.context(), lvmSpec("vg0", plan.Disks[1].Volume.Name, plan.Disks[1].Volume.Size, "vmmigrate.job=another"))
		}},
		"our volume with another size": {CreateVolume, func(w *world, plan *Plan) {
			_, _ = w.lvm.Create(w.context(), lvm.Spec{VG: "vg0", Name: plan.Disks[1].Volume.Name, Size: mib, Tags: []string{plan.Tag()}})
		}},
		"a mapping of our name": {Open, func(w *world, plan *Plan) { w.openForeign(plan.Disks[0].Mapper) }},
		"a VM of the clone's name": {Define, func(w *world, plan *Plan) {
			w.virt.add(w.t, definition(plan.Clone.Name, twinUUID, "", ""))
		}},
		"a VM of the clone's UUID": {Define, func(w *world, plan *Plan) {
			w.virt.add(w.t, definition("other", plan.Clone.UUID, "", ""))
		}},
		"UEFI variables of the clone's name": {Firmware, func(w *world, plan *Plan) {
			_ = os.WriteFile(plan.Firmware.NVRAM, []byte("theirs"), 0o600)
		}},
	} {
		w := newWorld(t)
		plan := w.planned()
		// It comes after preflight has looked and found nothing.
		var theirs look
		w.heard = func(event Event) {
			if event.Event == StepDone && event.Step == Preflight {
				c.add(w, plan)
				theirs = w.look()
			}
		}
		_, err := w.run(plan, "")
		var stopped *StepError
		if !errors.As(err, &stopped) || stopped.Step != c.step {
			t.Errorf("%s: %v", what, err)
			continue
		}
		var conflict *ConflictError
		var exists *hypervisor.ExistsError
		if !errors.As(err, &conflict) && !errors.As(err, &exists) {
			t.Errorf("%s: %v", what, err)
		}
		w.heard = nil
		if stopped.Aftermath == Kept {
			if err := w.rollback(plan.Job, false); err != nil {
				t.Errorf("%s: rolled back: %v", what, err)
			}
		}
		w.sweep()
		now := w.look()
		for name, was := range theirs {
			// Our tag on a volume is our mark, whoever made it.
			ours := strings.Contains(was, plan.Tag()) || strings.HasPrefix(name, "group ")
			if now[name] != was && !ours && !strings.HasPrefix(name, "file "+w.state) {
				t.Errorf("%s: %s was %q and is %q", what, name, was, now[name])
			}
		}
	}
}

// A file of another's at the second path keeps the first from being copied, and
// is there after the rollback.
func TestForeignFirmwareStateIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	plan := w.planned()
	second := filepath.Join(w.files, "second")
	plan.Firmware.Files = append(plan.Firmware.Files, FirmwareFile{"TPM state", plan.Firmware.Files[0].From, second})
	if err := os.WriteFile(second, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := w.look()
	_, err := w.run(plan, "")
	w.wantStopped(err, Firmware, Kept, "foreign state")
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "foreign state")
}

// Invariant 8: what libvirt does not keep of the definition makes no clone.
func TestACloneOfWhichLibvirtLosesSomethingIsUndefined(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.planned()
	w.virt.Normalise = func(definition []byte) []byte {
		return bytes.Replace(definition, []byte(`customer="4711"`), nil, 1)
	}
	_, err := w.run(plan, "")
	w.wantStopped(err, Define, Kept, "a loss")
	if w.virt.find("imap-luks").Name != "" || !strings.Contains(err.Error(), "libvirt did not keep") {
		t.Errorf("the clone is %+v, %v", w.virt.find("imap-luks"), err)
	}
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "a loss")
}

func TestADefinitionThatLibvirtRefusesIsRefusedBeforeAnythingIsMade(t *testing.T) {
	w := newWorld(t)
	w.virt.Refuse = func([]byte) string { return "unsupported configuration" }
	before := w.look()
	_, err := w.run(w.planned(), "")
	w.wantStopped(err, Preflight, Refused, "a refusal")
	var refused *hypervisor.RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	w.wantSame(before, "a refusal")
}

// A volume that is made anew under an old job holds noise: nothing of what is
// recorded about it counts any more.
func TestAVolumeThatWasRemovedIsMadeFormattedCopiedAndVerifiedAnew(t *testing.T) {
	for _, stop := range []StepName{CreateVolume, Format, Open, Copy, Verify, HeaderBackup, Firmware} {
		w := newWorld(t)
		before := w.look()
		plan := w.planned()
		_, err := w.run(plan, stop)
		w.wantStopped(err, stop, Kept, string(stop))
		for _, disk := range plan.Disks {
			if err := errors.Join(w.luks.Close(w.context(), disk.Mapper), w.lvm.Remove(w.context(), "vg0", disk.Volume.Name, plan.Tag())); err != nil {
				t.Fatal(err)
			}
		}
		w.disarm()
		if _, err := w.resume(plan.Job); err != nil {
			t.Fatalf("%s: %v", stop, err)
		}
		w.wantMoved(before, plan, string(stop))
		if !slices.Contains(w.names, "act: header backup") {
			t.Errorf("%s: the backup is of the old header", stop)
		}
		backup, err := os.ReadFile(filepath.Join(w.state, "jobs", plan.Job, "vda.luks-header"))
		if err != nil || !strings.Contains(string(backup), plan.Disks[0].LUKSUUID) {
			t.Errorf("%s: the header backup is %q, %v", stop, backup, err)
		}
	}
}

// Without its record a copy is done anew, and then it is verified anew.
func TestACopyWhoseRecordIsGoneIsVerifiedAnew(t *testing.T) {
	for _, stop := range []StepName{Copy, Verify, Firmware} {
		w := newWorld(t)
		before := w.look()
		plan := w.planned()
		_, err := w.run(plan, stop)
		w.wantStopped(err, stop, Kept, string(stop))
		if err := os.Remove(filepath.Join(w.state, "jobs", plan.Job, "vda.chunks")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.resume(plan.Job); err != nil {
			t.Fatal(err)
		}
		w.wantMoved(before, plan, string(stop))
	}
}

// A record of chunks that were written under another header is about noise.
func TestARecordOfAnotherHeaderIsNotTrusted(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.planned()
	_, err := w.run(plan, Open)
	w.wantStopped(err, Open, Kept, "the run")
	first := plan.Disks[0]
	chunks, err := blockcopy.CreateChunks(filepath.Join(w.state, "jobs", plan.Job, "vda.chunks"), first.Payload, foreignLUKS)
	if err != nil {
		t.Fatal(err)
	}
	source := &disk{w: w, name: "source", source: w.sources[first.Source.Path].bytes}
	elsewhere := &disk{w: w, name: "elsewhere", payload: &payload{live: make([]byte, first.Payload)}}
	if _, err := blockcopy.Copy(w.context(), blockcopy.Job{Source: source, Target: elsewhere, PayloadSize: first.Payload, Done: chunks, Workers: 1, BlockSize: testBlock}); err != nil {
		t.Fatal(err)
	}
	if err := chunks.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "copied in spite of the record")
}

// A damaged record of chunks costs time, never bytes.
func TestADamagedRecordOfChunksBeginsTheCopyAnew(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.planned()
	w.during = func(_ context.Context, step StepName) { w.broken.Store(step == Copy) }
	_, err := w.run(plan, "")
	w.wantStopped(err, Copy, Kept, "broken")
	w.during = nil
	w.broken.Store(false)
	path := filepath.Join(w.state, "jobs", plan.Job, "vda.chunks")
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "copied anew")
}

func TestARecordDamagedAfterTheCopyBeginsItAnewToo(t *testing.T) {
	for what, damage := range map[string]func(path string, disk *DiskPlan) error{
		"damaged":       func(path string, _ *DiskPlan) error { return os.WriteFile(path, []byte("rubbish"), 0o600) },
		"gone":          func(path string, _ *DiskPlan) error { return os.Remove(path) },
		"about another": func(path string, disk *DiskPlan) error { return createChunks(path, disk.Payload, "another") },
		"empty":         func(path string, disk *DiskPlan) error { return createChunks(path, disk.Payload, disk.LUKSUUID) },
	} {
		w := newWorld(t)
		before := w.look()
		plan := w.planned()
		if _, err := w.run(plan, Copy); err == nil {
			t.Fatal("the run did not stop")
		}
		if err := damage(filepath.Join(w.state, "jobs", plan.Job, "vda.chunks"), &plan.Disks[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := w.resume(plan.Job); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		w.wantMoved(before, plan, what)
	}
}

func createChunks(path string, payload int64, identity string) error {
	chunks, err := blockcopy.CreateChunks(path, payload, identity)
	if err != nil {
		return err
	}
	return chunks.Close()
}

func TestAVerificationMakesNoRecordOfItsOwn(t *testing.T) {
	w := newWorld(t)
	before := w.look()
	plan := w.planned()
	path := filepath.Join(w.state, "jobs", plan.Job, "vda.chunks")
	w.heard = func(event Event) {
		if event.Event == StepStarted && event.Step == Verify && event.Disk == "vda" {
			_ = os.WriteFile(path, []byte("rubbish"), 0o600)
		}
	}
	_, err := w.run(plan, "")
	w.wantStopped(err, Verify, Kept, "with a record that is damaged meanwhile")
	if content, err := os.ReadFile(path); err != nil || string(content) != "rubbish" {
		t.Errorf("the record is %q: %v", content, err)
	}
	w.heard = nil
	if _, err := w.resume(plan.Job); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "copied anew")
}

func TestNoKeyIsWrittenAnywhere(t *testing.T) {
	w := newWorld(t)
	w.secret = "correct horse battery staple"
	plan := w.planned()
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	for path, content := range contents(t, w.state) {
		if strings.Contains(content, w.secret) {
			t.Errorf("%s holds the key", path)
		}
	}
	for _, event := range w.events {
		if strings.Contains(event.Message, w.secret) {
			t.Errorf("an event holds the key: %+v", event)
		}
	}
}
