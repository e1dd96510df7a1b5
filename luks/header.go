package luks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
)

// Header is what a volume's header says of it.
type Header struct {
	Type Type
	UUID string
	// Label is a LUKS2 volume's, or "".
	Label string
	// Cipher is as cryptsetup writes it, such as aes-xts-plain64.
	Cipher string
	// KeySize is the volume key's, in bits.
	KeySize int
	// Hash is that of the header: LUKS1's hash spec, and of LUKS2 that of
	// the volume key's digest.
	Hash string
	// SectorSize is the unit of encryption and Offset where the payload
	// begins, both in bytes.
	SectorSize, Offset int64
	// Flags are those stored for every open, such as allow-discards.
	Flags []string
	// Requirements are features that must be understood to open it, such as
	// an online-reencrypt that is under way.
	Requirements []string
	Keyslots     []Keyslot
}

// Keyslot is one of the keys that unlock a volume.
type Keyslot struct {
	ID int
	// PBKDF is pbkdf2, argon2i or argon2id, and Hash that of pbkdf2, or else
	// of the anti-forensic splitter.
	PBKDF, Hash string
	// Iterations are pbkdf2's, or argon2's passes over its memory.
	Iterations int
	// Memory is in KiB and Parallel the number of lanes, of argon2.
	Memory, Parallel int
}

// Header is what the header on device says. It returns a *NotLUKSError or a
// *NotFoundError.
func (c *Client) Header(ctx context.Context, device string) (Header, error) {
	dump, err := c.dump(ctx, device)
	if err != nil {
		return Header{}, err
	}
	header, err := parseDump(dump)
	if err != nil {
		return Header{}, fmt.Errorf("the header of %q: %w", device, err)
	}
	if header.Type == LUKS1 {
		return header, nil
	}
	metadata, err := c.dump(ctx, device, "--dump-json-metadata")
	if err != nil {
		return Header{}, err
	}
	if err := header.metadata(metadata); err != nil {
		return Header{}, fmt.Errorf("the header of %q: %w", device, err)
	}
	return header, nil
}

func (c *Client) dump(ctx context.Context, device string, flags ...string) ([]byte, error) {
	args := append([]string{"luksDump", "--batch-mode"}, flags...)
	result, err := c.run.Run(ctx, command.Cmd{Name: "cryptsetup", Args: append(args, "--", device), ReadOnly: true})
	return result.Stdout, recognise(err, device, "")
}

// parseDump reads luksDump's text: of LUKS1 all of it, of LUKS2 what its JSON
// leaves out.
func parseDump(dump []byte) (Header, error) {
	// Only the first of a name counts: below the facts of the header come
	// those of its parts, under the same names.
	facts := map[string]string{}
	var slots []Keyslot
	for line := range strings.Lines(string(dump)) {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if id, isSlot := strings.CutPrefix(name, "Key Slot "); isSlot && value == "ENABLED" {
			n, err := strconv.Atoi(id)
			if err != nil {
				return Header{}, fmt.Errorf("a key slot is called %q", id)
			}
			slots = append(slots, Keyslot{ID: n, PBKDF: "pbkdf2"})
		}
		if len(slots) > 0 && strings.TrimSpace(name) == "Iterations" && strings.HasPrefix(name, "\t") {
			n, err := strconv.Atoi(value)
			if err != nil {
				return Header{}, fmt.Errorf("a key slot has %q iterations", value)
			}
			slots[len(slots)-1].Iterations = n
		}
		if _, known := facts[name]; !known {
			facts[name] = value
		}
	}
	header := Header{UUID: facts["UUID"]}
	if header.UUID == "" {
		return Header{}, errors.New("it has no UUID")
	}
	switch facts["Version"] {
	case "2":
		header.Type = LUKS2
		if label := facts["Label"]; label != "(no label)" {
			header.Label = label
		}
		return header, nil
	case "1":
		header.Type = LUKS1
	default:
		return Header{}, fmt.Errorf("it is of version %q, which is not known", facts["Version"])
	}

	header.Cipher = facts["Cipher name"] + "-" + facts["Cipher mode"]
	header.Hash, header.SectorSize = facts["Hash spec"], sector
	offset, errOffset := strconv.ParseUint(facts["Payload offset"], 10, 32)
	bits, errBits := strconv.Atoi(facts["MK bits"])
	if err := errors.Join(errOffset, errBits); err != nil || bits <= 0 || facts["Cipher name"] == "" || facts["Cipher mode"] == "" {
		return Header{}, errors.New("it lacks cipher, key size or payload offset")
	}
	// In sectors of 512 bytes, and 32 bits wide (LUKS On-Disk Format
	// Specification 1.2.3, figure 1).
	header.Offset, header.KeySize = int64(offset)*sector, bits
	for i := range slots {
		slots[i].Hash = header.Hash
	}
	header.Keyslots = slots
	return header, nil
}

// metadata reads a LUKS2 header's JSON area (LUKS2 On-Disk Format
// Specification 1.1.1, chapter 3). Offsets and sizes are decimal strings.
func (h *Header) metadata(text []byte) error {
	var area struct {
		Keyslots map[string]struct {
			Type    string `json:"type"`
			KeySize int    `json:"key_size"`
			AF      struct {
				Hash string `json:"hash"`
			} `json:"af"`
			KDF struct {
				Type       string `json:"type"`
				Hash       string `json:"hash"`
				Iterations int    `json:"iterations"`
				Time       int    `json:"time"`
				Memory     int    `json:"memory"`
				CPUs       int    `json:"cpus"`
			} `json:"kdf"`
		} `json:"keyslots"`
		Segments map[string]struct {
			Type       string `json:"type"`
			Offset     string `json:"offset"`
			Size       string `json:"size"`
			Encryption string `json:"encryption"`
			SectorSize int64  `json:"sector_size"`
		} `json:"segments"`
		Digests map[string]struct {
			Hash     string   `json:"hash"`
			Segments []string `json:"segments"`
			Keyslots []string `json:"keyslots"`
		} `json:"digests"`
		Config struct {
			Flags        []string `json:"flags"`
			Requirements struct {
				Mandatory []string `json:"mandatory"`
			} `json:"requirements"`
		} `json:"config"`
	}
	if err := json.Unmarshal(text, &area); err != nil {
		return fmt.Errorf("its metadata is no JSON of the known form: %w", err)
	}
	segment, ok := area.Segments["0"]
	if !ok || segment.Type != "crypt" {
		return errors.New("it has no encrypted segment 0")
	}
	offset, err := strconv.ParseInt(segment.Offset, 10, 64)
	if err != nil || offset < 0 {
		return fmt.Errorf("its payload begins at %q", segment.Offset)
	}
	h.Offset, h.Cipher, h.SectorSize = offset, segment.Encryption, segment.SectorSize
	h.Flags, h.Requirements = area.Config.Flags, area.Config.Requirements.Mandatory
	for _, digest := range area.Digests {
		if slices.Contains(digest.Segments, "0") {
			h.Hash = digest.Hash
		}
	}
	for name, slot := range area.Keyslots {
		if slot.Type != "luks2" {
			continue // such as that of a re-encryption
		}
		id, err := strconv.Atoi(name)
		if err != nil || id < 0 {
			return fmt.Errorf("a key slot is called %q", name)
		}
		one := Keyslot{ID: id, PBKDF: slot.KDF.Type, Hash: slot.KDF.Hash, Iterations: slot.KDF.Iterations, Memory: slot.KDF.Memory, Parallel: slot.KDF.CPUs}
		if one.PBKDF != "pbkdf2" {
			one.Hash, one.Iterations = slot.AF.Hash, slot.KDF.Time
		}
		h.Keyslots = append(h.Keyslots, one)
		if slot.KeySize > 0 && slot.KeySize < 1<<20 {
			h.KeySize = slot.KeySize * 8
		}
	}
	slices.SortFunc(h.Keyslots, func(a, b Keyslot) int { return a.ID - b.ID })
	return nil
}
