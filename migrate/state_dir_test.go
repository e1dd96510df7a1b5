package migrate

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vmmigrate/vmmigrate/migrate/journal"
)

func TestAStateDirectoryThatOthersMayWriteIntoIsRefused(t *testing.T) {
	for _, at := range []string{"", "jobs", "locks"} {
		store := Store{Dir: filepath.Join(t.TempDir(), "state"), Now: noon}
		if err := store.prepare(); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(store.Dir, at)
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		var refused *StateDirError
		if err := store.prepare(); !errors.As(err, &refused) || refused.Dir != dir || refused.Mode != 0o777 {
			t.Errorf("%q: %v", at, err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := store.prepare(); err != nil {
			t.Errorf("%q: one that others may only read: %v", at, err)
		}
	}
}

// What is done with clones has folders of its own there.
func TestAStateDirectoryIsPrivateWithAllItsFolders(t *testing.T) {
	store := Store{Dir: filepath.Join(t.TempDir(), "state"), Now: noon}
	if err := store.Private(); err != nil {
		t.Errorf("one that is not there: %v", err)
	}
	headers := filepath.Join(store.Dir, "headers")
	if err := os.MkdirAll(headers, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := store.Private(); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{store.Dir, headers} {
		var refused *StateDirError
		err := os.Chmod(dir, 0o777)
		if err == nil {
			err = store.Private()
		}
		if !errors.As(err, &refused) || refused.Dir != dir {
			t.Errorf("%s: %v", dir, err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStateDirectoryOfAnotherUserIsRefused(t *testing.T) {
	foreign := "/" // root's, for everybody but root
	if os.Geteuid() == 0 {
		foreign = filepath.Join(t.TempDir(), "theirs")
		if err := os.Mkdir(foreign, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(foreign, 1000, 1000); err != nil {
			t.Fatal(err)
		}
	}
	var refused *StateDirError
	if err := private(foreign); !errors.As(err, &refused) || refused.Owner == refused.User {
		t.Errorf("%v", err)
	}
	w := newWorld(t)
	plan := w.plan(options())
	if os.Geteuid() != 0 {
		return // the rest needs a folder that is another's
	}
	if err := os.Chown(w.state, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	w.disarm()
	before := w.look()
	if _, err := w.run(plan, ""); !errors.As(err, &refused) {
		t.Errorf("a run: %v", err)
	}
	w.wantSame(before, "refused")
}

func TestAStateDirectoryThatWasMadeGoesWhenItIsEmptyAndNoOther(t *testing.T) {
	parent := t.TempDir()
	made, given, used := Store{Dir: filepath.Join(parent, "a", "made")}, Store{Dir: filepath.Join(parent, "given")}, Store{Dir: filepath.Join(parent, "used")}
	if err := os.Mkdir(given.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, store := range []Store{made, given, used} {
		if err := store.prepare(); err != nil {
			t.Fatal(err)
		}
		if err := store.prepare(); err != nil { // the next job
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(used.Dir, "headers"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, store := range []Store{made, given, used} {
		store.tidy()
	}
	for dir, there := range map[string]bool{made.Dir: false, given.Dir: true, used.Dir: true} {
		if _, err := os.Stat(dir); (err == nil) != there {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := made.prepare(); err != nil {
		t.Fatal(err)
	}
}

func TestAFolderIsMadeWithAllThatAreMissingAboveIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := makeFolders(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var unwritable *journal.WriteError
	if err := makeFolders(filepath.Join(dir, "file"), 0o700); !errors.As(err, &unwritable) {
		t.Errorf("a file in a folder's place: %v", err)
	}
	if err := makeFolders(filepath.Join(dir, "file", "below"), 0o700); !errors.As(err, &unwritable) {
		t.Errorf("a file above a folder: %v", err)
	}
}
