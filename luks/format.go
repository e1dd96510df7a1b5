package luks

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Type is a version of the LUKS format.
type Type string

// The types of volume that can be made.
const (
	LUKS2 Type = "luks2"
	LUKS1 Type = "luks1"
)

// ParseType is the Type that a person wrote; "" is LUKS2.
func ParseType(text string) (Type, error) {
	switch Type(text) {
	case "", LUKS2:
		return LUKS2, nil
	case LUKS1:
		return LUKS1, nil
	}
	return "", fmt.Errorf("%q is no type of LUKS volume: it is luks2 or luks1", text)
}

// PBKDFs are the algorithms that derive a key slot's key (cryptsetup(8), --pbkdf).
var PBKDFs = []string{"argon2id", "argon2i", "pbkdf2"}

// HeaderSize is how many bytes cryptsetup 2.x gives a header of that type
// when it is not told: 16 MiB and 2 MiB (cryptsetup(8), NOTES). A payload that
// begins there or later leaves room for all that the header may come to hold.
func HeaderSize(t Type) int64 {
	if t == LUKS1 {
		return 2 << 20
	}
	return 16 << 20
}

// DetachedOffset says whether a payload may begin at that byte where the header
// is in a file of its own: at the first, or where it would begin behind a header
// on the device. cryptsetup 2.6.1 refuses what is in between ("Requested data
// offset is too small").
func DetachedOffset(t Type, offset int64) bool { return offset == 0 || offset >= HeaderSize(t) }

const (
	// sector is the unit of --offset and of device-mapper's tables.
	sector = 512
	// block is what an offset is a multiple of, for both types: cryptsetup
	// 2.6.1 refuses any other ("Data offset is not multiple of 4096 bytes").
	block = 4096
)

// FormatSpec is a volume to make.
type FormatSpec struct {
	// Device is the device to be overwritten.
	Device string
	// Header is the file that the header goes to instead, which has to be there
	// and as large as one; "" is the device itself. Nothing is written to the
	// device then.
	Header string
	// UUID is the header's, chosen beforehand.
	UUID string
	// Type is the format; "" is LUKS2.
	Type Type
	// Cipher and Hash are cryptsetup's names, such as aes-xts-plain64 and
	// sha512.
	Cipher, Hash string
	// KeySize is the volume key's, in bits: 512 for AES-256 in XTS mode.
	KeySize int
	// SectorSize is the unit of encryption, 512 or 4096 bytes. It is always
	// given to cryptsetup, which else chooses by the device.
	SectorSize int64
	// PBKDF is argon2id, argon2i or pbkdf2; "" is cryptsetup's default.
	PBKDF string
	// PBKDFMemory is in KiB, IterTime in milliseconds; 0 is the default.
	PBKDFMemory, PBKDFForceIterations, IterTime int
	// Offset is where the payload begins, in bytes, a multiple of 4096.
	Offset int64
	// Label is a LUKS2 volume's label, or "".
	Label string
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// Check returns a *SpecError for what cryptsetup would refuse, some of it only
// after it has wiped the device.
func (s FormatSpec) Check() error {
	bad := func(field, format string, args ...any) error {
		return &SpecError{Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case s.Device == "":
		return bad("Device", "it is missing")
	case s.Type != LUKS2 && s.Type != LUKS1:
		return bad("Type", "%q is neither luks2 nor luks1", s.Type)
	case !uuidPattern.MatchString(s.UUID):
		return bad("UUID", "%q is no UUID in lower case", s.UUID)
	case s.Offset < 0 || s.Offset%block != 0:
		return bad("Offset", "%d is no multiple of %d", s.Offset, block)
	case s.Header != "" && !DetachedOffset(s.Type, s.Offset):
		return bad("Offset", "%d is neither 0 nor at least %d, as cryptsetup wants it beside a header in a file", s.Offset, HeaderSize(s.Type))
	case s.Header == "" && s.Offset < HeaderSize(s.Type):
		return bad("Offset", "%d leaves no room for a header of %d bytes", s.Offset, HeaderSize(s.Type))
	case s.SectorSize != 512 && s.SectorSize != 4096:
		return bad("SectorSize", "%d is neither 512 nor 4096", s.SectorSize)
	case s.Type == LUKS1 && s.SectorSize != 512:
		return bad("SectorSize", "LUKS1 knows only sectors of 512 bytes")
	case s.Type == LUKS1 && s.PBKDF != "" && s.PBKDF != "pbkdf2":
		return bad("PBKDF", "LUKS1 knows only pbkdf2")
	case s.Type == LUKS1 && s.Label != "":
		return bad("Label", "LUKS1 has no label")
	case s.Cipher == "":
		return bad("Cipher", "it is missing")
	case s.KeySize <= 0 || s.KeySize%8 != 0:
		return bad("KeySize", "%d is no number of whole bytes", s.KeySize)
	case s.PBKDFMemory < 0 || s.PBKDFForceIterations < 0 || s.IterTime < 0:
		return bad("PBKDF", "memory, iterations and time can't be negative")
	}
	return nil
}

// args are cryptsetup's arguments (cryptsetup-luksFormat(8)).
func (s FormatSpec) args() []string {
	args := []string{
		"luksFormat", "--batch-mode", "--type", string(s.Type), "--uuid", s.UUID, "--cipher=" + s.Cipher,
		"--key-size", strconv.Itoa(s.KeySize), "--sector-size", strconv.FormatInt(s.SectorSize, 10),
		"--offset", strconv.FormatInt(s.Offset/sector, 10),
	}
	if s.Header != "" {
		args = append(args, "--header="+s.Header)
	}
	if s.Hash != "" {
		args = append(args, "--hash="+s.Hash)
	}
	if s.PBKDF != "" {
		args = append(args, "--pbkdf="+s.PBKDF)
	}
	for _, number := range []struct {
		flag  string
		value int
	}{{"--pbkdf-memory", s.PBKDFMemory}, {"--pbkdf-force-iterations", s.PBKDFForceIterations}, {"--iter-time", s.IterTime}} {
		if number.value > 0 {
			args = append(args, number.flag, strconv.Itoa(number.value))
		}
	}
	if s.Label != "" {
		args = append(args, "--label="+s.Label)
	}
	return args
}

// Format makes a LUKS volume of a device, whatever was on it, and returns the
// header as read back. Before anything is written it returns a *SpecError, a
// *TooSmallError, a *NotFoundError when there is no such device or header file or
// an *InUseError when something has it open. It returns an *OffsetError when the
// payload does not begin where it was told to.
func (c *Client) Format(ctx context.Context, spec FormatSpec, key Key) (Header, error) {
	if spec.Type == "" {
		spec.Type = LUKS2
	}
	if err := errors.Join(spec.Check(), checkLength(key.Len())); err != nil {
		return Header{}, err
	}
	size, err := c.DeviceSize(ctx, spec.Device)
	if err != nil {
		return Header{}, err
	}
	if need := spec.Offset + block; size < need {
		return Header{}, &TooSmallError{Device: spec.Device, Size: size, Need: need}
	}
	at := spec.Device
	if spec.Header != "" {
		if err := c.fitsHeader(spec); err != nil {
			return Header{}, err
		}
		at = spec.Header
	}
	if _, err := c.run.Run(ctx, FormatCommand(spec, key)); err != nil {
		return Header{}, c.withHolders(recognise(err, spec.Device, ""))
	}
	header, err := c.Header(ctx, at)
	if err != nil {
		return Header{}, err
	}
	if header.Offset != spec.Offset {
		return header, &OffsetError{Device: spec.Device, Want: spec.Offset, Got: header.Offset}
	}
	if !strings.EqualFold(header.UUID, spec.UUID) || header.Type != spec.Type {
		return header, fmt.Errorf("%q was formatted as %s %s, but bears the header of %s %s", spec.Device, spec.Type, spec.UUID, header.Type, header.UUID)
	}
	return header, nil
}
