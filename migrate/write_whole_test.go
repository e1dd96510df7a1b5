package migrate

import (
	"os"
	"path/filepath"
	"testing"
)

// What a crash left half-written is in nobody's way, and nothing of it stays.
func TestAFileIsWrittenWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path+".part", []byte("half of something longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second"} {
		if err := writeWhole(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%q, %v", now, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%v, %v", entries, err)
		}
	}
	if err := writeWhole(filepath.Join(dir, "none", "file"), nil); err == nil {
		t.Error("a folder that is not there takes it")
	}
}
