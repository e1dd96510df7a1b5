//go:build realhost

package luks_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/luks/lukstest"
)

// These tests are for the inside of a test host alone: they overwrite the
// first disk that REALHOST_DISKS names.

func disk(t *testing.T) string {
	t.Helper()
	name, _, _ := strings.Cut(os.Getenv("REALHOST_DISKS"), ",")
	if name == "" {
		t.Fatal("REALHOST_DISKS must name a disk that may be overwritten")
	}
	return name
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

// devices makes volumes of exact sizes, as plain device-mapper devices.
func devices(t *testing.T) func(t *testing.T, size int64) string {
	whole, made, next := disk(t), 0, int64(2048)
	return func(t *testing.T, size int64) string {
		t.Helper()
		made++
		name := fmt.Sprintf("con_disk_%d", made)
		sh(t, "dmsetup", "create", name, "--table", fmt.Sprintf("0 %d linear %s %d", size/512, whole, next))
		next += size/512 + 2048
		t.Cleanup(func() {
			sh(t, "dmsetup", "remove", "--retry", name)
			next -= size/512 + 2048 // the last one made is the first to go
		})
		// The disk is used again and again, and old headers lie on it.
		sh(t, "wipefs", "--all", "--force", "/dev/mapper/"+name)
		sh(t, "udevadm", "settle")
		return "/dev/mapper/" + name
	}
}

func TestRealCryptsetupDoesWhatTheFakeDoes(t *testing.T) {
	lukstest.Conformance(t, lukstest.Env{
		Client: luks.New(command.Local{}),
		Device: devices(t),
		Hold: func(t *testing.T, m luks.Mapping) (func(), string) {
			f, err := os.Open(m.Path)
			if err != nil {
				t.Fatal(err)
			}
			return func() { f.Close() }, fmt.Sprintf("process %d", os.Getpid())
		},
	})
}

func TestARealMountIsNamedAndClosingGivesUpWithinSeconds(t *testing.T) {
	client := luks.New(command.Local{})
	device := devices(t)(t, 40<<20)
	key, err := luks.NewKey([]byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	spec := luks.FormatSpec{Device: device, UUID: "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d3e", Cipher: "aes-xts-plain64", KeySize: 512, SectorSize: 512, PBKDF: "pbkdf2", PBKDFForceIterations: 1000, Offset: 16 << 20}
	if _, err := client.Format(t.Context(), spec, key); err != nil {
		t.Fatal(err)
	}
	if err := client.Open(t.Context(), device, "con_mounted", key, luks.OpenOptions{}); err != nil {
		t.Fatal(err)
	}
	where := t.TempDir() + "/a b"
	if err := os.Mkdir(where, 0o700); err != nil {
		t.Fatal(err)
	}
	sh(t, "mkfs.ext4", "-q", "/dev/mapper/con_mounted")
	sh(t, "mount", "/dev/mapper/con_mounted", where)
	begin := time.Now()
	err = client.Close(t.Context(), "con_mounted")
	took := time.Since(begin)
	var busy *luks.BusyError
	if !errors.As(err, &busy) || !strings.Contains(strings.Join(busy.Holders, "; "), "a mount at "+where) || took > 30*time.Second {
		t.Errorf("closed after %s: %v", took, err)
	}
	t.Logf("gave up after %s: %v", took, err)
	sh(t, "umount", where)
	begin = time.Now()
	if err := client.Close(t.Context(), "con_mounted"); err != nil {
		t.Error(err)
	}
	t.Logf("closed within %s", time.Since(begin))
}

func TestARealMappingWithAnotherOnTopNamesIt(t *testing.T) {
	client := luks.New(command.Local{})
	device := devices(t)(t, 20<<20)
	key, err := luks.NewKey([]byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	spec := luks.FormatSpec{Device: device, UUID: "0b5a4f5e-7f3b-4f0e-9d86-3a6f0c1b2d3e", Type: luks.LUKS1, Cipher: "aes-xts-plain64", KeySize: 256, SectorSize: 512, PBKDFForceIterations: 1000, Offset: 2 << 20}
	if _, err := client.Format(t.Context(), spec, key); err != nil {
		t.Fatal(err)
	}
	if err := client.Open(t.Context(), device, "con_below", key, luks.OpenOptions{}); err != nil {
		t.Fatal(err)
	}
	sh(t, "dmsetup", "create", "con_above", "--table", "0 8 linear /dev/mapper/con_below 0")
	err = client.Close(t.Context(), "con_below")
	var busy *luks.BusyError
	if !errors.As(err, &busy) || !strings.Contains(strings.Join(busy.Holders, "; "), "con_above") {
		t.Errorf("closed: %v", err)
	}
	if err := client.Close(t.Context(), "con_above"); err == nil {
		t.Error("a device that is no LUKS mapping was closed")
	}
	sh(t, "dmsetup", "remove", "con_above")
	if err := client.Close(t.Context(), "con_below"); err != nil {
		t.Error(err)
	}
}
