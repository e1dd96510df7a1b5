package lukstest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"

	"github.com/vmmigrate/vmmigrate/luks"
)

// slot is the one that key unlocks, or -1.
func (h *header) slot(key luks.Key) int {
	for id, sum := range h.keys {
		if sum == sha256.Sum256(key.Bytes()) {
			return id
		}
	}
	return -1
}

// AddKey implements Client.
func (f *Fake) AddKey(ctx context.Context, device string, key, added luks.Key, options luks.AddKeyOptions) error {
	if err := checkKey(added); err != nil {
		return err
	}
	return f.slots(ctx, "add-key", device, func(h *header) error {
		if h.HasSlot(options.Slot) {
			return &luks.SlotError{Device: device, Slot: options.Slot, Taken: true}
		}
		if h.slot(key) < 0 {
			return &luks.WrongKeyError{Device: device}
		}
		h.keys[options.Slot] = sha256.Sum256(added.Bytes())
		h.Keyslots = append(h.Keyslots, luks.Keyslot{
			ID: options.Slot, PBKDF: cmp.Or(options.PBKDF, "pbkdf2"), Hash: h.Keyslots[0].Hash, Iterations: max(options.PBKDFForceIterations, 1000),
		})
		slices.SortFunc(h.Keyslots, func(a, b luks.Keyslot) int { return a.ID - b.ID })
		return nil
	})
}

// KillSlot implements Client.
func (f *Fake) KillSlot(ctx context.Context, device string, key luks.Key, slot int) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return f.slots(ctx, "kill-slot", device, func(h *header) error {
		if !h.HasSlot(slot) {
			return &luks.SlotError{Device: device, Slot: slot}
		}
		if by := h.slot(key); by < 0 || by == slot {
			return &luks.WrongKeyError{Device: device}
		}
		delete(h.keys, slot)
		h.Keyslots = slices.DeleteFunc(h.Keyslots, func(s luks.Keyslot) bool { return s.ID == slot })
		return nil
	})
}

// slots changes the key slots of the header on device.
func (f *Fake) slots(ctx context.Context, op, device string, change func(*header) error) error {
	if _, err := f.size(device); err != nil {
		return err
	}
	name := f.resolve(device)
	return f.act(ctx, op, func() error {
		h := f.headers[name]
		if h == nil {
			return &luks.NotLUKSError{Device: device}
		}
		return change(h)
	})
}
