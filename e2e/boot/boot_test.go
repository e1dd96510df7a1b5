//go:build e2e

package boot

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/lifecycle"
)

// theirs is a crypttab that was there before, without a final newline.
const theirs = "# the administrator's\r\nswap\t/dev/sda2 /dev/urandom  swap,noauto\nbackup UUID=5f1c none luks,noauto"

func TestAGuestIsUnlockedAtBootAndItsDisksAreLockedAfterItAtShutdown(t *testing.T) {
	dir := t.TempDir()
	t.Log("the first boot: the move, and what is set up")
	h := boots(t, dir, func(o scenario.Options) (*scenario.Stage, error) { return scenario.Set(t.Context(), o) })
	h.furnish(t)
	t.Run("bad input changes nothing", h.refusals)
	t.Run("a key file", h.enable)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}

	t.Log("the second boot: with the key file")
	h = boots(t, dir, func(o scenario.Options) (*scenario.Stage, error) { return scenario.Return(t.Context(), o) })
	t.Run("the guest starts by itself after its disks are unlocked", h.startedAtBoot)
	t.Run("its unit stops it and locks its disks", h.stopped)
	t.Run("a VM of an odd name, called otherwise by now", h.oddName)
	t.Run("a TPM and a token that are not there", h.absent)
	t.Run("a tang server", h.tang)
	t.Run("a header in a file of its own", h.headerApart)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}

	t.Log("the third boot: with the tang server, and to look at the log of the shutdown")
	h = boots(t, dir, func(o scenario.Options) (*scenario.Stage, error) { return scenario.Return(t.Context(), o) })
	t.Run("a disk whose header is in a file is unlocked at boot", h.headerApartAtBoot)
	t.Run("the guest was off before its disks were locked", h.orderlyShutdown)
	t.Run("the tang server unlocks at boot", h.tangAtBoot)
	t.Run("disable gives all back", h.disable)
}

// furnish moves the guest, which is made one that runs until it is told to
// stop, and which libvirt is to start by itself.
func (h host) furnish(t *testing.T) {
	t.Helper()
	if err := h.WriteFile(t.Context(), "/etc/crypttab", []byte(theirs), 0o640); err != nil {
		t.Fatal(err)
	}
	h.sh(t, `virsh dumpxml --inactive --security-info imap |
			sed "s|<os>|<sysinfo type='smbios'><system><entry name='serial'>stay</entry></system></sysinfo><os><smbios mode='sysinfo'/>|" >/root/imap.xml
		virsh -q define /root/imap.xml`)
	if result, err := h.Migrate(t.Context(), "imap", "--close", "--allow-discards"); err != nil || result.ExitCode != 0 {
		t.Fatalf("run: %+v, %v", result, err)
	}
	h.sh(t, `virsh -q autostart imap-luks; mkdir -p /persist/keys; chmod 700 /persist/keys; cp /root/imap.key /persist/keys/imap.key; chmod 600 /persist/keys/imap.key`)
}

const keyPath = "/persist/keys/imap.key"

func enabling(args ...string) []string {
	return append([]string{"autostart", "enable", "imap-luks"}, args...)
}

// unchanged fails unless all that autostart writes is as it was.
func (h host) unchanged(t *testing.T) {
	t.Helper()
	h.nothingWritten(t)
	h.sh(t, `virsh -q dominfo imap-luks | grep -q 'Autostart: *enable'`)
}

// nothingWritten is unchanged, where libvirt has no clone.
func (h host) nothingWritten(t *testing.T) {
	t.Helper()
	if text, err := h.ReadFile(t.Context(), "/etc/crypttab"); err != nil || string(text) != theirs {
		t.Errorf("the crypttab: %q, %v", text, err)
	}
	h.sh(t, `[ -z "$(find /etc/systemd/system /persist/etc -name '*vmmigrate*' ! -name vmmigrate-guest@.service)" ]
		[ -z "$(find /etc/systemd/system -name 'systemd-cryptsetup*')" ]
		[ "$(stat -L -c %a:%U /etc/crypttab)" = 640:root ]; [ -L /etc/crypttab ]`)
}

func (h host) refusals(t *testing.T) {
	h.does(t, 2, enabling(), "needs --unlock")
	h.does(t, 2, enabling("--unlock", "password"), "is none of prompt, key-file PATH, tpm2, tang URL, fido2")
	h.does(t, 2, enabling("--unlock", "key-file"), "needs a path")
	h.does(t, 3, []string{"autostart", "enable", "imap", "--unlock", "prompt"}, "its clone is called imap-luks")
	h.does(t, 3, []string{"autostart", "enable", "nobody", "--unlock", "prompt"}, "libvirt has no VM")
	h.does(t, 0, []string{"autostart", "disable", "imap-luks"}, "is not started at boot by vmmigrate")
	h.does(t, 3, enabling("--unlock", "key-file:/root/none"), "no such file")
	h.sh(t, `install -m 600 /dev/null /root/empty; printf wrong >/root/wrong; chmod 600 /root/wrong; cp /root/imap.key "/root/a b"; mkdir -m 777 /root/open; cp -p /root/imap.key /root/open/k`)
	h.does(t, 3, enabling("--unlock", "key-file", "/root/empty"), "it is empty")
	h.does(t, 3, enabling("--unlock", "key-file", "/root"), "it is no file")
	h.does(t, 3, enabling("--unlock", "key-file", "/root/a b"), "white space")
	h.does(t, 3, enabling("--unlock", "key-file", "/root/open/k"), "may write to /root/open")
	h.does(t, 3, enabling("--unlock", "key-file", "/root/imap.key"), "it lies in memory (tmpfs on /root)", "--force takes it as it is")
	h.does(t, 3, enabling("--unlock", "key-file", keyPath), "it lies unencrypted on /dev/ubdb")
	h.does(t, 1, enabling("--unlock", "key-file", "/root/wrong", "--force"), "the key in /root/wrong does not unlock disk vda")
	h.sh(t, `chmod 640 "$1"`, keyPath)
	h.does(t, 3, enabling("--unlock", "key-file", keyPath), "others than root", "chmod 600 "+keyPath)
	h.sh(t, `chmod 600 "$1"; chown nobody "$1"`, keyPath)
	h.does(t, 3, enabling("--unlock", "key-file", keyPath), "belongs to another user", "chown root:root")
	h.sh(t, `chown root "$1"`, keyPath)
	h.unchanged(t)

	t.Run("somebody else's line for the same mapping or volume", func(t *testing.T) {
		h.sh(t, `cp /persist/etc/crypttab /root/crypttab; printf '\ncr_imap_vda /dev/sdz none\n' >>/etc/crypttab`)
		h.does(t, 3, enabling("--unlock", "prompt"), "line 4 of /etc/crypttab has the mapping cr_imap_vda already")
		h.sh(t, `cat /root/crypttab >/etc/crypttab; printf '\nmail /dev/vg0/imap-vdb-luks none\n' >>/etc/crypttab`)
		h.does(t, 3, enabling("--unlock", "prompt"), "line 4 of /etc/crypttab opens the same volume already, as mail")
		h.sh(t, `cat /root/crypttab >/etc/crypttab`)
		h.unchanged(t)
	})
	t.Run("a read-only and a full /etc", func(t *testing.T) {
		h.sh(t, `mount -o remount,bind,ro /etc/systemd/system`)
		h.does(t, 1, enabling("--unlock", "prompt"), "read-only file system", "was taken back")
		h.sh(t, `mount -o remount,bind,rw /etc/systemd/system; mkdir -p /root/full; mount -t tmpfs -o size=8k tmpfs /root/full
			cp -p /persist/etc/crypttab /root/full/crypttab; head -c 8k /dev/zero >/root/full/fill || true; ln -sfn /root/full/crypttab /etc/crypttab`)
		h.does(t, 1, enabling("--unlock", "prompt"), "no space left on device", "was taken back")
		h.sh(t, `cmp /root/full/crypttab /persist/etc/crypttab; [ "$(ls -A /root/full)" = "$(printf 'crypttab\nfill')" ]; ln -sfn /persist/etc/crypttab /etc/crypttab; umount /root/full`)
		h.unchanged(t)
	})
	t.Run("a unit that is not installed", func(t *testing.T) {
		h.sh(t, `mv /etc/systemd/system/vmmigrate-guest@.service /root`)
		h.does(t, 3, enabling("--unlock", "prompt"), "the unit vmmigrate-guest@.service is not installed")
		h.sh(t, `mv /root/vmmigrate-guest@.service /etc/systemd/system`)
	})
	t.Run("a renamed volume is found, and one of an exported group is not", func(t *testing.T) {
		h.sh(t, `vgchange -q -an vg0; vgexport -q vg0`)
		h.does(t, 3, enabling("--unlock", "prompt"), "its volume group is exported")
		h.sh(t, `vgimport -q vg0; vgchange -q -ay vg0; udevadm settle`)
	})
	t.Run("and what is enabled can be disabled", func(t *testing.T) {
		h.sh(t, `lvrename -q vg0 imap-vda-luks mail`)
		h.does(t, 0, enabling("--unlock", "prompt"), "is started at boot, unlocked with a passphrase", "libvirt's own autostart is off")
		h.sh(t, `lvrename -q vg0 mail imap-vda-luks`)
		h.does(t, 0, enabling("--unlock", "prompt"))
		h.does(t, 3, enabling("--unlock", "key-file", keyPath, "--force"), "is set up to be unlocked with a passphrase", "vmmigrate autostart disable imap-luks")
		h.does(t, 0, []string{"status"}, "imap-luks is unlocked at boot by prompt")
		h.does(t, 0, []string{"autostart", "disable", "imap-luks"}, "libvirt's own autostart is on again")
		h.does(t, 0, []string{"autostart", "disable", "imap-luks"}, "is not started at boot by vmmigrate")
		h.unchanged(t)
	})
}

func (h host) enable(t *testing.T) {
	t.Run("on an encrypted file system needs no force", func(t *testing.T) {
		h.sh(t, `lvcreate -q --yes -L 48M -n keys vg0; cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$1" /dev/vg0/keys
			cryptsetup open --key-file "$1" /dev/vg0/keys keys; mke2fs -q -t ext4 /dev/mapper/keys; mkdir -p /mnt/keys; mount /dev/mapper/keys /mnt/keys; install -m 600 "$1" /mnt/keys/imap.key`, scenario.KeyFile)
		h.does(t, 0, enabling("--unlock", "key-file", "/mnt/keys/imap.key"), "unlocked with the key file /mnt/keys/imap.key")
		h.does(t, 0, []string{"autostart", "disable", "imap-luks"})
		h.unchanged(t)
		h.sh(t, `umount /mnt/keys; cryptsetup close keys; lvremove -q --yes vg0/keys`)
	})
	t.Log("\n" + h.does(t, 0, enabling("--unlock", "key-file", keyPath, "--force"), "lines for cr_imap_vda, cr_imap_vdb in /etc/crypttab", "/var/lib/vmmigrate/crypttab/crypttab-"))
	t.Log("\n" + h.sh(t, `cat /etc/crypttab; systemctl --no-pager cat "$1" "$2"`, unit, crypt))
	h.sh(t, `systemd-analyze verify --generators=yes --man=no "$1" "$2" >/root/verify 2>&1; ! [ -s /root/verify ] || { cat /root/verify; exit 1; }`, unit, crypt)
	h.open(t)
}

func (h host) startedAtBoot(t *testing.T) {
	h.sh(t, `systemctl is-system-running --wait || true`)
	h.until(t, "the guest's unit is active", guestLimit, `[ "$(systemctl is-active "$1")" = active ]`, unit)
	h.open(t, vda, vdb)
	h.does(t, 0, []string{"status"}, "running", "imap-luks is unlocked at boot by key-file "+keyPath+" and started by "+unit)
	var report lifecycle.Report
	if err := json.Unmarshal([]byte(h.does(t, 0, []string{"status", "imap-luks", "--output", "json"})), &report); err != nil {
		t.Fatal(err)
	}
	if b := report.Clones[0].Boot; b == nil || b.Active != "active" || len(b.Problems) != 0 {
		t.Errorf("%+v", b)
	}
	log := h.serialLog(t)
	h.until(t, "the guest serves", guestLimit, `grep -q 'GUEST serves' "$1"`, log)
	if console := h.sh(t, `cat "$1"`, log); !strings.Contains(console, "SAYS "+guest.Says) {
		t.Errorf("the guest did not say what is in its root:\n%s", console)
	}
	t.Log("\n" + h.sh(t, `journalctl --no-pager -b -o short-monotonic -u "systemd-cryptsetup@*" -u libvirtd -u "$1"`, unit))
	stamp := func(unit, property string) string {
		return h.sh(t, `systemctl show --value -p "$2" "$1"`, unit, property)
	}
	for _, before := range []string{crypt, "systemd-cryptsetup@cr_imap_vdb.service", "libvirtd.service"} {
		if a, b := stamp(before, "ActiveEnterTimestampMonotonic"), stamp(unit, "ExecMainStartTimestampMonotonic"); !earlier(a, b) {
			t.Errorf("%s was active at %s, and the guest was started at %s", before, a, b)
		}
	}
}

// earlier compares two times in microseconds.
func earlier(a, b string) bool {
	return a != "" && a != "0" && (len(a) < len(b) || len(a) == len(b) && a < b)
}

func (h host) orderlyShutdown(t *testing.T) {
	text := h.sh(t, `journalctl --no-pager -b -1 -o short-monotonic --output-fields=MESSAGE SYSLOG_IDENTIFIER=vmmigrate + SYSLOG_IDENTIFIER=systemd-cryptsetup + SYSLOG_IDENTIFIER=libvirt-guests.sh + UNIT="$1" + UNIT="$2" + UNIT=libvirtd.service + UNIT=libvirt-guests.service`, unit, crypt)
	t.Log("\n" + text)
	last := -1
	for _, says := range []string{"imap-luks: off", "vda: locked", "Stopped " + unit, "Stopped " + crypt} {
		at := strings.LastIndex(text, says)
		if at <= last {
			t.Errorf("the log of the shutdown does not say %q, or too early", says)
		}
		last = max(last, at)
	}
	for _, after := range []string{"Stopped libvirt-guests.service", "Stopped libvirtd.service"} {
		if at := strings.LastIndex(text, after); at >= 0 && at < strings.LastIndex(text, "imap-luks: off") {
			t.Errorf("%q came before the guest was off", after)
		}
	}
}

// serialLog is where what the guest says is written.
func (h host) serialLog(t *testing.T) string {
	t.Helper()
	return h.sh(t, `virsh dumpxml imap-luks | sed -n "s/.*<source path='\([^']*serial[^']*\)'.*/\1/p" | head -n1`)
}
