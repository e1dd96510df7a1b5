package migrate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

// The backup is to be moved off the host, with what is beside it; what stays knows
// of it.
func TestAHeaderBackupSaysWhatItIs(t *testing.T) {
	w, before, plan := moved(t, options())
	for i := range plan.Disks {
		disk := &plan.Disks[i]
		base := filepath.Join(w.state, "jobs", plan.Job, disk.Target)
		digest, size, err := luks.DigestFile(base + ".luks-header")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{base + ".luks-header" + luks.Beside, base + luks.Note} {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			said, err := luks.ParseBackup(path, text)
			want := luks.Backup{
				File: base + ".luks-header", Bytes: size, SHA256: digest, Made: noon().UTC(), VM: "imap-luks", Disk: disk.Target, Volume: disk.Volume.String(),
				LUKS: disk.LUKSUUID, Type: luks.LUKS2, Offset: disk.Offset, VolumeSize: disk.Volume.Size,
			}
			if err != nil || said != want {
				t.Errorf("%s: %+v, %v", path, said, err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
		}
	}
	w.mustRollback(plan.Job, "undone")
	w.wantSame(before, "undone")
}

// A crash in the middle leaves half of it.
func TestAHeaderBackupIsMadeAnew(t *testing.T) {
	w, _, plan := moved(t, options())
	job, err := (&Engine{Env: w.env()}).open(plan.Job)
	if err != nil {
		t.Fatal(err)
	}
	defer job.close()
	if err := job.record(journal.Intent, stepKey{step: HeaderBackup}); err != nil {
		t.Fatal(err)
	}
	note := filepath.Join(w.state, "jobs", plan.Job, "vda"+luks.Note)
	if err := os.WriteFile(note, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (headerBackup{}).Do(w.context(), job, nil, Absent); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(note); err != nil || !strings.Contains(string(text), plan.Disks[0].LUKSUUID) {
		t.Errorf("%q, %v", text, err)
	}
	if err := (headerBackup{}).Undo(w.context(), job, nil); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.state, "jobs", plan.Job, "*header*")); len(left) > 0 {
		t.Errorf("there is %q", left)
	}
}
