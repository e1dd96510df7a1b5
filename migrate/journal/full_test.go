package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// replace puts another file under an open descriptor.
func replace(t *testing.T, file *os.File, by *os.File) {
	t.Helper()
	if err := unix.Dup3(int(by.Fd()), int(file.Fd()), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskIsAWriteErrorAndTheRecordsBeforeItStand(t *testing.T) {
	dir, j := begin(t)
	add(t, j, Intent, "copy")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	replace(t, j.file, full)
	var unwritable *WriteError
	for range 2 {
		err := j.Append(Done, "copy", "vda", nil)
		if !errors.As(err, &unwritable) || !errors.Is(err, syscall.ENOSPC) || unwritable.Path != filepath.Join(dir, FileName) {
			t.Fatalf("got %v", err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	add(t, again, Done, "copy")
	if records, err := Read(dir); err != nil || len(records) != 3 {
		t.Errorf("%v, %v", steps(records), err)
	}
}

// A pipe takes what is written and can't be flushed (fsync(2), EINVAL): so a
// record that is only written, and not flushed, would count here.
func TestARecordCountsOnlyOnceItIsFlushed(t *testing.T) {
	_, j := begin(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	replace(t, j.file, writer)
	if err := j.Append(Intent, "copy", "", nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v", err)
	}
	if len(j.Records()) != 1 {
		t.Errorf("it counts: %v", steps(j.Records()))
	}
}

// The disk may fill in the middle of a record.
func TestHalfARecordIsCutOff(t *testing.T) {
	dir, j := begin(t)
	add(t, j, Intent, "copy")
	path := filepath.Join(dir, FileName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	limited(t, int64(len(before))+20, func() {
		if err := j.Append(Done, "copy", "", nil); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("got %v", err)
		}
	})
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("%d bytes of it are left, %v", len(after)-len(before), err)
	}
}

// limited bounds the size of the files that this process writes. The runtime
// turns SIGXFSZ into the write's own error.
func limited(t *testing.T, size int64, act func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(size), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}()
	act()
}

func TestAJournalThatCantBeBegunLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	var unwritable *WriteError
	if _, err := Create(filepath.Join(parent, "none", "job"), plan{}, clock); !errors.As(err, &unwritable) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a parent: %v", err)
	}
	limited(t, 10, func() {
		if _, err := Create(filepath.Join(parent, "job"), plan{VM: "imap"}, clock); !errors.As(err, &unwritable) {
			t.Errorf("on a full disk: %v", err)
		}
	})
	if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if _, err := Create(filepath.Join(parent, "job"), make(chan int), clock); err == nil {
		t.Error("a plan that can't be encoded was begun with")
	}
}

func TestListShowsNoHalfMadeOrHalfRemovedJob(t *testing.T) {
	parent := t.TempDir()
	for _, name := range []string{"20260301-b", "20260301-a", unbornPrefix + "c", trashPrefix + "d"} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(parent, "a file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	names, err := List(parent)
	if err != nil || fmt.Sprint(names) != "[20260301-a 20260301-b]" {
		t.Errorf("%v, %v", names, err)
	}
	if names, err := List(filepath.Join(parent, "none")); err != nil || len(names) > 0 {
		t.Errorf("a folder that is not there: %v, %v", names, err)
	}
}

// A lock that one goroutine releases while others reach for it is never held
// twice: Release removes the file, and a file that was removed is no lock.
func TestALockIsHeldByOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held := make(chan struct{}, 1)
	ended := make(chan error)
	const holders = 4
	for range holders {
		go func() {
			for range 50 {
				lock, err := acquire(path, "it")
				if err != nil {
					var locked *LockedError
					if !errors.As(err, &locked) {
						ended <- err
						return
					}
					continue
				}
				select {
				case held <- struct{}{}:
				default:
					ended <- errors.New("two hold the lock")
					return
				}
				<-held
				if err := lock.Release(); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	for range holders {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
