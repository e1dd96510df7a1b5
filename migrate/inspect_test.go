package migrate

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func file(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnImageFileIsSeenAsItIs(t *testing.T) {
	path := file(t, 5_000_001)
	written := noon()
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	facts, err := Host{}.Inspect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Block || facts.Busy || facts.Size != 5_000_001 || facts.LogicalBlock != 512 || facts.Path != path || !facts.ModTime.Equal(written) {
		t.Errorf("got %+v", facts)
	}
	if facts.Writes != -1 || facts.TableEnd != 0 || facts.PhysicalVolume {
		t.Errorf("got %+v", facts)
	}
}

func TestTwoPathsToOneDiskHaveOneID(t *testing.T) {
	path := file(t, 4096)
	dir := filepath.Dir(path)
	soft, hard, other := filepath.Join(dir, "soft"), filepath.Join(dir, "hard"), file(t, 4096)
	if err := errors.Join(os.Symlink("disk.img", soft), os.Link(path, hard)); err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]string)
	for _, p := range []string{path, soft, hard, other} {
		facts, err := Host{}.Inspect(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		ids[p] = facts.ID
		if p == soft && (facts.Path != soft || facts.Resolved != path) {
			t.Errorf("the link is %+v", facts)
		}
	}
	if ids[soft] != ids[path] || ids[hard] != ids[path] || ids[other] == ids[path] {
		t.Errorf("got %v", ids)
	}
}

func TestWhatIsNoDiskIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, fifo, loop, "/dev/null"} {
		ended := make(chan error, 1)
		go func() {
			_, err := Host{}.Inspect(t.Context(), path)
			ended <- err
		}()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s is taken for a disk", path)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is waited for", path)
		}
	}
	if _, err := (Host{}).Inspect(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	if there, err := (Host{}).Exists(t.Context(), filepath.Join(dir, "none")); there || err != nil {
		t.Errorf("what is not there: %v, %v", there, err)
	}
	if there, err := (Host{}).Exists(t.Context(), loop); !there || err != nil {
		t.Errorf("a link that leads nowhere is there all the same: %v, %v", there, err)
	}
}

func TestAPhysicalVolumeIsToldFromOtherDisks(t *testing.T) {
	for sector, want := range map[int64]bool{0: true, 1: true, 3: true, 4: false} {
		path := file(t, mib)
		disk, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = disk.WriteAt([]byte("LABELONE\x01\x00\x00\x00\x00\x00\x00\x00....\x20\x00\x00\x00LVM2 001"), 512*sector)
		if err := errors.Join(err, disk.Close()); err != nil {
			t.Fatal(err)
		}
		facts, err := Host{}.Inspect(t.Context(), path)
		if err != nil || facts.PhysicalVolume != want {
			t.Errorf("a label in sector %d: %v, %v", sector, facts.PhysicalVolume, err)
		}
	}
}

func TestMapperNamesAreThoseOfTheKernel(t *testing.T) {
	names, err := Host{}.MapperNames(t.Context())
	entries, _ := filepath.Glob("/sys/class/block/dm-*")
	if err != nil || len(names) != len(entries) {
		t.Errorf("%v for %d devices, %v", names, len(entries), err)
	}
}
