//go:build e2e

package targets

import (
	"strings"
	"testing"
)

func TestADiskGoesToABlankDeviceAndARollbackLeavesThatBlank(t *testing.T) {
	sh(t, `vm ondev 8; echo 'label: gpt
size=48MiB' | sfdisk -q /dev/ubdc; udevadm settle; test -b /dev/ubdc1; wipefs -qa /dev/ubdc1`)
	device := []string{"--target-device", "/dev/ubdc1"}
	does(t, 3, []string{"plan", "--vm", "ondev", "--target-device", "/dev/ubdc"}, "is not blank, it bears gpt", "wipefs --all /dev/ubdc")
	does(t, 3, []string{"plan", "--vm", "ondev", "--target-device", "/dev/vg0/ondev"}, `is the disk vda of the VM "ondev"`)
	does(t, 3, []string{"plan", "--vm", "ondev", "--target-device", "/dev/ubda"}, "is not blank, it bears LVM2_member")
	does(t, 3, []string{"plan", "--vm", "ondev", "--target-device", "vda=/dev/ubdz"}, "can't be looked at: open /dev/ubdz: no such file")
	does(t, 2, []string{"plan", "--vm", "ondev", "--target-device", "vdq=/dev/ubdc1"}, `ondev has no disk "vdq"`)
	sh(t, `mkswap -q /dev/ubdc1; swapon /dev/ubdc1`)
	does(t, 3, append([]string{"plan", "--vm", "ondev"}, device...), "it bears swap", "is in use by")
	sh(t, `swapoff /dev/ubdc1; wipefs -qa /dev/ubdc1; blockdev --setro /dev/ubdc1`)
	does(t, 3, append([]string{"plan", "--vm", "ondev"}, device...), "is read-only", "blockdev --setrw /dev/ubdc1")
	sh(t, `blockdev --setrw /dev/ubdc1; lvcreate -qy -W y -L 20M -n small vg0 /dev/ubda`)
	does(t, 3, []string{"plan", "--vm", "ondev", "--target-device", "/dev/vg0/small"}, "20,971,520 bytes, and 25,165,824 are needed")
	sh(t, `lvremove -qy vg0/small`)

	does(t, 0, append([]string{"plan", "--vm", "ondev", "--save", "/root/ondev.yaml"}, device...), "48 MiB", "40 MiB")
	sh(t, `grep 'device: /dev/' /root/ondev.yaml; ! grep -q 'lv: ' /root/ondev.yaml`)
	does(t, 0, run("ondev", append(device, "--dry-run")...), "is blank still", "luksFormat")
	does(t, 2, run("ondev", append(device, "--yes")...), "--confirm-device /dev/")
	does(t, 2, run("ondev", append(device, "--yes", "--confirm-device", "/dev/ubdb")...), "--confirm-device /dev/")
	if code, shown := typed(t, "/dev/ubdb\n", run("ondev", append(device, "--yes")...)...); code != 3 || !strings.Contains(shown, "To go on, type its path: ") {
		t.Errorf("the wrong path typed: exit code %d:\n%s", code, shown)
	}
	does(t, 4, run("ondev", append(device, "--confirm-device", "/dev/ubdc1", "--stop-after", "open")...))
	sh(t, `dmsetup remove --retry cr_ondev_vda`) // as a power cut leaves it
	does(t, 0, []string{"resume", "ondev", "--key-file", "/root/imap.key"}, "is now ondev-luks")
	sh(t, `same /dev/mapper/cr_ondev_vda ondev; virsh -q dumpxml ondev-luks | grep 'path="/dev/'; ! virsh -q dumpxml ondev-luks | grep -q 'lv='`)

	does(t, 0, []string{"lock", "ondev-luks"})
	does(t, 0, []string{"status", "ondev-luks"}, "/dev/", "locked")
	does(t, 0, []string{"header", "check", "ondev-luks"})
	does(t, 0, []string{"key", "test", "ondev-luks", "--key-file", "/root/imap.key"})
	does(t, 0, []string{"unlock", "ondev-luks", "--key-file", "/root/imap.key"})
	sh(t, `same /dev/mapper/cr_ondev_vda ondev`)
	does(t, 0, []string{"trim", "check", "ondev-luks"})

	does(t, 0, []string{"rollback", "ondev", "--yes"})
	if left := sh(t, `wipefs --noheadings /dev/ubdc1; cmp -n $((40 << 20)) /dev/ubdc1 /dev/zero`); left != "" {
		t.Errorf("the device bears %s", left)
	}
	if there := sh(t, `virsh -q list --all --name; ls /dev/mapper`); strings.Contains(there, "ondev-luks") || strings.Contains(there, "cr_ondev") {
		t.Errorf("left are %s", there)
	}
}

func TestADiskGoesToAnEmptyVolumeThatIsNotRemoved(t *testing.T) {
	sh(t, `vm onlv 8; vm late 8; lvcreate -qy -W y -L 32M -n empty vg0 /dev/ubda`)
	before := sh(t, `lvs --noheadings -o lv_uuid,lv_size,lv_tags vg0/empty`)
	does(t, 0, run("onlv", "--target-device", "/dev/mapper/vg0-empty", "--confirm-device", "/dev/vg0/empty", "--close"), "is now onlv-luks")
	does(t, 3, []string{"plan", "--vm", "late", "--target-device", "/dev/vg0/empty"}, "it bears crypto_LUKS")
	sh(t, `lvrename -q vg0 empty filled`)
	does(t, 0, []string{"unlock", "onlv-luks", "--key-file", "/root/imap.key"}, "called vg0/filled now")
	sh(t, `same /dev/mapper/cr_onlv_vda onlv; lvrename -q vg0 filled empty`)
	does(t, 0, []string{"rollback", "onlv", "--yes"})
	if after := sh(t, `lvs --noheadings -o lv_uuid,lv_size,lv_tags vg0/empty; wipefs --noheadings /dev/vg0/empty`); after != before {
		t.Errorf("the volume was %s and is %s", before, after)
	}
}

// A cache in front of a volume is lvm2's to make; what goes through it comes back.
func TestADiskGoesToACachedVolume(t *testing.T) {
	sh(t, `vm cached 8; lvcreate -qy -W y -L 32M -n slow vg0 /dev/ubda; lvcreate -qy -L 8M -n fast vg0
lvconvert -qy --type cache --cachevol fast --cachesettings migration_threshold=16384 vg0/slow`)
	does(t, 0, run("cached", "--target-device", "/dev/vg0/slow", "--confirm-device", "/dev/vg0/slow"), "is now cached-luks")
	does(t, 0, []string{"lock", "cached-luks"})
	sh(t, `[ "$(lvs --noheadings -o segtype vg0/slow | xargs)" = cache ]; lvconvert -qy --uncache vg0/slow`)
	does(t, 0, []string{"unlock", "cached-luks", "--key-file", "/root/imap.key"})
	sh(t, `same /dev/mapper/cr_cached_vda cached`)
	does(t, 0, []string{"rollback", "cached", "--yes"})
	sh(t, `lvremove -qy vg0/slow`)
}

// After the move lvm2 changes what is below the encryption as it likes, also
// while the disk is open.
func TestLVMChangesACloneVolumesUnderIt(t *testing.T) {
	does(t, 2, []string{"plan", "--vm", "imap", "--lvm-type", "cache"}, "vmmigrate makes no cache", "lvconvert --type cache --cachevol FAST VG/VM-DISK-luks", "--target-device /dev/VG/CACHED")
	sh(t, `modprobe -a raid1 dm-raid dm-cache dm-cache-smq; vm under 8`)
	move := run("under", "--vg", "vg0", "--pv", "/dev/ubda", "--allow-discards")
	alive := func(t *testing.T) {
		t.Helper()
		does(t, 0, []string{"status", "under-luks"}, "vg0/under-vda-luks", "passed")
		does(t, 0, []string{"lock", "under-luks"})
		does(t, 0, append([]string{"unlock", "under-luks"}, key...))
		sh(t, `cmp -n $((8 << 20)) /dev/mapper/cr_under_vda /dev/vg0/under`)
	}
	gone := func(t *testing.T) {
		t.Helper()
		if left := sh(t, `lvs -a --noheadings -o lv_name vg0 | grep -e under- -e fast || true`); left != "" {
			t.Errorf("left are %s", left)
		}
	}
	t.Run("a cache pool", func(t *testing.T) {
		does(t, 0, move, "is now under-luks")
		sh(t, `lvcreate -qy --type cache-pool -L 8M -n fast vg0 /dev/ubdb; lvconvert -qy --type cache --cachepool fast --cachesettings migration_threshold=16384 vg0/under-vda-luks`)
		alive(t)
		if said := does(t, 0, []string{"trim", "check", "under-luks"}, "down to the hardware").Stdout; strings.Contains(said, "fast") {
			t.Errorf("the cache is told to be in the way")
		}
		does(t, 0, []string{"header", "check", "under-luks"}, "current")
		does(t, 0, []string{"verify", "under"}, "equal")
		does(t, 0, []string{"rollback", "under", "--yes"})
		gone(t)
	})
	t.Run("a mirror, another size, another disk and a snapshot", func(t *testing.T) {
		does(t, 0, move, "is now under-luks")
		sh(t, `lvconvert -qy --type raid1 -m1 vg0/under-vda-luks /dev/ubdb`)
		alive(t)
		sh(t, `lvconvert -qy -m0 vg0/under-vda-luks /dev/ubdb; lvextend -qy -L +8M vg0/under-vda-luks; pvmove -q -n under-vda-luks /dev/ubda /dev/ubdb 2>/dev/null`)
		alive(t)
		sh(t, `lvcreate -qy -s -L 8M -n before vg0/under-vda-luks; cryptsetup open --key-file /root/imap.key --readonly /dev/vg0/before look`)
		does(t, 0, []string{"status", "under-luks"}, "vda open ", "vg0/under-vda-luks")
		does(t, 3, []string{"rollback", "under", "--yes"}, "has a snapshot, before, that is worth nothing without it", "nothing has been changed", "lvremove vg0/before")
		alive(t)
		does(t, 3, []string{"rollback", "under", "--yes", "--force"}, "lvremove vg0/before")
		sh(t, `! test -e /dev/mapper/look; lvremove -qy vg0/before`)
		does(t, 0, []string{"rollback", "under", "--yes"})
		gone(t)
	})
	t.Run("a cache volume outlives the cutover and the original", func(t *testing.T) {
		does(t, 0, move, "is now under-luks")
		sh(t, `lvcreate -qy -L 12M -n fast vg0 /dev/ubdb; lvconvert -qy --type cache --cachevol fast vg0/under-vda-luks
lvcreate -qy -L 12M -n fast2 vg0 /dev/ubdb; lvconvert -qy --type cache --cachevol fast2 vg0/under`)
		does(t, 0, append([]string{"start", "under-luks"}, key...), "started")
		does(t, 0, []string{"stop", "under-luks", "--timeout", "0s", "--force"}, "locked")
		does(t, 0, []string{"cutover", "under-luks"})
		retire := append([]string{"retire", "under", "--method", "zero", "--confirm", "under"}, key...)
		does(t, 3, retire, "/dev/vg0/under has a cache in front of it", "lvconvert --splitcache vg0/under")
		sh(t, `lvconvert -qy --splitcache vg0/under; test -b /dev/vg0/fast2 || lvchange -ay vg0/fast2; lvremove -qy vg0/fast2`)
		does(t, 0, retire)
		does(t, 0, append([]string{"unlock", "under"}, key...))
		sh(t, `lvconvert -qy --uncache vg0/under-vda-luks`)
		does(t, 0, []string{"lock", "under"})
		sh(t, `virsh -q undefine under; lvremove -qy vg0/under-vda-luks`)
		gone(t)
	})
}
