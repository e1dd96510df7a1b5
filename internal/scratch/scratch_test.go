package scratch

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A process that is killed can't clean up, so this runs one: the test binary.
func TestWhatAKilledProcessLeftIsSweptAway(t *testing.T) {
	if os.Getenv("SCRATCH_BE_KILLED") != "" {
		folder, err := Make()
		if err == nil {
			err = os.WriteFile(filepath.Join(folder.Path, "nbd"), nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString(folder.Path)
		time.Sleep(time.Minute)
		t.Fatal(folder.Remove())
	}
	t.Setenv("TMPDIR", t.TempDir())
	cmd := exec.Command(os.Args[0], "-test.run=^TestWhatAKilledProcessLeftIsSweptAway$")
	cmd.Env = append(os.Environ(), "SCRATCH_BE_KILLED=1")
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 4096)
	n, err := stdout.Read(said)
	if err != nil {
		t.Fatal(err)
	}
	theirs := string(said[:n])

	Sweep()
	if _, err := os.Stat(theirs); err != nil {
		t.Fatalf("the folder of a process that lives was taken away: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	folder, err := Make()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(theirs); !os.IsNotExist(err) {
		t.Errorf("what was left is there: %v", err)
	}
	if info, err := os.Stat(folder.Path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := folder.Remove(); err != nil {
		t.Error(err)
	}
	empty(t)
}

func TestNothingElseIsSweptAway(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	victim := t.TempDir()
	for _, name := range []string{prefix + "mine", prefix, "x" + prefix + "1", "vmmigrate-1"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(victim, filepath.Join(dir, prefix+"12")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, prefix+"13"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		another := filepath.Join(dir, prefix+"14")
		if err := os.Mkdir(another, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(another, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	Sweep()
	after, err := os.ReadDir(dir)
	if err != nil || len(after) != len(before) {
		t.Errorf("%v became %v, %v", before, after, err)
	}
}

func TestManyMakeAndSweepAtOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 50 {
				folder, err := Make()
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(folder.Path, "nbd"), nil, 0o600); err != nil {
					t.Error(err)
				}
				if err := folder.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	empty(t)
}

func TestAFolderForTemporaryFilesThatIsAwayIsAnError(t *testing.T) {
	t.Setenv("TMPDIR", "/nowhere/at/all")
	if _, err := Make(); err == nil {
		t.Error("it was made")
	}
}

func empty(t *testing.T) {
	t.Helper()
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
