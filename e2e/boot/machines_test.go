//go:build e2e

package boot

import (
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
)

// with is key file and all.
func with(args ...string) []string { return append(args, "--key-file", scenario.KeyFile) }

func disabling(args ...string) []string {
	return append([]string{"autostart", "disable", "imap-luks"}, args...)
}

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

const tangURL = "http://127.0.0.1:8880"

func (h host) tang(t *testing.T) {
	h.sh(t, `mv /usr/bin/clevis-luks-bind /root`)
	h.does(t, 3, with(enabling("--unlock", "tang", tangURL, "--yes")...), "it comes with the package clevis-luks")
	h.sh(t, `mv /root/clevis-luks-bind /usr/bin; mv /usr/lib/systemd/system/clevis-luks-askpass.path /root`)
	h.does(t, 3, with(enabling("--unlock", "tang", tangURL, "--yes")...), "it comes with the package clevis-systemd")
	h.sh(t, `mv /root/clevis-luks-askpass.path /usr/lib/systemd/system`)
	h.does(t, 3, with(enabling("--unlock", "tang", tangURL, "--yes")...), "connection refused", "curl --fail")
	h.sh(t, `/usr/libexec/tangd-keygen /var/lib/tang; chown -R _tang: /var/lib/tang
		mkdir -p /etc/systemd/system/tangd.socket.d; printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:8880\n' >/etc/systemd/system/tangd.socket.d/port.conf
		systemctl daemon-reload; systemctl -q enable --now tangd.socket`)
	thumbprint := h.sh(t, `tang-show-keys 8880`)
	h.does(t, 2, with(enabling("--unlock", "tang", tangURL)...), thumbprint, "give --yes")
	h.does(t, 3, with(enabling("--unlock", "tang", tangURL, "--tang-thumbprint", "x")...), "does not sign with the key x", thumbprint)
	h.does(t, 0, with(enabling("--unlock", "tang", tangURL, "--tang-thumbprint", thumbprint)...), "for tang", "unlocked by the tang server "+tangURL)
	t.Log(h.slots(t))

	t.Run("that is gone keeps the guest off, says so, and holds nothing up", func(t *testing.T) {
		// As a boot does it, with less patience, and before the server has ever
		// answered: the kernel keeps an answer for the next unit to ask, for 2.5
		// minutes (systemd's ask-password-api.c, KEYRING_TIMEOUT_USEC).
		h.sh(t, `systemctl stop tangd.socket; sed -i 's/timeout=5min/timeout=5s/' /persist/etc/crypttab; systemctl daemon-reload
			! systemctl start "$1"`, unit)
		h.open(t)
		h.does(t, 0, []string{"status"}, " was not unlocked when it was tried last (exit-code)", "broken: cr_imap_vd")
		// The last words of a process that is gone by then are journald's to ascribe
		// to no unit; they still say which program they are of.
		if log := h.sh(t, `journalctl --no-pager -b -o cat UNIT="$1" + SYSLOG_IDENTIFIER=systemd-cryptsetup | tail -n 20`, unit); !strings.Contains(log, "Dependency failed for "+unit) || !strings.Contains(log, "Failed to query password: Timer expired") {
			t.Errorf("the log says\n%s", log)
		} else {
			t.Log("\n" + log)
		}
		h.does(t, 0, with("start", "imap-luks"), "imap-luks: started")
		h.sh(t, `[ "$(systemctl is-active "$1")" = active ]`, unit)
		h.sh(t, `virsh -q destroy imap-luks`)
		h.does(t, 0, []string{"stop", "imap-luks"})
		h.sh(t, `[ "$(systemctl is-active "$1")" = inactive ]; systemctl start tangd.socket`, unit)
		h.does(t, 0, enabling("--unlock", "tang", tangURL), "lines for cr_imap_vda, cr_imap_vdb")
	})
	h.sh(t, `systemctl start "$1" || { journalctl --no-pager -b -o cat -u "systemd-cryptsetup@*" -u clevis-luks-askpass -u "$1" | tail -n 60; exit 1; }`, unit)
	h.open(t, vda, vdb)
	log := h.serialLog(t)
	h.until(t, "the guest serves", guestLimit, `grep -q 'GUEST serves' "$1"`, log)
}

func (h host) tangAtBoot(t *testing.T) {
	h.until(t, "the guest's unit is active", guestLimit, `[ "$(systemctl is-active "$1")" = active ]`, unit)
	h.open(t, vda, vdb)
	log := h.sh(t, `journalctl --no-pager -b -o short-monotonic -u clevis-luks-askpass -u "systemd-cryptsetup@*" -u "$1"`, unit)
	if !strings.Contains(log, "Unlocked /dev/disk/by-uuid/") {
		t.Errorf("clevis did not unlock:\n%s", log)
	}
	t.Log("\n" + log)
}

func (h host) disable(t *testing.T) {
	h.does(t, 0, with(disabling()...), "libvirt's own autostart is on again", "vda: key taken away")
	h.unchanged(t)
	h.does(t, 0, []string{"status"}, "is marked to start with the host")
	h.open(t, vda, vdb)
	if slots := h.slots(t); strings.Contains(slots, "clevis") {
		t.Errorf("left are %s", slots)
	}
	t.Run("and so does a rollback", func(t *testing.T) {
		h.does(t, 0, enabling("--unlock", "prompt"))
		h.does(t, 0, []string{"stop", "imap-luks", "--force", "--timeout", "1s"})
		h.does(t, 0, []string{"rollback", "imap", "--yes", "--force"}, "imap: rolled back", "what was set up to start imap-luks at boot is gone with it")
		h.sh(t, `virsh -q dominfo imap-luks && exit 1; true`)
		h.does(t, 0, []string{"status"})
		h.nothingWritten(t)
	})
}
