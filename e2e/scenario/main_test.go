//go:build e2e

package scenario

import (
	"fmt"
	"os"
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

// set sets a stage for a test and takes it down after it. Of a test that
// failed, the host's console is shown. Such tests run side by side, for each
// has a host of its own, and a host one CPU.
func set(t *testing.T, options Options) *Stage {
	t.Helper()
	t.Parallel()
	options.Log = t.Output()
	s, err := Set(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { takeDown(t, s) })
	return s
}

func takeDown(t *testing.T, s *Stage) {
	if t.Failed() {
		t.Log("the host's console:\n" + s.ConsoleTail())
	}
	s.PowerCut()
}

// look returns the world, which a test can't do without.
func (s *Stage) look(t *testing.T) World {
	t.Helper()
	world, err := Look(t.Context(), s.Host)
	if err != nil {
		t.Fatal(err)
	}
	return world
}

// unchanged fails the test if the world is not as it was.
func (s *Stage) unchanged(t *testing.T, before World) {
	t.Helper()
	if diff := s.look(t).Diff(before); diff != "" {
		t.Errorf("the world is not as it was:\n%s", diff)
	}
}

// sh runs a script on the host that has to succeed, and returns what it printed.
func (s *Stage) sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := s.Shell(t.Context(), script, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
