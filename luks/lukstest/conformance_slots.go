package lukstest

import (
	"errors"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
)

func added(t *testing.T, env Env) {
	device := env.volume(t)
	mapping := env.open(t, device, "conformance-slots", luks.OpenOptions{}) // slots change while it is in use
	first, second := key(t, "right"), key(t, "the second\n")
	options := luks.AddKeyOptions{Slot: 1, PBKDF: "pbkdf2", PBKDFForceIterations: 1000}

	var wrong *luks.WrongKeyError
	if err := env.Client.AddKey(t.Context(), device, key(t, "wrong"), second, options); !errors.As(err, &wrong) {
		t.Errorf("added with a key that does not fit: %v", err)
	}
	if err := env.Client.AddKey(t.Context(), device, first, second, options); err != nil {
		t.Fatal(err)
	}
	h := env.header(t, device)
	if len(h.Keyslots) != 2 || !h.HasSlot(0) || !h.HasSlot(1) || h.Keyslots[1].Iterations != 1000 {
		t.Errorf("slots %+v", h.Keyslots)
	}
	for _, fits := range []luks.Key{first, second} {
		if err := env.Client.TestKey(t.Context(), device, fits); err != nil {
			t.Error(err)
		}
	}
	if err := env.Client.TestKey(t.Context(), device, key(t, "the second")); !errors.As(err, &wrong) {
		t.Errorf("the added key lost its newline: %v", err)
	}

	var slot *luks.SlotError
	if err := env.Client.AddKey(t.Context(), device, first, key(t, "a third"), options); !errors.As(err, &slot) || !slot.Taken || slot.Slot != 1 {
		t.Errorf("a taken slot: %v", err)
	}
	if err := env.Client.KillSlot(t.Context(), device, second, 1); !errors.As(err, &wrong) {
		t.Errorf("killed by its own key: %v", err)
	}
	if err := env.Client.KillSlot(t.Context(), device, key(t, "wrong"), 1); !errors.As(err, &wrong) {
		t.Errorf("killed with a key that does not fit: %v", err)
	}
	if err := env.Client.KillSlot(t.Context(), device, first, 1); err != nil {
		t.Fatal(err)
	}
	if err := env.Client.TestKey(t.Context(), device, second); !errors.As(err, &wrong) {
		t.Errorf("the killed key: %v", err)
	}
	if err := env.Client.KillSlot(t.Context(), device, first, 1); !errors.As(err, &slot) || slot.Taken {
		t.Errorf("an empty slot: %v", err)
	}
	if err := env.Client.TestKey(t.Context(), device, first); err != nil {
		t.Error(err)
	}
	if still, err := env.Client.Mapping(t.Context(), mapping.Name); err != nil || still.UUID != mapping.UUID {
		t.Errorf("the open mapping: %+v, %v", still, err)
	}

	var not *luks.NotLUKSError
	if err := env.Client.AddKey(t.Context(), env.Device(t, 24*mib), first, second, options); !errors.As(err, &not) {
		t.Errorf("a device without a header: %v", err)
	}
}
