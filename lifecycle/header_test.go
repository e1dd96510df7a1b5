package lifecycle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/luks"
)

// backup makes a backup of vda's header.
func (w *world) backup() string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "vda.header")
	if _, err := w.SaveHeaders(w.t.Context(), "imap-luks", SaveOptions{Out: path, Disk: "vda"}); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func TestABackupIsForItsOwnerAloneAndSaysWhatItIs(t *testing.T) {
	w := newWorld(t)
	made, err := w.SaveHeaders(t.Context(), "imap-luks", SaveOptions{})
	no(t, err)
	if len(made) != 2 || filepath.Base(made[0].File) != "imap-luks-vda-20261122T093012Z.luks-header" {
		t.Fatalf("%+v", made)
	}
	for _, backup := range made {
		for _, path := range []string{backup.File, backup.File + ".sha256"} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", path, info, err)
			}
		}
		text, err := os.ReadFile(backup.File + ".sha256")
		no(t, err)
		if !strings.HasSuffix(string(text), "\n"+backup.SHA256+"  "+filepath.Base(backup.File)+"\n") {
			t.Errorf("sha256sum does not read:\n%s", text)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(made[0].File))
	no(t, err)
	if len(entries) != 4 {
		t.Errorf("there are %v", entries)
	}
	report, err := w.Look(t.Context(), "imap-luks")
	no(t, err)
	if b := report.Clones[0].Disks[0].Backup; b == nil || b.File != made[0].File || !b.There || !b.Made.Equal(w.clock) {
		t.Errorf("status knows of %+v", b)
	}
}

func TestWhatIsWrittenBesideABackupReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[^\n\r]{1,20}`).Filter(func(s string) bool { return strings.TrimSpace(s) == s })
		b := Backup{
			File: "/" + word.Draw(t, "file"), Bytes: rapid.Int64Min(0).Draw(t, "bytes"), SHA256: strings.Repeat("ab", 32),
			Made: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "made"), 0).UTC(), VM: word.Draw(t, "vm"), Disk: "vda", Volume: word.Draw(t, "volume"),
			LUKS: vdaLUKS, Type: luks.LUKS2, Offset: rapid.Int64Min(0).Draw(t, "offset"), VolumeSize: rapid.Int64Min(0).Draw(t, "size"),
		}
		read, err := luks.ParseBackup("beside", b.Text())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, read); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzParseBackup(f *testing.F) {
	f.Add((&Backup{File: "/a", SHA256: strings.Repeat("ab", 32), Made: time.Unix(0, 0)}).Text())
	f.Add([]byte("# made: \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := luks.ParseBackup("beside", text)
		if err != nil {
			wrong[*BesideError](t, err)
		} else if len(b.SHA256) != 64 {
			t.Errorf("%+v", b)
		}
	})
}

func TestABackupReplacesNothingAndGoesWhereItWasSent(t *testing.T) {
	w := newWorld(t)
	path := w.backup()
	_, err := w.SaveHeaders(t.Context(), "imap-luks", SaveOptions{Out: path, Disk: "vda"})
	if taken := wrong[*luks.ExistsError](t, err); taken.File != path {
		t.Errorf("%+v", taken)
	}
	_, err = w.SaveHeaders(t.Context(), "imap-luks", SaveOptions{Out: path + "2"})
	if out := wrong[*OutError](t, err); !slices.Equal(out.Disks, []string{"vda", "vdb"}) {
		t.Errorf("%+v", out)
	}
	_, err = w.SaveHeaders(t.Context(), "imap-luks", SaveOptions{Out: filepath.Join(path, "below")})
	if err == nil {
		t.Error("wrote below a file")
	}
	_, err = w.SaveHeaders(t.Context(), "imap-luks", SaveOptions{Out: "/nonexistent/folder/file", Disk: "vda"})
	wrong[*OutError](t, err)
	_, err = w.SaveHeaders(t.Context(), "imap-luks", SaveOptions{Disk: "vdz"})
	if none := wrong[*NoDiskError](t, err); !slices.Equal(none.Known, []string{"vda", "vdb"}) {
		t.Errorf("%+v", none)
	}
	w.clock = w.clock.Add(time.Second)
	dir := t.TempDir()
	made, err := w.SaveHeaders(t.Context(), "imap-luks", SaveOptions{Out: dir})
	if err != nil || len(made) != 2 || filepath.Dir(made[1].File) != dir {
		t.Errorf("%+v, %v", made, err)
	}
	report, err := w.Look(t.Context(), "imap-luks")
	no(t, err)
	if b := report.Clones[0].Disks[0].Backup; b == nil || b.File != made[0].File {
		t.Errorf("status knows of %+v", b)
	}
}

func TestCheckTellsACurrentBackupFromOneOfBeforeAChangeOfKeys(t *testing.T) {
	w := newWorld(t)
	checks, err := w.CheckHeaders(t.Context(), "imap-luks", "")
	no(t, err)
	if len(checks) != 2 || checks[0].Verdict != Missing {
		t.Errorf("%+v", checks)
	}
	path := w.backup()
	one := func() HeaderCheck {
		checks, err := w.CheckHeaders(t.Context(), "imap-luks", path)
		no(t, err)
		return checks[0]
	}
	if check := one(); check.Verdict != Current || check.Disk != "vda" {
		t.Errorf("%+v", check)
	}
	no(t, w.Unlock(t.Context(), "imap-luks")) // which allows discards for good
	no(t, w.Lock(t.Context(), "imap-luks"))
	if check := one(); check.Verdict != SameKeys || !strings.Contains(check.Notes[0], `the volume's now "allow-discards"`) {
		t.Errorf("%+v", check)
	}
	_, err = w.ChangeKey(t.Context(), "imap-luks", newKey("new"), KeyOptions{})
	no(t, err)
	if check := one(); check.Verdict != Outdated || !strings.Contains(strings.Join(check.Notes, "\n"), "it has the key slots 0 and the volume now 1") {
		t.Errorf("%+v", check)
	}
	w.vault.damage("/dev/vg0/imap-vda-luks")
	if check := one(); check.Verdict != LiveDamaged {
		t.Errorf("%+v", check)
	}
	no(t, os.WriteFile(path, []byte("noise"), 0o600))
	_, err = w.CheckHeaders(t.Context(), "imap-luks", path)
	wrong[*BackupError](t, err)
	checks, err = w.CheckHeaders(t.Context(), "imap-luks", "")
	no(t, err)
	if checks[0].Verdict != Damaged || checks[1].Verdict != Missing {
		t.Errorf("%+v", checks)
	}
	no(t, os.Remove(path))
	if checks, err = w.CheckHeaders(t.Context(), "imap-luks", ""); err != nil || checks[0].Verdict != Missing || checks[0].File != path {
		t.Errorf("%+v, %v", checks, err)
	}
	left, err := os.ReadDir(w.StateDir)
	no(t, err)
	if len(left) != 1 || left[0].Name() != "headers" {
		t.Errorf("left behind: %v", left)
	}
}

func newKey(text string) NewKey {
	return func(context.Context) (luks.Key, error) { return luks.NewKey([]byte(text)) }
}

func yes(Restore) error { return nil }

func TestADamagedHeaderComesBackAndWhatWasThereIsKept(t *testing.T) {
	w := newWorld(t)
	path := w.backup()
	w.vault.damage("/dev/vg0/imap-vda-luks")
	var shown Restore
	kept, err := w.RestoreHeader(t.Context(), "imap-luks", path, func(r Restore) error { shown = r; return nil })
	no(t, err)
	if shown.Live != nil || shown.Disk != "vda" || shown.Volume != "vg0/imap-vda-luks" || shown.Made == nil || shown.Backup.UUID != vdaLUKS {
		t.Errorf("shown %+v", shown)
	}
	if text, err := os.ReadFile(kept); err != nil || string(text) != w.devices.bytes || !strings.HasSuffix(kept, "-before-restore.luks-header.raw") {
		t.Errorf("kept %q in %s, %v", text, kept, err)
	}
	if kept, err = w.RestoreHeader(t.Context(), "imap-luks", path, yes); err != nil || kept != "" {
		t.Errorf("restored again: %q, %v", kept, err)
	}
	no(t, w.Unlock(t.Context(), "imap-luks"))
}

func TestARestoreCanItselfBeRestored(t *testing.T) {
	w := newWorld(t)
	path := w.backup()
	_, err := w.AddKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	no(t, err)
	kept, err := w.RestoreHeader(t.Context(), "imap-luks", path, yes)
	no(t, err)
	w.keys.all, w.keys.asked = []string{"second"}, 0
	_, err = w.TestKey(t.Context(), "imap-luks")
	wrong[*KeyError](t, err)
	w.clock = w.clock.Add(time.Second)
	_, err = w.RestoreHeader(t.Context(), "imap-luks", kept, yes)
	no(t, err)
	_, err = w.TestKey(t.Context(), "imap-luks")
	no(t, err)
}

func TestARestoreThatIsNotConfirmedChangesNothing(t *testing.T) {
	w := newWorld(t)
	path := w.backup()
	w.vault.damage("/dev/vg0/imap-vda-luks")
	not := errors.New("not confirmed")
	if _, err := w.RestoreHeader(t.Context(), "imap-luks", path, func(Restore) error { return not }); !errors.Is(err, not) {
		t.Error(err)
	}
	wrong[*HeaderLostError](t, w.Unlock(t.Context(), "imap-luks"))
}

func TestABackupThatIsForeignOrDoesNotFitIsRefused(t *testing.T) {
	w := newWorld(t)
	path := w.backup()
	refused := func(what string, do func(w *world) string) {
		t.Helper()
		w := newWorld(t)
		file := do(w)
		_, err := w.RestoreHeader(t.Context(), "imap-luks", file, yes)
		if foreign := wrong[*ForeignError](t, err); foreign.File != file {
			t.Errorf("%s: %+v", what, foreign)
		}
	}
	refused("another volume's", func(w *world) string {
		w.volume("other", otherLUKS, "")
		file := filepath.Join(t.TempDir(), "other")
		no(t, w.vault.HeaderBackup(t.Context(), "/dev/vg0/other", file))
		return file
	})
	refused("another offset", func(w *world) string {
		w.vault.damage("/dev/vg0/imap-vda-luks")
		spec := luks.FormatSpec{Device: "/dev/vg0/imap-vda-luks", UUID: vdaLUKS, Cipher: "aes-xts-plain64", KeySize: 512, SectorSize: 512, Offset: 17 * mib}
		_, err := w.vault.Format(t.Context(), spec, key(t, passphrase))
		no(t, err)
		return path
	})
	refused("another size of the volume", func(w *world) string {
		text, err := os.ReadFile(path + ".sha256")
		no(t, err)
		file := filepath.Join(t.TempDir(), "grown")
		data, err := os.ReadFile(path)
		no(t, err)
		no(t, os.WriteFile(file, data, 0o600))
		no(t, os.WriteFile(file+".sha256", []byte(strings.Replace(string(text), "volume-size: 25165824", "volume-size: 20971520", 1)), 0o600))
		return file
	})
	no(t, os.WriteFile(path, []byte("no header"), 0o600))
	_, err := w.RestoreHeader(t.Context(), "imap-luks", path, yes)
	wrong[*BackupError](t, err)
	_, err = w.RestoreHeader(t.Context(), "imap-luks", "/nonexistent", yes)
	wrong[*BackupError](t, err)
}

func TestARestoreThatFailsSaysWhereWhatWasThereIs(t *testing.T) {
	w := newWorld(t)
	path := w.backup()
	w.vault.damage("/dev/vg0/imap-vda-luks")
	broken := errors.New("I/O error")
	w.vault.fail = func(op, _ string) error {
		if op == "restore" {
			return broken
		}
		return nil
	}
	_, err := w.RestoreHeader(t.Context(), "imap-luks", path, yes)
	if failed := wrong[*RestoreError](t, err); failed.Kept == "" || !errors.Is(err, broken) {
		t.Errorf("%+v", failed)
	}
}

// What `run` made is told to be moved off the host, and is known of after that.
func TestTheBackupOfAJobThatWasMovedAwayIsKnownOf(t *testing.T) {
	w := newWorld(t)
	base := filepath.Join(w.StateDir, "jobs", job, "vda")
	file := base + ".luks-header"
	said := Backup{File: "/elsewhere/vda.luks-header", SHA256: strings.Repeat("ab", 32), Made: w.clock.Add(-time.Hour), LUKS: vdaLUKS, Type: luks.LUKS2}
	known := func() *BackupStatus {
		t.Helper()
		report, err := w.Look(t.Context(), "imap-luks")
		no(t, err)
		return report.Clones[0].Disks[0].Backup
	}
	no(t, os.MkdirAll(filepath.Dir(file), 0o700))
	no(t, os.WriteFile(file, nil, 0o600))
	// An older vmmigrate left nothing beside it.
	if b := known(); b == nil || b.File != file || !b.There {
		t.Errorf("%+v", b)
	}
	for _, note := range []string{base + luks.Note, file + beside} {
		no(t, os.WriteFile(note, said.Text(), 0o600))
		if b := known(); b == nil || b.File != file || !b.There || !b.Made.Equal(said.Made) {
			t.Errorf("%s: %+v", note, b)
		}
		no(t, os.Rename(file, file+".moved"))
		if b := known(); b == nil || b.File != file || b.There || !b.Made.Equal(said.Made) {
			t.Errorf("%s, moved away: %+v", note, b)
		}
		no(t, errors.Join(os.Rename(file+".moved", file), os.Remove(note)))
	}
	// One of another volume is none of this disk's.
	said.LUKS = vdbLUKS
	no(t, errors.Join(os.Remove(file), os.WriteFile(base+luks.Note, said.Text(), 0o600)))
	if b := known(); b != nil {
		t.Errorf("%+v", b)
	}
}
