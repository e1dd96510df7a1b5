//go:build e2e

package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// TestMain fails, rather than skips, on a machine that can't run a test host.
func TestMain(m *testing.M) {
	if err := testhost.CheckMachine(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// disks makes the two partitions that the suites of lvm and luks may overwrite.
const disks = `
	printf 'label: gpt\nsize=450MiB\nsize=450MiB\n' | sfdisk -q --wipe always "$1"
	udevadm settle`

func TestTheRealToolsDoWhatTheFakesDo(t *testing.T) {
	for _, suite := range []struct {
		folder  string
		options testhost.Options
	}{
		{"lvm", testhost.Options{Disks: []testhost.Disk{{Size: 1 << 30, Noise: true}}}},
		{"luks", testhost.Options{Disks: []testhost.Disk{{Size: 1 << 30, Noise: true}}}},
		{"hypervisor", testhost.Options{Libvirt: true, Memory: 3 << 30}},
		{"filesystem", testhost.Options{Disks: []testhost.Disk{{Size: 1 << 30, Noise: true}}}},
		{"image", testhost.Options{}},
		{"blockcopy", testhost.Options{Disks: []testhost.Disk{{Size: 1 << 30, Noise: true}}}},
	} {
		t.Run(suite.folder, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), suite.folder+".test")
			build := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "realhost", "-o", program, "../../"+suite.folder)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			suite.options.Programs = []string{program}
			h, err := testhost.Start(t.Context(), suite.options)
			if err != nil {
				t.Fatal(err)
			}
			defer h.PowerCut()
			c := h.Command(filepath.Base(program), "-test.run", "Real", "-test.v")
			if len(suite.options.Disks) > 0 {
				if _, err := h.Shell(t.Context(), disks, h.Device(0)); err != nil {
					t.Fatal(err)
				}
				c.Env = []string{"REALHOST_DISKS=" + h.Device(0) + "1," + h.Device(0) + "2"}
			}
			if suite.folder == "image" {
				const small = "/run/small"
				if _, err := h.Shell(t.Context(), `mkdir "$1"; mount -t tmpfs -o size=12M small "$1"`, small); err != nil {
					t.Fatal(err)
				}
				c.Env = []string{"SMALL_FOLDER=" + small}
			}
			c.Stdout, c.Stderr = t.Output(), t.Output()
			if _, err := c.Run(t.Context()); err != nil {
				t.Errorf("%v\n%s", err, h.ConsoleTail())
			}
		})
	}
}
