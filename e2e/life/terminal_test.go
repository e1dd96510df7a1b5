//go:build e2e

package life

import (
	"bytes"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost/wire"
)

// typed runs vmmigrate at a terminal at which a person types these lines, and
// returns its exit code and what the terminal showed.
func (h host) typed(t *testing.T, lines string, args ...string) (int, string) {
	t.Helper()
	var shown bytes.Buffer
	c := h.Command(append([]string{"vmmigrate"}, args...)...)
	c.Stdin, c.Stdout, c.Pty = strings.NewReader(lines), &shown, &wire.Size{Rows: 24, Cols: 80}
	result, _ := c.Run(t.Context()) // the exit code is the caller's to judge
	return result.ExitCode, shown.String()
}

// LUKS1 has headers, flags and slots of its own.
func TestAPersonAtATerminalAndALUKS1Volume(t *testing.T) {
	h := set(t, "--close", "--luks-type", "luks1", "--allow-discards")
	h.sh(t, `printf 'Tr0ub4dor' >/root/typed; chmod 600 /root/typed`)
	h.does(t, 0, with("key", "add", "imap-luks", "--new-key-file", "/root/typed", "--pbkdf-force-iterations", "1000"), "vda: key added")

	t.Run("three wrong passphrases are refused, and nothing is open", func(t *testing.T) {
		code, shown := h.typed(t, "one\ntwo\nthree\nTr0ub4dor\n", "unlock", "imap-luks")
		if code != 1 || !strings.Contains(shown, "none of 3 keys unlocks disk vda") || strings.Count(shown, "Passphrase for the disks of imap-luks:") != 3 {
			t.Errorf("exit code %d:\n%s", code, shown)
		}
		h.open(t)
	})
	t.Run("the second that is right opens every disk, with discards", func(t *testing.T) {
		code, shown := h.typed(t, "one\nTr0ub4dor\n", "unlock", "imap-luks")
		if code != 0 || !strings.Contains(shown, "vdb: unlocked") || !strings.Contains(shown, "try 2 of 3") {
			t.Errorf("exit code %d:\n%s", code, shown)
		}
		h.open(t, vda, vdb)
		h.sh(t, `dmsetup table cr_imap_vda | grep -q allow_discards`)
	})
	t.Run("a header that was overwritten while it is open comes back", func(t *testing.T) {
		h.does(t, 0, []string{"header", "backup", "imap-luks", "--out", "/root"}, "vdb: header saved to /root/")
		h.does(t, 0, []string{"header", "check", "imap-luks"}, "vda  current", "/root/")
		before := h.sh(t, `sha256sum </dev/mapper/cr_imap_vda; dd if=/dev/urandom of=/dev/vg0/imap-vda-luks bs=1M count=2 conv=fsync status=none`)
		h.does(t, 5, []string{"header", "check", "imap-luks"}, "live header damaged")
		file := h.sh(t, `ls /root/imap-luks-vda-*.luks-header`)
		code, shown := h.typed(t, "n\n", "header", "restore", "imap-luks", file)
		if code != 3 || !strings.Contains(shown, "damaged or gone") {
			t.Errorf("no is no: exit code %d:\n%s", code, shown)
		}
		if code, shown = h.typed(t, "y\n", "header", "restore", "imap-luks", file); code != 0 {
			t.Errorf("yes is yes: exit code %d:\n%s", code, shown)
		}
		t.Log("\n" + shown)
		h.does(t, 0, []string{"lock", "imap-luks"})
		h.does(t, 0, with("unlock", "imap-luks"))
		if after := h.sh(t, `sha256sum </dev/mapper/cr_imap_vda`); after != before {
			t.Error("the payload is not what it was")
		}
	})
	t.Run("a key that is changed makes the backup outdated", func(t *testing.T) {
		code, shown := h.typed(t, "Tr0ub4dor\nnew one\nnew one\n", "key", "change", "imap-luks", "--pbkdf-force-iterations", "1000", "--no-header-backup")
		if code != 0 || !strings.Contains(shown, "vdb: key taken away") || strings.Contains(shown, scenario.Key) {
			t.Errorf("exit code %d:\n%s", code, shown)
		}
		h.does(t, 5, []string{"header", "check", "imap-luks"}, "outdated")
		if code, shown := h.typed(t, "new one\n", "key", "test", "imap-luks"); code != 0 || !strings.Contains(shown, "key slot 2") {
			t.Errorf("exit code %d:\n%s", code, shown)
		}
	})
}
