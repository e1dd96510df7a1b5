//go:build e2e

package scenario

import (
	"testing"
)

// steps are the ones of a job, in order, as DESIGN names them; close is one
// only with --close.
var steps = []string{"preflight", "create-volume", "format", "open", "copy", "verify", "header-backup", "firmware", "define", "close"}

func TestAJobStoppedAfterAnyStepRollsBackToTheWorldAsItWas(t *testing.T) {
	s := set(t, Options{})
	before := s.look(t)
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			rollback := []string{"rollback", "imap", "--yes"}
			r, err := s.Migrate(t.Context(), "imap", "--close", "--stop-after", step)
			if err != nil || r.ExitCode != Resumable {
				t.Fatalf("run: %+v, %v", r, err)
			}
			if step == "close" {
				s.keepsWhatIsLocked(t)
				rollback = append(rollback, "--force")
			}
			r, err = s.VMMigrate(t.Context(), rollback...)
			if err != nil || r.ExitCode != Done {
				t.Fatalf("rollback: %+v, %v", r, err)
			}
			s.unchanged(t, before)
		})
	}
}

// keepsWhatIsLocked checks that a clone whose disks are locked is not removed
// just so: nobody can tell whether its guest has written to them.
func (s *Stage) keepsWhatIsLocked(t *testing.T) {
	t.Helper()
	closed := s.look(t)
	r, err := s.VMMigrate(t.Context(), "rollback", "imap", "--yes")
	if err != nil || r.ExitCode != Refused {
		t.Fatalf("rollback of a locked clone: %+v, %v", r, err)
	}
	s.unchanged(t, closed)
}

func TestAJobStoppedAfterEveryStepResumesToItsEnd(t *testing.T) {
	s := set(t, Options{})
	r, err := s.Migrate(t.Context(), "imap", "--close", "--stop-after", steps[0])
	if err != nil || r.ExitCode != Resumable {
		t.Fatalf("run: %+v, %v", r, err)
	}
	for _, step := range steps[1:] {
		r, err := s.VMMigrate(t.Context(), "resume", "imap", "--key-file", KeyFile, "--stop-after", step)
		if err != nil || r.ExitCode != Resumable {
			t.Fatalf("resume up to %s: %+v, %v", step, r, err)
		}
	}
	if r, err := s.VMMigrate(t.Context(), "resume", "imap", "--key-file", KeyFile); err != nil || r.ExitCode != Done {
		t.Fatalf("resume to the end: %+v, %v", r, err)
	}
	s.sh(t, `
		cryptsetup open --key-file "$1" /dev/vg0/imap-vda-luks check
		cmp "$2" /dev/mapper/check
		virsh dominfo imap-luks`, KeyFile, s.Guest.Root)
}
