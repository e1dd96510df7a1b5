package lifecycle

import "fmt"

// SameKeyError says that a new key is one that unlocks the disks already.
type SameKeyError struct{ Clone string }

func (e *SameKeyError) Error() string {
	return fmt.Sprintf("the new key of %q is one that unlocks its disks already", e.Clone)
}

// NoSlotError says that a volume has no key slot left.
type NoSlotError struct {
	Clone, Disk, Volume string
	// Slots is how many it can have.
	Slots int
}

func (e *NoSlotError) Error() string {
	return fmt.Sprintf("all %d key slots of disk %s of %q (%s) are taken", e.Slots, e.Disk, e.Clone, e.Volume)
}

// LastKeyError says that a key can't be taken away, because then nothing that
// is known to work would unlock the disk.
type LastKeyError struct {
	Clone, Disk string
	Slot        int
	// Proof is whether there are other slots, and the key that was given is
	// the one of this slot, which proves nothing of the others.
	Proof bool
}

func (e *LastKeyError) Error() string {
	if e.Proof {
		return fmt.Sprintf("the key that was given is that of slot %d itself; taking it away from disk %s of %q needs the key of a slot that stays", e.Slot, e.Disk, e.Clone)
	}
	return fmt.Sprintf("slot %d is the last key slot of disk %s of %q: without it nothing unlocks the disk", e.Slot, e.Disk, e.Clone)
}

// SlotError says that a key slot is empty on every disk that was meant.
type SlotError struct {
	Clone string
	Slot  int
	// Slots are those in use.
	Slots []KeySlot
}

func (e *SlotError) Error() string {
	return fmt.Sprintf("key slot %d holds no key on any disk of %q", e.Slot, e.Clone)
}

// KeysPartlyError says that keys were changed on some of a clone's disks only,
// and could not be changed back.
type KeysPartlyError struct {
	Clone string
	Err   error
}

func (e *KeysPartlyError) Error() string {
	return fmt.Sprintf("the keys of %q are changed in part: %v", e.Clone, e.Err)
}

// Unwrap returns the cause.
func (e *KeysPartlyError) Unwrap() error { return e.Err }
