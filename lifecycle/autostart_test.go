package lifecycle

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/luks"
)

// methods are what can be set up in a test; the key file's path is the host's
// own, so that its own checks are left to package boot.
func methods() []boot.Unlock {
	return []boot.Unlock{
		{Method: boot.Prompt},
		{Method: boot.TPM2, Device: "auto"},
		{Method: boot.FIDO2, Device: "auto"},
		{Method: boot.Tang, URL: "http://tang", Thumbprint: "x"},
	}
}

func enable(w *world, u boot.Unlock) error {
	_, err := w.EnableAutostart(w.t.Context(), "imap-luks", AutostartOptions{Unlock: u, Force: true, Trust: func(context.Context, string) (string, error) { return "x", nil }})
	return err
}

func disable(w *world) error {
	_, err := w.DisableAutostart(w.t.Context(), "imap-luks", DisableOptions{})
	return err
}

func TestWhatEnableSetsUpDisableTakesAwayToTheByte(t *testing.T) {
	for _, unlock := range methods() {
		for _, crypttab := range []string{"-", "", "# a\r\nswap /dev/sda2 none", "a b\n"} {
			w := newWorld(t)
			s := booted(t, w, crypttab)
			before := s.all(t, w)
			no(t, enable(w, unlock))
			first := s.all(t, w)
			no(t, enable(w, unlock))
			if again := s.all(t, w); again != first {
				t.Errorf("%s, %q: the second time it is\n%s\nand not\n%s", unlock, crypttab, again, first)
			}
			if strings.Contains(first, "libvirt starts it") || !strings.Contains(first, wants+"vmmigrate-guest@imap.service") || !strings.Contains(first, "cr_imap_vdb UUID="+vdbLUKS+" none luks,noauto,nofail") {
				t.Errorf("%s:\n%s", unlock, first)
			}
			no(t, disable(w))
			no(t, disable(w))
			if after := s.all(t, w); after != before {
				t.Errorf("%s, %q: left is\n%s\nand was\n%s", unlock, crypttab, after, before)
			}
		}
	}
}

func TestARunCutShortBetweenAnyTwoActsIsSettledByEnableAndByDisable(t *testing.T) {
	// The acts of the other methods that enroll are tpm2's.
	for _, unlock := range methods()[:2] {
		whole := newWorld(t)
		ws := booted(t, whole, "a b")
		before := ws.all(t, whole)
		no(t, enable(whole, unlock))
		want := ws.all(t, whole)
		acts := len((&bootChanges{m: whole.Manager, record: boot.Record{Unlock: unlock, Disks: make([]boot.RecordDisk, 2)}}).enable())
		for cut := range acts {
			for _, then := range []string{"enable", "disable"} {
				w := newWorld(t)
				s := booted(t, w, "a b")
				cutShort(t, w, unlock, cut)
				if then == "enable" {
					no(t, enable(w, unlock))
					if got := s.all(t, w); got != want {
						t.Errorf("%s, cut after %d acts, enabled again: it is\n%s\nand not\n%s", unlock, cut, got, want)
					}
				}
				no(t, disable(w))
				if got := s.all(t, w); got != before {
					t.Errorf("%s, cut after %d acts, then %s: left is\n%s\nand was\n%s", unlock, cut, then, got, before)
				}
			}
		}
		for cut := range 12 {
			w := newWorld(t)
			s := booted(t, w, "a b")
			no(t, enable(w, unlock))
			cutDisable(t, w, cut)
			no(t, disable(w))
			if got := s.all(t, w); got != before {
				t.Errorf("%s, disabling cut after %d acts: left is\n%s\nand was\n%s", unlock, cut, got, before)
			}
		}
	}
}

// cutShort does the first acts of enable, and dies.
func cutShort(t *testing.T, w *world, unlock boot.Unlock, cut int) {
	t.Helper()
	clone, err := w.readable(t.Context(), "imap-luks")
	no(t, err)
	record, _, err := w.arrange(t.Context(), clone, AutostartOptions{Unlock: unlock})
	no(t, err)
	changes := &bootChanges{m: w.Manager, clone: clone, record: record, key: key(t, passphrase)}
	for _, act := range changes.enable()[:cut] {
		no(t, act(t.Context()))
	}
}

func cutDisable(t *testing.T, w *world, cut int) {
	t.Helper()
	clone, record, err := w.recorded(t.Context(), "imap-luks")
	no(t, err)
	changes := &bootChanges{m: w.Manager, clone: clone, record: *record}
	no(t, w.look(t.Context(), clone, true))
	changes.key = key(t, passphrase)
	acts := changes.disable(false)
	for _, act := range acts[:min(cut, len(acts))] {
		no(t, act(t.Context()))
	}
}

func TestAnEnableThatFailsTakesBackWhatItMade(t *testing.T) {
	for _, unlock := range methods() {
		w := newWorld(t)
		s := booted(t, w, "a b")
		before := s.all(t, w)
		s.fail = "enable"
		wrong[*AutostartError](t, enable(w, unlock))
		if after := s.all(t, w); after != before {
			t.Errorf("%s: left is\n%s\nand was\n%s", unlock, after, before)
		}
	}
}

func TestAnAutostartIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	w := newWorld(t)
	s := booted(t, w, "cr_imap_vdb /dev/sdz none\n")
	before := s.all(t, w)
	wrong[*boot.ClashError](t, enable(w, boot.Unlock{Method: boot.Prompt}))
	wrong[*boot.KeyFileError](t, enable(w, boot.Unlock{Method: boot.KeyFile, KeyFile: "/none"}))
	no(t, os.Remove(filepath.Join(s.root, "usr/lib/systemd/system", boot.Template)))
	wrong[*boot.NoUnitError](t, enable(w, boot.Unlock{Method: boot.Prompt}))
	no(t, os.RemoveAll(filepath.Join(s.root, "run")))
	wrong[*boot.NotBootedError](t, enable(w, boot.Unlock{Method: boot.Prompt}))
	if after := s.all(t, w); after != before {
		t.Errorf("it is\n%s\nand was\n%s", after, before)
	}
}

func TestAWrongPassphraseThreeTimesEnrollsNothing(t *testing.T) {
	w := newWorld(t)
	s := booted(t, w, "a b")
	before := s.all(t, w)
	w.keys.all, w.keys.person = []string{"one", "two", "three", passphrase}, true
	if err := wrong[*KeyError](t, enable(w, boot.Unlock{Method: boot.TPM2, Device: "auto"})); err.Tries != 3 {
		t.Errorf("%+v", err)
	}
	if after := s.all(t, w); after != before {
		t.Errorf("it is\n%s\nand was\n%s", after, before)
	}
}

func TestTheLastSlotThatIsKnownToWorkStays(t *testing.T) {
	w := newWorld(t)
	s := booted(t, w, "a b")
	no(t, enable(w, boot.Unlock{Method: boot.TPM2, Device: "auto"}))
	before := s.all(t, w)
	w.keys.all, w.keys.asked = []string{"made up by tpm2"}, 0
	if err := wrong[*LastKeyError](t, disable(w)); !err.Proof {
		t.Errorf("%+v", err)
	}
	if after := s.all(t, w); after != before {
		t.Errorf("it is\n%s\nand was\n%s", after, before)
	}
}

func TestAnotherMethodIsRefusedUntilTheFirstIsTakenAway(t *testing.T) {
	w := newWorld(t)
	booted(t, w, "-")
	no(t, enable(w, boot.Unlock{Method: boot.Prompt}))
	wrong[*AutostartOtherwiseError](t, enable(w, boot.Unlock{Method: boot.TPM2, Device: "auto"}))
}

func TestACloneThatIsCalledOtherwiseByNowKeepsItsUnit(t *testing.T) {
	w := newWorld(t)
	s := booted(t, w, "-")
	no(t, enable(w, boot.Unlock{Method: boot.Prompt}))
	no(t, w.virt.Undefine(t.Context(), cloneUUID))
	no(t, w.virt.Undefine(t.Context(), imapUUID))
	// As after a cutover: the original's name and UUID.
	w.define(domain("imap", imapUUID, "52:54:00:11:22:33", origin, disk("vda", "/dev/mapper/cr_imap_vda", "")+disk("vdb", "/dev/mapper/cr_imap_vdb", "")))
	clone, err := w.FindJob(t.Context(), job)
	no(t, err)
	if clone.Name != "imap" {
		t.Errorf("%s", clone.Name)
	}
	report, err := w.Look(t.Context(), "imap")
	no(t, err)
	if b := report.Clones[0].Boot; b == nil || b.Unit != "vmmigrate-guest@imap.service" || len(b.Problems) != 0 {
		t.Errorf("%+v", b)
	}
	wrong[*UnknownCloneError](t, disable(w)) // its name is another's, or nobody's
	_, err = w.DisableAutostart(t.Context(), "imap", DisableOptions{})
	no(t, err)
	if _, err := os.Stat(filepath.Join(s.root, boot.Crypttab)); !os.IsNotExist(err) {
		t.Errorf("the crypttab is still there: %v", err)
	}
}

func TestWhatIsSetUpForACloneThatIsGoneIsToldAndTakenAway(t *testing.T) {
	for _, unlock := range methods() {
		w := newWorld(t)
		s := booted(t, w, "a b")
		no(t, enable(w, unlock))
		no(t, w.virt.Undefine(t.Context(), cloneUUID))
		report, err := w.Look(t.Context())
		no(t, err)
		if len(report.LostBoots) != 1 || report.LostBoots[0].Clone != "imap-luks" {
			t.Errorf("%+v", report.LostBoots)
		}
		no(t, disable(w))
		text, err := os.ReadFile(filepath.Join(s.root, boot.Crypttab))
		if err != nil || string(text) != "a b" {
			t.Errorf("%q, %v", text, err)
		}
		if header, err := w.vault.Header(t.Context(), "/dev/vg0/imap-vda-luks"); err != nil || len(header.Keyslots) != 1 {
			t.Errorf("%+v, %v", header.Keyslots, err)
		}
	}
}

func TestStatusSaysWhatOfAnAutostartIsBroken(t *testing.T) {
	for what, c := range map[string]struct {
		breaks func(w *world, s *systemd)
		says   string
	}{
		"nothing": {func(*world, *systemd) {}, ""},
		"a disabled unit": {func(_ *world, s *systemd) {
			_ = os.Remove(filepath.Join(s.root, wants, "vmmigrate-guest@imap.service"))
		}, "its unit is disabled"},
		"a line that is gone":       {func(_ *world, s *systemd) { _ = os.WriteFile(filepath.Join(s.root, boot.Crypttab), nil, 0o644) }, "has lost its line for cr_imap_vda"},
		"a slot that is gone":       {func(w *world, _ *systemd) { w.Enroller.(*machines).tokens = map[string][]Token{} }, "disk vda has lost the key slot that tpm2 unlocks"},
		"libvirt's own":             {func(w *world, _ *systemd) { w.autostarts(cloneUUID, true) }, "libvirt's own autostart is on again"},
		"an order that is not":      {func(w *world, _ *systemd) { _ = w.Boot.Unorder("cr_imap_vdb") }, "the drop-in of systemd-cryptsetup@cr_imap_vdb.service is gone"},
		"a guest that failed":       {func(_ *world, s *systemd) { s.failed = "vmmigrate-guest@imap.service" }, "its unit failed when it was started last (exit-code)"},
		"a disk that stayed locked": {func(_ *world, s *systemd) { s.failed = "systemd-cryptsetup@cr_imap_vdb.service" }, "cr_imap_vdb was not unlocked when it was tried last (exit-code): journalctl --unit 'systemd-cryptsetup@cr_imap_vdb.service' says why"},
		"no template": {func(_ *world, s *systemd) {
			_ = os.Remove(filepath.Join(s.root, "usr/lib/systemd/system", boot.Template))
		}, "is not installed"},
		"a changed line": {func(_ *world, s *systemd) {
			text, _ := os.ReadFile(filepath.Join(s.root, boot.Crypttab))
			_ = os.WriteFile(filepath.Join(s.root, boot.Crypttab), []byte(strings.Replace(string(text), vdaLUKS, otherLUKS, 1)), 0o644)
		}, "was changed: it opens UUID=" + otherLUKS},
	} {
		w := newWorld(t)
		s := booted(t, w, "a b\n")
		no(t, enable(w, boot.Unlock{Method: boot.TPM2, Device: "auto"}))
		c.breaks(w, s)
		report, err := w.Look(t.Context(), "imap-luks")
		no(t, err)
		problems := strings.Join(report.Clones[0].Boot.Problems, "; ")
		if !strings.Contains(problems, c.says) || c.says == "" && problems != "" {
			t.Errorf("%s: %q", what, problems)
		}
		if what != "no template" {
			no(t, enable(w, boot.Unlock{Method: boot.TPM2, Device: "auto"}))
		}
	}
}

func TestSystemdFollowsWhatIsDoneByHand(t *testing.T) {
	w := newWorld(t)
	s := booted(t, w, "-")
	no(t, enable(w, boot.Unlock{Method: boot.Prompt}))
	const unit = "vmmigrate-guest@imap.service"
	no(t, w.Start(t.Context(), "imap-luks"))
	if !s.active[unit] {
		t.Error("its unit is not active")
	}
	no(t, w.Stop(t.Context(), "imap-luks", StopOptions{Timeout: time.Minute}))
	if s.active[unit] {
		t.Error("its unit is active")
	}
	w.AtBoot, s.ran = true, nil
	no(t, w.Start(t.Context(), "imap-luks"))
	if len(s.ran) > 0 {
		t.Errorf("the unit's own start ran %q", s.ran)
	}
	if state := w.state(cloneUUID); state != hypervisor.Running {
		t.Errorf("it is %s", state)
	}
	// One that runs when it is enabled comes under systemd's care at once.
	no(t, disable(w))
	no(t, enable(w, boot.Unlock{Method: boot.Prompt}))
	if !s.active[unit] {
		t.Error("its unit is not active")
	}
	w.AtBoot = false
	s.fail = "start"
	wrong[*AutostartJoinError](t, enable(w, boot.Unlock{Method: boot.Prompt}))
}

func TestWhatIsSetUpForVolumesThatAreGoneIsTakenAway(t *testing.T) {
	w := newWorld(t)
	s := booted(t, w, "a b")
	no(t, enable(w, boot.Unlock{Method: boot.TPM2, Device: "auto"}))
	for _, name := range []string{"imap-vda-luks", "imap-vdb-luks"} {
		w.vault.damage("/dev/vg0/" + name)
		no(t, w.volumes.Remove(t.Context(), "vg0", name, tagPrefix+job))
	}
	no(t, w.virt.Undefine(t.Context(), cloneUUID))
	no(t, disable(w))
	text, err := os.ReadFile(filepath.Join(s.root, boot.Crypttab))
	if err != nil || string(text) != "a b" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestALUKS1HeaderHasNoRoomForATPM(t *testing.T) {
	w := newWorld(t)
	w.vault.damage("/dev/vg0/imap-vdb-luks")
	if _, err := w.vault.Format(t.Context(), luks.FormatSpec{
		Device: "/dev/vg0/imap-vdb-luks", Type: luks.LUKS1, UUID: vdbLUKS, Cipher: "aes-xts-plain64", KeySize: 512, SectorSize: 512, Offset: 2 * mib,
	}, key(t, passphrase)); err != nil {
		t.Fatal(err)
	}
	booted(t, w, "a b")
	for _, unlock := range methods()[1:] {
		if err := wrong[*NeedsLUKS2Error](t, enable(w, unlock)); err.Disk != "vdb" {
			t.Errorf("%+v", err)
		}
	}
	no(t, enable(w, boot.Unlock{Method: boot.Prompt}))
}

func TestATPMThatWasEnrolledBeforeStaysSo(t *testing.T) {
	w := newWorld(t)
	s := booted(t, w, "a b")
	tpm := boot.Unlock{Method: boot.TPM2, Device: "auto"}
	enrolls := w.Enroller.(*machines)
	for _, name := range []string{"imap-vda-luks", "imap-vdb-luks"} {
		_, err := enrolls.Enroll(t.Context(), "/dev/vg0/"+name, tpm, key(t, passphrase))
		no(t, err)
	}
	before := s.all(t, w)
	enrolls.idle = true // as systemd-cryptenroll is then
	no(t, enable(w, tpm))
	if told := w.told(Warning); len(told) != 2 || !strings.Contains(told[0], "was enrolled before") {
		t.Errorf("%q", told)
	}
	report, err := w.Look(t.Context(), "imap-luks")
	no(t, err)
	if problems := report.Clones[0].Boot.Problems; len(problems) > 0 {
		t.Errorf("%q", problems)
	}
	no(t, disable(w))
	if after := s.all(t, w); after != before {
		t.Errorf("left is\n%s\nand was\n%s", after, before)
	}
}
