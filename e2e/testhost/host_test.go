//go:build e2e

package testhost_test

import (
	"bytes"
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

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
)

func start(t *testing.T, options testhost.Options) *testhost.Host {
	t.Helper()
	h, err := testhost.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(h.ConsoleTail())
		}
		h.PowerCut()
	})
	return h
}

// A kernel that can't run on this machine's processor is found out once.
func TestAHostWhoseKernelDoesNotBootRunsTheInstalledOne(t *testing.T) {
	cache := t.TempDir()
	folder := filepath.Join(cache, "uml-7.2um1", "usr", "bin")
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "linux.uml"), []byte("#!/bin/sh\necho no such processor\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	h := start(t, testhost.Options{CacheDir: cache, Log: &log})
	release, err := h.Shell(t.Context(), "uname -r")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join("/usr/lib/uml/modules", release)); err != nil {
		t.Error(err)
	}
	if said := log.String(); !strings.Contains(said, "the kernel 7.2um1 does not boot here") || !strings.Contains(said, "no such processor") {
		t.Errorf("it says %s", said)
	}
	if kept, err := os.ReadFile(filepath.Join(cache, "uml-7.2um1.unusable")); err != nil || !strings.Contains(string(kept), "no such processor") {
		t.Errorf("%q, %v", kept, err)
	}
}

func TestAHostRunsCommandsAsAMachineDoes(t *testing.T) {
	h := start(t, testhost.Options{})
	ctx := t.Context()

	t.Run("output, exit code and arguments arrive as they are", func(t *testing.T) {
		r, err := h.Run(ctx, "sh", "-c", `printf '%s|' "$@"; echo >&2 oops; exit 7`, "sh", "a b", "'", "täst", "")
		var exit *testhost.ExitError
		if !errors.As(err, &exit) || r.ExitCode != 7 || r.Stdout != "a b|'|täst||" || r.Stderr != "oops\n" {
			t.Fatalf("%+v, %v", r, err)
		}
	})
	t.Run("a program that does not exist says so", func(t *testing.T) {
		if _, err := h.Run(ctx, "/no/such/program"); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Fatal(err)
		}
	})
	t.Run("several megabytes go in and out unchanged, two commands at once", func(t *testing.T) {
		noise := bytes.Repeat([]byte{0, 1, '\n', '\r', 3, 4, 17, 19, 26, 255}, 300_000)
		other := h.Command("sleep", "1000")
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		if err := h.WriteFile(ctx, "/root/noise", noise, 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := h.ReadFile(ctx, "/root/noise")
		if err != nil || !bytes.Equal(got, noise) {
			t.Fatalf("got %d bytes of %d: %v", len(got), len(noise), err)
		}
		if err := other.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if r, err := other.Wait(ctx); r.Signal != syscall.SIGTERM {
			t.Fatalf("%+v, %v", r, err)
		}
	})
	t.Run("a program on a terminal can prompt and gets Ctrl-C", func(t *testing.T) {
		c := h.Command("sh", "-c", `stty size; trap 'echo caught; exit 3' INT; printf 'go? '; read line; echo "<$line>"; sleep 100 & wait`)
		c.Pty = &wire.Size{Rows: 30, Cols: 99}
		stdin, feed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer feed.Close()
		c.Stdin = stdin
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		feed.WriteString("yes\n")
		time.Sleep(time.Second)
		feed.WriteString("\x03")
		r, err := c.Wait(ctx)
		if r.ExitCode != 3 || !strings.Contains(r.Stdout, "30 99") || !strings.Contains(r.Stdout, "<yes>") || !strings.Contains(r.Stdout, "caught") {
			t.Fatalf("%+v, %v", r, err)
		}
	})
	t.Run("a command ends with its context", func(t *testing.T) {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		if _, err := h.Run(short, "sleep", "77777"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		if out, err := h.Shell(ctx, `pgrep -f "sleep 7777[7]" || true`); out != "" || err != nil {
			t.Fatalf("still running: %s, %v", out, err)
		}
	})
}

func TestNothingWrittenInAHostReachesTheMachine(t *testing.T) {
	h := start(t, testhost.Options{})
	name := "/var/lib/vmmigrate-e2e-" + strconv.Itoa(os.Getpid())
	if _, err := h.Run(t.Context(), "touch", name); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		os.Remove(name)
		t.Fatalf("%s is on the machine: %v", name, err)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run(t.Context(), "true"); !errors.Is(err, testhost.ErrGone) {
		t.Fatalf("a stopped host still answers: %v", err)
	}
}

func TestWhatIsOnDiskOutlivesAPowerCutAndAllElseIsLost(t *testing.T) {
	dir := t.TempDir()
	options := testhost.Options{
		Disks:   []testhost.Disk{{Path: filepath.Join(dir, "pv"), Size: 256 << 20, Noise: true}},
		Persist: filepath.Join(dir, "persist"),
	}
	h := start(t, options)
	_, err := h.Shell(t.Context(), `
		pvcreate -q --yes /dev/ubda; vgcreate -q vg0 /dev/ubda; lvcreate -q --yes -L 64M -n kept vg0
		echo on disk | dd of=/dev/vg0/kept conv=fsync status=none
		echo on disk >/var/lib/vmmigrate/flushed; sync /var/lib/vmmigrate/flushed
		echo lost >/var/lib/vmmigrate/unflushed
		echo lost >/root/overlay`)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	h.PowerCut()
	if left := processesIn(t, dir); len(left) > 0 {
		t.Errorf("after the power cut these still have its disks: %v", left)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Logf("the power cut took %s", took)
	}

	h = start(t, options)
	out, err := h.Shell(t.Context(), `
		vgchange -q -ay vg0 >/dev/null
		head -c 8 /dev/vg0/kept; cat /var/lib/vmmigrate/flushed
		cat /root/overlay 2>/dev/null || echo none`)
	if err != nil || out != "on disk\non disk\nnone" {
		t.Fatalf("%q, %v", out, err)
	}
}

// systemd writes nothing out where it takes itself for a container's.
func TestWhatWasWrittenIsOnDiskAfterAShutdown(t *testing.T) {
	for name, systemd := range map[string]bool{"a shell as process 1": false, "systemd": true} {
		t.Run(name, func(t *testing.T) {
			options := testhost.Options{Persist: filepath.Join(t.TempDir(), "persist"), Systemd: systemd}
			h := start(t, options)
			if _, err := h.Shell(t.Context(), `echo kept >/var/lib/vmmigrate/unflushed`); err != nil {
				t.Fatal(err)
			}
			if err := h.Stop(); err != nil {
				t.Fatal(err)
			}
			h = start(t, options)
			if out, err := h.Shell(t.Context(), `cat /var/lib/vmmigrate/unflushed`); err != nil || out != "kept" {
				t.Fatalf("%q, %v", out, err)
			}
		})
	}
}

// A killed harness can't clean up, so this runs one: the test binary itself.
func TestAKilledHarnessLeavesNoHostBehind(t *testing.T) {
	if os.Getenv("E2E_BE_THE_HARNESS") != "" {
		start(t, testhost.Options{})
		os.Stdout.WriteString("up\n")
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAKilledHarnessLeavesNoHostBehind$")
	tmp := t.TempDir()
	cmd.Env = append(os.Environ(), "E2E_BE_THE_HARNESS=1", "TMPDIR="+tmp)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	before := processesIn(t, tmp)
	if len(before) == 0 {
		t.Fatal("the host's processes were not found while it ran")
	}
	cmd.Process.Kill()
	cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		left := processesIn(t, tmp)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still running: %v of %v", left, before)
		}
	}
}

// processesIn are the processes that have dir, or a file in it, as their folder or
// open.
func processesIn(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/proc/[0-9]*/cwd", "/proc/[0-9]*/fd/*"} {
		links, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		own := fmt.Sprintf("/proc/%d/", os.Getpid())
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, dir) && !strings.HasPrefix(link, own) {
				found = append(found, link)
			}
		}
	}
	return found
}
