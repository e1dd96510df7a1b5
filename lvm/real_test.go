//go:build realhost

package lvm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lvm"
	"github.com/vmmigrate/vmmigrate/lvm/lvmtest"
)

// These tests are for the inside of a test host alone: they overwrite the
// disks that REALHOST_DISKS names (two, separated by a comma).

func realDisks(t *testing.T) []string {
	t.Helper()
	names := strings.Split(os.Getenv("REALHOST_DISKS"), ",")
	if len(names) != 2 {
		t.Fatal("REALHOST_DISKS must name two disks that may be overwritten")
	}
	return names
}

func sh(t *testing.T, argv ...string) string {
	t.Helper()
	c := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// group makes a volume group for one test.
func group(t *testing.T, name string, extent string, on ...string) {
	t.Helper()
	sh(t, append([]string{"vgcreate", "--yes", "-ff", "--physicalextentsize", extent, name}, on...)...)
	t.Cleanup(func() { sh(t, "vgremove", "--yes", "-ff", name) })
}

func TestRealLVMDoesWhatTheFakeDoes(t *testing.T) {
	for _, extent := range []string{"1k", "4m"} {
		t.Run("extents of "+extent, func(t *testing.T) {
			group(t, "con-vg", extent, realDisks(t)...)
			lvmtest.Conformance(t, lvmtest.Env{Client: lvm.New(command.Local{}), VG: "con-vg"})
		})
	}
}

func TestRealVolumesOfEveryLayoutCostWhatSizeSays(t *testing.T) {
	client := lvm.New(command.Local{})
	for _, extent := range []string{"4k", "4m"} {
		for _, layout := range []lvm.Type{lvm.Linear, lvm.Striped, lvm.RAID1} {
			t.Run(fmt.Sprintf("%s with extents of %s", layout, extent), func(t *testing.T) {
				group(t, "con-vg", extent, realDisks(t)...)
				before, err := client.VG(t.Context(), "con-vg")
				if err != nil {
					t.Fatal(err)
				}
				sizing, err := lvm.Size(lvm.SizeRequest{Payload: 33_333_333, Header: 16 << 20, VG: before, Type: layout})
				if err != nil {
					t.Fatal(err)
				}
				made, err := client.Create(t.Context(), lvm.Spec{VG: "con-vg", Name: "a", Size: sizing.Size, Type: layout, Tags: []string{"x"}})
				if err != nil {
					t.Fatal(err)
				}
				after, err := client.VG(t.Context(), "con-vg")
				if err != nil || before.FreeExtents-after.FreeExtents != sizing.Extents || made.Type != string(layout) {
					t.Errorf("%+v took %d extents and not %d, %v", made, before.FreeExtents-after.FreeExtents, sizing.Extents, err)
				}
			})
		}
	}
}

func TestARealVolumeThatSizeSaysDoesNotFitIsRefusedByLVMToo(t *testing.T) {
	client := lvm.New(command.Local{})
	for _, layout := range []lvm.Type{lvm.Linear, lvm.Striped, lvm.RAID1, lvm.RAID10} {
		t.Run(string(layout), func(t *testing.T) {
			group(t, "con-vg", "4m", realDisks(t)...)
			vg, err := client.VG(t.Context(), "con-vg")
			if err != nil {
				t.Fatal(err)
			}
			// The largest that fits, and one step more.
			var fits, not lvm.Sizing
			for payload := int64(4 << 20); ; payload += 4 << 20 {
				sizing, err := lvm.Size(lvm.SizeRequest{Payload: payload, VG: vg, Type: layout})
				if err != nil {
					not = sizing
					break
				}
				fits = sizing
			}
			_, err = client.Create(t.Context(), lvm.Spec{VG: "con-vg", Name: "not", Size: not.Size, Type: layout})
			var full *lvm.NoSpaceError
			if !errors.As(err, &full) {
				t.Errorf("%d bytes: %v", not.Size, err)
			}
			if fits.Size == 0 {
				return // four images on two disks never fit
			}
			if _, err := client.Create(t.Context(), lvm.Spec{VG: "con-vg", Name: "fits", Size: fits.Size, Type: layout}); err != nil {
				t.Errorf("%d bytes: %v", fits.Size, err)
			}
		})
	}
}

func TestARealThinVolumeTakesFromItsPool(t *testing.T) {
	client := lvm.New(command.Local{})
	group(t, "con-vg", "4m", realDisks(t)...)
	sh(t, "lvcreate", "--yes", "--type", "thin-pool", "--name", "pool", "--size", "100m", "con-vg")
	pool, err := client.LV(t.Context(), "con-vg", "pool")
	if err != nil || pool.Type != "thin-pool" {
		t.Fatalf("pool %+v, %v", pool, err)
	}
	vg, err := client.VG(t.Context(), "con-vg")
	if err != nil {
		t.Fatal(err)
	}
	sizing, err := lvm.Size(lvm.SizeRequest{Payload: 60 << 20, Header: 16 << 20, VG: vg, Type: lvm.Thin, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	made, err := client.Create(t.Context(), lvm.Spec{VG: "con-vg", Name: "thin", Size: sizing.Size, Type: lvm.Thin, ThinPool: "pool", Tags: []string{"x"}})
	if err != nil || made.Pool != "pool" || made.Type != "thin" || made.Size != sizing.Size {
		t.Fatalf("made %+v, %v", made, err)
	}
	sh(t, "dd", "if=/dev/urandom", "of="+made.Path, "bs=1M", "count=50", "conv=fsync")
	if pool, err = client.LV(t.Context(), "con-vg", "pool"); err != nil || pool.DataPercent < 49 || pool.DataPercent > 51 {
		t.Errorf("the pool is full to %v percent, %v", pool.DataPercent, err)
	}
	if _, err := lvm.Size(lvm.SizeRequest{Payload: 60 << 20, VG: vg, Type: lvm.Thin, Pool: pool}); err == nil {
		t.Error("60 MiB fit in what is left of 100 after 50")
	}
	if err := client.Remove(t.Context(), "con-vg", "thin", "x"); err != nil {
		t.Error(err)
	}
}

func TestARealOpenVolumeIsNotRemoved(t *testing.T) {
	client := lvm.New(command.Local{})
	group(t, "con-vg", "4m", realDisks(t)...)
	made, err := client.Create(t.Context(), lvm.Spec{VG: "con-vg", Name: "a", Size: 8 << 20, Tags: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(made.Path)
	if err != nil {
		t.Fatal(err)
	}
	if volume, err := client.LV(t.Context(), "con-vg", "a"); err != nil || !volume.Open {
		t.Errorf("listed %+v, %v", volume, err)
	}
	err = client.Remove(t.Context(), "con-vg", "a", "x")
	var used *lvm.InUseError
	if !errors.As(err, &used) {
		t.Errorf("removed: %v", err)
	}
	f.Close()
	if err := client.Remove(t.Context(), "con-vg", "a", "x"); err != nil {
		t.Error(err)
	}
}

func TestARealGuestsGroupIsTakenDownAndTheHostsOfTheSameNameStaysAndIsMeant(t *testing.T) {
	client := lvm.New(command.Local{})
	both := realDisks(t)

	// A guest's disk on a logical volume of another group of the host. A
	// plain device-mapper device is as good a payload as a crypt one: the
	// host's LVM looks into it.
	group(t, "con-plain", "4m", both[1])
	sh(t, "lvcreate", "--yes", "--name", "disk", "--size", "64m", "con-plain")
	open := func() { sh(t, "dmsetup", "create", "con_payload", "--table", "0 131072 linear /dev/con-plain/disk 0") }
	open()
	sh(t, "vgcreate", "--yes", "-ff", "con-vg", "/dev/mapper/con_payload")
	sh(t, "lvcreate", "--yes", "--name", "root", "--size", "8m", "con-vg")
	sh(t, "lvcreate", "--yes", "--name", "both", "--size", "8m", "con-vg")
	sh(t, "vgchange", "--activate", "n", "con-vg")
	sh(t, "dmsetup", "remove", "--retry", "con_payload")

	// Nobody has the guest's open when the host's group gets its name.
	group(t, "con-vg", "4m", both[0])
	t.Cleanup(func() { sh(t, "dmsetup", "remove", "--retry", "con_payload") })
	sh(t, "lvcreate", "--yes", "--name", "both", "--size", "12m", "--addtag", "x", "con-vg")
	host, err := client.VG(t.Context(), "con-vg")
	if err != nil {
		t.Fatal(err)
	}
	open()
	sh(t, "udevadm", "settle")

	on, err := client.On(t.Context(), "/dev/mapper/con_payload")
	if err != nil || len(on) != 1 || on[0].Name != "con-vg" || on[0].UUID == host.UUID {
		t.Fatalf("on it: %+v, %v", on, err)
	}
	// udev may have activated it by now; what has a name of its own can be.
	sh(t, "sh", "-c", "vgchange --activate y --select vg_uuid="+on[0].UUID+" || :")
	if now, err := client.VG(t.Context(), "con-vg"); err != nil || now.UUID != host.UUID {
		t.Errorf("the host's group is %+v, %v", now, err)
	}
	if volume, err := client.LV(t.Context(), "con-vg", "both"); err != nil || volume.Size != 12<<20 {
		t.Errorf("the host's volume is %+v, %v", volume, err)
	}
	made, err := client.Create(t.Context(), lvm.Spec{VG: "con-vg", Name: "made", Size: 8 << 20, Tags: []string{"x"}})
	if err != nil || made.VGUUID != host.UUID {
		t.Errorf("made %+v, %v", made, err)
	}
	for _, name := range []string{"made", "both"} {
		if err := client.Remove(t.Context(), "con-vg", name, "x"); err != nil {
			t.Error(err)
		}
	}
	sh(t, "lvcreate", "--yes", "--devices", both[0], "--name", "kept", "--size", "8m", "con-vg")

	for _, want := range [][]string{{"con-vg"}, nil} {
		done, err := client.Deactivate(t.Context(), "/dev/mapper/con_payload")
		if err != nil || !slices.Equal(done, want) {
			t.Errorf("deactivated %q, %v; want %q", done, err, want)
		}
	}
	volumes, err := client.LVs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes {
		if v.Active != (v.VGUUID != on[0].UUID) {
			t.Errorf("%s/%s of %s: active %v", v.VG, v.Name, v.VGUUID, v.Active)
		}
	}
	for _, path := range []string{"/dev/con-vg/kept", "/dev/mapper/con--vg-kept", strings.TrimSpace(sh(t, "readlink", "-f", "/dev/con-vg/kept"))} {
		if v, err := client.LVByPath(t.Context(), path); err != nil || v.Name != "kept" {
			t.Errorf("by %s: %+v, %v", path, v, err)
		}
	}
}

func TestRealLVMKeepsALockForAsLongAsItRuns(t *testing.T) {
	dir := t.TempDir()
	lock := func(path string) *os.File {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	ours := lock(filepath.Join(dir, "job"))
	// vgchange waits for the lock of the group, V_NAME, as long as we hold it; no
	// group is needed for that.
	gate := lock(filepath.Join(dir, "V_none"))
	ended := make(chan error)
	go func() {
		_, err := command.Local{}.Run(command.Hold(t.Context(), ours), command.Cmd{
			Name: "vgchange", Args: []string{"--config", fmt.Sprintf("global{locking_dir=%q}", dir), "-an", "none"},
		})
		ended <- err
	}()
	waiting := func() bool {
		files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		return slices.ContainsFunc(files, func(fd string) bool {
			to, err := os.Readlink(fd)
			return err == nil && to == gate.Name() && !strings.HasPrefix(fd, fmt.Sprintf("/proc/%d/", os.Getpid()))
		})
	}
	for !waiting() {
		select {
		case err := <-ended:
			t.Fatalf("vgchange did not wait for the lock: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	// As when this process is killed.
	if err := ours.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(ours.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("the lock is free while vgchange runs: %v", err)
	}
	if err := gate.Close(); err != nil {
		t.Fatal(err)
	}
	var failed *command.Error
	if err := <-ended; !errors.As(err, &failed) || !strings.Contains(failed.Stderr, "not found") {
		t.Errorf("vgchange of a group that is not there: %v", err)
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the lock is held by nobody, and: %v", err)
	}
}
