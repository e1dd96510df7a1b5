//go:build e2e

package sources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/blockcopy"
	"github.com/vmmigrate/vmmigrate/image"
)

// qcow2Disk is a sound image.
func qcow2Disk(t *testing.T) image.Chain {
	t.Helper()
	chain, err := image.Inspect(made(t, "qcow2"), image.QCOW2)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// servers are the process ids of the qemu-nbd that serve an image.
func servers(t *testing.T, chain image.Chain) []int {
	t.Helper()
	out, _ := exec.Command("pgrep", "-f", "qemu-nbd.*"+filepath.Dir(chain[0].Path)).Output() // 1: there is none
	var pids []int
	for _, word := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func gone(t *testing.T, chain image.Chain) {
	t.Helper()
	for range 100 {
		if len(servers(t, chain)) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("qemu-nbd is still there: %v", servers(t, chain))
}

func TestAnImageThatAGuestHasOpenIsNotRead(t *testing.T) {
	chain := qcow2Disk(t)
	before := sums(t, chain.Files())
	pidFile := filepath.Join(t.TempDir(), "pid")
	// It comes back when the image is open.
	run(t, "qemu-nbd", "--fork", "--persistent", "--pid-file="+pidFile, "--socket="+filepath.Join(t.TempDir(), "guest"), "-f", "qcow2", chain[0].Path)
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	var locked *image.LockedError
	if err := (image.Tools{}).Check(t.Context(), chain); !errors.As(err, &locked) {
		t.Errorf("a check does not see the lock: %v", err)
	}
	locked = nil
	if _, err := (image.Tools{}).Open(t.Context(), chain); !errors.As(err, &locked) {
		t.Errorf("opening it: %v", err)
	} else {
		t.Logf("%v: %s", err, locked.Said)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	gone(t, chain)
	same(t, before)
}

func TestNoGuestStartsOnAnImageThatIsRead(t *testing.T) {
	chain, err := image.Inspect(made(t, "qemu-img convert -f raw -O qcow2 guest b; qemu-img create -q -f qcow2 -b b -F qcow2 disk"), image.QCOW2)
	if err != nil {
		t.Fatal(err)
	}
	source, err := direct(nil).Open(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.ReadAt(make([]byte, 1<<20), 0); err != nil {
		t.Error(err)
	}
	for _, layer := range chain {
		out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", "write 0 4k", layer.Path).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "lock") {
			t.Errorf("%s could be written: %s", layer.Path, out)
		}
	}
	if err := source.Close(); err != nil {
		t.Error(err)
	}
	gone(t, chain)
}

func TestAServerThatIsStoppedCostsATimeoutAndIsEnded(t *testing.T) {
	chain := qcow2Disk(t)
	source, err := image.Tools{Stall: 300 * time.Millisecond}.Open(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range servers(t, chain) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	var hung *image.HungError
	if _, err := source.ReadAt(make([]byte, 4096), 0); !errors.As(err, &hung) {
		t.Errorf("it is: %v", err)
	}
	if err := source.Close(); err != nil {
		t.Error(err)
	}
	gone(t, chain)
}

func TestAnIdleCopyReadsImagesInTheIdleClass(t *testing.T) {
	chain := qcow2Disk(t)
	source, err := image.Tools{Idle: true}.Open(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range servers(t, chain) {
		if class := strings.TrimSpace(run(t, "ionice", "-p", strconv.Itoa(pid))); class != "idle" {
			t.Errorf("it reads in the class %s", class)
		}
	}
	if _, err := source.ReadAt(make([]byte, 4096), 0); err != nil {
		t.Error(err)
	}
	if err := source.Close(); err != nil {
		t.Error(err)
	}
	gone(t, chain)
}

func TestAServerThatIsKilledIsToldAsSuch(t *testing.T) {
	for name, tools := range map[string]image.Tools{"read through it": {}, "read beside it": direct(nil)} {
		t.Run(name, func(t *testing.T) {
			chain := qcow2Disk(t)
			source, err := tools.Open(t.Context(), chain)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := source.ReadAt(make([]byte, 4096), 0); err != nil {
				t.Error(err)
			}
			for _, pid := range servers(t, chain) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			gone(t, chain)
			// Its lock went with it: nothing that is read now counts.
			var ended *image.ServeError
			_, err = source.ReadAt(make([]byte, 4096), 0)
			if !errors.As(err, &ended) {
				t.Errorf("it is: %v", err)
			}
			t.Log(err)
			if err := source.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAFileThatIsCutShortWhileItIsReadIsToldAsSuch(t *testing.T) {
	chain := qcow2Disk(t)
	source, err := direct(nil).Open(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if err := os.Truncate(chain[0].Path, 1<<20); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1<<20)
	var bad *image.Error
	for at := int64(0); at < source.Size() && err == nil; at += int64(len(buffer)) {
		_, err = source.ReadAt(buffer[:min(int64(len(buffer)), source.Size()-at)], at)
	}
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("it is: %v", err)
	}
	t.Log(err)
}

// failing is a file of which no place from 1 MiB on can be read.
type failing struct{ image.File }

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > 1<<20 {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, at)
}

func TestAPlaceOfAFileThatCantBeReadIsNamedByItsCluster(t *testing.T) {
	chain := qcow2Disk(t)
	tools := image.Tools{OpenFile: func(path string) (image.File, error) {
		file, err := blockcopy.OpenSource(path)
		return failing{file}, err
	}}
	source, err := tools.Open(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	_, err = source.ReadAt(make([]byte, 65536), 30*65536)
	var read *image.ReadError
	if !errors.As(err, &read) || !errors.Is(err, syscall.EIO) || read.Cluster != 30 || !strings.Contains(err.Error(), chain[0].Path) {
		t.Errorf("it is: %v", err)
	}
	t.Log(err)
}

func TestAFileThatIsReplacedWhileItIsOpenedIsNotRead(t *testing.T) {
	chain := qcow2Disk(t)
	path := chain[0].Path
	tools := image.Tools{OpenFile: func(string) (image.File, error) {
		run(t, "cp", path, path+".new")
		run(t, "mv", path+".new", path)
		return blockcopy.OpenSource(path)
	}}
	var bad *image.Error
	if _, err := tools.Open(t.Context(), chain); !errors.As(err, &bad) || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("it is: %v", err)
	}
	gone(t, chain)
}

func TestAServerThatNeverListensCostsATimeout(t *testing.T) {
	chain := qcow2Disk(t)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "qemu-nbd"), []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var hung *image.HungError
	if _, err := (image.Tools{Ready: 300 * time.Millisecond}).Open(t.Context(), chain); !errors.As(err, &hung) {
		t.Errorf("it is: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if _, err := (image.Tools{}).Open(ctx, chain); !errors.Is(err, context.Canceled) {
		t.Errorf("a Ctrl-C: %v", err)
	}
}

// holder is set in the environment of the process that is to be killed.
const holder = "VMMIGRATE_TEST_HOLDER"

func TestTheServerDiesWithUs(t *testing.T) {
	if disk := os.Getenv(holder); disk != "" {
		chain, err := image.Inspect(disk, image.QCOW2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (image.Tools{}).Open(t.Context(), chain); err != nil {
			t.Fatal(err)
		}
		fmt.Println("open")
		select {}
	}
	chain := qcow2Disk(t)
	us := exec.Command(os.Args[0], "-test.run", "^TestTheServerDiesWithUs$")
	us.Env = append(os.Environ(), holder+"="+chain[0].Path)
	out, err := us.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil || len(servers(t, chain)) != 1 {
		t.Fatalf("%v, %v", err, servers(t, chain))
	}
	// Stopped, it can't notice by itself that the connections have ended.
	_ = syscall.Kill(servers(t, chain)[0], syscall.SIGSTOP)
	_ = us.Process.Kill()
	_ = us.Wait()
	gone(t, chain)
}
