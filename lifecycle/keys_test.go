package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

// fits says which disks' slots a key unlocks, "vda 0, vdb 0".
func (w *world) fits(text string) string {
	w.t.Helper()
	said := ""
	for _, disk := range []string{"vda", "vdb"} {
		if slot, err := w.vault.KeySlot(w.t.Context(), "/dev/vg0/imap-"+disk+"-luks", key(w.t, text)); err == nil {
			said += fmt.Sprintf("%s %d ", disk, slot)
		}
	}
	return said
}

func (w *world) unlocks(text, want string) {
	w.t.Helper()
	if got := w.fits(text); got != want {
		w.t.Errorf("%q unlocks %q and not %q", text, got, want)
	}
}

func TestAKeyIsAddedChangedAndRemovedOnEveryDisk(t *testing.T) {
	w := newWorld(t)
	for range 2 { // the second time there is nothing to do
		_, err := w.AddKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
		no(t, err)
		w.unlocks("second", "vda 1 vdb 1 ")
	}
	w.unlocks(passphrase, "vda 0 vdb 0 ")
	_, err := w.ChangeKey(t.Context(), "imap-luks", newKey("third"), KeyOptions{})
	no(t, err)
	w.unlocks(passphrase, "")
	w.unlocks("third", "vda 2 vdb 2 ")
	w.keys.all, w.keys.asked = []string{"third"}, 0
	removed, err := w.RemoveKey(t.Context(), "imap-luks", "", 1)
	no(t, err)
	if len(removed) != 2 {
		t.Errorf("%+v", removed)
	}
	w.unlocks("second", "")
	if told := w.told(Unchanged); !slices.Equal(told, []string{"unlocks with that key already"}) {
		t.Errorf("told %q", told)
	}
}

func TestTheLastKeyIsNeverTakenAway(t *testing.T) {
	w := newWorld(t)
	_, err := w.RemoveKey(t.Context(), "imap-luks", "", 0)
	if last := wrong[*LastKeyError](t, err); last.Proof || w.keys.asked != 0 {
		t.Errorf("%+v", last)
	}
	_, err = w.AddKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	no(t, err)
	// The present key proves its own slot alone.
	_, err = w.RemoveKey(t.Context(), "imap-luks", "", 0)
	if last := wrong[*LastKeyError](t, err); !last.Proof {
		t.Errorf("%+v", last)
	}
	w.keys.all = []string{"wrong"}
	_, err = w.RemoveKey(t.Context(), "imap-luks", "", 1)
	wrong[*KeyError](t, err)
	w.unlocks(passphrase, "vda 0 vdb 0 ")
	w.unlocks("second", "vda 1 vdb 1 ")
	w.keys.all = []string{"second"}
	_, err = w.RemoveKey(t.Context(), "imap-luks", "vdb", 0)
	no(t, err)
	w.unlocks(passphrase, "vda 0 ")
}

func TestASlotThatIsEmptyNamesThoseInUse(t *testing.T) {
	w := newWorld(t)
	_, err := w.RemoveKey(t.Context(), "imap-luks", "", 7)
	if slot := wrong[*SlotError](t, err); len(slot.Slots) != 2 || w.keys.asked != 0 {
		t.Errorf("%+v", slot)
	}
}

func TestAKeyThatDoesNotFitChangesNothingAndAsksForNoNewOne(t *testing.T) {
	w := newWorld(t)
	w.keys.all, w.keys.person = []string{"wrong"}, true
	never := func(context.Context) (luks.Key, error) {
		t.Error("a new key was asked for")
		return luks.Key{}, nil
	}
	_, err := w.AddKey(t.Context(), "imap-luks", never, KeyOptions{})
	if key := wrong[*KeyError](t, err); key.Tries != 3 {
		t.Errorf("%+v", key)
	}
	_, err = w.ChangeKey(t.Context(), "imap-luks", never, KeyOptions{})
	wrong[*KeyError](t, err)
	w.unlocks(passphrase, "vda 0 vdb 0 ")
}

func TestTheSameKeyIsNoNewOne(t *testing.T) {
	w := newWorld(t)
	_, err := w.ChangeKey(t.Context(), "imap-luks", newKey(passphrase), KeyOptions{})
	wrong[*SameKeyError](t, err)
	w.unlocks(passphrase, "vda 0 vdb 0 ")
}

func TestAKeyThatCanNotBeAddedEverywhereIsAddedNowhere(t *testing.T) {
	w := newWorld(t)
	broken := errors.New("I/O error")
	w.vault.fail = func(op, device string) error {
		if op == "add" && device == "/dev/vg0/imap-vdb-luks" {
			return broken
		}
		return nil
	}
	_, err := w.AddKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	w.unlocks("second", "")
	_, err = w.ChangeKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	w.unlocks("second", "")
	w.unlocks(passphrase, "vda 0 vdb 0 ")
}

func TestAChangeThatWasCutShortCanBeRepeated(t *testing.T) {
	w := newWorld(t)
	broken := errors.New("power cut")
	w.vault.fail = func(op, device string) error {
		if op == "kill" && device == "/dev/vg0/imap-vdb-luks" {
			return broken
		}
		return nil
	}
	_, err := w.ChangeKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	wrong[*KeysPartlyError](t, err)
	w.unlocks("second", "vda 1 vdb 1 ")
	w.unlocks(passphrase, "vdb 0 ")

	w.vault.fail = nil
	_, err = w.ChangeKey(t.Context(), "imap-luks", newKey("a third"), KeyOptions{})
	wrong[*KeyError](t, err) // vda opens with neither
	_, err = w.ChangeKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	no(t, err)
	w.unlocks("second", "vda 1 vdb 1 ")
	w.unlocks(passphrase, "")
}

func TestAVolumeWithoutAFreeSlotIsRefused(t *testing.T) {
	w := newWorld(t)
	for i := range 31 {
		_, err := w.AddKey(t.Context(), "imap-luks", newKey(fmt.Sprint("key ", i)), KeyOptions{})
		no(t, err)
	}
	_, err := w.AddKey(t.Context(), "imap-luks", newKey("one too many"), KeyOptions{})
	if full := wrong[*NoSlotError](t, err); full.Slots != 32 || full.Disk != "vda" {
		t.Errorf("%+v", full)
	}
	if maxSlots(luks.LUKS1) != 8 {
		t.Error("LUKS1 has eight")
	}
}

func TestAKeyIsTestedOnEveryDisk(t *testing.T) {
	w := newWorld(t)
	slots, err := w.TestKey(t.Context(), "imap-luks")
	if want := []KeySlot{{"vda", "vg0/imap-vda-luks", 0}, {"vdb", "vg0/imap-vdb-luks", 0}}; err != nil || !slices.Equal(slots, want) {
		t.Errorf("%+v, %v", slots, err)
	}
	w.vault.damage("/dev/vg0/imap-vdb-luks")
	_, err = w.TestKey(t.Context(), "imap-luks")
	wrong[*HeaderLostError](t, err)
	w.format("/dev/vg0/imap-vdb-luks", vdbLUKS)
	no(t, w.vault.AddKey(t.Context(), "/dev/vg0/imap-vdb-luks", key(t, passphrase), key(t, "second"), luks.AddKeyOptions{Slot: 4}))
	w.keys.all = []string{"second"}
	slots, err = w.TestKey(t.Context(), "imap-luks")
	if only := wrong[*KeyError](t, err); only.Disk != "vda" || len(slots) != 1 || slots[0].Slot != 4 {
		t.Errorf("%+v, %+v", only, slots)
	}
}
