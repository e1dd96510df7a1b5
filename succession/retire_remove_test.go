package succession

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vmmigrate/vmmigrate/migrate"
)

// linked has the world's plain disk be reached by a symbolic link, and returns
// the file itself.
func (w *retireWorld) linked() string {
	w.t.Helper()
	file := w.plain
	w.plain = filepath.Join(w.t.TempDir(), "imap.img")
	no(w.t, os.Symlink(file, w.plain))
	for _, uuid := range []string{imapUUID, cloneUUID} {
		no(w.t, w.virt.Purge(w.t.Context(), uuid))
	}
	w.original("raw")
	w.clone(`<vmmigrate:started time="2026-11-22T09:00:00Z"/>`)
	return file
}

// errand begins the retirement's journal.
func (w *retireWorld) errand(plan *Retirement) *migrate.Errand {
	w.t.Helper()
	errand, err := retireShelf(w.Store).Lock(plan.Job)
	no(w.t, err)
	no(w.t, errand.Begin(plan))
	w.t.Cleanup(errand.Close)
	return errand
}

func TestADiskThatALinkLeadsToGoesWithTheLink(t *testing.T) {
	w := newRetireWorld(t)
	file := w.linked()
	path, err := w.retire(RetireOptions{Method: Zero})
	no(t, err)
	for _, gone := range []string{w.plain, file} {
		if there, err := exists(gone); err != nil || there {
			t.Errorf("%s is still there, %v", gone, err)
		}
	}
	if d := readRecord(t, path).Disks[0]; !d.Removed || d.Path != w.plain {
		t.Errorf("%+v", d)
	}
}

// The crash came when the file was gone, and its link was not.
func TestALinkThatACrashLeftGoesToo(t *testing.T) {
	w := newRetireWorld(t)
	file := w.linked()
	plan, _, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: Zero})
	no(t, err)
	r := w.retiring(plan, w.errand(plan))
	no(t, os.Remove(file))
	no(t, r.removeDisk(t.Context(), &plan.Disks[0]))
	if there, err := exists(w.plain); err != nil || there {
		t.Errorf("the link is still there, %v", err)
	}
	no(t, r.removeDisk(t.Context(), &plan.Disks[0]))
}

// Somebody took the link away, or renamed the file: what is there is what counts,
// for the act and for the record.
func TestTheRecordLooksBeforeItSaysThatADiskIsGone(t *testing.T) {
	for name, kept := range map[string]bool{"the link is gone": false, "the file has another inode": true} {
		w := newRetireWorld(t)
		file := w.linked()
		plan, _, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: Zero})
		no(t, err)
		r := w.retiring(plan, w.errand(plan))
		no(t, os.Remove(w.plain))
		if kept {
			no(t, errors.Join(os.Rename(file, file+".old"), os.WriteFile(file, nil, 0o600)))
		}
		if err := r.removeDisk(t.Context(), &plan.Disks[0]); (err != nil) != kept {
			t.Errorf("%s: %v", name, err)
		}
		record, err := r.record()
		no(t, err)
		if there, err := exists(file); err != nil || there != kept || record.Disks[0].Removed == kept {
			t.Errorf("%s: it is there: %v, and the record says %+v; %v", name, there, record.Disks[0], err)
		}
	}
}

// What a link leads to by now is not what was wiped.
func TestAFileThatALinkLeadsToSinceStays(t *testing.T) {
	w := newRetireWorld(t)
	file := w.linked()
	plan, _, err := w.Judge(t.Context(), "imap-luks", RetireOptions{Method: Zero})
	no(t, err)
	r := w.retiring(plan, w.errand(plan))
	no(t, errors.Join(os.Remove(w.plain), os.Symlink(w.theirs, w.plain)))
	if err := r.removeDisk(t.Context(), &plan.Disks[0]); err == nil {
		t.Error("nothing was said")
	}
	for _, stays := range []string{w.plain, w.theirs, file} {
		if there, err := exists(stays); err != nil || !there {
			t.Errorf("%s is gone, %v", stays, err)
		}
	}
}
