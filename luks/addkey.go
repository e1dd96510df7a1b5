package luks

import (
	"context"
	"errors"
	"strconv"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// AddKeyOptions are how a further key is added (cryptsetup-luksAddKey(8)).
type AddKeyOptions struct {
	// Slot is the key slot for it, which must be free.
	Slot int
	// PBKDF is argon2id, argon2i or pbkdf2; "" is cryptsetup's default. A
	// LUKS1 volume has pbkdf2 whatever is asked for.
	PBKDF string
	// PBKDFForceIterations are the rounds; 0 has them measured.
	PBKDFForceIterations int
}

// AddKeyCommand is the cryptsetup that AddKey runs: the key that fits comes on
// standard input and the one to add on file descriptor 3.
func AddKeyCommand(device string, key, added Key, options AddKeyOptions) command.Cmd {
	// Before cryptsetup 2.6 --key-slot was the only name for the new key's
	// slot; later ones still take it for that.
	args := []string{"luksAddKey", "--batch-mode", "--key-slot", strconv.Itoa(options.Slot)}
	if options.PBKDF != "" {
		args = append(args, "--pbkdf="+options.PBKDF)
	}
	if options.PBKDFForceIterations > 0 {
		args = append(args, "--pbkdf-force-iterations", strconv.Itoa(options.PBKDFForceIterations))
	}
	cmd := keyed(args, key, device, "/dev/fd/3")
	cmd.Inputs = [][]byte{added.Bytes()}
	return cmd
}

// AddKey has the volume on device unlock with another key as well. It returns
// a *WrongKeyError when key does not fit, a *SlotError when the slot is taken,
// *KeyError, *NotLUKSError or *NotFoundError; the volume is as it was then. It
// may be used while the volume is open.
func (c *Client) AddKey(ctx context.Context, device string, key, added Key, options AddKeyOptions) error {
	if err := errors.Join(checkLength(key.Len()), checkLength(added.Len())); err != nil {
		return err
	}
	header, err := c.Header(ctx, device)
	if err != nil {
		return err
	}
	if header.HasSlot(options.Slot) {
		return &SlotError{Device: device, Slot: options.Slot, Taken: true}
	}
	_, err = c.run.Run(ctx, AddKeyCommand(device, key, added, options))
	return recognise(err, device, "")
}

// KillSlotCommand is the cryptsetup that KillSlot runs.
func KillSlotCommand(device string, key Key, slot int) command.Cmd {
	return keyed([]string{"luksKillSlot", "--batch-mode"}, key, device, strconv.Itoa(slot))
}

// KillSlot takes a key away: the volume on device no longer unlocks with that
// of the slot. key has to be that of another slot, so that the last one is
// never taken. It returns a *WrongKeyError when it is not, a *SlotError when
// the slot is empty, *NotLUKSError or *NotFoundError; the volume is as it was
// then.
func (c *Client) KillSlot(ctx context.Context, device string, key Key, slot int) error {
	// Without a key cryptsetup takes the slot away unasked.
	if err := checkLength(key.Len()); err != nil {
		return err
	}
	header, err := c.Header(ctx, device)
	if err != nil {
		return err
	}
	if !header.HasSlot(slot) {
		return &SlotError{Device: device, Slot: slot}
	}
	_, err = c.run.Run(ctx, KillSlotCommand(device, key, slot))
	return recognise(err, device, "")
}

// HasSlot says whether a key slot is in use.
func (h Header) HasSlot(id int) bool {
	for _, slot := range h.Keyslots {
		if slot.ID == id {
			return true
		}
	}
	return false
}

// SlotError says that a key slot is not as it has to be.
type SlotError struct {
	Device string
	Slot   int
	// Taken is true when it holds a key, false when it holds none.
	Taken bool
}

func (e *SlotError) Error() string {
	if e.Taken {
		return "key slot " + strconv.Itoa(e.Slot) + " of " + strconv.Quote(e.Device) + " holds a key already"
	}
	return "key slot " + strconv.Itoa(e.Slot) + " of " + strconv.Quote(e.Device) + " holds no key"
}
