//go:build e2e

package boot

import (
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
)

// with is key file and all.
func with(args ...string) []string { return append(args, "--key-file", scenario.KeyFile) }

func disabling() []string { return []string{"autostart", "disable", "imap-luks"} }

// slots are the key slots and tokens of both disks.
func (h host) slots(t *testing.T) string {
	t.Helper()
	return h.sh(t, `for lv in vda vdb; do cryptsetup luksDump /dev/vg0/imap-$lv-luks | grep -E '^  [0-9]+: (luks2|clevis|systemd)' | tr '\n' ' '; done`)
}

func (h host) stopped(t *testing.T) {
	h.sh(t, `systemctl stop "$1"`, unit)
	h.open(t)
	h.sh(t, `[ "$(virsh domstate imap-luks)" = 'shut off' ]`)
	h.does(t, 0, disabling())
	h.unchanged(t)
	// A guest without a record of its own is not held up by this one's.
	h.does(t, 0, with("start", "imap-luks"))
	h.does(t, 0, []string{"stop", "imap-luks", "--force", "--timeout", "0s"})
	h.open(t)
}

func (h host) oddName(t *testing.T) {
	const odd = `vmmigrate-guest@\x2dB\xc3\xbcro\x20\x26\x20\x25h.service`
	h.sh(t, `virsh dumpxml --inactive --security-info imap-luks >/root/clone.xml
		sed "s|\(origin name=.\)imap|\1-Büro \&amp; %h|; s|<name>imap-luks</name>|<name>-mail</name>|" /root/clone.xml >/root/odd.xml
		virsh -q undefine imap-luks; virsh -q define /root/odd.xml`)
	h.does(t, 0, []string{"autostart", "enable", "--unlock", "key-file:" + keyPath, "--force", "--", "-mail"}, odd)
	h.sh(t, `systemd-analyze verify --generators=yes --man=no "$1" >/root/verify 2>&1; ! [ -s /root/verify ] || { cat /root/verify; exit 1; }
		[ "$(systemctl is-enabled -- "$1")" = enabled ]; systemctl start -- "$1"; [ "$(virsh domstate --domain=-mail)" = running ]`, odd)
	h.open(t, vda, vdb)
	h.does(t, 0, []string{"status"}, "-mail is unlocked at boot")
	h.sh(t, `virsh -q destroy --domain=-mail; systemctl stop -- "$1"`, odd)
	h.open(t)
	h.does(t, 0, []string{"autostart", "disable", "--", "-mail"})
	h.sh(t, `virsh -q undefine --domain=-mail; virsh -q define /root/clone.xml; virsh -q autostart imap-luks`)
	h.unchanged(t)
}

func (h host) absent(t *testing.T) {
	before := h.slots(t)
	h.does(t, 1, with(enabling("--unlock", "tpm2")...), "this host has no TPM 2.0", "was taken back", "systemd-cryptenroll --tpm2-device=list")
	h.does(t, 1, with(enabling("--unlock", "fido2")...), "this host has no FIDO2 token", "was taken back")
	h.does(t, 2, enabling("--unlock", "tpm2"), "there is no terminal to ask for the passphrase on")
	h.sh(t, `printf wrong >/root/wrong; chmod 600 /root/wrong`)
	h.does(t, 1, enabling("--unlock", "tpm2", "--key-file", "/root/wrong"), "the key does not unlock disk vda")
	h.unchanged(t)
	if after := h.slots(t); after != before {
		t.Errorf("the slots were %s and are %s", before, after)
	}
}
