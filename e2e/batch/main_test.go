//go:build e2e

package batch

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
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

type host struct{ *scenario.Stage }

func set(t *testing.T) host {
	t.Helper()
	stage, err := scenario.Set(t.Context(), scenario.Options{DiskSize: 2 << 30, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the host's console:\n" + stage.ConsoleTail())
		}
		stage.PowerCut()
	})
	return host{stage}
}

// sh runs a script that has to succeed.
func (h host) sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := h.Shell(t.Context(), script, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// does runs vmmigrate, which has to end with that exit code and say all of says.
func (h host) does(t *testing.T, exit int, args []string, says ...string) testhost.Result {
	t.Helper()
	result, err := h.VMMigrate(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	said := result.Stdout + result.Stderr
	bad := result.ExitCode != exit || strings.Contains(said, "goroutine ") || strings.Contains(said, strings.TrimSpace(scenario.Key))
	for _, part := range says {
		bad = bad || !strings.Contains(said, part)
	}
	if bad {
		t.Errorf("vmmigrate %s: exit code %d, not %d, or it does not say %q:\n%s", strings.Join(args, " "), result.ExitCode, exit, says, said)
	}
	return result
}

// defineDomain is a shell function: defineDomain NAME DISK-XML...
const defineDomain = `defineDomain() { name=$1; shift
printf '<domain type="qemu"><name>%s</name><memory unit="MiB">64</memory><os><type arch="x86_64" machine="pc">hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>%s</devices></domain>' "$name" "$*" > "/run/$name.xml"
echo "define '/run/$name.xml'" >> /run/definitions; }
onDevice() { printf '<disk type="block" device="disk"><driver name="qemu" type="raw"/><source dev="%s"/><target dev="%s" bus="virtio"/></disk>' "$2" "$1"; }
onFile() { printf '<disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="%s"/><target dev="%s" bus="virtio"/></disk>' "$2" "$1"; }
inPool() { printf '<disk type="volume" device="disk"><driver name="qemu" type="raw"/><source pool="%s" volume="%s"/><target dev="%s" bus="virtio"/></disk>' "$2" "$3" "$1"; }
`
