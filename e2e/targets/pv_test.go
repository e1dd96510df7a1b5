//go:build e2e

package targets

import (
	"strings"
	"testing"
)

func TestAVolumeLiesOnTheDiskThatWasNamed(t *testing.T) {
	sh(t, `vm onpv 8; mkdir -p /dev/disk/by-id; ln -s /dev/ubdb /dev/disk/by-id/the-second`)
	does(t, 3, []string{"plan", "--vm", "onpv", "--pv", "/dev/ubdz"}, "no volume group has the disk /dev/ubdz (open /dev/ubdz: no such file or directory)", "pvs")
	does(t, 3, []string{"plan", "--vm", "onpv", "--vg", "vg0", "--pv", "/dev/vg0/onpv"}, "the volume group vg0 has no disk /dev/vg0/onpv; its disks are /dev/ubda, /dev/ubdb")
	does(t, 2, []string{"plan", "--vm", "onpv", "--pv", "ubdb"}, "--pv", "no absolute path")
	sh(t, `pvchange -q -x n /dev/ubdb`)
	does(t, 3, []string{"plan", "--vm", "onpv", "--pv", "/dev/ubdb"}, "pvchange -x y /dev/ubdb")
	sh(t, `pvchange -q -x y /dev/ubdb; lvcreate -qy -an -Zn -l 100%PVS -n filler vg0 /dev/ubdb`)
	does(t, 3, []string{"plan", "--vm", "onpv", "--pv", "/dev/ubdb"}, "has not enough room", "on /dev/ubdb", "allow more disks with --pv")
	sh(t, `lvremove -qy vg0/filler`)

	does(t, 0, []string{"plan", "--vm", "onpv", "--pv", "/dev/disk/by-id/the-second", "--save", "/root/onpv.yaml", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}, "only on /dev/ubdb")
	sh(t, `grep -q 'pvs: \[/dev/disk/by-id/the-second\]' /root/onpv.yaml`)
	does(t, 0, run("onpv", "--pv", "/dev/disk/by-id/the-second", "--dry-run"), "--name=onpv-vda-luks -- vg0 /dev/ubdb")
	does(t, 0, []string{"run", "--plan", "/root/onpv.yaml", "--key-file", "/root/imap.key", "--yes"}, "is now onpv-luks")
	if on := sh(t, `lvs --noheadings -o devices vg0/onpv-vda-luks`); !strings.Contains(on, "/dev/ubdb(") || strings.Contains(on, "/dev/ubda") {
		t.Errorf("the volume lies on %s", on)
	}
	sh(t, `same /dev/mapper/cr_onpv_vda onpv`)
	does(t, 0, []string{"rollback", "onpv", "--yes"})
}
