//go:build e2e

package life

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/guest"
	"github.com/vmmigrate/vmmigrate/lifecycle"
)

const (
	vda = "cr_imap_vda"
	vdb = "cr_imap_vdb"
)

// The clone's metadata are all there is: no state directory is left.
func TestACloneIsStartedAndStoppedLongAfterItsJob(t *testing.T) {
	h := set(t, "--close", "--allow-discards")
	h.open(t)

	t.Run("status tells of a locked clone", func(t *testing.T) {
		said := h.does(t, 0, []string{"status"}, "imap-luks", "locked", "aes-xts-plain64 512", "none known", "imap, there")
		t.Log("\n" + said)
		var report lifecycle.Report
		if err := json.Unmarshal([]byte(h.does(t, 0, []string{"status", "imap-luks", "--output", "json"})), &report); err != nil {
			t.Fatal(err)
		}
		if c := report.Clones[0]; c.Access != lifecycle.AccessLocked || len(c.Disks) != 2 || c.Disks[0].Open || c.Disks[0].Volume != "vg0/imap-vda-luks" || len(c.Original.Disks) != 2 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("unlock and lock may be repeated", func(t *testing.T) {
		// The run has noted in the header that discards pass: who opens it by hand, or at boot, need not say so.
		h.sh(t, `for disk in vda vdb; do cryptsetup luksDump "/dev/vg0/imap-$disk-luks" | grep -q 'Flags:.*allow-discards'; done`)
		h.does(t, 0, with("unlock", "imap-luks"), "vda: unlocked", "vdb: unlocked")
		h.does(t, 0, with("unlock", "imap-luks"), "is unlocked already")
		h.open(t, vda, vdb)
		h.sh(t, `cryptsetup luksDump /dev/vg0/imap-vda-luks | grep -q 'Flags:.*allow-discards'; dmsetup table cr_imap_vda | grep -q allow_discards`)
		h.does(t, 0, []string{"lock", "--all"}, "vda: locked", "vdb: locked")
		h.does(t, 0, []string{"lock", "imap-luks"}, "is locked already")
		h.open(t)
	})
	t.Run("a wrong key opens nothing and leaves nothing open", func(t *testing.T) {
		h.sh(t, `printf wrong >/root/wrong; chmod 600 /root/wrong`)
		h.does(t, 1, []string{"unlock", "imap-luks", "--key-file", "/root/wrong"}, "the key does not unlock disk vda")
		h.open(t)
	})
	t.Run("start is refused beside the original", func(t *testing.T) {
		h.sh(t, `virsh -q start --paused imap`)
		h.does(t, 3, with("start", "imap-luks"), `its original "imap" runs`, "virsh shutdown imap")
		h.open(t)
		h.sh(t, `virsh -q destroy imap`)
	})
	t.Run("start boots it from its disks and stop waits for its guest", func(t *testing.T) {
		log := h.sh(t, `virsh dumpxml imap-luks | sed -n "s/.*<source path='\([^']*serial[^']*\)'.*/\1/p" | head -n1`)
		h.does(t, 0, with("start", "imap-luks"), "imap-luks: started")
		h.does(t, 0, with("start", "imap-luks"), "already")
		h.does(t, 3, []string{"lock", "imap-luks"}, "is running", "vmmigrate stop imap-luks")
		h.does(t, 0, []string{"status"}, "running")
		t.Log("\n" + h.does(t, 0, []string{"stop", "imap-luks", "--timeout", "5m"}, "imap-luks: off", "vda: locked", "vdb: locked"))
		h.open(t)
		if console := h.sh(t, `cat "$1"`, log); !strings.Contains(console, "SAYS "+guest.Says) {
			t.Errorf("the guest did not say what is in its root:\n%s", console)
		}
	})
	t.Run("a guest that does not hear is named, and its plug pulled with --force", func(t *testing.T) {
		h.does(t, 0, with("unlock", "imap-luks"))
		h.sh(t, `virsh -q start --paused imap-luks`)
		h.does(t, 3, []string{"stop", "imap-luks", "--timeout", "1s"}, "is paused", "virsh resume imap-luks")
		h.open(t, vda, vdb)
		h.does(t, 0, []string{"stop", "imap-luks", "--timeout", "1s", "--force"}, "its plug was pulled")
		h.open(t)
	})
	t.Run("a start that libvirt refuses locks again", func(t *testing.T) {
		h.sh(t, `virsh dumpxml --inactive --security-info imap-luks >/root/good.xml
			sed "s|<interface type='user'>|<interface type='network'><source network='nowhere'/>|" /root/good.xml >/root/bad.xml; virsh -q define /root/bad.xml`)
		h.does(t, 1, with("start", "imap-luks"), "did not start", "nowhere", "State: its disks are locked again")
		h.open(t)
		h.sh(t, `virsh -q define /root/good.xml`)
	})
	t.Run("trim names what stops discards", func(t *testing.T) {
		t.Log("\n" + h.does(t, 0, []string{"trim", "check", "imap-luks"}, "virtual disk", "dm-crypt", "volume", "device"))
	})
}

func TestWhatWasDoneBehindOurBackIsNamed(t *testing.T) {
	h := set(t, "--close")

	t.Run("a mount on the host keeps a guest from starting", func(t *testing.T) {
		h.does(t, 0, with("unlock", "imap-luks"))
		h.sh(t, `sleep 1000 </dev/mapper/cr_imap_vdb & echo $! >/root/holder`)
		h.does(t, 3, with("start", "imap-luks"), "something on the host uses its disk vdb", "lsblk /dev/mapper/cr_imap_vdb")
		h.does(t, 1, []string{"lock", "imap-luks"}, "disk vdb", "(sleep)")
		h.open(t, vdb)
		h.sh(t, `kill "$(cat /root/holder)"`)
		h.does(t, 0, []string{"lock", "imap-luks"})
		h.open(t)
	})
	t.Run("a disk that was opened under another name", func(t *testing.T) {
		h.sh(t, `cryptsetup open --key-file "$1" /dev/vg0/imap-vda-luks rescue`, "/root/imap.key")
		h.does(t, 3, with("start", "imap-luks"), "as rescue and not as cr_imap_vda", "vmmigrate lock imap-luks")
		h.does(t, 0, []string{"status"}, "open as rescue")
		h.does(t, 0, []string{"lock", "imap-luks"}, "vda: locked")
		h.open(t)
	})
	t.Run("another volume under the disk's name", func(t *testing.T) {
		h.sh(t, `lvcreate -q --yes -L 24M -n other vg0; cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$1" /dev/vg0/other
			cryptsetup open --key-file "$1" /dev/vg0/other cr_imap_vda`, "/root/imap.key")
		h.does(t, 3, with("unlock", "imap-luks"), "that mapping opens the LUKS volume")
		h.open(t, vda)
		h.sh(t, `cryptsetup close cr_imap_vda`)
	})
	t.Run("a volume that was renamed, and another in its place", func(t *testing.T) {
		h.sh(t, `lvrename -q vg0 imap-vda-luks mail; lvrename -q vg0 other imap-vda-luks`)
		h.does(t, 0, with("unlock", "imap-luks"), "its volume is called vg0/mail now")
		h.open(t, vda, vdb)
		h.does(t, 0, []string{"status"}, "vg0/mail")
		h.does(t, 0, []string{"lock", "imap-luks"})
		h.sh(t, `lvremove -q --yes vg0/imap-vda-luks; lvrename -q vg0 mail imap-vda-luks`)
	})
	t.Run("a volume group that is not active, renamed or exported", func(t *testing.T) {
		h.sh(t, `vgchange -q -an vg0`)
		h.does(t, 0, []string{"status"}, "locked")
		h.does(t, 0, with("unlock", "imap-luks"))
		h.does(t, 0, []string{"lock", "imap-luks"})
		h.sh(t, `vgchange -q -an vg0; vgrename -q vg0 vg7`)
		h.does(t, 0, with("unlock", "imap-luks"), "its volume is called vg7/imap-vda-luks now")
		h.does(t, 0, []string{"lock", "imap-luks"})
		h.sh(t, `vgchange -q -an vg7; vgrename -q vg7 vg0; vgexport -q vg0`)
		h.does(t, 3, with("unlock", "imap-luks"), "its volume group is exported", "vgimport vg0")
		h.does(t, 0, []string{"status"}, "exported", "vgimport vg0")
		h.sh(t, `vgimport -q vg0; vgchange -q -ay vg0`)
	})
	t.Run("a host that systemd has not booted starts nothing at boot", func(t *testing.T) {
		h.does(t, 3, []string{"autostart", "enable", "imap-luks", "--unlock", "prompt"}, "was not booted with systemd", "vmmigrate start")
		h.does(t, 0, []string{"autostart", "disable", "imap-luks"}, "is not started at boot by vmmigrate")
		h.sh(t, `! grep -q vmmigrate /etc/crypttab`)
	})
	t.Run("a passphrase command is told the name that the VM had", func(t *testing.T) {
		h.does(t, 0, []string{"unlock", "imap-luks", "--passphrase-command", `sh -c 'cat "/root/$VMMIGRATE_VM.key"'`})
		h.does(t, 0, []string{"lock", "imap-luks"})
	})
	t.Run("a clone that was undefined", func(t *testing.T) {
		h.sh(t, `virsh dumpxml --inactive --security-info imap-luks >/root/clone.xml; virsh -q undefine imap-luks`)
		h.does(t, 3, with("start", "imap-luks"), `libvirt has no VM "imap-luks"`, "vg0/imap-vda-luks, made by job", "virsh define FILE")
		h.does(t, 0, []string{"status"}, "There are no clones", "belongs to no VM")
		// It is locked, so that nobody can tell what its guest has written.
		definition := "virsh define " + kept + "/jobs/"
		h.does(t, 0, []string{"--state-dir", kept, "status"}, "belongs to no VM", definition)
		h.does(t, 3, []string{"--state-dir", kept, "rollback", "imap", "--yes"}, `the clone "imap-luks" is not defined`, "is locked", "cryptsetup open /dev/vg0/imap-vda-luks cr_imap_vda", definition, "rollback --force")
		h.sh(t, `lvs vg0/imap-vda-luks; virsh -q define "$1"/jobs/*/clone.xml; virsh -q undefine imap-luks`, kept)
		h.sh(t, `virsh -q define /root/clone.xml`)
		h.does(t, 3, with("start", "imap"), "its clone is called imap-luks")
	})
}
