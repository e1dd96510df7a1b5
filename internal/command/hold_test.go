package command

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestALockLastsAsLongAsAProgramThatWasStartedUnderIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx := Hold(t.Context(), file)
	started := make(chan error)
	go func() {
		_, err := Local{}.Run(ctx, Cmd{Name: "sh", Args: []string{"-c", `touch "$0"; sleep 1`, path + ".started"}})
		started <- err
	}()
	for {
		if _, err := os.Stat(path + ".started"); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	// As when this process is killed.
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("the lock is free while the program runs: %v", err)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the lock is held by nobody, and: %v", err)
	}
}

func TestWhatChangesNothingHoldsNoLock(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ctx := Hold(t.Context(), file)
	if held(ctx, Cmd{ReadOnly: true}) != nil || held(Hold(ctx, nil), Cmd{}) != nil || held(ctx, Cmd{}) != file {
		t.Error("the file is handed to the wrong commands")
	}
}
