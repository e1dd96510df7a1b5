//go:build e2e

package scenario

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// refusal is bad input, or a world in which the move can't be made.
type refusal struct {
	claim string
	// prepare makes the world bad, restore makes it good again.
	prepare, restore string
	// run is what is run in it; nil is `vmmigrate run --vm imap` with a key.
	run []string
	// says are words that the message must have.
	says []string
	// exit are the exit codes that will do; nil is 3.
	exit []int
}

// refused plays one refusal: the program must exit as told, say why, and leave
// the world as it found it.
func (s *Stage) refused(t *testing.T, c refusal) {
	t.Helper()
	s.sh(t, c.prepare)
	before := s.look(t)
	r := s.play(t, c)
	s.unchanged(t, before)
	s.sh(t, c.restore)
	c.judge(t, r)
}

// refusedBlindly is as refused, for a world that can't be looked at while it
// is bad.
func (s *Stage) refusedBlindly(t *testing.T, c refusal) {
	t.Helper()
	before := s.look(t)
	s.sh(t, c.prepare)
	r := s.play(t, c)
	s.sh(t, c.restore)
	s.unchanged(t, before)
	c.judge(t, r)
}

func (s *Stage) play(t *testing.T, c refusal) testhost.Result {
	t.Helper()
	args := c.run
	if args == nil {
		args = append([]string{"run", "--vm", "imap", "--key-file", KeyFile, "--yes"}, cheap...)
	}
	r, err := s.VMMigrate(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// judge holds what the program said against what it ought to.
func (c refusal) judge(t *testing.T, r testhost.Result) {
	t.Helper()
	exit := c.exit
	if exit == nil {
		exit = []int{Refused}
	}
	if !slices.Contains(exit, r.ExitCode) {
		t.Errorf("exit code %d, not one of %v", r.ExitCode, exit)
	}
	for _, part := range c.says {
		if !strings.Contains(r.Stderr, part) {
			t.Errorf("the message does not say %q", part)
		}
	}
	if strings.Contains(r.Stderr, "goroutine ") {
		t.Error("it panicked")
	}
	if t.Failed() {
		t.Logf("it printed:\n%s%s", r.Stdout, r.Stderr)
	}
}

// The refusals themselves are in refusal_cases_test.go and libvirt_down_test.go.
func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	s := set(t, Options{})
	s.sh(t, prelude)
	_, before, err := s.DiskSum(t.Context(), s.Guest.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range refusals {
		t.Run(c.claim, func(t *testing.T) { s.refused(t, c) })
	}
	for _, c := range blind {
		t.Run(c.claim, func(t *testing.T) { s.refusedBlindly(t, c) })
	}
	t.Run("not root", func(t *testing.T) {
		before := s.look(t)
		r, err := s.Run(t.Context(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "vmmigrate", "run", "--vm", "imap", "--key-file", KeyFile)
		var exit *testhost.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		refusal{says: []string{"root", "sudo"}}.judge(t, r)
		s.unchanged(t, before)
	})
	if _, after, err := s.DiskSum(t.Context(), s.Guest.Root); err != nil || after != before {
		t.Errorf("the source has changed: %v", err)
	}
}

func TestAKeyFileThatOthersCanReadIsWarnedAbout(t *testing.T) {
	s := set(t, Options{})
	s.sh(t, `chmod 644 "$1"`, KeyFile)
	r, err := s.Migrate(t.Context(), "imap", "--stop-after", "preflight")
	if err != nil || r.ExitCode != Resumable {
		t.Fatal(r, err)
	}
	if !strings.Contains(r.Stderr, KeyFile) || !strings.Contains(strings.ToLower(r.Stderr), "warning") {
		t.Errorf("no warning in:\n%s", r.Stderr)
	}
}
