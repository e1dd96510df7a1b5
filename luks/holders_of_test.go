package luks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The process that has the file open is this one.
func TestAFilesUsersAreNamedWhateverItsPath(t *testing.T) {
	client := New(nil)
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		if holders, err := client.HoldersOf(name); err != nil || len(holders) != 0 {
			t.Errorf("nobody has %s open: %q, %v", name, holders, err)
		}
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := fmt.Sprintf("process %d (luks.test)", os.Getpid())
	for _, name := range []string{path, link} {
		if holders, err := client.HoldersOf(name); err != nil || !slices.Contains(holders, want) {
			t.Errorf("%s: %q, %v", name, holders, err)
		}
	}
	if _, err := client.HoldersOf(path + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
