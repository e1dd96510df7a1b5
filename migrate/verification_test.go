package migrate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/hypervisor"
)

func (w *world) verify(id string) ([]Verification, error) {
	return (&Engine{Env: w.env()}).Verify(w.context(), id)
}

func TestAVerificationReadsBothAgainAndChangesNothing(t *testing.T) {
	w, _, plan := moved(t, options())
	after := w.look()
	found, err := w.verify(plan.Job)
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	for i, v := range found {
		disk := plan.Disks[i]
		want := Verification{Target: disk.Target, Source: disk.Source.Path, Device: disk.Device, Bytes: disk.Payload, Equal: true, Digest: v.Digest, Recorded: v.Digest}
		if diff := cmp.Diff(want, v); diff != "" || v.Digest == "" {
			t.Error(diff)
		}
	}
	w.wantSame(after, "verified")
}

func TestAVerificationTellsWhichDiskDiffers(t *testing.T) {
	for i := range 2 {
		w, _, plan := moved(t, options())
		w.guestWrites(plan.Disks[i].Device)
		found, err := w.verify(plan.Job)
		var differs *DifferenceError
		if !errors.As(err, &differs) || differs.Disk != plan.Disks[i].Target || len(found) != 2 {
			t.Fatalf("%+v, %v", found, err)
		}
		if found[i].Equal || found[i].Difference == "" || !found[1-i].Equal {
			t.Errorf("found %+v", found)
		}
	}
}

func TestAVerificationNeedsEverybodyAtRestAndThePayloadOpen(t *testing.T) {
	w, _, plan := moved(t, options())
	w.virt.quietly("imap", hypervisor.Running)
	var source *SourceStartedError
	if _, err := w.verify(plan.Job); !errors.As(err, &source) {
		t.Errorf("with the original running: %v", err)
	}
	w.virt.quietly("imap", hypervisor.ShutOff)
	w.virt.quietly("imap-luks", hypervisor.Running)
	var clone *CloneStartedError
	if _, err := w.verify(plan.Job); !errors.As(err, &clone) || !clone.Running {
		t.Errorf("with the clone running: %v", err)
	}
	w.virt.quietly("imap-luks", hypervisor.ShutOff)
	w.cutPower()
	var locked *LockedPayloadError
	if _, err := w.verify(plan.Job); !errors.As(err, &locked) || locked.Mapper != plan.Disks[0].Mapper || locked.Volume != plan.Disks[0].Volume.Path || locked.Clone != "imap-luks" {
		t.Errorf("with the disks locked: %v", err)
	}
}

// A payload that does not read back as it was written fails the job at its
// verification, with a clone never defined; what is on disk is kept to be looked
// at.
func TestAPayloadThatReadsBackDifferentlyFailsTheJob(t *testing.T) {
	for _, mode := range []VerifyMode{VerifyTarget, VerifyFull} {
		w := newWorld(t)
		chosen := options()
		chosen.Verify = mode
		plan := w.plan(chosen)
		w.heard = func(event Event) {
			if event.Event == StepStarted && event.Step == Verify && event.Disk == "vdb" {
				w.guestWrites(plan.Disks[1].Device)
			}
		}
		w.disarm()
		_, err := w.run(plan, "")
		stopped := w.wantStopped(err, Verify, Kept, string(mode))
		var differs *DifferenceError
		if !errors.As(err, &differs) || differs.Disk != "vdb" || stopped.Disk != "vdb" {
			t.Errorf("%s: %v", mode, err)
		}
		if w.virt.find("imap-luks").Name != "" {
			t.Errorf("%s: the clone is defined", mode)
		}
	}
}

// A source that is another at the second read is told by --verify full alone.
func TestAFullVerificationReadsTheSourceAgain(t *testing.T) {
	for mode, step := range map[VerifyMode]StepName{VerifyFull: Verify, VerifyTarget: ""} {
		w := newWorld(t)
		chosen := options()
		chosen.Verify = mode
		plan := w.plan(chosen)
		w.heard = func(event Event) {
			if event.Event == StepStarted && event.Step == Verify && event.Disk == "vda" {
				source := w.sources["/dev/vg0/imap"]
				source.bytes = append([]byte(nil), source.bytes...)
				source.bytes[0]++
			}
			if event.Event == StepStarted && event.Step == HeaderBackup {
				w.sources["/dev/vg0/imap"].bytes[0]--
			}
		}
		w.disarm()
		_, err := w.run(plan, "")
		var differs *DifferenceError
		if errors.As(err, &differs) != (step == Verify) || step == "" && err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

func TestEventsTellAJobInOrder(t *testing.T) {
	w := newWorld(t)
	w.remark = []string{"read through the page cache"}
	plan := w.planned()
	w.events = nil
	summary, err := w.run(plan, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, event := range w.events {
		if event.Job != plan.Job || event.VM != "imap" || event.Disks != 2 || !event.Time.Equal(noon()) {
			t.Errorf("the event is %+v", event)
		}
		if event.Step != "" && event.Disk != "" && event.DiskIndex != int(event.Disk[2]-'a')+1 {
			t.Errorf("the disk's number is wrong: %+v", event)
		}
		if event.Event == Progress && (event.Bytes <= 0 || event.Total != plan.Disks[event.DiskIndex-1].Payload) {
			t.Errorf("the progress is %+v", event)
		}
		got = append(got, strings.TrimRight(fmt.Sprintf("%s %s %s", event.Event, event.Step, event.Disk), " "))
	}
	want := []string{"job-started", "warning  vdb", "warning", "step-started preflight", "step-done preflight"}
	step := func(step StepName, disk string, more ...string) {
		want = append(want, strings.TrimRight(fmt.Sprintf("step-started %s %s", step, disk), " "))
		want = append(want, more...)
		want = append(want, strings.TrimRight(fmt.Sprintf("step-done %s %s", step, disk), " "))
	}
	for _, disk := range []string{"vda", "vdb"} {
		step(CreateVolume, disk)
		step(Format, disk)
		step(Open, disk)
	}
	for _, disk := range []string{"vda", "vdb"} {
		step(Copy, disk, "progress copy "+disk, "warning copy "+disk)
		step(Verify, disk)
	}
	step(HeaderBackup, "")
	step(Firmware, "")
	step(Define, "")
	want = append(want, "job-done")
	if diff := cmp.Diff(sortedWarnings(want), sortedWarnings(got)); diff != "" {
		t.Error(diff)
	}
	if last := w.events[len(w.events)-1]; last.Summary != summary {
		t.Errorf("the last event is %+v", last)
	}
}

// sortedWarnings leaves the order of a plan's warnings open.
func sortedWarnings(events []string) []string {
	var warnings, rest []string
	for _, event := range events {
		if event == "warning" || event == "warning  vdb" {
			warnings = append(warnings, event)
		} else {
			rest = append(rest, event)
		}
	}
	return append(rest, fmt.Sprint(len(warnings), " warnings of the plan"))
}

func TestAStartAtTheEndIsOfADefinedClone(t *testing.T) {
	w := newWorld(t)
	chosen := options()
	chosen.Start = true
	plan := w.plan(chosen)
	w.disarm()
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	if clone := w.virt.find("imap-luks"); clone.State != hypervisor.Running {
		t.Errorf("the clone is %+v", clone)
	}
	at := len(w.names) - 1
	for i, name := range w.names {
		if name == "act: start" {
			at = i
		}
	}
	w = newWorld(t)
	plan = w.plan(chosen)
	w.arm(at, failBefore)
	_, err := w.run(plan, "")
	var start *StartError
	if !errors.As(err, &start) || start.Clone != "imap-luks" || !errors.Is(err, errFailed) {
		t.Errorf("got %v", err)
	}
	if jobs := w.jobs(); jobs[0].State != StateDone {
		t.Errorf("the job is %s", jobs[0].State)
	}
}
