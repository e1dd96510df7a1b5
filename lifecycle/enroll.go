package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/luks"
)

// Token is a token in a LUKS2 header: what tells a program how to get the key
// of a slot.
type Token struct {
	ID int
	// Type is such as systemd-tpm2 or clevis, and Slots are the key slots
	// that it is for.
	Type  string
	Slots []int
}

// tokenTypes are what the tools call their tokens (systemd's
// cryptsetup-util.h, and clevis-luks-bind(1)).
var tokenTypes = map[boot.Method]string{boot.TPM2: "systemd-tpm2", boot.FIDO2: "systemd-fido2", boot.Tang: "clevis"}

// tokensOf are the tokens of a disk that a method uses, whoever made them.
func (m *Manager) tokensOf(ctx context.Context, method boot.Method, device string) ([]Token, error) {
	tokens, err := m.Enroller.Tokens(ctx, device)
	return slices.DeleteFunc(tokens, func(t Token) bool { return t.Type != tokenTypes[method] }), err
}

// ours are the tokens of a disk that came with an autostart: of its method, and
// not there before.
func (m *Manager) ours(ctx context.Context, record boot.Record, disk boot.RecordDisk, device string) ([]Token, error) {
	tokens, err := m.tokensOf(ctx, record.Unlock.Method, device)
	return slices.DeleteFunc(tokens, func(t Token) bool { return slices.Contains(disk.TokensBefore, t.ID) }), err
}

// served says whether one of the tokens has a key slot.
func served(tokens []Token) bool {
	return slices.ContainsFunc(tokens, func(t Token) bool { return len(t.Slots) > 0 })
}

// allEnrolled says whether every disk has a token of ours, so that no key is
// needed for one.
func (m *Manager) allEnrolled(ctx context.Context, clone *Clone, record boot.Record) (bool, error) {
	for i := range clone.Disks {
		tokens, err := m.ours(ctx, record, record.Disks[i], clone.Disks[i].headerAt())
		if err != nil || !served(tokens) {
			return false, err
		}
	}
	return true, nil
}

// enroll gives one disk a key slot and a token, unless it has them.
func (b *bootChanges) enroll(ctx context.Context, i int) error {
	disk, device := b.record.Disks[i], b.clone.Disks[i].headerAt()
	tokens, err := b.m.ours(ctx, b.record, disk, device)
	if err != nil || served(tokens) {
		return err
	}
	remarks, err := b.m.Enroller.Enroll(ctx, device, b.record.Unlock, b.key)
	if err != nil {
		return err
	}
	for _, remark := range remarks {
		b.m.report(Event{Event: Warning, VM: b.record.Clone, Disk: disk.Target, Message: remark})
	}
	if tokens, err = b.m.ours(ctx, b.record, disk, device); err != nil {
		return err
	}
	if !served(tokens) {
		// systemd-cryptenroll does nothing where the same TPM and registers are
		// enrolled already.
		if before, err := b.m.tokensOf(ctx, b.record.Unlock.Method, device); err != nil || served(before) {
			b.m.report(Event{Event: Warning, VM: b.record.Clone, Disk: disk.Target, Message: fmt.Sprintf("%s was enrolled before; its key slot stays when the autostart is disabled", b.record.Unlock.Method)})
			return err
		}
		return fmt.Errorf("%s was enrolled for disk %s and left no token in its header", b.record.Unlock.Method, disk.Target)
	}
	b.enrolled = true
	for _, token := range tokens {
		for _, slot := range token.Slots {
			b.m.report(Event{Event: KeyAdded, VM: b.record.Clone, Disk: disk.Target, Message: fmt.Sprintf("%s, key slot %d, for %s", disk.Volume(), slot, b.record.Unlock.Method)})
		}
	}
	return nil
}

// device is where a disk's volume is, or an error if it can't be read. It is
// nil where no volume of a group that is there bears the header any more: with
// it its slots are gone.
func (b *bootChanges) device(i int) (*Disk, error) {
	for j := range b.clone.Disks {
		disk := &b.clone.Disks[j]
		if disk.LUKS != b.record.Disks[i].LUKS {
			continue
		}
		var gone *VolumeError
		switch {
		case disk.Header != nil:
			return disk, nil
		case errors.As(disk.Problem, &gone) && gone.Group == "" && gone.Err == nil:
			return nil, nil
		}
		return nil, disk.Problem
	}
	return nil, &VolumeError{Clone: b.record.Clone, Disk: b.record.Disks[i].Target, Volume: b.record.Disks[i].Volume(), LUKS: b.record.Disks[i].LUKS, Reason: "the VM no longer has that disk"}
}

// unenroll takes the slot and the token of one disk away again, the slot first:
// a token without one is still known for ours, a slot without a token is not.
func (b *bootChanges) unenroll(ctx context.Context, i int) error {
	disk, err := b.device(i)
	if err != nil || disk == nil {
		return err
	}
	tokens, err := b.m.ours(ctx, b.record, b.record.Disks[i], disk.headerAt())
	if err != nil {
		return err
	}
	for _, token := range tokens {
		for _, slot := range token.Slots {
			if err := b.m.Encryption.KillSlot(ctx, disk.headerAt(), b.key, slot); err != nil {
				return err
			}
			b.enrolled = true
			b.m.report(Event{Event: KeyRemoved, VM: b.record.Clone, Disk: disk.Target, Message: fmt.Sprintf("%s, key slot %d, of %s", disk.Volume(), slot, b.record.Unlock.Method)})
		}
		if err := b.m.Enroller.RemoveToken(ctx, disk.headerAt(), token.ID); err != nil {
			return err
		}
	}
	return nil
}

// stayingKey gets a key that unlocks every disk and is of none of the slots that
// are to go: so one that is known to work is left. Where there is no slot to be
// taken away, none is asked for.
func (m *Manager) stayingKey(ctx context.Context, b *bootChanges) (luks.Key, error) {
	if b.clone == nil {
		// The domain is gone, its volumes need not be.
		b.clone = ghost(b.record)
	}
	if err := m.look(ctx, b.clone, true); err != nil {
		return luks.Key{}, err
	}
	doomed := make(map[string][]int) // slots by disk
	for i, disk := range b.record.Disks {
		found, err := b.device(i)
		if err != nil {
			return luks.Key{}, err
		}
		if found == nil {
			continue
		}
		tokens, err := m.ours(ctx, b.record, disk, found.headerAt())
		if err != nil {
			return luks.Key{}, err
		}
		for _, token := range tokens {
			doomed[disk.Target] = append(doomed[disk.Target], token.Slots...)
		}
	}
	if len(doomed) == 0 {
		return luks.Key{}, nil
	}
	key, fits, err := m.prove(ctx, b.clone, true)
	if err != nil {
		key.Wipe()
		return luks.Key{}, err
	}
	for _, fit := range fits {
		if slices.Contains(doomed[fit.Disk], fit.Slot) {
			key.Wipe()
			return luks.Key{}, &LastKeyError{Clone: b.record.Clone, Disk: fit.Disk, Slot: fit.Slot, Proof: true}
		}
	}
	return key, nil
}

// ghost is a clone whose domain is gone, as far as a record knows it.
func ghost(record boot.Record) *Clone {
	clone := &Clone{}
	clone.Name, clone.Origin.Job, clone.Origin.Name = record.Clone, record.Job, record.Instance
	for _, disk := range record.Disks {
		d := Disk{}
		d.Target, d.LUKS, d.Mapper, d.VG, d.LV, d.Path = disk.Target, disk.LUKS, disk.Mapper, disk.VG, disk.LV, disk.Path
		d.HeaderFile = disk.HeaderFile
		clone.Disks = append(clone.Disks, d)
	}
	return clone
}
