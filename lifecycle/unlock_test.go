package lifecycle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

func TestUnlockOpensEveryDiskAndLockClosesThem(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		no(t, w.Unlock(t.Context(), "imap-luks"))
		w.isOpen("cr_imap_vda cr_imap_vdb")
	}
	if w.keys.asked != 1 {
		t.Errorf("the key was asked for %d times", w.keys.asked)
	}
	for range 2 {
		no(t, w.Lock(t.Context(), "imap-luks"))
		w.isOpen("")
	}
	if told := w.told(Unchanged); !slices.Equal(told, []string{"is unlocked already", "is locked already"}) {
		t.Errorf("told %q", told)
	}
}

func TestUnlockOpensOnlyWhatIsNotOpen(t *testing.T) {
	w := newWorld(t)
	w.open("imap-vda-luks", "cr_imap_vda", luks.OpenOptions{})
	no(t, w.Unlock(t.Context(), "imap-luks"))
	if told := w.told(Unlocked); len(told) != 1 || !strings.HasPrefix(told[0], "vdb: vg0/imap-vdb-luks as /dev/mapper/cr_imap_vdb") {
		t.Errorf("told %q", told)
	}
}

func TestADiskWithDiscardUnmapPassesDiscardsForGood(t *testing.T) {
	w := newWorld(t)
	no(t, w.Unlock(t.Context(), "imap-luks"))
	for mapper, want := range map[string]bool{"cr_imap_vda": true, "cr_imap_vdb": false} {
		if m, err := w.vault.Mapping(t.Context(), mapper); err != nil || m.Discards != want {
			t.Errorf("%s passes discards: %v, %v", mapper, m.Discards, err)
		}
	}
	if h, err := w.vault.Header(t.Context(), "/dev/vg0/imap-vda-luks"); err != nil || !slices.Contains(h.Flags, "allow-discards") {
		t.Errorf("flags %v, %v", h.Flags, err)
	}
}

func TestFlagsOfTheHeaderThatWouldBeLostKeepItFromBeingWritten(t *testing.T) {
	header := func(t luks.Type, flags ...string) *luks.Header { return &luks.Header{Type: t, Flags: flags} }
	for _, test := range []struct {
		discard string
		header  *luks.Header
		want    luks.OpenOptions
	}{
		{"", header(luks.LUKS2), luks.OpenOptions{}},
		{"ignore", header(luks.LUKS2, "allow-discards"), luks.OpenOptions{}},
		{"unmap", header(luks.LUKS2), luks.OpenOptions{AllowDiscards: true, Persistent: true}},
		{"unmap", header(luks.LUKS2, "allow-discards"), luks.OpenOptions{AllowDiscards: true}},
		{"unmap", header(luks.LUKS1), luks.OpenOptions{AllowDiscards: true}},
		{"unmap", nil, luks.OpenOptions{AllowDiscards: true}},
		{"unmap", header(luks.LUKS2, "no-read-workqueue", "same-cpu-crypt"), luks.OpenOptions{AllowDiscards: true, Persistent: true, NoReadWorkqueue: true, SameCPUCrypt: true}},
		{"unmap", header(luks.LUKS2, "no-journal"), luks.OpenOptions{AllowDiscards: true}},
	} {
		if got := (&Disk{Discard: test.discard, Header: test.header}).openOptions(); got != test.want {
			t.Errorf("discard %q, %+v: %+v, not %+v", test.discard, test.header, got, test.want)
		}
	}
}

func TestAWrongKeyOfAFileIsTriedOnce(t *testing.T) {
	w := newWorld(t)
	w.keys.all = []string{"wrong"}
	err := wrong[*KeyError](t, w.Unlock(t.Context(), "imap-luks"))
	if err.Tries != 1 || err.Disk != "vda" || err.Volume != "vg0/imap-vda-luks" || w.keys.asked != 1 {
		t.Errorf("%+v, asked %d times", err, w.keys.asked)
	}
	w.isOpen("")
}

func TestAPersonMayMistypeTwiceAndNotThreeTimes(t *testing.T) {
	w := newWorld(t)
	w.keys.person, w.keys.all = true, []string{"wrong", "Correct horse", passphrase}
	no(t, w.Unlock(t.Context(), "imap-luks"))
	w.isOpen("cr_imap_vda cr_imap_vdb")

	w = newWorld(t)
	w.keys.person, w.keys.all = true, []string{"wrong", "wrong", "wrong", passphrase}
	if err := wrong[*KeyError](t, w.Unlock(t.Context(), "imap-luks")); err.Tries != 3 || w.keys.asked != 3 {
		t.Errorf("%+v, asked %d times", err, w.keys.asked)
	}
	w.isOpen("")
}

func TestADiskWithAnotherKeyLocksWhatWasOpenedBeforeIt(t *testing.T) {
	w := newWorld(t)
	w.vault.damage("/dev/vg0/imap-vdb-luks")
	w.vault.Format(t.Context(), luks.FormatSpec{Device: "/dev/vg0/imap-vdb-luks", UUID: vdbLUKS, Cipher: "aes-xts-plain64", KeySize: 512, SectorSize: 512, Offset: 16 * mib}, key(t, "another")) //nolint:errcheck // it would show below
	if err := wrong[*KeyError](t, w.Unlock(t.Context(), "imap-luks")); err.Disk != "vdb" {
		t.Errorf("%+v", err)
	}
	w.isOpen("")
}

func TestAVolumeThatWasRenamedIsFoundByItsLUKSUUID(t *testing.T) {
	for _, tagged := range []bool{true, false} {
		w := newWorld(t)
		w.volumes.names["imap-vda-luks"] = "mail"
		if !tagged {
			w = newWorld(t)
			no(t, w.volumes.Remove(t.Context(), "vg0", "imap-vda-luks", tagPrefix+job))
			w.volume("mail", vdaLUKS, "")
		}
		no(t, w.Unlock(t.Context(), "imap-luks"))
		w.isOpen("cr_imap_vda cr_imap_vdb")
		if told := w.told(Warning); len(told) != 1 || !strings.Contains(told[0], "its volume is called vg0/mail now and not vg0/imap-vda-luks") {
			t.Errorf("told %q", told)
		}
	}
}

func TestAnotherVolumeOfTheRecordedNameIsNotTaken(t *testing.T) {
	w := newWorld(t)
	w.volumes.names["imap-vda-luks"] = "mail"
	w.volume("imap-vdx-luks", otherLUKS, "")
	w.volumes.names["imap-vdx-luks"] = "imap-vda-luks"
	no(t, w.Unlock(t.Context(), "imap-luks"))
	if m, err := w.vault.Mapping(t.Context(), "cr_imap_vda"); err != nil || m.UUID != vdaLUKS {
		t.Errorf("opened %+v, %v", m, err)
	}
}

func TestAVolumeThatIsNotActiveIsActivated(t *testing.T) {
	w := newWorld(t)
	w.volumes.inactive["imap-vda-luks"], w.volumes.inactive["imap-vdb-luks"] = true, true
	w.volumes.names["imap-vdb-luks"] = "mail"
	no(t, w.Unlock(t.Context(), "imap-luks"))
	w.isOpen("cr_imap_vda cr_imap_vdb")
}

func TestAVolumeThatIsNotThereSaysWhy(t *testing.T) {
	for what, test := range map[string]struct {
		do    func(*world)
		group Group
	}{
		"exported": {func(w *world) { w.volumes.Set("vg0", func(g *lvm.VG) { g.Exported = true }) }, GroupExported},
		"missing":  {func(w *world) { w.removeAll(); w.volumes.Set("vg0", func(g *lvm.VG) { g.Name = "vg9" }) }, GroupMissing},
		"partial":  {func(w *world) { w.removeAll(); w.volumes.Set("vg0", func(g *lvm.VG) { g.Partial = true }) }, GroupPartial},
		"removed":  {func(w *world) { w.removeAll() }, ""},
	} {
		w := newWorld(t)
		test.do(w)
		err := wrong[*VolumeError](t, w.Unlock(t.Context(), "imap-luks"))
		if err.Group != test.group || err.Volume != "vg0/imap-vda-luks" || err.LUKS != vdaLUKS || w.keys.asked != 0 {
			t.Errorf("%s: %+v", what, err)
		}
	}
}

func (w *world) removeAll() {
	for _, name := range []string{"imap-vda-luks", "imap-vdb-luks"} {
		if err := w.volumes.Remove(context.Background(), "vg0", name, tagPrefix+job); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestADamagedHeaderIsToldFromAVolumeThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.vault.damage("/dev/vg0/imap-vdb-luks")
	err := wrong[*HeaderLostError](t, w.Unlock(t.Context(), "imap-luks"))
	if err.Disk != "vdb" || err.Volume != "vg0/imap-vdb-luks" || w.keys.asked != 0 {
		t.Errorf("%+v", err)
	}
	w.isOpen("")
	w.volumes.names["imap-vdb-luks"] = "mail"
	if err := wrong[*HeaderLostError](t, w.Unlock(t.Context(), "imap-luks")); err.Volume != "vg0/mail" {
		t.Errorf("renamed: %+v", err)
	}
}

func TestAnOpenDiskWorksOnWithADamagedHeaderAndSaysSo(t *testing.T) {
	w := newWorld(t)
	no(t, w.Unlock(t.Context(), "imap-luks"))
	w.vault.damage("/dev/vg0/imap-vda-luks")
	no(t, w.Start(t.Context(), "imap-luks"))
	if told := w.told(Warning); len(told) != 1 || !strings.Contains(told[0], "is damaged or gone") {
		t.Errorf("told %q", told)
	}
}

func TestADiskThatIsOpenByAnotherNameIsNeitherOpenedTwiceNorForgottenByLock(t *testing.T) {
	w := newWorld(t)
	w.open("imap-vdb-luks", "by-hand", luks.OpenOptions{})
	err := wrong[*OpenElsewhereError](t, w.Unlock(t.Context(), "imap-luks"))
	if err.Mapper != "by-hand" || err.Want != "cr_imap_vdb" || err.Disk != "vdb" || w.keys.asked != 0 {
		t.Errorf("%+v", err)
	}
	w.isOpen("by-hand")
	no(t, w.Lock(t.Context(), "imap-luks"))
	w.isOpen("")
}

func TestADiskThatIsOpenReadOnlyIsNoUse(t *testing.T) {
	w := newWorld(t)
	w.open("imap-vda-luks", "cr_imap_vda", luks.OpenOptions{ReadOnly: true})
	if err := wrong[*OpenElsewhereError](t, w.Start(t.Context(), "imap-luks")); !err.ReadOnly {
		t.Errorf("%+v", err)
	}
}

func TestAMappingOfAnotherVolumeUnderTheNameIsNamed(t *testing.T) {
	w := newWorld(t)
	w.volume("other", otherLUKS, "")
	w.open("other", "cr_imap_vda", luks.OpenOptions{})
	err := wrong[*NameTakenError](t, w.Unlock(t.Context(), "imap-luks"))
	if err.Mapper != "cr_imap_vda" || err.Holds != otherLUKS {
		t.Errorf("%+v", err)
	}
	no(t, w.Lock(t.Context(), "imap-luks"))
	w.isOpen("cr_imap_vda") // it is not ours to close
}

func TestAHeldDiskStaysOpenAndTheOthersAreLocked(t *testing.T) {
	w := newWorld(t)
	no(t, w.Unlock(t.Context(), "imap-luks"))
	w.vault.Hold("cr_imap_vda", "a mount at /mnt")
	err := wrong[*LockError](t, w.Lock(t.Context(), "imap-luks"))
	busy := wrong[*luks.BusyError](t, err)
	if err.Disk != "vda" || !slices.Equal(busy.Holders, []string{"a mount at /mnt"}) {
		t.Errorf("%+v", err)
	}
	w.isOpen("cr_imap_vda")
}

func TestAGuestsOwnVolumeGroupIsDeactivatedFirst(t *testing.T) {
	w := newWorld(t)
	no(t, w.Unlock(t.Context(), "imap-luks"))
	w.volumes.AddGuest("/dev/mapper/cr_imap_vda", "debian-vg", true)
	no(t, w.Lock(t.Context(), "imap-luks"))
	w.isOpen("")
}

func TestAGroupThatIsActivatedMeanwhileIsDeactivatedToo(t *testing.T) {
	w := newWorld(t)
	no(t, w.Unlock(t.Context(), "imap-luks"))
	w.vault.Before = func(op string) error {
		if op == "close" {
			w.vault.Before = nil
			w.volumes.AddGuest("/dev/mapper/cr_imap_vda", "debian-vg", true)
		}
		return nil
	}
	no(t, w.Lock(t.Context(), "imap-luks"))
	w.isOpen("")
}

func TestARunningCloneIsNotLocked(t *testing.T) {
	w := newWorld(t)
	no(t, w.Start(t.Context(), "imap-luks"))
	wrong[*RunningError](t, w.Lock(t.Context(), "imap-luks"))
	w.isOpen("cr_imap_vda cr_imap_vdb")
}

func TestANameThatIsNoCloneSaysWhatIs(t *testing.T) {
	w := newWorld(t)
	err := wrong[*UnknownCloneError](t, w.Unlock(t.Context(), "imap"))
	if !err.Defined || !slices.Equal(err.Clones, []string{"imap-luks"}) {
		t.Errorf("the original: %+v", err)
	}
	no(t, w.virt.Undefine(t.Context(), cloneUUID))
	err = wrong[*UnknownCloneError](t, w.Unlock(t.Context(), "imap-luks"))
	want := []Orphan{{VG: "vg0", LV: "imap-vda-luks", Job: job, Size: 24 * mib}, {VG: "vg0", LV: "imap-vdb-luks", Job: job, Size: 24 * mib}}
	if err.Defined || !slices.Equal(err.Orphans, want) {
		t.Errorf("undefined: %+v", err)
	}
	kept := filepath.Join(w.StateDir, "jobs", job, "clone.xml")
	no(t, os.MkdirAll(filepath.Dir(kept), 0o700))
	no(t, os.WriteFile(kept, nil, 0o600))
	err = wrong[*UnknownCloneError](t, w.Unlock(t.Context(), "imap-luks"))
	for _, orphan := range err.Orphans {
		if orphan.Definition != kept {
			t.Errorf("its definition is in %q", orphan.Definition)
		}
	}
}

func TestLibvirtThatDoesNotAnswerChangesNothing(t *testing.T) {
	w := newWorld(t)
	down := errors.New("down")
	w.virt.Before = func(string) error { return down }
	for _, err := range []error{w.Unlock(t.Context(), "imap-luks"), w.Lock(t.Context(), "imap-luks"), w.Start(t.Context(), "imap-luks"), w.Stop(t.Context(), "imap-luks", StopOptions{})} {
		if !errors.Is(err, down) {
			t.Error(err)
		}
	}
	w.isOpen("")
}

// A snapshot of the disk's volume bears the same header, and an older state.
func TestASnapshotOfAVolumeIsNotTakenForIt(t *testing.T) {
	w := newWorld(t)
	w.volumes.AddSnapshot("vg0", "imap-vda-luks", "before")
	w.format("/dev/vg0/before", vdaLUKS)
	w.open("before", "look", luks.OpenOptions{})
	no(t, w.Unlock(t.Context(), "imap-luks"))
	w.isOpen("cr_imap_vda cr_imap_vdb look")
	no(t, w.Lock(t.Context(), "imap-luks"))

	w.open("before", "cr_imap_vda", luks.OpenOptions{})
	taken := wrong[*NameTakenError](t, w.Start(t.Context(), "imap-luks"))
	if taken.Mapper != "cr_imap_vda" || taken.Snapshot != "/dev/mapper/vg0-before" {
		t.Errorf("%+v", taken)
	}
	no(t, w.Lock(t.Context(), "imap-luks"))

	w.vault.damage("/dev/vg0/imap-vda-luks")
	wrong[*HeaderLostError](t, w.Unlock(t.Context(), "imap-luks"))
}
