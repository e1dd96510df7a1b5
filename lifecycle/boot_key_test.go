package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/boot"
)

// keyFileAtBoot has a clone unlocked at boot with a key file that holds text.
func (w *world) keyFileAtBoot(text string) (file string) {
	w.t.Helper()
	booted(w.t, w, "")
	file = filepath.Join(w.t.TempDir(), "imap.key")
	no(w.t, os.WriteFile(file, []byte(text), 0o600))
	record := boot.Record{Job: job, Clone: "imap-luks", Instance: "imap", Unlock: boot.Unlock{Method: boot.KeyFile, KeyFile: file}, Done: true}
	for i, uuid := range []string{vdaLUKS, vdbLUKS} {
		target := []string{"vda", "vdb"}[i]
		record.Disks = append(record.Disks, boot.RecordDisk{Target: target, LUKS: uuid, Mapper: "cr_imap_" + target, VG: "vg0", LV: "imap-" + target + "-luks"})
	}
	no(w.t, w.Boot.Save(record))
	return file
}

// stale is what status says of the key file.
func (w *world) stale() (said []string) {
	w.t.Helper()
	report, err := w.Look(w.t.Context(), "imap-luks")
	no(w.t, err)
	for _, problem := range report.Clones[0].Boot.Problems {
		if strings.Contains(problem, "no longer unlocked") {
			said = append(said, problem)
		}
	}
	return said
}

func TestAKeyFileThatNoLongerFitsIsToldOfBeforeTheNextBoot(t *testing.T) {
	w := newWorld(t)
	file := w.keyFileAtBoot(passphrase)
	if said := w.stale(); len(said) > 0 {
		t.Errorf("%q", said)
	}
	_, err := w.AddKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	no(t, err)
	if told := w.told(Warning); len(told) > 0 {
		t.Errorf("told %q", told)
	}
	// The key in the file is changed.
	_, err = w.ChangeKey(t.Context(), "imap-luks", newKey("third"), KeyOptions{})
	no(t, err)
	told := w.told(Warning)
	if len(told) != 2 || !strings.Contains(told[0], file) || !strings.HasSuffix(told[0], "vmmigrate autostart enable imap-luks --unlock key-file:"+file) {
		t.Errorf("told %q", told)
	}
	if said := w.stale(); len(said) != 2 {
		t.Errorf("status says %q", said)
	}
	// It fits again on one disk.
	no(t, os.WriteFile(file, []byte("third"), 0o600))
	w.keys.all = []string{"third"}
	_, err = w.RemoveKey(t.Context(), "imap-luks", "vda", 1)
	no(t, err)
	if said := w.stale(); len(said) != 1 || !strings.Contains(said[0], "vdb") {
		t.Errorf("status says %q", said)
	}
	// Its slot is taken away with the key of another.
	w.keys.all = []string{"second"}
	_, err = w.RemoveKey(t.Context(), "imap-luks", "vdb", 2)
	no(t, err)
	if told := w.told(Warning); len(told) != 3 {
		t.Errorf("told %q", told)
	}
}

// A file that can't be read is said, and undoes no change.
func TestAKeyFileThatCanNotBeReadKeepsNoKeyFromBeingChanged(t *testing.T) {
	w := newWorld(t)
	file := w.keyFileAtBoot(passphrase)
	no(t, os.Remove(file))
	_, err := w.ChangeKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	no(t, err)
	if told := w.told(Warning); len(told) != 1 || !strings.Contains(told[0], "can't be told") {
		t.Errorf("told %q", told)
	}
}

// The keys of a header that is restored are those of the time of its backup.
func TestAHeaderThatIsRestoredIsTriedWithTheKeyFile(t *testing.T) {
	w := newWorld(t)
	file := w.backup()
	_, err := w.ChangeKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	no(t, err)
	w.keyFileAtBoot("second")
	_, err = w.RestoreHeader(t.Context(), "imap-luks", file, func(Restore) error { return nil })
	no(t, err)
	if said := w.stale(); len(said) != 1 || !strings.Contains(said[0], "vda") {
		t.Errorf("status says %q", said)
	}
}

func TestOtherWaysToUnlockAtBootAreNotTried(t *testing.T) {
	w := newWorld(t)
	booted(t, w, "")
	no(t, enable(w, boot.Unlock{Method: boot.Prompt}))
	_, err := w.ChangeKey(t.Context(), "imap-luks", newKey("second"), KeyOptions{})
	no(t, err)
	if told := w.told(Warning); len(told) > 0 {
		t.Errorf("told %q", told)
	}
}
