package migrate

import (
	"errors"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

func TestAGuestsGroupThatIsActivatedOverAndOverIsTakenDownAgain(t *testing.T) {
	w, before, plan := moved(t, options())
	closes := 0
	w.luks.Before = func(op string) error {
		// The host's LVM is faster than we are, twice.
		if op == "close" {
			if closes++; closes < closeTries {
				w.lvm.AddGuest(plan.Disks[1].Device, "debian-vg", true)
			}
		}
		return nil
	}
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "with a guest's group that came up again")
}

func TestAMappingThatSomethingElseHoldsIsNotTriedOverAndOver(t *testing.T) {
	w, _, plan := moved(t, options())
	w.luks.Hold(plan.Disks[1].Mapper, "a curious administrator")
	closes := 0
	w.luks.Before = func(op string) error {
		if op == "close" {
			closes++
		}
		return nil
	}
	var busy *luks.BusyError
	// The second disk's mapping is tried once, and the first's is closed.
	if err := w.rollback(plan.Job, false); !errors.As(err, &busy) || closes != 2 {
		t.Errorf("closed %d times: %v", closes, err)
	}
}

func TestAMappingOfACopyOfTheVolumeIsNotOurs(t *testing.T) {
	w := newWorld(t)
	plan := w.plan(options())
	w.disarm()
	_, err := w.run(plan, Copy)
	w.wantStopped(err, Copy, Kept, "the run")
	// Somebody made a copy of the first volume with dd, and opened that.
	disk := &plan.Disks[0]
	spec := plan.formatSpec(disk)
	copied, err := w.lvm.Create(t.Context(), lvm.Spec{VG: "vg0", Name: "copy", Size: disk.Volume.Size})
	if err != nil {
		t.Fatal(err)
	}
	spec.Device = copied.Path
	key, err := luks.NewKey([]byte(w.secret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.luks.Format(t.Context(), spec, key); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.luks.Close(t.Context(), disk.Mapper), w.luks.Open(t.Context(), copied.Path, disk.Mapper, key, luks.OpenOptions{})); err != nil {
		t.Fatal(err)
	}
	_, err = w.resume(plan.Job)
	if stopped := w.wantStopped(err, Open, Kept, "resumed"); !isConflict(stopped.Err) {
		t.Errorf("a job that goes on with it: %v", err)
	}
	if _, err := (&Engine{Env: w.env()}).Verify(t.Context(), plan.Job); !isConflict(err) {
		t.Errorf("it is verified: %v", err)
	}
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	if now := w.look(); now["mapping "+disk.Mapper] == "" || now["volume vg0/copy"] == "" || now["volume "+disk.Volume.String()] != "" {
		t.Errorf("left: %v", now)
	}
}
