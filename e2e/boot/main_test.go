//go:build e2e

package boot

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

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

const (
	unit  = "vmmigrate-guest@imap.service"
	crypt = `systemd-cryptsetup@cr_imap_vda.service`
	vda   = "cr_imap_vda"
	vdb   = "cr_imap_vdb"
)

// host is a stage with systemd.
type host struct{ *scenario.Stage }

// boots sets the stage, or boots it again.
func boots(t *testing.T, dir string, set func(options scenario.Options) (*scenario.Stage, error)) host {
	t.Helper()
	stage, err := set(scenario.Options{Dir: dir, Systemd: true, Log: t.Output()})
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
func (h host) does(t *testing.T, exit int, args []string, says ...string) string {
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
	return said
}

// open are the names of the open mappings of guests, in order.
func (h host) open(t *testing.T, want ...string) {
	t.Helper()
	got := strings.Fields(h.sh(t, `dmsetup ls --target crypt | sed -n 's/^\(cr_[^[:space:]]*\).*/\1/p' | sort`))
	if !slices.Equal(got, want) {
		t.Errorf("open are %q, not %q", got, want)
	}
}

// until waits for a script to succeed.
func (h host) until(t *testing.T, what string, limit time.Duration, script string, args ...string) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Second) {
		if _, err := h.Shell(t.Context(), script, args...); err == nil {
			t.Logf("%s after %.0f s", what, time.Since(begin).Seconds())
			return
		}
		if time.Since(begin) > limit {
			t.Fatalf("%s: not after %s\n%s", what, limit, h.sh(t, `systemctl --no-pager --failed; journalctl --no-pager -b -n 60`))
		}
	}
}

const guestLimit = 5 * time.Minute
