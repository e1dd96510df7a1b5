package lifecycle

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/luks"
)

// Verdict is what a header backup is worth.
type Verdict string

// The verdicts.
const (
	// Current: byte for byte what the volume has now.
	Current Verdict = "current"
	// SameKeys: the volume's keys are those of the backup, and no more than
	// flags have changed since, as when discards were allowed.
	SameKeys Verdict = "same keys"
	// Outdated: of this volume, and the header has changed since, as by a
	// change of a passphrase. It opens with the keys it had.
	Outdated Verdict = "outdated"
	// Damaged: not what was written, or no header at all.
	Damaged Verdict = "damaged"
	// Missing: there is none, or it is no longer where it was.
	Missing Verdict = "missing"
	// LiveDamaged: the backup is good, and the volume's own header is not.
	LiveDamaged Verdict = "live header damaged"
)

// HeaderCheck is what came of checking one disk's header backup.
type HeaderCheck struct {
	// Disk is the target, and Volume VG/LV, or a path.
	Disk   string `json:"disk"`
	Volume string `json:"volume"`
	// File is the backup, not there if none is known of, and Verdict what it
	// is worth.
	File    string  `json:"file,omitempty"`
	Verdict Verdict `json:"verdict"`
	// Notes say why, each a sentence without a full stop.
	Notes []string `json:"notes"`
}

// ForeignError says that a header backup is of another volume, or does not fit
// this one.
type ForeignError struct {
	Clone, File string
	// UUID is that in the file. Reason says what does not fit where that is
	// not the UUID.
	UUID, Reason string
	// Known are the UUIDs of the clone's disks.
	Known []string
}

func (e *ForeignError) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("%s does not fit: %s", e.File, e.Reason)
	}
	return fmt.Sprintf("%s holds the header of another volume: its UUID is %s, and the disks of %q have %s", e.File, e.UUID, e.Clone, strings.Join(e.Known, ", "))
}

// BackupError says that a file can't be used as a header backup.
type BackupError struct {
	File, Reason string
}

func (e *BackupError) Error() string {
	return fmt.Sprintf("%s is no good header backup: %s", e.File, e.Reason)
}

// CheckHeaders holds header backups against the volumes' headers as they are:
// file, which says itself of which disk it is, or the newest known of each
// disk. It changes nothing. It returns a *ForeignError for the backup of
// another volume.
func (m *Manager) CheckHeaders(ctx context.Context, name, file string) ([]HeaderCheck, error) {
	clone, err := m.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := m.look(ctx, clone, true); err != nil {
		return nil, err
	}
	if file != "" {
		header, _, err := m.readBackup(ctx, file)
		if err != nil {
			return nil, err
		}
		disk, err := clone.diskOf(file, header)
		if err != nil {
			return nil, err
		}
		check, err := m.check(ctx, disk, file)
		return []HeaderCheck{check}, err
	}
	var checks []HeaderCheck
	for i := range clone.Disks {
		disk := &clone.Disks[i]
		known, err := m.newestBackup(clone, disk)
		if err != nil {
			return nil, err
		}
		if known == nil {
			checks = append(checks, HeaderCheck{Disk: disk.Target, Volume: disk.Volume(), Verdict: Missing, Notes: []string{"no backup of its header is known of"}})
			continue
		}
		check, err := m.check(ctx, disk, known.File)
		if err != nil {
			return nil, err
		}
		checks = append(checks, check)
	}
	return checks, nil
}

// readBackup reads a header backup and what is beside it, which may be
// missing. It returns a *BackupError for one that is damaged.
func (m *Manager) readBackup(ctx context.Context, file string) (luks.Header, *Backup, error) {
	digest, size, err := luks.DigestFile(file)
	if err != nil {
		return luks.Header{}, nil, &BackupError{File: file, Reason: reason(err)}
	}
	var said *Backup
	text, err := os.ReadFile(file + beside)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return luks.Header{}, nil, &BackupError{File: file, Reason: err.Error()}
	default:
		b, err := luks.ParseBackup(file+beside, text)
		if err != nil {
			return luks.Header{}, nil, err
		}
		if b.SHA256 != digest || b.Bytes != size {
			return luks.Header{}, nil, &BackupError{File: file, Reason: fmt.Sprintf("its SHA-256 is not the one beside it, in %s", filepath.Base(file)+beside)}
		}
		said = &b
	}
	header, err := m.Encryption.Header(ctx, file)
	var none *luks.NotLUKSError
	if errors.As(err, &none) {
		return luks.Header{}, nil, &BackupError{File: file, Reason: "it holds no LUKS header, or only a part of one"}
	}
	return header, said, err
}

// diskOf is the disk that a backup's header is of.
func (c *Clone) diskOf(file string, header luks.Header) (*Disk, error) {
	foreign := &ForeignError{Clone: c.Name, File: file, UUID: header.UUID}
	for i := range c.Disks {
		if strings.EqualFold(c.Disks[i].LUKS, header.UUID) {
			return &c.Disks[i], nil
		}
		foreign.Known = append(foreign.Known, c.Disks[i].LUKS)
	}
	return nil, foreign
}

// check holds one backup against one disk's header.
func (m *Manager) check(ctx context.Context, disk *Disk, file string) (HeaderCheck, error) {
	check := HeaderCheck{Disk: disk.Target, Volume: disk.Volume(), File: file, Notes: []string{}}
	say := func(verdict Verdict, format string, args ...any) (HeaderCheck, error) {
		check.Verdict = verdict
		check.Notes = append(check.Notes, fmt.Sprintf(format, args...))
		return check, nil
	}
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return say(Missing, "it is no longer where it was written to")
	}
	saved, said, err := m.readBackup(ctx, file)
	var bad *BackupError
	var unclear *BesideError
	switch {
	case errors.As(err, &bad):
		return say(Damaged, "%s", bad.Reason)
	case errors.As(err, &unclear):
		return say(Damaged, "%s", unclear.Error())
	case err != nil:
		return check, err
	case !strings.EqualFold(saved.UUID, disk.LUKS):
		return say(Damaged, "it holds the header of another volume, %s", saved.UUID)
	}
	if said == nil {
		check.Notes = append(check.Notes, "there is no digest beside it, so only that it is a whole header is known")
	}
	var lost *HeaderLostError
	if errors.As(disk.Problem, &lost) {
		return say(LiveDamaged, "the volume's own header is damaged or gone; this backup can bring it back")
	}
	if disk.Header == nil {
		return check, disk.Problem
	}
	same, keys, err := m.compare(ctx, disk, file)
	if err != nil {
		return check, err
	}
	if same {
		return say(Current, "it is byte for byte the volume's header")
	}
	check.Notes = append(check.Notes, differences(saved, *disk.Header)...)
	if keys {
		return say(SameKeys, "it opens with the keys that the volume has")
	}
	return say(Outdated, "the header has changed since, as by a change of a passphrase: the backup opens with the keys of its time")
}

// compare holds a backup against a new one: same says that they are so byte for
// byte, and keys that at least all that opens the volume is the same.
func (m *Manager) compare(ctx context.Context, disk *Disk, file string) (same, keys bool, err error) {
	if err := os.MkdirAll(m.StateDir, 0o700); err != nil {
		return false, false, err
	}
	folder, err := os.MkdirTemp(m.StateDir, ".luks-header-")
	if err != nil {
		return false, false, err
	}
	defer os.RemoveAll(folder)
	now := filepath.Join(folder, "header")
	if err := m.Encryption.HeaderBackup(ctx, disk.headerAt(), now); err != nil {
		return false, false, err
	}
	a, err := os.ReadFile(now)
	if err != nil {
		return false, false, err
	}
	b, err := os.ReadFile(file)
	if err != nil || bytes.Equal(a, b) {
		return err == nil, err == nil, err
	}
	keysNow, err := m.Encryption.KeyData(ctx, now)
	if err != nil {
		return false, false, err
	}
	keysThen, err := m.Encryption.KeyData(ctx, file)
	return false, err == nil && keysNow == keysThen && bytes.Equal(keyArea(a), keyArea(b)), err
}

// keyArea is what follows the two copies of a LUKS2 header's metadata: the key
// material. A copy's size is in bytes 8 to 15, big-endian (LUKS2 On-Disk Format
// Specification 1.1.1, chapter 2). Of any other header it is all.
func keyArea(header []byte) []byte {
	if len(header) < 16 || !bytes.HasPrefix(header, []byte("LUKS\xba\xbe\x00\x02")) {
		return header
	}
	size := binary.BigEndian.Uint64(header[8:16])
	if size > uint64(len(header))/2 {
		return header
	}
	return header[2*size:]
}

// differences say what two headers of one volume differ in, as far as their
// facts show it.
func differences(saved, live luks.Header) []string {
	var notes []string
	ids := func(h luks.Header) (all []int) {
		for _, slot := range h.Keyslots {
			all = append(all, slot.ID)
		}
		return all
	}
	if a, b := ids(saved), ids(live); !slices.Equal(a, b) {
		notes = append(notes, fmt.Sprintf("it has the key slots %s and the volume now %s", numbers(a), numbers(b)))
	}
	if !slices.Equal(saved.Flags, live.Flags) {
		notes = append(notes, fmt.Sprintf("its flags are %q and the volume's now %q", strings.Join(saved.Flags, " "), strings.Join(live.Flags, " ")))
	}
	return notes
}

func numbers(ids []int) string {
	if len(ids) == 0 {
		return "none"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ", "), "[]")
}
