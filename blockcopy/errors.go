package blockcopy

import (
	"encoding/hex"
	"fmt"
)

// SectorSize is the kernel's unit for places on a disk, in bytes, whatever the
// disk's own sector is: dmesg, blockdev --getsz and dmsetup tables count in it
// (linux/blk_types.h, SECTOR_SHIFT).
const SectorSize = 512

// JobError says that a job asks for something that makes no sense. Nothing was
// read or written.
type JobError struct {
	// Field is the field of Job or VerifyJob.
	Field string
	// Reason says what is wrong with it.
	Reason string
}

func (e *JobError) Error() string { return fmt.Sprintf("copy job: %s: %s", e.Field, e.Reason) }

// OpenError says that a source or target could not be opened.
type OpenError struct {
	// Path is the device or file.
	Path string
	// Busy is true when something else on this host holds the device: it is
	// mounted, or part of another mapping.
	Busy bool
	// Err is the system's answer.
	Err error
}

func (e *OpenError) Error() string {
	if e.Busy {
		return fmt.Sprintf("open %s: something else holds it: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("open %s: %v", e.Path, e.Err)
}

// Unwrap returns the system's answer.
func (e *OpenError) Unwrap() error { return e.Err }

// SameDeviceError says that source and target are one and the same.
type SameDeviceError struct{ Source, Target string }

func (e *SameDeviceError) Error() string {
	return fmt.Sprintf("source %s and target %s are the same device", e.Source, e.Target)
}

// SizeError says that a device has not the size the job needs. Nothing was
// written.
type SizeError struct {
	// Name is the device.
	Name string
	// Size is what it has, Need what the job needs, both in bytes.
	Size, Need int64
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s has %d bytes, and the copy needs %d", e.Name, e.Size, e.Need)
}

// ShortError says that a device ended, or took or gave fewer bytes than asked,
// without an error of its own: it shrank, or its driver lies.
type ShortError struct {
	// Name is the device.
	Name string
	// Offset is the first byte that is missing.
	Offset int64
	// Missing is how many bytes of the block did not come or go.
	Missing int64
}

func (e *ShortError) Error() string {
	return fmt.Sprintf("%s ends at byte %d, %d bytes short of the block: it is smaller than it was", e.Name, e.Offset, e.Missing)
}

// ReadError says that a device could not be read.
type ReadError struct {
	// Name is the device.
	Name string
	// Offset is the first byte that could not be read and Length how many
	// bytes the smallest read that failed asked for.
	Offset, Length int64
	// Sector is Offset in units of SectorSize, as dmesg shows it.
	Sector int64
	// Attempts is how often the block was read before giving up.
	Attempts int
	// Err is the system's answer.
	Err error
}

func (e *ReadError) Error() string {
	return fmt.Sprintf("read %s at byte %d (sector %d, %d bytes, tried %d times): %v", e.Name, e.Offset, e.Sector, e.Length, e.Attempts, e.Err)
}

// Unwrap returns the system's answer.
func (e *ReadError) Unwrap() error { return e.Err }

// WriteError says that a target could not be written. A write is never tried
// again: a device that refused one may have lost others.
type WriteError struct {
	// Name is the device.
	Name string
	// Offset is the first byte that could not be written and Length how many
	// bytes the smallest write that failed held.
	Offset, Length int64
	// Sector is Offset in units of SectorSize, as dmesg shows it.
	Sector int64
	// Err is the system's answer.
	Err error
}

func (e *WriteError) Error() string {
	return fmt.Sprintf("write %s at byte %d (sector %d, %d bytes): %v", e.Name, e.Offset, e.Sector, e.Length, e.Err)
}

// Unwrap returns the system's answer.
func (e *WriteError) Unwrap() error { return e.Err }

// FlushError says that a target could not be flushed. What was written since
// the last checkpoint may be lost and counts as not copied.
type FlushError struct {
	// Name is the device.
	Name string
	// Err is the system's answer.
	Err error
}

func (e *FlushError) Error() string { return fmt.Sprintf("flush %s: %v", e.Name, e.Err) }

// Unwrap returns the system's answer.
func (e *FlushError) Unwrap() error { return e.Err }

// CheckpointError says that finished chunks could not be recorded. The target
// was flushed; a resume copies again what the record does not hold.
type CheckpointError struct{ Err error }

func (e *CheckpointError) Error() string { return fmt.Sprintf("record finished chunks: %v", e.Err) }

// Unwrap returns the cause.
func (e *CheckpointError) Unwrap() error { return e.Err }

// MismatchError says that a device does not hold what it must.
type MismatchError struct {
	// Name is the device that differs: the payload, or the source when it
	// changed after it was copied.
	Name string
	// Chunk is the chunk's number from 0, Offset its first byte, Length its
	// bytes.
	Chunk, Offset, Length int64
	// Want is the digest the chunk must have, Got the one it has.
	Want, Got Digest
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s differs in chunk %d (%d bytes at byte %d): expected SHA-256 %s, found %s",
		e.Name, e.Chunk, e.Length, e.Offset, e.Want, e.Got)
}

// IncompleteError says that a digest was asked for that is not recorded: the
// copy did not reach the chunk, or was made without digests.
type IncompleteError struct {
	// Chunk is the first such chunk, from 0.
	Chunk int64
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("chunk %d has no recorded digest", e.Chunk)
}

// RecordError says that a record of chunks is damaged or belongs elsewhere.
type RecordError struct {
	// Path is the record's file, or "" for one in memory.
	Path string
	// Offset is the byte in that file at which the damage was seen.
	Offset int64
	// Reason says what is wrong.
	Reason string
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("record of chunks %s, at byte %d: %s", e.Path, e.Offset, e.Reason)
}

// Digest is a SHA-256 digest.
type Digest [32]byte

// String is the digest in hexadecimal, as sha256sum prints it.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText is String, so that a digest in JSON is what sha256sum prints.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("digest of %d characters, not %d", len(text), hex.EncodedLen(len(d)))
	}
	_, err := hex.Decode(d[:], text)
	return err
}
