package migrate

import (
	"errors"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
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
