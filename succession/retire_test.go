package succession

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

func (w *retireWorld) retire(o RetireOptions) (string, error) {
	plan, _, err := w.Judge(w.t.Context(), "imap-luks", o)
	if err != nil {
		return "", err
	}
	return w.Retire(w.t.Context(), plan)
}

func TestAnOriginalIsWipedReadBackAndGoneWithAllThatWasItsOwn(t *testing.T) {
	for _, method := range Methods() {
		w := newRetireWorld(t)
		// What is under the name is told from what was in the file.
		file, err := os.Open(w.plain)
		no(t, err)
		defer file.Close()
		before, err := os.ReadFile(w.plain)
		no(t, err)
		theirs, err := os.ReadFile(w.theirs)
		no(t, err)
		path, err := w.retire(RetireOptions{Method: method})
		no(t, err)

		after := make([]byte, plainSize)
		_, err = file.ReadAt(after, 0)
		no(t, err)
		if bytes.Equal(before[:4096], after[:4096]) || bytes.Equal(before[plainSize-512:], after[plainSize-512:]) {
			t.Errorf("%s: it still holds what it held", method)
		}
		for _, gone := range []string{w.plain, w.nvram(), filepath.Join(w.TPMDir, imapUUID)} {
			if there, err := exists(gone); err != nil || there {
				t.Errorf("%s: %s is still there, %v", method, gone, err)
			}
		}
		if w.standing() != "imap-luks=clone web=?" {
			t.Errorf("%s: %s", method, w.standing())
		}
		if now, err := os.ReadFile(w.theirs); err != nil || !bytes.Equal(now, theirs) {
			t.Error("a bystander's disk was written")
		}
		if there, err := exists(filepath.Join(w.TPMDir, cloneUUID)); err != nil || !there {
			t.Error("the clone's TPM is gone")
		}
		if r := w.metadata(t).Retired; r == nil || r.Method != string(method) || r.Kept {
			t.Errorf("%s: its metadata tell %+v", method, r)
		}
		record := readRecord(t, path)
		d := record.Disks[0]
		if record.VM != "imap" || record.Method != method || len(d.Digest) != 64 || !d.Verified || !d.Removed || d.Bytes != plainSize || len(record.Limits) == 0 || len(record.Removed) != 3 || len(record.Errors) != 0 {
			t.Errorf("%s: the record is %+v", method, record)
		}
		if d.Discarded != (method == Discard) || (d.Overwritten == plainSize) != (method != Discard) {
			t.Errorf("%s: %+v", method, d)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if plan, _, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: method}); plan != nil || err != nil {
			t.Errorf("again: %+v, %v", plan, err)
		}
		_, err = w.Cutover(t.Context(), "imap-luks", false)
		if gone := wrong[*NoOriginalError](t, err); !gone.Retired {
			t.Errorf("%+v", gone)
		}
	}
}

func readRecord(t *testing.T, path string) RetireRecord {
	t.Helper()
	text, err := os.ReadFile(path)
	no(t, err)
	var record RetireRecord
	no(t, json.Unmarshal(text, &record))
	return record
}

func TestAWipedDiskIsKeptWhereThatIsAskedFor(t *testing.T) {
	w := newRetireWorld(t)
	path, err := w.retire(RetireOptions{Method: Zero, Keep: true})
	no(t, err)
	if text, err := os.ReadFile(w.plain); err != nil || !bytes.Equal(text, make([]byte, plainSize)) {
		t.Error("it is not kept, or not zero", err)
	}
	if d := readRecord(t, path).Disks[0]; d.Removed || w.standing() != "imap-luks=clone web=?" {
		t.Errorf("%+v: %s", d, w.standing())
	}
	if !w.metadata(t).Retired.Kept {
		t.Error("it is not noted")
	}
}

// After a cutover it is the clone that has the original's name, and stays.
func TestTheOriginalOfACutoverGoesAndTheCloneIsNotTakenForIt(t *testing.T) {
	w := newRetireWorld(t)
	w.virt.Change(imapUUID, func(d *hypervisor.Domain) { d.ManagedSave = false })
	_, err := w.Cutover(t.Context(), "imap-luks", false)
	no(t, err)
	plan, _, err := w.Judge(t.Context(), "imap", RetireOptions{Method: Zero})
	no(t, err)
	if plan.Original != "imap-plain" || plan.Clone != "imap" {
		t.Fatalf("%+v", plan)
	}
	_, err = w.Retire(t.Context(), plan)
	no(t, err)
	if w.standing() != "imap=clone web=?" {
		t.Error(w.standing())
	}
	_, err = w.Cutover(t.Context(), "imap", true)
	if gone := wrong[*NoOriginalError](t, err); !gone.Retired {
		t.Errorf("%+v", gone)
	}
}

func TestWhatIsNotCertainlyTheCopiedDiskOrIsUsedIsNeverWiped(t *testing.T) {
	overlay := func(w *retireWorld) string {
		path := filepath.Join(filepath.Dir(w.plain), "overlay.qcow2")
		no(w.t, os.WriteFile(path, make([]byte, mib), 0o600))
		return path
	}
	third := func(w *retireWorld, disks string) {
		w.add(domain("third", "00000000-0f3e-4a55-9a7e-2b8c51f0aa02", "52:54:00:00:00:09", "", disks))
	}
	for what, c := range map[string]struct {
		arrange func(*retireWorld)
		want    Code
		says    string
	}{
		"a clone that never ran":         {func(w *retireWorld) { w.clone("") }, NotRun, "vmmigrate start imap-luks"},
		"an original that runs":          {func(w *retireWorld) { w.virt.SetState(imapUUID, hypervisor.Running) }, OriginalActive, "virsh shutdown"},
		"an original with snapshots":     {func(w *retireWorld) { w.virt.Change(imapUUID, func(d *hypervisor.Domain) { d.Snapshots = 1 }) }, OriginalSnapshots, "snapshot"},
		"no header backup":               {func(w *retireWorld) { w.verdict = lifecycle.Missing }, NoBackup, "vmmigrate header backup imap-luks"},
		"a header backup of before":      {func(w *retireWorld) { w.verdict = lifecycle.Outdated }, NoBackup, "outdated"},
		"a disk that is gone":            {func(w *retireWorld) { no(w.t, os.Remove(w.plain)) }, Gone, "is not there"},
		"a disk that shrank":             {func(w *retireWorld) { no(w.t, os.Truncate(w.plain, mib)) }, Other, "had 5243392"},
		"another disk of the same path":  {func(w *retireWorld) { replaceFile(w.t, w.plain) }, Other, "is another file"},
		"a link of its path to another":  {func(w *retireWorld) { no(w.t, os.Remove(w.plain)); no(w.t, os.Symlink(w.theirs, w.plain)) }, Other, "another file"},
		"metadata that tell no identity": {func(w *retireWorld) { w.cloneOf("", 0, `<vmmigrate:started time="x"/>`) }, Unknown, "nothing tells"},
		"a disk that another VM has":     {func(w *retireWorld) { third(w, fileDisk(w.plain, "raw")) }, Used, `disk vda of the VM "third"`},
		"a disk that another VM has by a link": {func(w *retireWorld) {
			link := filepath.Join(w.t.TempDir(), "link")
			no(w.t, os.Symlink(w.plain, link))
			third(w, fileDisk(link, "raw"))
		}, Used, `disk vda of the VM "third"`},
		"a backing file of another image": {func(w *retireWorld) {
			w.files = ImageFiles{Behind: []string{w.plain}}
			third(w, fileDisk(overlay(w), "qcow2"))
		}, Used, "backing file"},
		"a data file of another image": {func(w *retireWorld) {
			w.files = ImageFiles{Data: []string{w.plain}}
			third(w, fileDisk(overlay(w), "qcow2"))
		}, Used, "has the bytes of"},
		"an image whose bytes are in another file": {func(w *retireWorld) {
			w.original("qcow2")
			w.files = ImageFiles{Data: []string{w.theirs}}
		}, Elsewhere, "the bytes of vda are in"},
		"a backing store that a definition names": {func(w *retireWorld) {
			third(w, strings.Replace(fileDisk(w.theirs, "raw"), "<target", "<backingStore type='file'><source file='"+w.plain+"'/></backingStore><target", 1))
		}, Used, "definition"},
		"a disk that the clone itself still uses": {func(w *retireWorld) {
			metadata := strings.Replace(origin(`<vmmigrate:started time="x"/>`), `source="/dev/vg0/imap"`, fmt.Sprintf(`source=%q size="%d" id=%q`, w.plain, plainSize, w.inode(w.plain)), 1)
			w.add(domain("imap-luks", cloneUUID, cloneMAC, metadata, disk("/dev/mapper/cr_imap_vda")+strings.Replace(fileDisk(w.plain, "raw"), "vda", "vdb", 1)))
		}, Used, `VM "imap-luks"`},
		"a disk that a process has open": {func(w *retireWorld) { w.holders = []string{"process 7 (tar)"} }, Used, "process 7 (tar)"},
		"a file of two names":            {func(w *retireWorld) { no(w.t, os.Link(w.plain, w.plain+"2")) }, Used, "2 names"},
		"an original that has another disk by now": {func(w *retireWorld) {
			w.add(domain("imap", imapUUID, imapMAC, "", fileDisk(w.theirs+"2", "raw")))
		}, Other, "no longer has"},
		"a volume that was removed": {func(w *retireWorld) { w.cloneOf("lv AAAA", plainSize, `<vmmigrate:started time="x"/>`) }, Gone, "with the UUID AAAA"},
		"a volume that was renamed": {func(w *retireWorld) {
			w.cloneOf("lv AAAA", plainSize, `<vmmigrate:started time="x"/>`)
			w.lvs = []lvm.LV{{VG: "vg0", Name: "mail", UUID: "AAAA", Path: "/dev/vg0/mail", Active: true}}
		}, Other, "is called vg0/mail now"},
		"a volume with a snapshot": {func(w *retireWorld) {
			w.cloneOf("lv AAAA", plainSize, `<vmmigrate:started time="x"/>`)
			w.lvs = []lvm.LV{{VG: "vg0", Name: "imap", UUID: "AAAA", Path: w.plain, Active: true}, {VG: "vg0", Name: "snap", Origin: "imap", UUID: "B"}}
		}, Used, "vg0/snap is a snapshot"},
		"a volume with a cache": {func(w *retireWorld) {
			w.cloneOf("lv AAAA", plainSize, `<vmmigrate:started time="x"/>`)
			w.lvs = []lvm.LV{{VG: "vg0", Name: "imap", UUID: "AAAA", Path: w.plain, Type: "cache", Origin: "[imap_corig]", Pool: "[fast_cvol]", Active: true}}
		}, Used, "has a cache in front of it, which holds parts of what is to be wiped lvconvert --splitcache vg0/imap"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newRetireWorld(t)
			c.arrange(w)
			before, _ := os.ReadFile(w.plain) // it may be gone
			theirs, err := os.ReadFile(w.theirs)
			no(t, err)
			_, err = w.retire(RetireOptions{Method: Zero})
			blocked := wrong[*RetireBlockedError](t, err)
			if !slices.ContainsFunc(blocked.Reasons, func(r Reason) bool { return r.Code == c.want && strings.Contains(r.Text+" "+r.Remedy, c.says) }) {
				t.Errorf("%+v", blocked.Reasons)
			}
			after, _ := os.ReadFile(w.plain) // it may be gone
			if now, err := os.ReadFile(w.theirs); err != nil || !bytes.Equal(before, after) || !bytes.Equal(now, theirs) {
				t.Error("a disk was written")
			}
			if !strings.Contains(w.standing(), "imap=") {
				t.Error(w.standing())
			}
			if jobs, err := RetireJobs(w.Store); err != nil || len(jobs) != 0 {
				t.Errorf("%+v, %v", jobs, err)
			}
		})
	}
}

// replaceFile puts another file of the same size in a file's place. The old one
// stays, so that its inode is not given to the new one.
func replaceFile(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	no(t, err)
	no(t, os.Rename(path, path+".old"))
	no(t, os.WriteFile(path, text, 0o600))
}

func TestAKeyThatDoesNotOpenTheCloneKeepsThePlainDisk(t *testing.T) {
	w := newRetireWorld(t)
	w.keyErr = &lifecycle.KeyError{Clone: "imap-luks"}
	_, err := w.retire(RetireOptions{Method: Zero})
	wrong[*lifecycle.KeyError](t, err)
	if w.standing() != "imap-luks=clone imap=? web=?" {
		t.Error(w.standing())
	}
}

// Between the question and the act anything may happen: it is looked at again.
func TestWhatChangedSinceTheQuestionStopsTheWipe(t *testing.T) {
	for what, change := range map[string]func(*retireWorld){
		"another file": func(w *retireWorld) { replaceFile(w.t, w.plain) },
		"another size": func(w *retireWorld) { no(w.t, os.Truncate(w.plain, mib)) },
		"another user": func(w *retireWorld) {
			w.add(domain("third", "00000000-0f3e-4a55-9a7e-2b8c51f0aa02", "52:54:00:00:00:09", "", fileDisk(w.plain, "raw")))
		},
		"a process":         func(w *retireWorld) { w.holders = []string{"process 7 (tar)"} },
		"the clone is gone": func(w *retireWorld) { no(w.t, w.virt.Undefine(w.t.Context(), cloneUUID)) },
	} {
		w := newRetireWorld(t)
		plan, _, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: Zero})
		no(t, err)
		w.Reporter = heard(func(e migrate.Event) {
			if e.Event == migrate.StepDone && e.Step == migrate.PutAway {
				change(w)
			}
		})
		before, err := os.ReadFile(w.plain)
		no(t, err)
		_, err = w.Retire(t.Context(), plan)
		if stopped := wrong[*RetireError](t, err); stopped.Step != migrate.Wipe {
			t.Errorf("%s: %+v", what, stopped)
		}
		after, err := os.ReadFile(w.plain)
		no(t, err)
		if !bytes.Equal(before[:mib], after[:mib]) {
			t.Errorf("%s: it was written", what)
		}
	}
}

func TestARetirementThatHasNotWipedIsTakenBack(t *testing.T) {
	w := newRetireWorld(t)
	before := w.look()["domain imap"]
	plan, _, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: Zero})
	no(t, err)
	fails := errors.New("no")
	w.virt.After = func(call string) error {
		if call == "Purge" {
			return fails
		}
		return nil
	}
	_, err = w.Retire(t.Context(), plan)
	if stopped := wrong[*RetireError](t, err); stopped.Wiped || !errors.Is(err, fails) {
		t.Errorf("%+v", stopped)
	}
	w.virt.After = nil
	no(t, w.RollbackRetire(t.Context(), plan.Job))
	if after := w.look()["domain imap"]; after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	if _, err := os.Stat(w.nvram()); err != nil || w.metadata(t).Retired != nil {
		t.Error(err, w.metadata(t))
	}
	path, err := w.retire(RetireOptions{Method: Zero})
	no(t, err)
	id := strings.TrimSuffix(filepath.Base(path), ".json")
	wrong[*RetiredError](t, w.RollbackRetire(t.Context(), id))
	_, err = w.ResumeRetire(t.Context(), id)
	wrong[*RetiredError](t, err)
}

// It goes on as it has begun, and not as it is asked for now.
func TestARetirementThatHasBegunIsNoOther(t *testing.T) {
	yes, no := true, false
	for _, keep := range []bool{yes, no} {
		half := RetireJob{Retirement: &Retirement{Original: "imap", Method: Zero, Keep: keep}}
		for _, same := range []error{half.Same(Zero, nil), half.Same(Zero, &keep)} {
			if same != nil {
				t.Error(same)
			}
		}
		other := !keep
		for _, another := range []error{half.Same(Random, nil), half.Same(Zero, &other)} {
			if got := wrong[*OtherwiseError](t, another); got.Method != Zero || got.Keep != keep {
				t.Errorf("%+v", got)
			}
		}
	}
}

func TestOneRetirementAtATime(t *testing.T) {
	w := newRetireWorld(t)
	plan, _, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: Zero})
	no(t, err)
	w.Reporter = heard(func(e migrate.Event) {
		if e.Event == migrate.StepStarted && e.Step == migrate.Wipe {
			_, err := w.ResumeRetire(t.Context(), plan.Job)
			wrong[*journal.LockedError](t, err)
			_, err = w.Cutover(t.Context(), "imap-luks", false)
			wrong[*RetiringError](t, err)
		}
	})
	_, err = w.Retire(t.Context(), plan)
	no(t, err)
}

// Killed at whatever instant, it goes on to the same end, and nobody else's disk
// is touched. Once wiping has begun there is no way back.
func TestARetirementKilledAtAnyInstantGoesOn(t *testing.T) {
	begin := func(t *testing.T) (*retireWorld, *Retirement) {
		w := newRetireWorld(t)
		plan, _, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: Random})
		no(t, err)
		return w, plan
	}
	w, plan := begin(t)
	_, err := w.dies(0, func() error { _, err := w.Retire(t.Context(), plan); return err })
	no(t, err)
	names := w.names
	if len(names) < 30 {
		t.Fatalf("%q", names)
	}
	for at := 1; at <= len(names); at++ {
		if !strings.HasPrefix(names[at-1], "after ") && names[at-1] != "clock" {
			continue
		}
		w, plan := begin(t)
		theirs, err := os.ReadFile(w.theirs)
		no(t, err)
		where, err := w.dies(at, func() error { _, err := w.Retire(t.Context(), plan); return err })
		if where == "" {
			t.Fatalf("instant %d: not killed, %v", at, err)
		}
		jobs, err := RetireJobs(w.Store)
		no(t, err)
		switch {
		case len(jobs) == 0: // it had not begun
			_, err = w.retire(RetireOptions{Method: Random})
		case jobs[0].State == migrate.StateDone:
		default:
			if half, _ := w.HalfRetired("imap-luks"); half == nil {
				t.Errorf("killed at %s it is not found by its name", where)
			}
			_, err = w.ResumeRetire(t.Context(), jobs[0].ID)
		}
		if err != nil {
			t.Fatalf("killed at %s: %v", where, err)
		}
		if there, err := exists(w.plain); err != nil || there || w.standing() != "imap-luks=clone web=?" || w.metadata(t).Retired == nil {
			t.Errorf("killed at %s: %s", where, w.standing())
		}
		jobs, err = RetireJobs(w.Store)
		no(t, err)
		if d := readRecord(t, filepath.Join(w.Store.Dir, "records", jobs[0].ID+".json")).Disks[0]; !d.Verified || len(d.Digest) != 64 {
			t.Errorf("killed at %s: %+v", where, d)
		}
		if now, err := os.ReadFile(w.theirs); err != nil || !bytes.Equal(now, theirs) {
			t.Errorf("killed at %s: a bystander's disk was written", where)
		}
	}
}
