package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestALockKeepsASecondHolderOutAndNamesTheFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := Acquire(path, `the VM "imap"`)
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := Acquire(path, `the VM "imap"`); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("got %v", err)
	}
	if pid, taken := Held(path); !taken || pid != os.Getpid() {
		t.Errorf("Held says %d, %v", pid, taken)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if _, taken := Held(path); taken {
		t.Error("still held after its release")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestALockFileThatNobodyHoldsIsTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := Acquire(path, "it")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	if pid := readPID(held.file); pid != os.Getpid() {
		t.Errorf("the file names process %d", pid)
	}
}

func TestALockInAMissingFolderIsAWriteError(t *testing.T) {
	var unwritable *WriteError
	if _, err := Acquire(filepath.Join(t.TempDir(), "none", "lock"), "it"); !errors.As(err, &unwritable) {
		t.Errorf("got %v", err)
	}
}

func TestASweepRemovesTheLocksOfKilledProcessesAndNoOthers(t *testing.T) {
	dir := t.TempDir()
	left, live := filepath.Join(dir, "left"), filepath.Join(dir, "live")
	if err := os.WriteFile(left, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := Acquire(live, "it")
	if err != nil {
		t.Fatal(err)
	}
	if err := SweepLocks(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("the lock that nobody holds is still there: %v", err)
	}
	if _, taken := Held(live); !taken {
		t.Error("the lock that was held is gone")
	}
	if err := held.Release(); err != nil {
		t.Error(err)
	}
}
