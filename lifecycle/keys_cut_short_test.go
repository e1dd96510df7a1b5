package lifecycle

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

// stops has the command be interrupted when something is done to a device, the
// nth time, and returns its context.
func (w *world) stops(op, device string, nth int) context.Context {
	ctx, stop := context.WithCancelCause(w.t.Context())
	w.vault.fail = func(now, where string) error {
		if now == op && where == device {
			if nth--; nth == 0 {
				stop(errInterrupted)
				return errInterrupted
			}
		}
		return nil
	}
	return ctx
}

var errInterrupted = errors.New("interrupted: SIGINT")

func TestAKeyWhoseAdditionIsCutShortIsOnNoDisk(t *testing.T) {
	const vda, vdb = "/dev/vg0/imap-vda-luks", "/dev/vg0/imap-vdb-luks"
	for _, cut := range []struct {
		op, device string
		nth        int
	}{
		{"add", vda, 1},
		{"added", vda, 1}, // cryptsetup had done it when it was stopped
		{"test", vda, 3},  // the old key, whether the new one is there, and the one after it was added
		{"add", vdb, 1},
		{"added", vdb, 1},
		{"test", vdb, 3},
	} {
		w := newWorld(t)
		_, err := w.AddKey(w.stops(cut.op, cut.device, cut.nth), "imap-luks", newKey("second"), KeyOptions{})
		var partly *KeysPartlyError
		if !errors.Is(err, errInterrupted) || errors.As(err, &partly) {
			t.Errorf("%+v: %v", cut, err)
		}
		w.vault.fail = nil
		w.unlocks("second", "")
		w.unlocks(passphrase, "vda 0 vdb 0 ")
		if header, err := w.vault.Header(t.Context(), vda); err != nil || len(header.Keyslots) != 1 {
			t.Errorf("%+v: %+v, %v", cut, header.Keyslots, err)
		}
	}
}

func TestAKeySlotThatSomebodyElseHasTakenMeanwhileIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	const vda = "/dev/vg0/imap-vda-luks"
	w.vault.fail = func(op, device string) error {
		if op == "add" && device == vda {
			w.vault.fail = nil
			return w.vault.AddKey(t.Context(), vda, key(t, passphrase), key(t, "theirs"), luks.AddKeyOptions{Slot: 1})
		}
		return nil
	}
	_, err := w.AddKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	wrong[*luks.SlotError](t, err)
	w.unlocks("theirs", "vda 1 ")
	w.unlocks("second", "")
}

// That a key can't be tried may not be said to have changed nothing.
func TestAKeyThatMayBeThereIsNotSaidToBeNone(t *testing.T) {
	w := newWorld(t)
	const vda = "/dev/vg0/imap-vda-luks"
	broken := errors.New("I/O error")
	tests := 0
	w.vault.fail = func(op, device string) error {
		if op == "added" || op == "test" && device == vda && tests == 2 {
			return broken
		}
		if op == "test" && device == vda {
			tests++
		}
		return nil
	}
	_, err := w.AddKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	wrong[*KeysPartlyError](t, err)
	if len(w.vault.killed) > 0 {
		t.Errorf("the slots %v were taken away", w.vault.killed)
	}
}

// By the time that the first old key is taken away, the new one is everywhere.
func TestAChangeCutShortAtTheFirstOldKeyIsSaidToHaveBegun(t *testing.T) {
	w := newWorld(t)
	_, err := w.ChangeKey(w.stops("kill", "/dev/vg0/imap-vda-luks", 1), "imap-luks", newKey("second"), KeyOptions{})
	wrong[*KeysPartlyError](t, err)
	w.vault.fail = nil
	w.unlocks("second", "vda 1 vdb 1 ")
	w.unlocks(passphrase, "vda 0 vdb 0 ")
	_, err = w.ChangeKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	no(t, err)
	w.unlocks(passphrase, "")
}

// cryptsetup had taken the slot away when it was stopped.
func TestASlotThatIsGoneAllTheSameCountsAsTakenAway(t *testing.T) {
	w := newWorld(t)
	_, err := w.AddKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	no(t, err)
	w.keys.all = []string{"second"}
	removed, err := w.RemoveKey(w.stops("killed", "/dev/vg0/imap-vda-luks", 1), "imap-luks", "", 0)
	wrong[*KeysPartlyError](t, err)
	if want := []KeySlot{{Disk: "vda", Volume: "vg0/imap-vda-luks", Slot: 0}}; !slices.Equal(removed, want) {
		t.Errorf("%+v", removed)
	}
	w.vault.fail = nil
	w.unlocks(passphrase, "vdb 0 ")
}
