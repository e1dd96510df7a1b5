//go:build e2e

package targets

import (
	"strings"
	"testing"
)

func TestAHostWithoutAGroupKeepsItsDisksInFiles(t *testing.T) {
	sh(t, `lvcreate -qy -W y -L 64M -n host vg0 /dev/ubda; mkfs.ext4 -q /dev/vg0/host; mkdir -m 700 /srv/luks /srv/loose; mount /dev/vg0/host /srv/luks
chmod 777 /srv/loose; vm infile 8; mkdir -m 700 /dev/shm/luks`)
	dir := []string{"--target-dir", "/srv/luks"}
	does(t, 3, []string{"plan", "--vm", "infile", "--target-dir", "/srv/none"}, "does not exist", "mkdir -m 0700 /srv/none")
	does(t, 3, []string{"plan", "--vm", "infile", "--target-dir", "/etc/passwd"}, "it is no folder")
	does(t, 3, []string{"plan", "--vm", "infile", "--target-dir", "/srv/loose"}, "can be written by others than root")
	does(t, 3, []string{"plan", "--vm", "infile", "--target-dir", "/dev/shm/luks"}, "is in memory (tmpfs)")
	does(t, 2, []string{"plan", "--vm", "infile", "--target-dir", "/srv/luks", "--vg", "vg0"}, "--target-dir")
	sh(t, `fallocate -l 40M /srv/luks/filler`)
	does(t, 3, append([]string{"plan", "--vm", "infile"}, dir...), "has not enough room")
	sh(t, `rm /srv/luks/filler; touch /srv/luks/infile-vda-luks.img`)
	does(t, 3, append([]string{"plan", "--vm", "infile"}, dir...), "has a file infile-vda-luks.img already")
	sh(t, `rm /srv/luks/infile-vda-luks.img`)

	does(t, 4, run("infile", append(dir, "--stop-after", "format")...))
	does(t, 0, []string{"resume", "infile", "--key-file", "/root/imap.key"}, "is now infile-luks")
	sh(t, `same /dev/mapper/cr_infile_vda infile
test "$(stat -c '%a %u %s' /srv/luks/infile-vda-luks.img)" = "600 0 $((24 << 20))"; test "$(stat -c %b /srv/luks/infile-vda-luks.img)" -ge $((24 << 11))
loop=$(losetup -nO NAME -j /srv/luks/infile-vda-luks.img); test -n "$loop"; test "$(losetup -nO AUTOCLEAR "$loop" | tr -d ' ')" = 1`)

	does(t, 0, []string{"lock", "infile-luks"})
	if left := sh(t, `losetup -nO NAME -j /srv/luks/infile-vda-luks.img`); left != "" {
		t.Errorf("locked, it is still open through %s", left)
	}
	does(t, 0, []string{"status", "infile-luks"}, "/srv/luks/infile-vda-luks.img", "locked")
	does(t, 0, []string{"header", "check", "infile-luks"})
	does(t, 0, []string{"key", "test", "infile-luks", "--key-file", "/root/imap.key"})
	does(t, 0, []string{"unlock", "infile-luks", "--key-file", "/root/imap.key"})
	sh(t, `same /dev/mapper/cr_infile_vda infile`)
	does(t, 0, []string{"trim", "check", "infile-luks"})

	does(t, 0, []string{"rollback", "infile", "--yes"})
	if left := strings.TrimSpace(sh(t, `ls -A /srv/luks | grep -v lost+found || true`)); left != "" {
		t.Errorf("left are %s", left)
	}
}
