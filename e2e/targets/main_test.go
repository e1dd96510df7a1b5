//go:build e2e

package targets

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
)

// stage is the host of all scenarios. Its group has a second disk, /dev/ubdb, and
// /dev/ubdc is nobody's.
var stage *scenario.Stage

// TestMain fails, rather than skips, on a machine that can't run a test host.
func TestMain(m *testing.M) {
	code, err := within(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func within(m *testing.M) (int, error) {
	if err := testhost.CheckMachine(); err != nil {
		return 1, err
	}
	ctx := context.Background()
	var err error
	stage, err = scenario.Set(ctx, scenario.Options{More: []testhost.Disk{{Size: 512 << 20, Noise: true}, {Size: 64 << 20}}})
	if err != nil {
		return 1, err
	}
	defer stage.PowerCut()
	if _, err := stage.Shell(ctx, `pvcreate -q --yes "$1"; vgextend -q vg0 "$1"`, stage.Device(1)); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// sh runs a script that has to succeed.
func sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := stage.Shell(t.Context(), functions+script, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// does runs vmmigrate, which has to end with that exit code and say all of says.
func does(t *testing.T, exit int, args []string, says ...string) testhost.Result {
	t.Helper()
	result, err := stage.VMMigrate(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	said := result.Stdout + result.Stderr
	bad := result.ExitCode != exit || strings.Contains(said, "goroutine ") || strings.Contains(said, strings.TrimSpace(scenario.Key))
	for _, part := range says {
		bad = bad || !strings.Contains(said, part)
	}
	t.Logf("vmmigrate %s\n%s", strings.Join(args, " "), said)
	if bad {
		t.Fatalf("vmmigrate %s: exit code %d, not %d, or it does not say %q:\n%s", strings.Join(args, " "), result.ExitCode, exit, says, said)
	}
	return result
}

// typed runs vmmigrate at a terminal at which a person types these lines, and
// returns its exit code and what the terminal showed.
func typed(t *testing.T, lines string, args ...string) (int, string) {
	t.Helper()
	var shown bytes.Buffer
	c := stage.Command(append([]string{"vmmigrate"}, args...)...)
	c.Stdin, c.Stdout, c.Pty = strings.NewReader(lines), &shown, &wire.Size{Rows: 24, Cols: 80}
	result, _ := c.Run(t.Context()) // the exit code is the caller's to judge
	return result.ExitCode, shown.String()
}

// run is the command line that moves a VM with a cheap key derivation.
func run(vm string, args ...string) []string {
	return append([]string{"run", "--vm", vm, "--key-file", scenario.KeyFile, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}, args...)
}

// functions are shell functions. vm NAME MIB defines a VM, which is never
// started, with a disk of so much noise on vg0/NAME, and same DEVICE NAME
// compares that with a payload.
const functions = `
vm() { lvcreate -qy -W n -L "$2M" -n "$1" vg0 /dev/ubda; head -c "$2M" /dev/urandom | dd of="/dev/vg0/$1" bs=1M status=none
echo "<domain type='qemu'><name>$1</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg0/$1'/><target dev='vda' bus='virtio'/></disk></devices></domain>" > "/run/$1.xml"
virsh -q define "/run/$1.xml"; }
same() { test "$(blockdev --getsize64 "$1")" = "$(blockdev --getsize64 "/dev/vg0/$2")"; cmp "$1" "/dev/vg0/$2"; }
`
