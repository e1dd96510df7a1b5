//go:build e2e

package life

import (
	"fmt"
	"os"
	"slices"
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

// host is a stage on which imap was moved, and the state directory is gone.
type host struct{ *scenario.Stage }

// kept is what the state directory was.
const kept = "/root/kept"

func set(t *testing.T, run ...string) host {
	t.Helper()
	h := setKeeping(t, run...)
	h.sh(t, `cp -a /var/lib/vmmigrate "$1"; find /var/lib/vmmigrate -mindepth 1 -delete`, kept)
	return h
}

// setKeeping is set with the state directory as the move left it.
func setKeeping(t *testing.T, run ...string) host {
	t.Helper()
	stage, err := scenario.Set(t.Context(), scenario.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the host's console:\n" + stage.ConsoleTail())
		}
		stage.PowerCut()
	})
	h := host{stage}
	result, err := stage.Migrate(t.Context(), "imap", run...)
	if err != nil || result.ExitCode != 0 {
		t.Fatalf("run: %+v, %v", result, err)
	}
	return h
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

// with is key file and all.
func with(args ...string) []string { return append(args, "--key-file", scenario.KeyFile) }

// does runs vmmigrate, which has to end with that exit code, or with -1 fail, and
// say all of says.
func (h host) does(t *testing.T, exit int, args []string, says ...string) string {
	t.Helper()
	result, err := h.VMMigrate(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	said := result.Stdout + result.Stderr
	bad := result.ExitCode != exit && exit >= 0 || exit < 0 && result.ExitCode == 0 || strings.Contains(said, "goroutine ") || strings.Contains(said, strings.TrimSpace(scenario.Key))
	for _, part := range says {
		bad = bad || !strings.Contains(said, part)
	}
	if bad {
		t.Errorf("vmmigrate %s: exit code %d, not %d, or it does not say %q:\n%s", strings.Join(args, " "), result.ExitCode, exit, says, said)
	}
	return said
}

// open are the names of the clone's open mappings, in order.
func (h host) open(t *testing.T, want ...string) {
	t.Helper()
	got := strings.Fields(h.sh(t, `dmsetup ls --target crypt | sed '/No devices/d; s/[[:space:]].*//' | sort`))
	if !slices.Equal(got, want) {
		t.Errorf("open are %q, not %q", got, want)
	}
}
