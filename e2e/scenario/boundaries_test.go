//go:build e2e

package scenario

import (
	"strings"
	"testing"
)

// steps are the ones of a job, in order, as DESIGN names them; close is one
// only with --close.
var steps = []string{"preflight", "create-volume", "format", "open", "copy", "verify", "header-backup", "firmware", "define", "close"}

func TestAJobStoppedAfterAnyStepRollsBackToTheWorldAsItWas(t *testing.T) {
	s := set(t, Options{})
	before := s.look(t)
	t.Run("stopped by a signal and by its disk", func(t *testing.T) {
		s.onlyDelays(t)
		s.unchanged(t, before)
	})
	t.Run("a difference is told and nothing is made of it", func(t *testing.T) {
		s.findsADifference(t)
		s.unchanged(t, before)
	})
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

// haltedRun starts a run and, while it copies, stops it for a while, and then
// suspends the new volume for a while.
const haltedRun = `
	vmmigrate run --vm=imap --key-file "$1" --yes --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --max-rate 8M >/root/halted 2>&1 &
	run=$!
	copying() {
		for i in $(seq 300); do
			[ -e /proc/$run ] || { cat /root/halted; exit 1; }
			! ls /var/lib/vmmigrate/jobs/*/vda.chunks >/dev/null 2>&1 || return 0
			sleep 0.1
		done
		exit 1
	}
	copying
	kill -STOP $run; sleep 4; kill -CONT $run
	dmsetup suspend vg0-imap--vda--luks; sleep 4
	midst=yes
	! grep -q 'vda copy' /root/halted || midst=no
	dmsetup resume vg0-imap--vda--luks
	[ $midst = yes ] || { cat /root/halted; exit 1; }
	wait $run || { cat /root/halted; exit 1; }
	cmp "$2" /dev/mapper/cr_imap_vda; cat /root/halted`

// onlyDelays checks that a run that is stopped, and whose disk is suspended, only
// takes longer.
func (s *Stage) onlyDelays(t *testing.T) {
	t.Helper()
	t.Log(s.sh(t, haltedRun, KeyFile, s.Guest.Root))
	if r, err := s.VMMigrate(t.Context(), "rollback", "imap", "--yes"); err != nil || r.ExitCode != Done {
		t.Fatalf("rollback: %+v, %v", r, err)
	}
}

// findsADifference checks that a byte that is changed between copy and
// verification is found and told, and that no clone is made of it.
func (s *Stage) findsADifference(t *testing.T) {
	t.Helper()
	if r, err := s.Migrate(t.Context(), "imap", "--stop-after", "copy"); err != nil || r.ExitCode != Resumable {
		t.Fatalf("run: %+v, %v", r, err)
	}
	s.sh(t, `
		old=$(dd if=/dev/mapper/cr_imap_vda bs=1 skip=9000000 count=1 status=none | od -An -tu1)
		printf "\\$(printf %o $((old ^ 1)))" | dd of=/dev/mapper/cr_imap_vda bs=1 seek=9000000 conv=notrunc,fsync status=none`)
	r, err := s.VMMigrate(t.Context(), "resume", "imap", "--key-file", KeyFile)
	if err != nil || r.ExitCode != Differs {
		t.Fatalf("resume: %+v, %v", r, err)
	}
	t.Log(r.Stderr)
	want := s.sh(t, `dd if="$1" bs=4M skip=2 count=1 status=none | sha256sum | cut -c1-64`, s.Guest.Root)
	got := s.sh(t, `dd if=/dev/mapper/cr_imap_vda bs=4M skip=2 count=1 status=none | sha256sum | cut -c1-64`)
	for _, part := range []string{"chunk 2 ", "byte 8388608", strings.TrimSpace(want), strings.TrimSpace(got), "/dev/mapper/cr_imap_vda", "vmmigrate rollback"} {
		if !strings.Contains(r.Stderr, part) {
			t.Errorf("it does not say %q", part)
		}
	}
	if names := s.sh(t, `virsh -q list --all --name`); strings.Contains(names, "imap-luks") {
		t.Error("the clone is defined all the same")
	}
	if r, err := s.VMMigrate(t.Context(), "rollback", "imap", "--yes"); err != nil || r.ExitCode != Done {
		t.Fatalf("rollback: %+v, %v", r, err)
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
