package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
)

// Version is the format this package writes. A journal of a newer version is
// refused with a *VersionError.
const Version = 1

// Kind says what a record is about.
type Kind string

// The kinds of record.
const (
	// Begin is the first record: the version and the plan.
	Begin Kind = "begin"
	// Intent says that a step is about to act.
	Intent Kind = "intent"
	// Done says that a step's effect stands and has been flushed.
	Done Kind = "done"
	// Undoing says that a step is about to be undone.
	Undoing Kind = "undoing"
	// Undone says that a step's effect is gone.
	Undone Kind = "undone"
	// Note records a fact learnt on the way, such as the copy's digest.
	Note Kind = "note"
	// Failed says why a run stopped.
	Failed Kind = "failed"
	// End says that the job is finished.
	End Kind = "end"
)

// Record is one line of a journal.
type Record struct {
	// Seq counts from 1 without a gap.
	Seq int64 `json:"seq"`
	// Time is when the record was written, by the host's clock. It is for
	// people: nothing is decided by it, so a clock set back does no harm.
	Time time.Time `json:"time"`
	// Version is the format's, in the Begin record only.
	Version int `json:"version,omitempty"`
	// Kind says what the record is about.
	Kind Kind `json:"kind"`
	// Step is the step's name, for the kinds that have one.
	Step string `json:"step,omitempty"`
	// Disk is the target name of the disk the step is about, such as "vda";
	// empty for a step that is about the whole VM.
	Disk string `json:"disk,omitempty"`
	// Data is what the writer of the record wants to find again.
	Data json.RawMessage `json:"data,omitempty"`
}

// castagnoli is the CRC that storage uses (iSCSI, ext4, btrfs).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// prefixLen is the length of "LENGTH CRC ".
const prefixLen = 8 + 1 + 8 + 1

// encode renders a record as one line.
func encode(r Record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode journal record %d: %w", r.Seq, err)
	}
	line := fmt.Appendf(nil, "%08x %08x ", len(body), crc32.Checksum(body, castagnoli))
	line = append(line, body...)
	return append(line, '\n'), nil
}

// decodeLine reads the record at the start of data and how many bytes it
// takes. ok is false when there is no whole, undamaged record there.
func decodeLine(data []byte) (r Record, size int, ok bool) {
	if len(data) < prefixLen || data[8] != ' ' || data[17] != ' ' {
		return Record{}, 0, false
	}
	length, err := strconv.ParseUint(string(data[:8]), 16, 32)
	if err != nil {
		return Record{}, 0, false
	}
	sum, err := strconv.ParseUint(string(data[9:17]), 16, 32)
	if err != nil {
		return Record{}, 0, false
	}
	if uint64(len(data)) < prefixLen+length+1 {
		return Record{}, 0, false
	}
	body := data[prefixLen : prefixLen+length]
	if data[prefixLen+length] != '\n' || crc32.Checksum(body, castagnoli) != uint32(sum) {
		return Record{}, 0, false
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return Record{}, 0, false
	}
	return r, prefixLen + int(length) + 1, true
}

// decode reads all records of a journal and the length of their whole part.
// It returns a *DamagedError or *VersionError for a journal that is not to be
// trusted; path is for those.
func decode(path string, data []byte) (records []Record, whole int64, err error) {
	offset := 0
	for offset < len(data) {
		r, size, ok := decodeLine(data[offset:])
		if !ok {
			break
		}
		if r.Seq != int64(len(records))+1 {
			return nil, 0, &DamagedError{Path: path, Offset: int64(offset), Reason: fmt.Sprintf("record %d stands where record %d belongs", r.Seq, len(records)+1)}
		}
		if r.Seq == 1 && r.Version > Version {
			return nil, 0, &VersionError{Path: path, Version: r.Version}
		}
		if r.Seq == 1 && (r.Kind != Begin || r.Version < 1) {
			return nil, 0, &DamagedError{Path: path, Offset: 0, Reason: "the first record is not the beginning of a job"}
		}
		records = append(records, r)
		offset += size
	}
	// What is left is a torn record only if no whole record follows in it: a
	// record is written with one call, so a crash leaves at most its head,
	// or a head and zeros where the file grew before its data arrived.
	rest := data[offset:]
	for i := range rest {
		if _, _, ok := decodeLine(rest[i:]); ok {
			return nil, 0, &DamagedError{Path: path, Offset: int64(offset), Reason: "a record is damaged and whole records follow it"}
		}
	}
	if len(rest) > 0 && bytes.Count(rest, []byte{'\n'}) > 1 {
		return nil, 0, &DamagedError{Path: path, Offset: int64(offset), Reason: "several records are damaged"}
	}
	return records, int64(offset), nil
}
