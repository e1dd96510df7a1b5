package migrate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

func TestARecordThatAKillLeftHalfMadeGoesWithTheRecord(t *testing.T) {
	job := &Job{Dir: t.TempDir()}
	keep := []string{"journal", "vdb.chunks", ".vdb.chunks123", "vda.luks-header"}
	for _, name := range append(keep, "vda.chunks", ".vda.chunks4660662925261235454") {
		if err := os.WriteFile(filepath.Join(job.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := dropChunks(job, &DiskPlan{Target: "vda"}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(job.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(keep) {
		t.Errorf("left: %v", entries)
	}
}

// formatForeign writes a header of somebody else's on the first disk's volume.
func (w *world) formatForeign(t *testing.T, plan *Plan) {
	t.Helper()
	key, err := luks.NewKey([]byte("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.luks.Format(w.context(), luks.FormatSpec{
		Device: plan.Disks[0].Volume.Path, UUID: foreignLUKS, Type: luks.LUKS2, Cipher: "aes-xts-plain64", KeySize: 512, Hash: "sha512",
		SectorSize: 512, Offset: plan.Disks[0].Offset,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
}

func TestAHeaderThatAPowerCutKeptFromBeingWipedIsReplaced(t *testing.T) {
	w := newWorld(t)
	plan := w.planned()
	before := w.look()
	w.heard = func(event Event) {
		if event.Event == StepDone && event.Step == CreateVolume && event.Disk == plan.Disks[0].Target {
			w.formatForeign(t, plan)
		}
	}
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	w.wantMoved(before, plan, "an old header on the new volume")
}

func TestAHeaderThatHasReplacedOursIsRefused(t *testing.T) {
	w := newWorld(t)
	plan := w.planned()
	if _, err := w.run(plan, Format); !errors.Is(err, ErrStopAfter) {
		t.Fatal(err)
	}
	w.formatForeign(t, plan)
	_, err := w.resume(plan.Job)
	var stopped *StepError
	var conflict *ConflictError
	if !errors.As(err, &stopped) || stopped.Step != Format || !errors.As(err, &conflict) {
		t.Errorf("resume: %v", err)
	}
}

// awayGroup is LVM while the disks of a volume group are not attached.
type awayGroup struct{ Volumes }

func (awayGroup) LV(_ context.Context, vg, _ string) (lvm.LV, error) {
	return lvm.LV{}, &lvm.NotFoundError{Kind: "volume group", Name: vg}
}

func (awayGroup) Remove(context.Context, string, string, string) error { return nil }

func TestAVolumeWhoseGroupIsAwayIsNotTakenForRemoved(t *testing.T) {
	job := &Job{Env: &Env{Volumes: awayGroup{}}, Plan: &Plan{Job: "1"}}
	var missing *lvm.NotFoundError
	if err := (createVolume{}).Undo(t.Context(), job, &DiskPlan{}); !errors.As(err, &missing) {
		t.Errorf("undone, it says: %v", err)
	}
}
