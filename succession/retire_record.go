package succession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// noteDown writes the record, and into the clone's metadata that its original is
// no more.
func (r *retiring) noteDown(ctx context.Context, _ *Retiree) error {
	record, err := r.record()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.recordPath()), 0o700); err != nil {
		return &journal.WriteError{Path: filepath.Dir(r.recordPath()), Err: err}
	}
	if err := writeFile(r.recordPath(), append(text, '\n')); err != nil {
		return err
	}
	r.said = r.recordPath()
	return r.mark(ctx, &domainxml.Retired{Time: record.Ended.Format(time.RFC3339), Method: string(r.Method), Kept: r.Keep})
}

// mark notes in the clone's metadata how it stands with its original.
func (r *retiring) mark(ctx context.Context, retired *domainxml.Retired) error {
	definition, err := r.Hypervisor.XML(ctx, r.CloneUUID)
	if err != nil {
		return err
	}
	origin, ours, err := domainxml.ReadOrigin(definition)
	if err != nil || !ours {
		return errors.Join(err, fmt.Errorf("the VM %q is no clone any more", r.Clone))
	}
	origin.Retired = retired
	return r.Clones.SetOrigin(ctx, r.CloneUUID, origin)
}

// recordPath is where the record is.
func (r *retiring) recordPath() string {
	return filepath.Join(r.Store.Dir, "records", r.Job+".json")
}

func (r *retiring) record() (RetireRecord, error) {
	host, err := os.Hostname()
	if err != nil {
		return RetireRecord{}, err
	}
	record := RetireRecord{
		Version: r.Version, Job: r.Job, Host: host, VM: r.Original, VMUUID: r.OriginalUUID, Clone: r.Clone, CloneUUID: r.CloneUUID,
		Method: r.Method, Began: r.Began, Ended: r.Now().UTC(), Evidence: r.Evidence, Limits: r.Words, Removed: []string{}, Errors: []string{},
		Disks: []DiskRecord{},
	}
	if record.Limits == nil {
		record.Limits = []string{}
	}
	for i := range r.Disks {
		disk := &r.Disks[i]
		wiped, err := r.noted(migrate.Wipe, disk)
		if err != nil {
			return record, err
		}
		read, err := r.noted(migrate.ReadBack, disk)
		if err != nil {
			return record, err
		}
		removed, err := r.removed(disk)
		if err != nil {
			return record, err
		}
		record.Disks = append(record.Disks, DiskRecord{
			Disk: disk.Target, Path: disk.Path, ID: disk.ID, Kind: disk.Kind, Bytes: disk.Size, Overwritten: wiped.Overwritten, Discarded: wiped.Discarded,
			Seconds: wiped.Seconds, Verified: read.Digest != "", Digest: read.Digest, Removed: removed,
		})
	}
	if r.Defined {
		record.Removed = append(record.Removed, "the definition of "+r.Original)
	}
	for _, file := range r.Files {
		if there, err := exists(file.Path); err == nil && !there {
			record.Removed = append(record.Removed, file.What+": "+file.Path)
		}
	}
	for _, one := range r.errand.Records() {
		if one.Kind == journal.Failed {
			var text string
			_ = json.Unmarshal(one.Data, &text) // it is only for show
			record.Errors = append(record.Errors, strings.TrimSpace(one.Step+" "+one.Disk)+": "+text)
		}
	}
	return record, nil
}

// RetireRecord is what is left of an original: a document for whoever has to
// show that its plain disks are gone. Its schema is docs/retirement.schema.json.
type RetireRecord struct {
	// Version is that of vmmigrate, and Job the job's id.
	Version string `json:"version"`
	Job     string `json:"job"`
	// Host is the name of the host.
	Host string `json:"host"`
	// VM and VMUUID are the original's, and Clone and CloneUUID those of the
	// VM on encrypted disks that stays.
	VM        string `json:"vm"`
	VMUUID    string `json:"vm_uuid"`
	Clone     string `json:"clone"`
	CloneUUID string `json:"clone_uuid"`
	// Method is how its disks were wiped.
	Method Method `json:"method"`
	// Began and Ended are when, as in RFC 3339.
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	// Evidence says how it is known that the clone has run.
	Evidence string `json:"evidence"`
	// Disks are its disks.
	Disks []DiskRecord `json:"disks"`
	// Removed are the files that libvirt kept for it beside its disks, and its
	// definition.
	Removed []string `json:"removed"`
	// Errors are the failures on the way, each followed by another try.
	Errors []string `json:"errors"`
	// Limits say what the method can't do on these disks, as the user was
	// told.
	Limits []string `json:"limits"`
}

// DiskRecord is what became of one plain disk.
type DiskRecord struct {
	// Disk is its target in the VM, Path its file or device, and ID the UUID of
	// the volume or the number of the file's inode.
	Disk string `json:"disk"`
	Path string `json:"path"`
	ID   string `json:"id"`
	// Kind says in words what it was.
	Kind string `json:"kind"`
	// Bytes is its size, and Overwritten how many bytes were written to it:
	// with discard those only that did not read as zeros after it.
	Bytes       int64 `json:"bytes"`
	Overwritten int64 `json:"overwritten"`
	// Discarded says whether the device was told that all of it is free.
	Discarded bool `json:"discarded"`
	// Seconds is how long it took, the read-back aside.
	Seconds float64 `json:"seconds"`
	// Verified says that every byte was read back and is what was written,
	// or zero.
	Verified bool `json:"verified"`
	// Digest is SHA-256 over the SHA-256 digests of the 4 MiB chunks that were
	// read back, in order, in hexadecimal.
	Digest string `json:"digest"`
	// Removed says whether the volume or file is gone.
	Removed bool `json:"removed"`
}
