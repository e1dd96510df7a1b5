//go:build e2e

package targets

import (
	"strings"
	"testing"
)

// stick mounts a file system for headers at /media/stick, once.
const stick = `if ! mountpoint -q /media/stick; then lvcreate -qy -W y -L 100M -n stick vg0 /dev/ubdb; mkfs.ext4 -q /dev/vg0/stick; mkdir -p /media/stick; mount /dev/vg0/stick /media/stick; fi
`

// key are the flags that give the key.
var key = []string{"--key-file", "/root/imap.key"}

func TestAHeaderLivesApartFromItsVolume(t *testing.T) {
	sh(t, stick+`vm apart 8; mkdir -m 777 /srv/open; mkdir -m 700 /srv/headers /dev/shm/headers`)
	plan := func(file string) []string { return []string{"plan", "--vm", "apart", "--header", file} }
	does(t, 3, plan("/media/none/apart.header"), "the folder /media/none does not exist")
	does(t, 3, plan("/srv/open/apart.header"), "can be written by others than root")
	does(t, 3, plan("/dev/shm/headers/apart.header"), "is in memory (tmpfs)")
	does(t, 2, plan("vdz=/media/stick/apart.header"), `apart has no disk "vdz"`)
	does(t, 0, plan("/srv/headers/apart.header"), "own root file system")
	sh(t, `ln -s /etc/passwd /media/stick/apart.header`)
	does(t, 3, plan("/media/stick/apart.header"), "has a file apart.header already")
	sh(t, `rm /media/stick/apart.header; fallocate -l 80M /media/stick/filler`)
	does(t, 3, plan("/media/stick/apart.header"), "has not enough room")
	sh(t, `rm /media/stick/filler`)

	header := []string{"--header", "vda=/media/stick/apart.header"}
	does(t, 0, append([]string{"plan", "--vm", "apart", "--save", "/root/apart.yaml"}, header...), "16 MiB in /media/stick/apart.header, and nothing of it on the volume", "if it is lost, so are the data", "8.0 MiB")
	sh(t, `grep -q 'header: /media/stick/apart.header' /root/apart.yaml`)
	does(t, 0, run("apart", append(header, "--dry-run")...), "luksFormat", "--header=/media/stick/.vmmigrate-", "--header=/media/stick/apart.header")
	does(t, 4, run("apart", append(header, "--stop-after", "format")...))
	if on := sh(t, `stat -c '%a %u %s' /media/stick/apart.header; wipefs --noheadings /dev/vg0/apart-vda-luks; ls -A /media/stick | grep -c vmmigrate || true`); on != "600 0 16777216\n0" {
		t.Errorf("after the format: %s", on)
	}
	does(t, 0, append([]string{"resume", "apart"}, key...), "is now apart-luks")
	sh(t, `same /dev/mapper/cr_apart_vda apart; virsh -q dumpxml apart-luks | grep -q 'header="/media/stick/apart.header"'
test "$(lvs --noheadings --nosuffix --units b -o lv_size vg0/apart-vda-luks | tr -d ' ')" = $((8 << 20)); lvs --noheadings -o lv_tags vg0/apart-vda-luks | grep -q vmmigrate.luks=`)

	does(t, 0, []string{"lock", "apart-luks"})
	does(t, 0, []string{"status", "apart-luks"}, "locked", "its LUKS header is in /media/stick/apart.header")
	does(t, 0, []string{"header", "check", "apart-luks"}, "current")
	does(t, 0, append([]string{"key", "test", "apart-luks"}, key...))
	does(t, 0, []string{"header", "backup", "apart-luks", "--out", "/root/apart.backup"})
	sh(t, `printf second >/root/second; vmmigrate key add apart-luks --key-file /root/imap.key --new-key-file /root/second --pbkdf pbkdf2 --pbkdf-force-iterations 1000`)
	does(t, 0, []string{"unlock", "apart-luks", "--key-file", "/root/second"})
	sh(t, `same /dev/mapper/cr_apart_vda apart`)
	does(t, 0, []string{"trim", "check", "apart-luks"})
	does(t, 0, []string{"verify", "apart-luks"})
	does(t, 0, []string{"lock", "apart-luks"})

	does(t, 3, []string{"plan", "--vm", "apart", "--name", "x", "--target-device", "/dev/vg0/apart-vda-luks"}, "looks blank, and holds the disk vda of the VM")
	t.Run("the file is away, another's, and lost", headerLost)
	does(t, 0, []string{"rollback", "apart", "--yes"})
	if left := sh(t, `ls -A /media/stick | grep -v lost+found || true; lvs --noheadings -o lv_name vg0 | grep apart-vda || true; ls /dev/mapper | grep cr_apart || true`); left != "" {
		t.Errorf("left are %s", left)
	}
}

// headerLost leaves the clone unlocked.
func headerLost(t *testing.T) {
	unlock := append([]string{"unlock", "apart-luks"}, key...)
	sh(t, `umount /media/stick`)
	does(t, 3, unlock, "it belongs in the file /media/stick/apart.header", "mount it", "vmmigrate header restore apart-luks FILE")
	does(t, 0, []string{"status", "apart-luks"}, "it belongs in the file /media/stick/apart.header")
	sh(t, `mount /dev/vg0/stick /media/stick; mv /media/stick/apart.header /root/apart.moved
fallocate -l 16M /media/stick/apart.header; truncate -s 32M /root/foreign
cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /root/imap.key --header /media/stick/apart.header /root/foreign; sha256sum /media/stick/apart.header >/root/foreign.sum`)
	does(t, 3, unlock, "holds the LUKS header of another volume")
	does(t, 3, []string{"header", "restore", "apart-luks", "/root/apart.backup", "--yes"}, "holds the LUKS header of another volume")
	sh(t, `sha256sum -c --quiet /root/foreign.sum; rm /media/stick/apart.header; ln -s /root/apart.moved /media/stick/apart.header`)
	does(t, 0, unlock)
	sh(t, `same /dev/mapper/cr_apart_vda apart`)
	does(t, 0, []string{"lock", "apart-luks"})

	sh(t, `rm /media/stick/apart.header /root/apart.moved`)
	does(t, 5, []string{"header", "check", "apart-luks", "/root/apart.backup"}, "live header damaged")
	does(t, 0, []string{"header", "restore", "apart-luks", "/root/apart.backup", "--yes"})
	sh(t, `test "$(stat -c '%a %u' /media/stick/apart.header)" = "600 0"; cmp /media/stick/apart.header /root/apart.backup; lvrename -q vg0 apart-vda-luks mail`)
	does(t, 0, unlock, "called vg0/mail now")
	sh(t, `same /dev/mapper/cr_apart_vda apart; lvrename -q vg0 mail apart-vda-luks`)
}

func TestAHeaderApartGoesWithEveryKindOfTarget(t *testing.T) {
	sh(t, stick+`vm bare 8; vm infile2 8; lvcreate -qy -W y -L 8M -n bare2 vg0 /dev/ubda; lvcreate -qy -W y -L 12M -n loose vg0 /dev/ubda; mkdir -m 700 /media/stick/volumes
head -c 6M /dev/urandom >/srv/odd.img; vm odd 4; sed -i "s|<disk type='block'|<disk type='file'|; s|<source dev='/dev/vg0/odd'/>|<source file='/srv/odd.img'/>|" /run/odd.xml; virsh -q undefine odd; virsh -q define /run/odd.xml`)
	does(t, 3, []string{"plan", "--vm", "bare", "--target-device", "/dev/vg0/loose", "--header", "/media/stick/bare.header"}, "exactly as large as the disk")

	device := []string{"--target-device", "vda=/dev/vg0/bare2", "--confirm-device", "/dev/vg0/bare2", "--header", "vda=/media/stick/bare.header", "--luks-type", "luks1"}
	does(t, 0, run("bare", device...), "is now bare-luks")
	sh(t, `same /dev/mapper/cr_bare_vda bare; test -z "$(wipefs --noheadings /dev/vg0/bare2)"; cryptsetup luksDump /media/stick/bare.header | grep -q '^Version:.*1$'`)
	does(t, 0, []string{"lock", "bare-luks"})
	does(t, 0, append([]string{"unlock", "bare-luks"}, key...))
	sh(t, `same /dev/mapper/cr_bare_vda bare`)
	does(t, 0, []string{"rollback", "bare", "--yes"}, "ciphertext without a header")
	sh(t, `test -b /dev/vg0/bare2; ! test -e /media/stick/bare.header`)

	file := []string{"--target-dir", "/media/stick/volumes", "--header", "/media/stick/infile2.header"}
	does(t, 0, run("infile2", file...), "is now infile2-luks")
	sh(t, `same /dev/mapper/cr_infile2_vda infile2; test "$(stat -c %s /media/stick/volumes/infile2-vda-luks.img)" = $((8 << 20))`)
	does(t, 0, []string{"lock", "infile2-luks"})
	does(t, 0, append([]string{"unlock", "infile2-luks"}, key...))
	sh(t, `same /dev/mapper/cr_infile2_vda infile2`)
	does(t, 0, []string{"rollback", "infile2", "--yes"})

	does(t, 0, run("odd", "--header", "/media/stick/odd.header", "--vg", "vg0"), "is now odd-luks")
	does(t, 0, []string{"run", "--disk", "/srv/odd.img", "--format", "raw", "--name", "fresh", "--vg", "vg0", "--header", "/media/stick/fresh.header", "--key-file", "/root/imap.key", "--encrypt-again", "--dry-run"}, "luksFormat", "/media/stick/fresh.header")
	sh(t, `test "$(blockdev --getsize64 /dev/mapper/cr_odd_vda)" = $((6 << 20)); cmp /dev/mapper/cr_odd_vda /srv/odd.img`)
	does(t, 0, []string{"rollback", "odd", "--yes"})
	if left := strings.Fields(sh(t, `ls -A /media/stick /media/stick/volumes | grep -v -e lost+found -e : || true`)); strings.Join(left, " ") != "volumes" {
		t.Errorf("left are %s", left)
	}
}

func TestAMoveWithItsHeaderApartOutlivesAKill(t *testing.T) {
	sh(t, stick+`vm killed 8
vmmigrate run --vm killed --yes --key-file /root/imap.key --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --header /media/stick/killed.header --max-rate 1M >/root/killed.log 2>&1 & pid=$!
for i in $(seq 300); do test -b /dev/mapper/cr_killed_vda && break; sleep 0.1; done; sleep 1; kill -9 $pid; wait $pid || test $? = 137`)
	does(t, 0, []string{"jobs"}, "killed")
	sh(t, `umount /media/stick`)
	does(t, 4, append([]string{"resume", "killed"}, key...), "may not be mounted")
	sh(t, `mount /dev/vg0/stick /media/stick`)
	does(t, 0, append([]string{"resume", "killed"}, key...), "is now killed-luks")
	sh(t, `same /dev/mapper/cr_killed_vda killed; umount /media/stick`)
	does(t, 4, []string{"rollback", "killed", "--yes"}, "may not be mounted; mount it, or leave that file where it is with rollback --force")
	sh(t, `mount /dev/vg0/stick /media/stick; lvs vg0/killed-vda-luks >/dev/null`)
	does(t, 0, []string{"rollback", "killed", "--yes"})
	sh(t, `! lvs vg0/killed-vda-luks 2>/dev/null; ! ls -A /media/stick | grep -e killed -e vmmigrate`)
}

func TestAHeaderApartOutlivesACutoverAndTheOriginal(t *testing.T) {
	sh(t, stick+`vm last 8`)
	does(t, 0, run("last", "--header", "/media/stick/last.header", "--close"), "is now last-luks")
	original := sh(t, `sha256sum </dev/vg0/last`)
	does(t, 0, append([]string{"start", "last-luks"}, key...), "last-luks: started")
	does(t, 0, []string{"stop", "last-luks", "--force", "--timeout", "0s"}, "vda: locked")
	does(t, 0, []string{"cutover", "last-luks"}, "the clone is called last now")
	sh(t, `virsh -q dumpxml last | grep -q 'header="/media/stick/last.header"'`)
	does(t, 0, append([]string{"unlock", "last"}, key...))
	if payload := sh(t, `sha256sum </dev/mapper/cr_last_vda`); payload != original {
		t.Errorf("the original has %s and the clone %s", original, payload)
	}
	retire := append([]string{"retire", "last", "--method", "zero", "--confirm", "last"}, key...)
	sh(t, `mv /media/stick/last.header /root/last.header`)
	does(t, 3, retire, "/media/stick/last.header")
	sh(t, `mv /root/last.header /media/stick/last.header`)
	does(t, 0, retire)
	does(t, 0, []string{"lock", "last"})
	does(t, 0, append([]string{"unlock", "last"}, key...))
	if payload := sh(t, `sha256sum </dev/mapper/cr_last_vda`); payload != original {
		t.Errorf("the original had %s and the clone has %s", original, payload)
	}
	does(t, 0, []string{"status", "last"}, "last, retired", "its LUKS header is in /media/stick/last.header")
	does(t, 0, []string{"lock", "last"})
	sh(t, `virsh -q undefine last; lvremove -qy vg0/last-vda-luks; rm /media/stick/last.header`)
}
