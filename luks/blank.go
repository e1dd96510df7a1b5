package luks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Signature is what wipefs(8) finds on a device: the mark of a file system, a
// partition table, a swap area, a volume of LVM, RAID or LUKS.
type Signature struct {
	// Type is libblkid's word for it, such as "ext4" or "crypto_LUKS".
	Type string
	// UUID is the one that it bears, or "".
	UUID string
}

// signatureLUKS is libblkid's word for a LUKS header, also for the second of
// LUKS2's two.
const signatureLUKS = "crypto_LUKS"

// Ours says whether it is that of the LUKS volume with that UUID.
func (s Signature) Ours(uuid string) bool {
	return s.Type == signatureLUKS && strings.EqualFold(s.UUID, uuid)
}

// String names it.
func (s Signature) String() string {
	if s.UUID == "" {
		return s.Type
	}
	return s.Type + " " + s.UUID
}

// Signatures are those on device; a device without any is blank. It returns a
// *NotFoundError when there is no such device.
func (c *Client) Signatures(ctx context.Context, device string) ([]Signature, error) {
	if _, err := os.Stat(device); errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{Kind: "device", Name: device}
	}
	// Without --all it only looks, and opens the device for reading.
	result, err := c.run.Run(ctx, command.Cmd{Name: "wipefs", Args: []string{"--json", "--output=TYPE,UUID", "--", device}, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	var found struct {
		Signatures []struct {
			Type string  `json:"type"`
			UUID *string `json:"uuid"`
		} `json:"signatures"`
	}
	// util-linux before 2.38 prints nothing at all of a blank device.
	if text := strings.TrimSpace(string(result.Stdout)); text != "" {
		if err := json.Unmarshal([]byte(text), &found); err != nil {
			return nil, fmt.Errorf("wipefs says of %q what is no JSON: %w", device, err)
		}
	}
	var all []Signature
	for _, s := range found.Signatures {
		one := Signature{Type: s.Type}
		if s.UUID != nil {
			one.UUID = *s.UUID
		}
		all = append(all, one)
	}
	return all, nil
}

// headerMost is how far the metadata of a LUKS volume reach at most: LUKS2's
// two headers of 4 MiB and 128 MiB of key slots (cryptsetup, lib/luks2/luks2.h).
const headerMost = 136 << 20

// Erase makes a device blank again that bears the header with that UUID: the
// header and the key slots behind it, up to the payload's offset, are
// overwritten with zeros. It is content with a blank device. It returns a
// *ForeignError when the device bears anything else, an *InUseError when
// something has it open, or a *NotFoundError; nothing was written then. What
// was cut short can be done again.
func (c *Client) Erase(ctx context.Context, device, uuid string, offset int64) error {
	signatures, err := c.Signatures(ctx, device)
	if err != nil || len(signatures) == 0 {
		return err
	}
	ours := func(s Signature) bool { return s.Ours(uuid) }
	for _, s := range signatures {
		if !ours(s) {
			return &ForeignError{Device: device, UUID: uuid, Bears: s, Header: slices.ContainsFunc(signatures, ours)}
		}
	}
	// The kernel refuses an exclusive open of what it uses itself.
	f, err := os.OpenFile(device, os.O_WRONLY|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return c.withHolders(&InUseError{Device: device})
	}
	if err != nil {
		return err
	}
	err = zero(ctx, f, min(offset, headerMost))
	return errors.Join(err, f.Close())
}

// zero overwrites the first bytes of a file from the last to the first, and
// flushes them: as long as any of the key slots is left the header at the
// beginning says whose they are.
func zero(ctx context.Context, f *os.File, bytes int64) error {
	const step = 1 << 20
	zeros := make([]byte, step)
	for at := (bytes - 1) / step * step; at >= 0; at -= step {
		if err := ctx.Err(); err != nil {
			return err
		}
		if at == 0 {
			if err := f.Sync(); err != nil {
				return err
			}
		}
		if _, err := f.WriteAt(zeros[:min(step, bytes-at)], at); err != nil {
			return err
		}
	}
	return f.Sync()
}
