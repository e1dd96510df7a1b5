package migrate

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

// Verification is what comparing a source with its payload found.
type Verification struct {
	Target string `json:"target"`
	Source string `json:"source"`
	Device string `json:"device"`
	Bytes  int64  `json:"bytes"`
	// Equal says whether all bytes are the same, and Digest is then the job's
	// digest of them.
	Equal  bool   `json:"equal"`
	Digest string `json:"digest,omitempty"`
	// Recorded is the digest that the copy recorded, if it is still there.
	Recorded string `json:"recorded,omitempty"`
	// Difference says where they differ first.
	Difference string `json:"difference,omitempty"`
}

// LockedPayloadError says that a payload is not open, so that it can't be read.
type LockedPayloadError struct {
	// Mapper is its name, and Volume the path of the LUKS volume.
	Mapper, Volume string
	// HeaderFile is the file that its header is in, or "" where it is on the volume.
	HeaderFile string
	// Mount is the folder where its file system is not mounted, where only that
	// is missing.
	Mount string
	// Clone is the domain with that disk, or "" where there is none yet.
	Clone string
}

func (e *LockedPayloadError) Error() string {
	if e.Mount != "" {
		return "the mapping " + e.Mapper + " is open, but its file system is not mounted on " + e.Mount
	}
	return "the mapping " + e.Mapper + " is not open"
}

// Verify reads the sources and payloads of a job again and compares them. It
// changes nothing. A difference is a result, and also a *DifferenceError.
func (e *Engine) Verify(ctx context.Context, id string) ([]Verification, error) {
	job, err := e.open(id)
	if err != nil {
		return nil, err
	}
	defer job.close()
	// A running guest writes to its disk while we read it: whatever came out
	// would mean nothing. The clone is looked at first: with its original's place
	// it also has the name and UUID by which the original was known.
	clone := ""
	if domain, found, err := job.clone(ctx); err == nil && found {
		if clone = domain.Name; domain.State.Active() {
			return nil, &CloneStartedError{Clone: clone, Running: true}
		}
	}
	if err := job.sourcesAtRest(ctx); err != nil {
		return nil, err
	}
	var found []Verification
	var differences []error
	for i := range job.Plan.Disks {
		v, err := job.verify(ctx, &job.Plan.Disks[i])
		var locked *LockedPayloadError
		if errors.As(err, &locked) {
			locked.Clone = clone
		}
		var differs *DifferenceError
		if err != nil && !errors.As(err, &differs) {
			return found, err
		}
		if err != nil {
			differences = append(differences, err)
		}
		found = append(found, v)
	}
	return found, errors.Join(differences...)
}

func (j *Job) verify(ctx context.Context, disk *DiskPlan) (Verification, error) {
	v := Verification{Target: disk.Target, Source: disk.Source.Path, Device: disk.Where(), Bytes: disk.Bytes()}
	mapping, err := j.mapping(ctx, disk)
	if err != nil {
		return v, err
	}
	if !mapping.open {
		return v, &LockedPayloadError{Mapper: disk.Mapper, Volume: disk.Volume.Path, HeaderFile: disk.HeaderFile}
	}
	if !strings.EqualFold(mapping.UUID, disk.LUKSUUID) {
		return v, planned(mapping.Mapping, disk)
	}
	on, err := j.liesOn(ctx, mapping.Mapping, disk)
	if err == nil && !on {
		err = elsewhere(mapping.Mapping, disk)
	}
	if err != nil {
		return v, err
	}
	if open, err := j.readable(ctx, disk); disk.Filesystem != nil && (err != nil || !open) {
		return v, cmp.Or(err, error(&LockedPayloadError{Mapper: disk.Mapper, Volume: disk.Volume.Path, Mount: disk.Filesystem.Mount}))
	}
	if chunks, err := blockcopy.LoadChunks(j.chunksPath(disk)); err == nil {
		if digest, err := chunks.JobDigest(); err == nil {
			v.Recorded = digest.String()
		}
		_ = chunks.Close() // it was only read
	} else if !errors.Is(err, os.ErrNotExist) {
		return v, err
	}
	result, err := j.Copier.Verify(ctx, VerifyRequest{
		Payload: disk.Where(), Image: disk.Filesystem != nil, Bytes: disk.Bytes(), Source: &disk.Source,
		Pace: j.Plan.Options.Pace, Progress: j.progress(Verify, disk),
	})
	var differs *blockcopy.MismatchError
	if errors.As(err, &differs) {
		v.Difference = err.Error()
		return v, &DifferenceError{Disk: disk.Target, Err: err}
	}
	if err != nil {
		return v, err
	}
	v.Equal, v.Digest = true, result.Digest.String()
	return v, nil
}
