package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

// resampled is how many finished chunks a resume reads again from the source:
// the first few, where partition tables and the first superblock are, which any
// boot of the guest writes to; the last; and others spread evenly.
const (
	resampledFirst  = 4
	resampledSpread = 12
)

// sourceStillCopied reads some of the chunks that were copied before the job
// stopped again from the source. One that reads differently means that the
// source was written meanwhile: what is left of it belongs to another state of
// the disk than what was copied.
func (j *Job) sourceStillCopied(ctx context.Context, disk *DiskPlan) error {
	chunks, err := blockcopy.LoadChunks(j.chunksPath(disk))
	var damaged *blockcopy.RecordError
	if errors.Is(err, os.ErrNotExist) || errors.As(err, &damaged) {
		return nil // the copy begins anew
	}
	if err != nil {
		return err
	}
	defer chunks.Close() // it was only read
	indices := sample(chunks)
	digests, err := j.Copier.SourceDigests(ctx, disk.Source, disk.Bytes(), indices, j.Plan.Options.Pace)
	for i, got := range digests {
		want, err := chunks.Digest(indices[i])
		if err != nil {
			return err
		}
		if got != want {
			return &SourceChangedError{Disk: disk.Target, Path: disk.Source.Path, Reason: fmt.Sprintf(
				"the 4 MiB from byte %d read differently than when they were copied", indices[i]*blockcopy.ChunkSize)}
		}
	}
	return err
}

// sample picks the chunks to read again from those that are done.
func sample(chunks *blockcopy.Chunks) []int64 {
	var done []int64
	for index := range chunks.Len() {
		if chunks.Done(index) {
			done = append(done, index)
		}
	}
	if len(done) <= resampledFirst+resampledSpread {
		return done
	}
	picked := append([]int64(nil), done[:resampledFirst]...)
	rest := done[resampledFirst:]
	for i := range resampledSpread {
		picked = append(picked, rest[i*(len(rest)-1)/(resampledSpread-1)])
	}
	return picked
}
