package migrate

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// moved is a world in which imap has been migrated.
func moved(t *testing.T, options Options) (w *world, before look, plan *Plan) {
	t.Helper()
	w = newWorld(t)
	before = w.look()
	plan = w.plan(options)
	w.disarm()
	if _, err := w.run(plan, ""); err != nil {
		t.Fatal(err)
	}
	w.disarm()
	return w, before, plan
}

// guestWrites changes a byte of the clone's disk, as its guest would.
func (w *world) guestWrites(device string) {
	w.t.Helper()
	p, err := w.payload(device)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	p.live = append([]byte(nil), p.live...)
	p.live[0]++
	p.synced = append([]byte(nil), p.live...)
}

func TestACloneThatRunsIsNotRemovedEvenWithForce(t *testing.T) {
	w, before, plan := moved(t, options())
	w.virt.quietly("imap-luks", hypervisor.Running)
	after := w.look()
	for _, force := range []bool{false, true} {
		var started *CloneStartedError
		if err := w.rollback(plan.Job, force); !errors.As(err, &started) || !started.Running || started.Clone != "imap-luks" {
			t.Errorf("force %v: %v", force, err)
		}
	}
	w.wantSame(after, "refused")
	w.virt.quietly("imap-luks", hypervisor.ShutOff)
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "rolled back")
}

func TestACloneThatMayHaveWrittenIsRemovedOnlyWithForce(t *testing.T) {
	for evidence, change := range map[string]func(*world, *Plan){
		"its disk vda differs from the copy":               func(w *world, plan *Plan) { w.guestWrites(plan.Disks[0].Device) },
		"its disk vdb differs from the copy":               func(w *world, plan *Plan) { w.guestWrites(plan.Disks[1].Device) },
		"its disk vda is locked":                           func(w *world, _ *Plan) { w.cutPower() },
		"the record of the copy is gone":                   func(w *world, plan *Plan) { _ = os.Remove(w.state + "/jobs/" + plan.Job + "/vda.chunks") },
		"its disk vdb is locked, so that it can't be comp": func(w *world, plan *Plan) { _ = w.luks.Close(w.context(), plan.Disks[1].Mapper) },
	} {
		w, before, plan := moved(t, options())
		change(w, plan)
		after := w.look()
		var started *CloneStartedError
		if err := w.rollback(plan.Job, false); !errors.As(err, &started) || started.Running || !strings.HasPrefix(started.Evidence, evidence) {
			t.Errorf("%s: %v", evidence, err)
		}
		// What can be told without reading is told before anybody is asked.
		started = nil
		if err := (&Engine{Env: w.env()}).Refusal(w.context(), plan.Job, false); errors.As(err, &started) == strings.Contains(evidence, "differs") {
			t.Errorf("%s, at once: %v", evidence, err)
		}
		if err := (&Engine{Env: w.env()}).Refusal(w.context(), plan.Job, true); err != nil {
			t.Errorf("%s, at once, with force: %v", evidence, err)
		}
		w.wantSame(after, evidence)
		if err := w.rollback(plan.Job, true); err != nil {
			t.Errorf("%s, with force: %v", evidence, err)
		}
		w.wantSame(before, evidence)
	}
}

func TestARollbackThatCantLookDoesNothing(t *testing.T) {
	w, _, plan := moved(t, options())
	after := w.look()
	for at, point := range points(t, newWorld, func(w *world) {
		plan := w.planned()
		_, _ = w.run(plan, "")
		w.disarm()
		_ = w.rollback(plan.Job, false)
	}) {
		if strings.HasPrefix(point, "act: ") {
			break // from here on it does what it came for
		}
		w.arm(at, failBefore)
		if err := w.rollback(plan.Job, false); point != record && !errors.Is(err, errFailed) {
			t.Errorf("%d (%s): %v", at, point, err)
		}
		if point == record {
			break
		}
		w.wantSame(after, point)
	}
}

// Another VM, volume or mapping of our names is another's, whatever it is
// called.
func TestARollbackLeavesWhatBearsNoMarkOfOurs(t *testing.T) {
	w, _, plan := moved(t, options())
	ctx := w.context()
	w.virt.remove(t, "imap-luks")
	w.virt.add(t, definition("imap-luks", twinUUID, "", ""))
	for _, disk := range plan.Disks {
		if err := errors.Join(w.luks.Close(ctx, disk.Mapper), w.lvm.Remove(ctx, "vg0", disk.Volume.Name, plan.Tag())); err != nil {
			t.Fatal(err)
		}
	}
	disk := plan.Disks[0]
	key, err := luks.NewKey([]byte("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.lvm.Create(ctx, lvmSpec("vg0", disk.Volume.Name, 20*mib, "vmmigrate.job=another")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.luks.Format(ctx, luks.FormatSpec{
		Device: disk.Volume.Path, UUID: foreignLUKS, Type: luks.LUKS2, Cipher: "aes-xts-plain64", KeySize: 512, Hash: "sha512", SectorSize: 512, Offset: 16 * mib,
	}, key); err != nil {
		t.Fatal(err)
	}
	if err := w.luks.Open(ctx, disk.Volume.Path, disk.Mapper, key, luks.OpenOptions{}); err != nil {
		t.Fatal(err)
	}
	theirs := w.look()
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	now := w.look()
	for _, name := range []string{"domain imap-luks", "volume vg0/imap-vda-luks", "header " + disk.Volume.Path, "mapping " + disk.Mapper} {
		if theirs[name] == "" || now[name] != theirs[name] {
			t.Errorf("%s was %q and is %q", name, theirs[name], now[name])
		}
	}
}

// A domain that has our clone's name and UUID but not our metadata is not ours
// either: somebody defined it anew.
func TestACloneWithoutOurMetadataIsNotUndefined(t *testing.T) {
	w, _, plan := moved(t, options())
	w.virt.remove(t, "imap-luks")
	w.virt.add(t, definition("imap-luks", plan.Clone.UUID, "", ""))
	theirs := w.look()["domain imap-luks"]
	if err := w.rollback(plan.Job, true); err != nil {
		t.Fatal(err)
	}
	if now := w.look()["domain imap-luks"]; now != theirs {
		t.Errorf("it is %q", now)
	}
}

// What was cloned from our clone bears its metadata, and is another's.
func TestACloneOfOurCloneIsNotUndefined(t *testing.T) {
	w, _, plan := moved(t, options())
	xml, err := w.virt.XML(w.context(), plan.Clone.UUID)
	if err != nil {
		t.Fatal(err)
	}
	w.virt.remove(t, "imap-luks")
	w.virt.add(t, bytes.ReplaceAll(xml, []byte("<uuid>"+plan.Clone.UUID), []byte("<uuid>"+twinUUID)))
	theirs := w.look()["domain imap-luks"]
	if err := w.rollback(plan.Job, true); err != nil {
		t.Fatal(err)
	}
	if now := w.look()["domain imap-luks"]; now != theirs || !strings.Contains(now, twinUUID) {
		t.Errorf("it was %q and is %q", theirs, now)
	}
}

// After a cutover the clone bears its original's name and UUID, and its disks are
// those that a rollback would remove. Half-way both definitions are there.
func TestTheJobOfACloneThatWasCutOverIsNotRolledBack(t *testing.T) {
	for _, half := range []bool{false, true} {
		w, _, plan := moved(t, options())
		xml, err := w.virt.XML(w.context(), plan.Clone.UUID)
		if err != nil {
			t.Fatal(err)
		}
		cut, err := domainxml.Rewrite(xml, domainxml.Edit{Same: true, Name: "imap-now", UUID: twinUUID, Origin: &domainxml.Origin{
			UUID: plan.VMUUID, Cutover: &domainxml.Cutover{Name: plan.Clone.Name, UUID: plan.Clone.UUID},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !half {
			w.virt.remove(t, "imap-luks")
		}
		w.virt.add(t, cut.XML)
		after := w.look()
		for _, force := range []bool{false, true} {
			var renamed *CloneRenamedError
			if err := w.rollback(plan.Job, force); !errors.As(err, &renamed) || renamed.Now != "imap-now" {
				t.Errorf("half %v, force %v: %v", half, force, err)
			}
		}
		w.wantSame(after, "refused")
	}
}

// Once the original is retired, or being so, the clone's disks are all there is.
func TestTheJobOfACloneWhoseOriginalWasRetiredIsNotRolledBack(t *testing.T) {
	for _, time := range []string{"", "2026-11-22T09:30:12Z"} {
		w, _, plan := moved(t, options())
		xml, err := w.virt.XML(w.context(), plan.Clone.UUID)
		if err != nil {
			t.Fatal(err)
		}
		retired := bytes.Replace(xml, []byte("</vmmigrate:clone>"), []byte(`<vmmigrate:retired time="`+time+`" method="zero" kept="no"/></vmmigrate:clone>`), 1)
		w.virt.remove(t, "imap-luks")
		w.virt.add(t, retired)
		after := w.look()
		for _, force := range []bool{false, true} {
			var only *OriginalRetiredError
			if err := w.rollback(plan.Job, force); !errors.As(err, &only) {
				t.Errorf("force %v: %v", force, err)
			}
		}
		w.wantSame(after, "refused")
	}
}

// What lies under something that could not be taken back stays.
func TestACloneThatCantBeUndefinedKeepsItsDisks(t *testing.T) {
	all := points(t, newWorld, func(w *world) {
		plan := w.planned()
		_, _ = w.run(plan, "")
		w.disarm()
		_ = w.rollback(plan.Job, false)
	})
	w, before, plan := moved(t, options())
	after := w.look()
	w.arm(slices.Index(all, "act: undefine"), failBefore)
	var incomplete *RollbackError
	if err := w.rollback(plan.Job, false); !errors.As(err, &incomplete) || !errors.Is(err, errFailed) {
		t.Fatalf("got %v", err)
	}
	journalPath := "file " + w.state + "/jobs/" + plan.Job + "/journal"
	now := w.look()
	after[journalPath] = now[journalPath]
	if diff := cmp.Diff(after, now); diff != "" {
		t.Errorf("something was taken from under the clone: %s", diff)
	}
	w.disarm()
	w.mustRollback(plan.Job, "again")
	w.wantSame(before, "again")
}

func TestAGuestsOwnGroupsAreTakenDownBeforeItsDiskIsClosed(t *testing.T) {
	w, before, plan := moved(t, options())
	w.lvm.AddGuest(plan.Disks[0].Device, "vg0", true)
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "with a guest's group active")
}

// A snapshot goes with its volume, and is not ours.
func TestAVolumeOfWhichSomebodyMadeASnapshotIsKept(t *testing.T) {
	w, before, plan := moved(t, options())
	w.lvm.AddSnapshot("vg0", plan.Disks[0].Volume.Name, "theirs", "snap")
	after := w.look()
	for _, force := range []bool{false, true} {
		var snapshots *lvm.SnapshotError
		if err := w.rollback(plan.Job, force); !errors.As(err, &snapshots) || !slices.Equal(snapshots.Snapshots, []string{"theirs"}) {
			t.Errorf("force %v: %v", force, err)
		}
		if err := (&Engine{Env: w.env()}).Refusal(w.context(), plan.Job, force); !errors.As(err, &snapshots) {
			t.Errorf("force %v, at once: %v", force, err)
		}
	}
	w.wantSame(after, "refused")
	if err := w.lvm.Remove(w.context(), "vg0", "theirs", "snap"); err != nil {
		t.Fatal(err)
	}
	if err := w.rollback(plan.Job, false); err != nil {
		t.Fatal(err)
	}
	w.wantSame(before, "rolled back")
}
