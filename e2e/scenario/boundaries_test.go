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
			r, err := s.Migrate(t.Context(), "imap", "--close", "--stop-after", step)
			if err != nil || r.ExitCode != Resumable {
				t.Fatalf("run: %+v, %v", r, err)
			}
			// Twice: what has been undone has nothing left to undo, and
			// saying so is no failure that changes anything.
			r, err = s.VMMigrate(t.Context(), "rollback", "imap", "--yes")
			if err != nil || r.ExitCode != Done {
				t.Fatalf("rollback: %+v, %v", r, err)
			}
			s.unchanged(t, before)
		})
	}
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
