//go:build e2e

package sources

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

func set(t *testing.T, options scenario.Options) host {
	t.Helper()
	options.Log = t.Output()
	stage, err := scenario.Set(t.Context(), options)
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

// migrate is the command line that moves VMs with a cheap key derivation.
func migrate(vms []string, args ...string) []string {
	words := []string{"run", "--key-file", scenario.KeyFile, "--yes", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}
	for _, vm := range vms {
		words = append(words, "--vm", vm)
	}
	return append(words, args...)
}

// domains are shell functions. kind KIND VM TYPE FORMAT SOURCE-ATTRIBUTES PATH
// [MORE] gives the domain VM, which is never started, another disk, FORMAT -
// naming none, and notes in /root/want what a guest sees of it, as QEMU's own
// tools tell: KIND VM TARGET SIZE SHA-256. vm NAME defines it.
const domains = `
kind() { of=$4; driver="<driver name='qemu' type='$4'/>"; [ "$4" != - ] || { of=raw; driver="<driver name='qemu'/>"; }
n=$(cat "/run/$2.disks" 2>/dev/null | wc -l); target=vd$(printf abcdefghijklmnopqrstuvwxyz | cut -c$((n + 1)))
printf "<disk type='%s' device='disk'>%s<source %s/>%s<target dev='%s' bus='virtio'/></disk>\n" "$3" "$driver" "$5" "${7-}" "$target" >> "/run/$2.disks"
if [ "$of" = raw ]; then ln -sf "$(readlink -f "$6")" /run/want; else qemu-img convert -f "$of" -O raw "$6" /run/want; fi
size=$(if [ -b /run/want ]; then blockdev --getsize64 /run/want; else stat -Lc %s /run/want; fi)
echo "$1 $2 $target $size $({ cat /run/want; head -c $(((512 - size % 512) % 512)) /dev/zero; } | sha256sum | cut -d' ' -f1)" >> /root/want; rm /run/want; }
vm() { echo "<domain type='qemu'><name>$1</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>$(cat "/run/$1.disks")</devices></domain>" > "/run/$1.xml"
virsh -q define "/run/$1.xml"; }
noise() { head -c "$1" /dev/urandom; }
`
