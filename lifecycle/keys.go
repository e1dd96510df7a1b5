package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmmigrate/vmmigrate/luks"
)

// KeyOptions are how a new key is kept in its slot.
type KeyOptions struct {
	// PBKDF and Iterations are as in luks.AddKeyOptions; the zero value is
	// cryptsetup's default.
	PBKDF      string
	Iterations int
}

// KeySlot is a key slot of one disk.
type KeySlot struct {
	// Disk is the target, Volume VG/LV or a path, and Slot the number.
	Disk   string `json:"disk"`
	Volume string `json:"volume"`
	Slot   int    `json:"slot"`
}

// NewKey gives the key to be added, when the present one has been found to fit.
type NewKey func(ctx context.Context) (luks.Key, error)

// TestKey says which slot of each of a clone's disks the key unlocks. It
// returns a *KeyError for a disk that it does not, beside those it does.
func (m *Manager) TestKey(ctx context.Context, name string) ([]KeySlot, error) {
	clone, err := m.readable(ctx, name)
	if err != nil {
		return nil, err
	}
	key, slots, err := m.prove(ctx, clone, true)
	key.Wipe()
	for _, slot := range slots {
		m.report(Event{Event: KeyFits, VM: clone.Name, Disk: slot.Disk, Message: fmt.Sprintf("%s, key slot %d", slot.Volume, slot.Slot)})
	}
	return slots, err
}

// readable finds a clone all of whose disks have a header that can be read.
func (m *Manager) readable(ctx context.Context, name string) (*Clone, error) {
	clone, err := m.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := m.look(ctx, clone, true); err != nil {
		return nil, err
	}
	for i := range clone.Disks {
		if clone.Disks[i].Header == nil {
			return nil, clone.Disks[i].Problem
		}
	}
	return clone, nil
}

// prove gets the key and finds the slot of each disk that it unlocks. A key
// that unlocks none is asked for again where a person is there. One that
// unlocks some is an error for the first it does not, with all, or else the
// caller's to judge.
func (m *Manager) prove(ctx context.Context, clone *Clone, all bool) (luks.Key, []KeySlot, error) {
	for try := 1; ; try++ {
		key, err := m.Keys.Key(ctx, clone)
		if err != nil {
			return luks.Key{}, nil, err
		}
		var slots []KeySlot
		var first *Disk
		for i := range clone.Disks {
			disk := &clone.Disks[i]
			slot, err := m.slot(ctx, disk, key)
			if err != nil {
				key.Wipe()
				return luks.Key{}, nil, err
			}
			if slot >= 0 {
				slots = append(slots, KeySlot{Disk: disk.Target, Volume: disk.Volume(), Slot: slot})
			} else if first == nil {
				first = disk
			}
		}
		if first == nil || len(slots) > 0 && !all {
			return key, slots, nil
		}
		wrong := &KeyError{Clone: clone.Name, Disk: first.Target, Volume: first.Volume(), Tries: try}
		if len(slots) > 0 {
			return key, slots, wrong
		}
		key.Wipe()
		if try == keyTries || !m.Keys.Again(clone) {
			return luks.Key{}, nil, wrong
		}
		m.report(Event{Event: Warning, VM: clone.Name, Disk: first.Target, Message: fmt.Sprintf("this key does not unlock it; try %d of %d", try+1, keyTries)})
	}
}

// slot is the key slot that key unlocks, or -1.
func (m *Manager) slot(ctx context.Context, disk *Disk, key luks.Key) (int, error) {
	slot, err := m.Encryption.KeySlot(ctx, disk.headerAt(), key)
	var wrong *luks.WrongKeyError
	if errors.As(err, &wrong) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	return slot, nil
}

// AddKey has all disks of a clone unlock with a further key as well. A disk
// that does already is left alone. What was added before it failed is taken
// away again.
func (m *Manager) AddKey(ctx context.Context, name string, newKey NewKey, options KeyOptions) ([]KeySlot, error) {
	clone, err := m.readable(ctx, name)
	if err != nil {
		return nil, err
	}
	key, _, err := m.prove(ctx, clone, true)
	defer func() { key.Wipe() }()
	if err != nil {
		return nil, err
	}
	added, err := newKey(ctx)
	if err != nil {
		return nil, err
	}
	defer added.Wipe()
	slots, err := m.add(ctx, clone, key, added, options)
	m.tryBootKey(ctx, clone, slots)
	if err == nil && len(slots) == 0 {
		m.report(Event{Event: Unchanged, VM: clone.Name, Message: "unlocks with that key already"})
	}
	return slots, err
}

// add adds a key where it is missing, or nowhere.
func (m *Manager) add(ctx context.Context, clone *Clone, key, added luks.Key, options KeyOptions) ([]KeySlot, error) {
	var made []KeySlot
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		slot, err := m.addTo(ctx, clone, disk, key, added, options)
		if slot >= 0 {
			made = append(made, KeySlot{Disk: disk.Target, Volume: disk.Volume(), Slot: slot})
		}
		if err != nil {
			return nil, m.unadd(ctx, clone, key, made, err)
		}
	}
	for _, slot := range made {
		m.report(Event{Event: KeyAdded, VM: clone.Name, Disk: slot.Disk, Message: fmt.Sprintf("%s, key slot %d", slot.Volume, slot.Slot)})
	}
	return made, nil
}

// addTo adds a key to one disk and tries it. The slot is one that it made, with
// an error too; -1 is a disk that has no new slot.
func (m *Manager) addTo(ctx context.Context, clone *Clone, disk *Disk, key, added luks.Key, options KeyOptions) (int, error) {
	if has, err := m.slot(ctx, disk, added); err != nil || has >= 0 {
		return -1, err
	}
	slot, most := 0, maxSlots(disk.Header.Type)
	for disk.Header.HasSlot(slot) {
		slot++
	}
	if slot >= most {
		return -1, &NoSlotError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), Slots: most}
	}
	err := m.Encryption.AddKey(ctx, disk.headerAt(), key, added, luks.AddKeyOptions{Slot: slot, PBKDF: options.PBKDF, PBKDFForceIterations: options.Iterations})
	var taken *luks.SlotError
	if errors.As(err, &taken) {
		return -1, err // somebody else was faster, and the slot is theirs
	}
	if err != nil {
		// Whether cryptsetup came to it before it failed, or was stopped, is seen
		// on the disk.
		has, lookErr := m.slot(context.WithoutCancel(ctx), disk, added)
		if lookErr != nil {
			err = &KeysPartlyError{Clone: clone.Name, Err: errors.Join(err, lookErr)}
		}
		return has, err
	}
	has, err := m.slot(ctx, disk, added)
	if err == nil && has != slot {
		err = fmt.Errorf("the key was added to slot %d of %s and does not unlock it", slot, disk.Volume())
	}
	return slot, err
}

// maxSlots is how many key slots a volume has: eight of LUKS1 (LUKS On-Disk
// Format Specification 1.2.3, LUKS_NUMKEYS) and 32 of LUKS2 (LUKS2_KEYSLOTS_MAX
// of libcryptsetup).
func maxSlots(t luks.Type) int {
	if t == luks.LUKS1 {
		return 8
	}
	return 32
}

// unadd takes away the keys that were added before cause, or by what it stopped.
func (m *Manager) unadd(ctx context.Context, clone *Clone, key luks.Key, made []KeySlot, cause error) error {
	ctx = context.WithoutCancel(ctx)
	for _, slot := range made {
		disks, err := clone.chosen(slot.Disk)
		if err == nil {
			err = m.Encryption.KillSlot(ctx, disks[0].headerAt(), key, slot.Slot)
		}
		if err != nil {
			return &KeysPartlyError{Clone: clone.Name, Err: errors.Join(cause, err)}
		}
	}
	return cause
}

// ChangeKey puts a new key in the place of the present one on all disks of a
// clone: first it is added everywhere and tried, then the old one is taken
// away. Cut short it leaves disks that unlock with both, or with the new one
// alone, and can be repeated with both keys.
func (m *Manager) ChangeKey(ctx context.Context, name string, newKey NewKey, options KeyOptions) ([]KeySlot, error) {
	clone, err := m.readable(ctx, name)
	if err != nil {
		return nil, err
	}
	key, old, err := m.prove(ctx, clone, false)
	defer func() { key.Wipe() }()
	if err != nil {
		return nil, err
	}
	added, err := newKey(ctx)
	if err != nil {
		return nil, err
	}
	defer added.Wipe()
	// Disks that the old key no longer unlocks have to be ones on which it was
	// changed before.
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		before := slices.IndexFunc(old, func(s KeySlot) bool { return s.Disk == disk.Target })
		now, err := m.slot(ctx, disk, added)
		switch {
		case err != nil:
			return nil, err
		case before >= 0 && now == old[before].Slot:
			return nil, &SameKeyError{Clone: clone.Name}
		case before < 0 && now < 0:
			return nil, &KeyError{Clone: clone.Name, Disk: disk.Target, Volume: disk.Volume(), Tries: 1}
		}
	}
	if _, err := m.add(ctx, clone, key, added, options); err != nil {
		return nil, err
	}
	slots, err := m.kill(ctx, clone, added, old, true)
	m.tryBootKey(ctx, clone, slots)
	return slots, err
}

// kill takes slots away with the key of another. changed is whether the keys are
// not as they were anyway.
func (m *Manager) kill(ctx context.Context, clone *Clone, key luks.Key, slots []KeySlot, changed bool) ([]KeySlot, error) {
	for i, slot := range slots {
		disks, err := clone.chosen(slot.Disk)
		if err == nil {
			err = m.killOne(ctx, disks[0], key, slot.Slot)
		}
		if err != nil {
			if changed || i > 0 {
				err = &KeysPartlyError{Clone: clone.Name, Err: err}
			}
			return slots[:i], err
		}
		m.report(Event{Event: KeyRemoved, VM: clone.Name, Disk: slot.Disk, Message: fmt.Sprintf("%s, key slot %d", slot.Volume, slot.Slot)})
	}
	return slots, nil
}

// killOne takes one slot away. cryptsetup may have done it before it failed or
// was stopped; a disk that can't be looked at then may be changed.
func (m *Manager) killOne(ctx context.Context, disk *Disk, key luks.Key, slot int) error {
	err := m.Encryption.KillSlot(ctx, disk.headerAt(), key, slot)
	if err == nil {
		return nil
	}
	header, lookErr := m.Encryption.Header(context.WithoutCancel(ctx), disk.headerAt())
	if lookErr == nil && !header.HasSlot(slot) {
		return nil
	}
	return errors.Join(err, lookErr)
}

// RemoveKey takes the key of a slot away from all disks of a clone, or from
// the one of that target. The keyring's key has to be one that stays: so a
// slot that is known to work always remains. It returns a *LastKeyError
// otherwise, and a *SlotError where no disk has such a slot.
func (m *Manager) RemoveKey(ctx context.Context, name, target string, slot int) ([]KeySlot, error) {
	clone, err := m.readable(ctx, name)
	if err != nil {
		return nil, err
	}
	disks, err := clone.chosen(target)
	if err != nil {
		return nil, err
	}
	missing := &SlotError{Clone: clone.Name, Slot: slot}
	var doomed []KeySlot
	for _, disk := range disks {
		if disk.Header.HasSlot(slot) {
			doomed = append(doomed, KeySlot{Disk: disk.Target, Volume: disk.Volume(), Slot: slot})
			if len(disk.Header.Keyslots) == 1 {
				return nil, &LastKeyError{Clone: clone.Name, Disk: disk.Target, Slot: slot}
			}
		}
		for _, used := range disk.Header.Keyslots {
			missing.Slots = append(missing.Slots, KeySlot{Disk: disk.Target, Volume: disk.Volume(), Slot: used.ID})
		}
	}
	if len(doomed) == 0 {
		return nil, missing
	}
	clone.Disks = slices.DeleteFunc(clone.Disks, func(d Disk) bool {
		return !slices.ContainsFunc(doomed, func(s KeySlot) bool { return s.Disk == d.Target })
	})
	key, fits, err := m.prove(ctx, clone, true)
	defer func() { key.Wipe() }()
	if err != nil {
		return nil, err
	}
	for _, fit := range fits {
		if fit.Slot == slot {
			return nil, &LastKeyError{Clone: clone.Name, Disk: fit.Disk, Slot: slot, Proof: true}
		}
	}
	slots, err := m.kill(ctx, clone, key, doomed, false)
	m.tryBootKey(ctx, clone, slots)
	return slots, err
}
