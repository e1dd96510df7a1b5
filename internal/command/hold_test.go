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
	for name, test := range map[string]struct {
		script string
		stdin  []byte
	}{
		"one with an input":                        {`read secret && touch "$0" && sleep 1`, []byte("secret\n")},
		"one that closes what it inherits, as lvm": {`exec 3>&- 4>&- 5>&- && touch "$0" && exec sleep 1`, nil},
	} {
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
			_, err := Local{}.Run(ctx, Cmd{Name: "sh", Args: []string{"-c", test.script, path + ".started"}, Stdin: test.stdin})
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
			t.Errorf("%s: the lock is free while it runs: %v", name, err)
		}
		if err := <-started; err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Errorf("%s: the lock is held by nobody, and: %v", name, err)
		}
	}
}

func TestAHeldLockIsAnEmptyInput(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("4711\n"), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := Local{}.Run(Hold(t.Context(), file), Cmd{Name: "cat"})
		if err != nil || len(got.Stdout) > 0 {
			t.Errorf("a program without an input reads %q: %v", got.Stdout, err)
		}
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
