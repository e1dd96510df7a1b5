//go:build e2e

package boot

import (
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
)

const (
	apartUnit   = "vmmigrate-guest@apart.service"
	apartHeader = "/persist/headers/apart.header"
)

// headerApart moves a VM whose header goes to a file, and sets its start at the
// next boot up. It has no system that would boot.
func (h host) headerApart(t *testing.T) {
	h.sh(t, `lvcreate -q --yes -W n -L 8M -n apart vg0; head -c 8M /dev/urandom >/dev/vg0/apart; mkdir -p -m 700 /persist/headers
		cat >/root/apart.xml <<END
<domain type='qemu'><name>apart</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg0/apart'/><target dev='vda' bus='virtio'/></disk></devices></domain>
END
		virsh -q define /root/apart.xml`)
	h.does(t, 0, []string{"run", "--vm", "apart", "--header", apartHeader, "--key-file", scenario.KeyFile, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--close"}, "is now apart-luks")
	h.does(t, 3, with("autostart", "enable", "apart-luks", "--unlock", "tang", tangURL, "--yes"), "clevis looks for its token in a header on the volume")
	h.does(t, 0, []string{"autostart", "enable", "apart-luks", "--unlock", "key-file", keyPath, "--force"}, "lines for cr_apart_vda in /etc/crypttab")
	t.Log("\n" + h.sh(t, `grep cr_apart_vda /etc/crypttab; systemctl --no-pager cat systemd-cryptsetup@cr_apart_vda.service`))
	h.sh(t, `grep -q "^cr_apart_vda /dev/vg0/apart-vda-luks $1 .*header=$2" /etc/crypttab
		systemd-analyze verify --generators=yes --man=no "$3" >/root/verify 2>&1; ! [ -s /root/verify ] || { cat /root/verify; exit 1; }`, keyPath, apartHeader, apartUnit)
}

// headerApartAtBoot sees that it was started, and takes it all away.
func (h host) headerApartAtBoot(t *testing.T) {
	h.until(t, "the unit of the guest with its header apart is active", guestLimit, `[ "$(systemctl is-active "$1")" = active ]`, apartUnit)
	h.sh(t, `[ "$(virsh domstate apart-luks)" = running ]; [ "$(blockdev --getsize64 /dev/mapper/cr_apart_vda)" = $((8 << 20)) ]`)
	h.does(t, 0, []string{"status", "apart-luks"}, "running", "is unlocked at boot by key-file", "its LUKS header is in "+apartHeader)
	h.sh(t, `virsh -q destroy apart-luks; systemctl stop "$1"; ! [ -e /dev/mapper/cr_apart_vda ]`, apartUnit)
	h.does(t, 0, []string{"autostart", "disable", "apart-luks"})
	h.does(t, 0, []string{"rollback", "apart", "--yes", "--force"}, apartHeader+" removed")
	h.sh(t, `! [ -e "$1" ]; ! grep apart /etc/crypttab; virsh -q undefine apart; lvremove -q --yes vg0/apart`, apartHeader)
}
