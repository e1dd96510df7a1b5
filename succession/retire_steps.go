package succession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/google/renameio/v2"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// definitionFile is the original's definition in the job's folder. It stays there,
// for root alone.
const definitionFile = "original.xml"

func writeFile(path string, data []byte) error {
	err := renameio.WriteFile(path, data, 0o600, renameio.WithPermissions(0o600))
	if err == nil {
		// renameio flushes the file and not its name.
		err = syncPath(filepath.Dir(path))
	}
	if err != nil {
		return &journal.WriteError{Path: path, Err: err}
	}
	return nil
}

// putAway undefines the original, its managed save image included; its definition
// is kept, and its firmware's state is until its disks are wiped.
func (r *retiring) putAway(ctx context.Context, _ *Retiree) error {
	// From now on the clone's disks may be the only ones: its job must not be
	// rolled back.
	if err := r.mark(ctx, &domainxml.Retired{Method: string(r.Method), Kept: r.Keep}); err != nil {
		return err
	}
	if !r.Defined {
		return nil
	}
	domain, err := r.Hypervisor.DomainByUUID(ctx, r.OriginalUUID)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if domain.State.Active() {
		return &PartyError{VM: domain.Name, Clone: r.Clone, Problem: Active, State: domain.State}
	}
	kept, err := os.ReadFile(filepath.Join(r.errand.Dir, definitionFile))
	if errors.Is(err, os.ErrNotExist) || err == nil && sum(kept) != r.Sum {
		// The crash came before it was on disk.
		if kept, err = r.Hypervisor.XML(ctx, r.OriginalUUID); err == nil {
			err = writeFile(filepath.Join(r.errand.Dir, definitionFile), kept)
		}
	}
	if err != nil {
		return err
	}
	if now, err := r.Hypervisor.XML(ctx, r.OriginalUUID); err != nil {
		return err
	} else if string(now) != string(kept) {
		return changed(Identity{Name: domain.Name, UUID: domain.UUID}, "its definition was edited")
	}
	return r.Hypervisor.Purge(ctx, r.OriginalUUID)
}

// bringBack defines the original again.
func (r *retiring) bringBack(ctx context.Context) error {
	if err := r.defineAgain(ctx); err != nil {
		return err
	}
	return r.mark(ctx, nil)
}

func (r *retiring) defineAgain(ctx context.Context) error {
	if !r.Defined {
		return nil
	}
	if _, err := r.Hypervisor.DomainByUUID(ctx, r.OriginalUUID); !isGone(err) {
		return err
	}
	kept, err := os.ReadFile(filepath.Join(r.errand.Dir, definitionFile))
	if err != nil {
		return err
	}
	domain, err := r.Hypervisor.Define(ctx, kept)
	if err != nil {
		return err
	}
	return r.Hypervisor.SetAutostart(ctx, domain.UUID, r.Autostart)
}

// sure looks once more, right before something is done to a disk that can't be
// taken back, that it is the one of the plan and that nobody uses it.
func (r *retiring) sure(ctx context.Context, disk *Retiree) error {
	if off, domain, err := r.isOff(ctx, r.OriginalUUID); err != nil || !off {
		if err == nil {
			err = &PartyError{VM: domain.Name, Clone: r.Clone, Problem: Active, State: domain.State}
		}
		return err
	}
	// The clone has to be there still: its volumes are all there is from now on.
	if _, err := r.Hypervisor.DomainByUUID(ctx, r.CloneUUID); err != nil {
		return err
	}
	facts, err := r.Plain.Look(ctx, disk.Path)
	if err != nil {
		return err
	}
	kind, id, _ := strings.Cut(disk.ID, " ")
	switch {
	case facts.Block != disk.Block || facts.Size != disk.Size:
		return fmt.Errorf("%s has changed: it is %s of %d bytes now", disk.Path, map[bool]string{true: "a device", false: "a file"}[facts.Block], facts.Size)
	case kind == "file" && fmt.Sprint(facts.Inode) != id:
		return fmt.Errorf("%s is another file by now", disk.Path)
	}
	if kind == "lv" {
		if err := r.sameVolume(ctx, disk, id); err != nil {
			return err
		}
	}
	u, err := r.newUsers(ctx, []Retiree{*disk}, r.OriginalUUID)
	if err != nil {
		return err
	}
	reasons, err := u.find(ctx)
	if err == nil && len(reasons) > 0 {
		err = &RetireBlockedError{Clone: r.Clone, Original: r.Original, Reasons: reasons}
	}
	if err != nil {
		return err
	}
	holders, err := r.Holders(disk.Path)
	if err == nil && len(holders) > 0 {
		err = fmt.Errorf("%s is in use by %s", disk.Path, strings.Join(holders, ", "))
	}
	return err
}

func (r *retiring) sameVolume(ctx context.Context, disk *Retiree, uuid string) error {
	volumes, err := r.Volumes.LVs(ctx)
	if err != nil {
		return err
	}
	for _, volume := range volumes {
		if volume.VG == disk.VG && volume.Origin == disk.LV {
			return fmt.Errorf("%s/%s is a snapshot of %s", volume.VG, volume.Name, disk.Path)
		}
	}
	for _, volume := range volumes {
		if volume.UUID != uuid {
			continue
		}
		if volume.VG != disk.VG || volume.Name != disk.LV || volume.Size != disk.Size {
			return fmt.Errorf("the volume of %s is %s/%s by now, with %d bytes", disk.Path, volume.VG, volume.Name, volume.Size)
		}
		if !volume.Active {
			return r.Volumes.Activate(ctx, volume.VG, volume.Name)
		}
		return nil
	}
	return fmt.Errorf("the volume of %s is gone", disk.Path)
}

// wipeNote is what is recorded of a wipe, over all its runs.
type wipeNote struct {
	Discarded   bool    `json:"discarded"`
	Overwritten int64   `json:"overwritten"`
	Seconds     float64 `json:"seconds"`
	Digest      string  `json:"digest,omitempty"`
}

func (r *retiring) noted(step migrate.StepName, disk *Retiree) (wipeNote, error) {
	var n wipeNote
	record, found := r.notes[retireKey{step, disk.Target}]
	if !found {
		return n, nil
	}
	err := json.Unmarshal(record.Data, &n)
	return n, err
}

// wipe wipes one disk, from where an earlier run stopped.
func (r *retiring) wipe(ctx context.Context, disk *Retiree) error {
	if err := r.sure(ctx, disk); err != nil {
		return err
	}
	chunks, err := r.chunks(disk)
	if err != nil {
		return err
	}
	defer chunks.Close() // every checkpoint was flushed
	before, err := r.noted(migrate.Wipe, disk)
	if err != nil {
		return err
	}
	// From here on there is no way back.
	if err := r.note(migrate.Wipe, disk, before); err != nil {
		return err
	}
	result, err := Wipe(ctx, WipeRequest{
		Path: disk.Path, Size: disk.Size, Method: r.Method, Discarded: before.Discarded, Chunks: chunks, Pace: r.Pace, Random: r.Random,
		Told: func() error {
			before.Discarded = true
			return r.note(migrate.Wipe, disk, before)
		},
		Progress: r.progress(migrate.Wipe, disk),
	})
	before.Overwritten += result.Overwritten
	before.Seconds += result.Elapsed.Seconds()
	if noteErr := r.note(migrate.Wipe, disk, before); err == nil {
		err = noteErr
	}
	if err != nil {
		return err
	}
	r.said = fmt.Sprintf("%s at %s/s", humanize.IBytes(uint64(result.Bytes)), humanize.IBytes(uint64(float64(result.Bytes)/max(result.Elapsed.Seconds(), 0.001))))
	if r.Method == Discard {
		r.said = fmt.Sprintf("%s discarded, %s of it overwritten since it did not read as zeros", humanize.IBytes(uint64(disk.Size)), humanize.IBytes(uint64(before.Overwritten)))
	}
	return nil
}

func (r *retiring) chunksPath(disk *Retiree) string {
	return filepath.Join(r.errand.Dir, filepath.Base(filepath.Clean("/"+disk.Target))+".chunks")
}

// chunks opens the record of what is wiped, or begins one. One that is damaged
// begins anew: slower, and safe.
func (r *retiring) chunks(disk *Retiree) (*blockcopy.Chunks, error) {
	path := r.chunksPath(disk)
	chunks, err := blockcopy.LoadChunks(path)
	var damaged *blockcopy.RecordError
	switch {
	case err == nil && chunks.Identity() == disk.ID && chunks.Payload() == disk.Size:
		return chunks, nil
	case err == nil:
		_ = chunks.Close() // it was only read
	case !errors.Is(err, os.ErrNotExist) && !errors.As(err, &damaged):
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return blockcopy.CreateChunks(path, disk.Size, disk.ID)
}

// readBack reads the disk and compares it with what was written.
func (r *retiring) readBack(ctx context.Context, disk *Retiree) error {
	chunks, err := r.chunks(disk)
	if err != nil {
		return err
	}
	defer chunks.Close() // it was only read
	if !chunks.Complete() {
		// Its record was lost: it is wiped anew.
		if err := r.wipe(ctx, disk); err != nil {
			return err
		}
		_ = chunks.Close() // it was only read
		if chunks, err = r.chunks(disk); err != nil {
			return err
		}
	}
	result, err := ReadBack(ctx, disk.Path, chunks, r.Pace, r.progress(migrate.ReadBack, disk))
	if err != nil {
		return err
	}
	r.said = "every byte is " + map[bool]string{true: "random, as it was written", false: "zero"}[r.Method == Random]
	return r.note(migrate.ReadBack, disk, wipeNote{Digest: result.Digest.String()})
}

func (r *retiring) progress(step migrate.StepName, disk *Retiree) func(blockcopy.Progress) {
	return func(p blockcopy.Progress) {
		r.report(migrate.Event{Event: migrate.Progress, Step: step, Disk: disk.Target, Bytes: p.Done, Total: p.Total, BytesPerSecond: p.BytesPerSecond, ETA: p.ETA})
	}
}
