//go:build e2e

package boot

import (
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
)

const mountPoint = "/var/lib/libvirt/images/imap-vda-luks"

func TestWhatAnImageLiesOnIsMountedAtBootAndUnmountedAtShutdown(t *testing.T) {
	dir := t.TempDir()
	t.Log("the first boot: the move, and what is set up")
	h := boots(t, dir, func(o scenario.Options) (*scenario.Stage, error) { return scenario.Set(t.Context(), o) })
	// There is one before, and it outlives the boot.
	if err := h.WriteFile(t.Context(), "/etc/crypttab", []byte(theirs), 0o640); err != nil {
		t.Fatal(err)
	}
	h.sh(t, `mkdir -p /srv/images; qemu-img convert -f raw -O qcow2 "$1" /srv/images/root.qcow2
		virsh dumpxml --inactive --security-info imap |
			sed "s|<os>|<sysinfo type='smbios'><system><entry name='serial'>stay</entry></system></sysinfo><os><smbios mode='sysinfo'/>|; s|<disk type='block'|<disk type='file'|; s|type='raw' cache='none'|type='qcow2'|; s|<source dev='$1'/>|<source file='/srv/images/root.qcow2'/>|" >/root/imap.xml
		virsh -q define /root/imap.xml; mkdir -p /persist/keys; chmod 700 /persist/keys; cp /root/imap.key /persist/keys/imap.key; chmod 600 /persist/keys/imap.key`, h.Guest.Root)
	if result, err := h.Migrate(t.Context(), "imap", "--close", "--layout", "filesystem", "--vg", "vg0"); err != nil || result.ExitCode != 0 {
		t.Fatalf("run: %+v, %v", result, err)
	}
	h.does(t, 0, enabling("--unlock", "key-file", keyPath, "--force"), "is started at boot")
	h.sh(t, `systemctl cat "$1" | grep -F 'After=var-lib-libvirt-images-imap\x2dvda\x2dluks.mount'; [ "$(systemd-escape -p --suffix=mount "$2")" = 'var-lib-libvirt-images-imap\x2dvda\x2dluks.mount' ]`, unit, mountPoint)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}

	t.Log("the second boot: the guest starts by itself")
	h = boots(t, dir, func(o scenario.Options) (*scenario.Stage, error) { return scenario.Return(t.Context(), o) })
	h.sh(t, `systemctl is-system-running --wait || true`)
	h.until(t, "the guest's unit is active", guestLimit, `[ "$(systemctl is-active "$1")" = active ]`, unit)
	h.open(t, vda, vdb)
	h.sh(t, `[ "$(findmnt -no SOURCE "$1")" = /dev/mapper/cr_imap_vda ]; [ "$(virsh domstate imap-luks)" = running ]`, mountPoint)
	h.until(t, "the guest serves", guestLimit, `grep -q 'GUEST serves' "$1"`, h.serialLog(t))
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}

	t.Log("the third boot: to look at the log of the shutdown")
	h = boots(t, dir, func(o scenario.Options) (*scenario.Stage, error) { return scenario.Return(t.Context(), o) })
	h.orderlyShutdown(t)
	log := h.sh(t, `journalctl --no-pager -b -1 -o short-monotonic`)
	if !strings.Contains(log, "vda: unmounted: "+mountPoint) && !strings.Contains(log, "vda: unmounted in") {
		t.Error("the log of the shutdown does not say that it was unmounted")
	}
	if strings.Contains(log, "Failed unmounting "+mountPoint) || strings.Contains(log, mountPoint+": target is busy") {
		t.Errorf("systemd was there first:\n%s", log)
	}
	h.until(t, "the guest's unit is active", guestLimit, `[ "$(systemctl is-active "$1")" = active ]`, unit)
	// It has only begun to boot, and would not hear its power button.
	h.sh(t, `virsh -q destroy imap-luks; systemctl stop "$1"; ! mountpoint -q "$2"`, unit, mountPoint)
	h.open(t)
	h.does(t, 0, disabling())
}
