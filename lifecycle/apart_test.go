package lifecycle

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/boot"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// headerApart adds the clone web-luks, whose disk has its header in a file that
// is returned; tags are those of its volume, besides the job's.
func (w *world) headerApart(tags ...string) string {
	w.t.Helper()
	const ofJob = "20260301-120000-aaaa"
	file := filepath.Join(w.t.TempDir(), "web.header")
	size := w.vault.Size
	w.vault.Size = func(path string) (int64, error) {
		if path == file && w.devices.there[file] {
			return 16 * mib, nil
		}
		return size(path)
	}
	w.devices.there[file] = true
	if _, err := w.volumes.Create(w.t.Context(), lvm.Spec{VG: "vg0", Name: "web-vda-luks", Size: 8 * mib, Tags: append([]string{tagPrefix + ofJob}, tags...)}); err != nil {
		w.t.Fatal(err)
	}
	w.formatApart(file, webLUKS)
	w.define(domain("web-luks", webUUID, "52:54:00:44:55:77", `<metadata><vmmigrate:clone xmlns:vmmigrate="https://vmmigrate.github.io/xmlns/clone/1" job="`+ofJob+`">
<vmmigrate:origin name="web" uuid="11111111-2222-4333-8444-555555555555"/>
<vmmigrate:disk target="vda" source="/srv/web.raw" vg="vg0" lv="web-vda-luks" header="`+file+`" luks="`+webLUKS+`" mapper="cr_web_vda"/>
</vmmigrate:clone></metadata>`, disk("vda", "/dev/mapper/cr_web_vda", "")))
	return file
}

func (w *world) formatApart(file, luksUUID string) {
	w.t.Helper()
	if _, err := w.vault.Format(w.t.Context(), luks.FormatSpec{
		Device: "/dev/vg0/web-vda-luks", Header: file, UUID: luksUUID, Cipher: "aes-xts-plain64", KeySize: 512, SectorSize: 512,
	}, key(w.t, passphrase)); err != nil {
		w.t.Fatal(err)
	}
}

func TestADiskWithItsHeaderApartIsUnlockedAndLockedLikeAnyOther(t *testing.T) {
	for _, tags := range [][]string{{luksTag + webLUKS}, nil} { // a volume that was made, and one that was there before
		w := newWorld(t)
		file := w.headerApart(tags...)
		w.volumes.inactive["web-vda-luks"] = true
		no(t, w.Start(t.Context(), "web-luks"))
		w.isOpen("cr_web_vda")
		report, err := w.Look(t.Context(), "web-luks")
		no(t, err)
		status := report.Clones[0].Disks[0]
		if status.Volume != "vg0/web-vda-luks" || status.Err != nil || !status.Open || status.HeaderFile != file || status.Type != "luks2" {
			t.Errorf("its status is %+v", status)
		}
		if _, err := w.AddKey(t.Context(), "web-luks", func(context.Context) (luks.Key, error) { return luks.NewKey([]byte("another")) }, KeyOptions{}); err != nil {
			t.Error(err)
		}
		no(t, w.Stop(t.Context(), "web-luks", StopOptions{Timeout: time.Minute}))
		w.isOpen("")
	}
}

func TestAHeaderFileThatIsNotThereIsNamed(t *testing.T) {
	w := newWorld(t)
	file := w.headerApart(luksTag + webLUKS)
	w.devices.there[file] = false
	if err := wrong[*HeaderLostError](t, w.Start(t.Context(), "web-luks")); err.File != file || !err.Gone || !strings.Contains(err.Error(), "it belongs in the file "+file) {
		t.Error(err)
	}
	w.devices.there[file] = true
	w.vault.damage(file)
	if err := wrong[*HeaderLostError](t, w.Start(t.Context(), "web-luks")); err.File != file || err.Gone {
		t.Error(err)
	}
	w.isOpen("")
}

func TestAHeaderFileOfAnotherVolumeIsNeitherUsedNorOverwritten(t *testing.T) {
	w := newWorld(t)
	file := w.headerApart(luksTag + webLUKS)
	backup := filepath.Join(t.TempDir(), "backup")
	_, err := w.SaveHeaders(t.Context(), "web-luks", SaveOptions{Out: backup})
	no(t, err)
	w.formatApart(file, otherLUKS)
	if err := wrong[*HeaderFileError](t, w.Start(t.Context(), "web-luks")); err.Bears != otherLUKS || err.LUKS != webLUKS {
		t.Error(err)
	}
	_, err = w.RestoreHeader(t.Context(), "web-luks", backup, func(Restore) error { t.Error("it was asked"); return nil })
	wrong[*HeaderFileError](t, err)
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("a file was written: %v", err)
	}
}

func TestAHeaderFileThatIsLostIsMadeAnewOfABackup(t *testing.T) {
	w := newWorld(t)
	file := w.headerApart(luksTag + webLUKS)
	backup := filepath.Join(t.TempDir(), "backup")
	_, err := w.SaveHeaders(t.Context(), "web-luks", SaveOptions{Out: backup})
	no(t, err)
	w.devices.there[file] = false
	checks, err := w.CheckHeaders(t.Context(), "web-luks", backup)
	no(t, err)
	if checks[0].Verdict != LiveDamaged {
		t.Errorf("%+v", checks)
	}
	kept, err := w.RestoreHeader(t.Context(), "web-luks", backup, func(r Restore) error {
		if r.HeaderFile != file || r.Live != nil {
			t.Errorf("%+v", r)
		}
		w.devices.there[file] = true
		return nil
	})
	no(t, err)
	text, err := os.ReadFile(file)
	no(t, err)
	want, err := os.ReadFile(backup)
	no(t, err)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || !bytes.Equal(text, want) || kept != "" {
		t.Errorf("%v, %v, kept %q", info, err, kept)
	}
}

// What is in the file may be half a header, or somebody's letter.
func TestWhatIsInADamagedHeaderFileIsKeptBeforeItIsReplaced(t *testing.T) {
	w := newWorld(t)
	file := w.headerApart(luksTag + webLUKS)
	backup := filepath.Join(t.TempDir(), "backup")
	_, err := w.SaveHeaders(t.Context(), "web-luks", SaveOptions{Out: backup})
	no(t, err)
	w.vault.damage(file)
	no(t, os.WriteFile(file, []byte("short"), 0o600))
	kept, err := w.RestoreHeader(t.Context(), "web-luks", backup, func(Restore) error { return nil })
	no(t, err)
	if text, err := os.ReadFile(kept); err != nil || string(text) != w.devices.bytes {
		t.Errorf("kept is %q, %v", text, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("left is %v", left)
	}
}

func TestARenamedVolumeIsKnownByItsTag(t *testing.T) {
	w := newWorld(t)
	w.headerApart(luksTag + webLUKS)
	w.volumes.names["web-vda-luks"] = "mail"
	no(t, w.Unlock(t.Context(), "web-luks"))
	w.isOpen("cr_web_vda")
	if told := w.told(Warning); len(told) != 1 || !strings.Contains(told[0], "vg0/mail") {
		t.Errorf("told %q", told)
	}
}

func TestAnotherVolumeOfTheNameIsNotOpened(t *testing.T) {
	w := newWorld(t)
	w.headerApart(luksTag + otherLUKS)
	if err := wrong[*VolumeError](t, w.Unlock(t.Context(), "web-luks")); !strings.Contains(err.Error(), "no volume bears the tag "+luksTag+webLUKS) {
		t.Error(err)
	}
	w = newWorld(t)
	w.headerApart()
	w.vault.Sign("/dev/vg0/web-vda-luks", luks.Signature{Type: "ext4"})
	if err := wrong[*VolumeError](t, w.Unlock(t.Context(), "web-luks")); !strings.Contains(err.Error(), "it bears ext4") {
		t.Error(err)
	}
	w.isOpen("")
}

func TestWithItsHeaderApartADiskIsUnlockedAtBootByItsPath(t *testing.T) {
	w := newWorld(t)
	file := w.headerApart(luksTag + webLUKS)
	s := booted(t, w, "")
	_, err := w.EnableAutostart(t.Context(), "web-luks", AutostartOptions{Unlock: boot.Unlock{Method: boot.Prompt}})
	no(t, err)
	if all := s.all(t, w); !strings.Contains(all, "cr_web_vda /dev/vg0/web-vda-luks none luks,noauto,nofail,header="+file) {
		t.Error(all)
	}
	report, err := w.Look(t.Context(), "web-luks")
	no(t, err)
	if b := report.Clones[0].Boot; b == nil || len(b.Problems) > 0 {
		t.Errorf("%+v", b)
	}
	_, err = w.DisableAutostart(t.Context(), "web-luks", DisableOptions{})
	no(t, err)
	_, err = w.EnableAutostart(t.Context(), "web-luks", AutostartOptions{Unlock: boot.Unlock{Method: boot.Tang, URL: "http://tang", Thumbprint: "x"}})
	if err := wrong[*HeaderApartError](t, err); err.File != file {
		t.Error(err)
	}
}
