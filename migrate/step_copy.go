package migrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/blockcopy"
)

// copyDisk copies the source to the payload, every byte, and records the
// digest of every chunk.
type copyDisk struct{}

var _ Step = copyDisk{}

func (copyDisk) Name() StepName { return Copy }

// Check goes by the record: nothing but the record tells a whole copy from
// one that lacks its last chunk.
func (copyDisk) Check(_ context.Context, job *Job, disk *DiskPlan) (Standing, error) {
	there, err := exists(job.chunksPath(disk))
	if err != nil || !there {
		return Absent, err
	}
	chunks, err := job.recorded(disk)
	var damaged *blockcopy.RecordError
	if errors.As(err, &damaged) {
		return Partial, nil // Do says so
	}
	if err != nil || chunks == nil {
		return Partial, err
	}
	defer chunks.Close() // it was only read
	if !job.isDone(key(Copy, disk)) || !chunks.Complete() {
		return Partial, nil
	}
	return Present, nil
}

// wholly says whether every chunk is recorded as copied, so that none is again.
func (j *Job) wholly(disk *DiskPlan) bool {
	chunks, err := j.recorded(disk)
	if err != nil || chunks == nil {
		return false
	}
	defer chunks.Close() // it was only read
	return chunks.Complete()
}

// copyNote is what is recorded of a copy, whenever it stops. Seconds and
// samples are of all its runs.
type copyNote struct {
	// Digest is "" of a copy that has not ended.
	Digest  string  `json:"digest,omitempty"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	Min     float64 `json:"min"`
	Median  float64 `json:"median"`
	Max     float64 `json:"max"`
	// Samples are the throughput over the copy's own time, run after run.
	Samples []throughput `json:"samples,omitempty"`
}

// throughput is a stretch of a copy: how long it was and what was copied in it.
type throughput struct {
	Seconds float64 `json:"seconds"`
	Bytes   int64   `json:"bytes"`
}

// notedSamples bounds what a note keeps, so that a journal stays something that
// people can look through. A copy of hours has one for some minutes.
const notedSamples = 240

// add takes in one run of the copy.
func (n *copyNote) add(result blockcopy.Result) {
	n.Seconds += result.Elapsed.Seconds()
	for _, s := range result.Samples {
		n.Samples = append(n.Samples, throughput{Seconds: math.Round(s.Elapsed.Seconds()*1000) / 1000, Bytes: s.Bytes})
	}
	var all []blockcopy.Sample
	for _, s := range n.Samples {
		all = append(all, blockcopy.Sample{Elapsed: time.Duration(s.Seconds * float64(time.Second)), Bytes: s.Bytes})
	}
	n.Min, n.Median, n.Max = blockcopy.Rates(all)
	for len(n.Samples) > notedSamples {
		half := n.Samples[:0]
		for pair := range slices.Chunk(n.Samples, 2) {
			sum := pair[0]
			if len(pair) == 2 {
				sum = throughput{Seconds: pair[0].Seconds + pair[1].Seconds, Bytes: pair[0].Bytes + pair[1].Bytes}
			}
			half = append(half, sum)
		}
		n.Samples = half
	}
}

func (copyDisk) Do(ctx context.Context, job *Job, disk *DiskPlan, _ Standing) error {
	if !job.wholly(disk) {
		if err := job.mayOverwrite(disk, errors.New("what is recorded of its copy is lost or damaged")); err != nil {
			return err
		}
	}
	if err := job.mendImage(ctx, disk); err != nil {
		return err
	}
	chunks, err := job.chunks(disk)
	if err != nil {
		return err
	}
	defer chunks.Close() // every checkpoint was flushed
	ctx, stop := job.guardSource(ctx)
	defer stop()
	result, err := job.copyAlone(ctx, disk, CopyRequest{
		Source: disk.Source, Target: disk.Where(), Image: disk.Filesystem != nil, Payload: disk.Bytes(), Chunks: chunks, Pace: job.Plan.Options.Pace,
		Unchecked: job.Plan.Options.Verify == VerifyNone,
		Progress:  job.progress(Copy, disk),
	})
	for _, remark := range result.Remarks {
		job.report(Event{Event: Warning, Step: Copy, Disk: disk.Target, Message: remark})
	}
	note, noteErr := job.copied(disk, chunks, result)
	if err != nil {
		// The copy ends with the context's cause: an interruption, or the
		// guard's word that the source was started. How fast it was until
		// then is no reason to fail otherwise.
		if noteErr == nil && result.Bytes > 0 {
			_ = job.note(Copy, disk, note)
		}
		return err
	}
	if noteErr != nil {
		return noteErr
	}
	job.say(Copy, disk, "%s at %s/s", humanize.IBytes(uint64(result.Bytes)), humanize.IBytes(uint64(float64(result.Bytes)/max(result.Elapsed.Seconds(), 0.001))))
	note.Digest = result.Digest.String()
	return job.note(Copy, disk, note)
}

// copied is the note of a copy so far: of this run, and of those before it
// whose chunks are not copied again.
func (j *Job) copied(disk *DiskPlan, chunks *blockcopy.Chunks, result CopyResult) (copyNote, error) {
	var note copyNote
	if chunks.DoneBytes() > result.Bytes {
		if _, err := j.noted(Copy, disk, &note); err != nil {
			return note, err
		}
	}
	note.Digest, note.Bytes = "", disk.Bytes()
	note.add(result.Result)
	return note, nil
}

// The host's LVM activates a guest's volume group a moment after it sees it,
// and so again a moment after a disk was let go of.
const (
	aloneTries = 6
	alonePause = 300 * time.Millisecond
)

// copyAlone copies to a payload that nothing else uses. A resumed one may hold
// enough of the guest's own volume group for the host's LVM to activate that as
// soon as the mapping appears: it is deactivated.
func (j *Job) copyAlone(ctx context.Context, disk *DiskPlan, request CopyRequest) (CopyResult, error) {
	for try := 1; ; try++ {
		result, err := j.Copier.Copy(ctx, request)
		var held *blockcopy.OpenError
		if !errors.As(err, &held) || !held.Busy || held.Path != disk.Device || try == aloneTries {
			return result, err
		}
		if _, err := j.Volumes.Deactivate(ctx, disk.Device); err != nil {
			return result, err
		}
		select {
		case <-ctx.Done():
			return result, context.Cause(ctx)
		case <-time.After(alonePause):
		}
	}
}

// Undo forgets what was copied; the bytes go with the volume.
func (copyDisk) Undo(_ context.Context, job *Job, disk *DiskPlan) error { return dropChunks(job, disk) }

// chunks opens the record of the chunks that are done, or begins one.
func (j *Job) chunks(disk *DiskPlan) (*blockcopy.Chunks, error) {
	chunks, err := j.recorded(disk)
	var damaged *blockcopy.RecordError
	switch {
	case errors.As(err, &damaged):
		// Without a record to trust the copy begins anew: slower, and safe.
		j.report(Event{Event: Warning, Step: Copy, Disk: disk.Target, Message: fmt.Sprintf("the copy begins anew: %v", err)})
	case err != nil || chunks != nil:
		return chunks, err
	}
	if err := dropChunks(j, disk); err != nil {
		return nil, err
	}
	return blockcopy.CreateChunks(j.chunksPath(disk), disk.Bytes(), disk.LUKSUUID)
}

// recorded opens the record of the chunks that are done. It is nil where there is
// none, or one of another header's payload, and the error a
// *blockcopy.RecordError for one that is damaged.
func (j *Job) recorded(disk *DiskPlan) (*blockcopy.Chunks, error) {
	chunks, err := blockcopy.LoadChunks(j.chunksPath(disk))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case chunks.Identity() != disk.LUKSUUID || chunks.Payload() != disk.Bytes():
		return nil, chunks.Close()
	}
	return chunks, nil
}

// progress passes a copy's or verification's progress on.
func (j *Job) progress(step StepName, disk *DiskPlan) func(blockcopy.Progress) {
	return func(p blockcopy.Progress) {
		j.report(Event{
			Event: Progress, Step: step, Disk: disk.Target,
			Bytes: p.Done, Total: p.Total, BytesPerSecond: p.BytesPerSecond, ETA: p.ETA,
		})
	}
}
