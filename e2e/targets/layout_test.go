//go:build e2e

package targets

import (
	"strconv"
	"strings"
	"testing"
)

// images defines a VM kept, with a qcow2 disk of 24 MiB, once. there compares its
// image with that on the clone's file system. left tells what is left behind.
const images = `if ! test -e /srv/kept.qcow2; then truncate -s 24M /srv/kept.raw; head -c 3M /dev/urandom | dd of=/srv/kept.raw bs=1M conv=notrunc status=none
qemu-img convert -f raw -O qcow2 /srv/kept.raw /srv/kept.qcow2; rm /srv/kept.raw
echo "<domain type='qemu'><name>kept</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/kept.qcow2'/><target dev='vda' bus='virtio'/></disk></devices></domain>" > /run/kept.xml; virsh -q define /run/kept.xml; fi
there() { qemu-img compare -q -f qcow2 -F qcow2 /srv/kept.qcow2 /var/lib/libvirt/images/kept-vda-luks/vda.qcow2; }
left() { { find /var/lib/libvirt/images /media/stick /srv/fs; lvs --noheadings -o lv_name vg0; ls /dev/mapper; findmnt -rno TARGET; losetup -nO BACK-FILE; pgrep -a qemu-nbd; } | grep -e kept- -e cr_kept -e kept.header -e qemu-nbd || true; }
`

// What a file system lies on is as without one: each kind of target, with its
// header apart, and with discards.
func TestAFileSystemLiesOnEveryKindOfTarget(t *testing.T) {
	sh(t, `modprobe dm-thin-pool; `+stick+images+`lvcreate -qy -L 112M -T vg0/small /dev/ubda; mkdir -m 700 /srv/fs; lvcreate -qy -W y -L 120M -n fs vg0 /dev/ubda; mkfs.ext4 -q /dev/vg0/fs; mount /dev/vg0/fs /srv/fs; chmod 700 /srv/fs
lvcreate -qy -W y -L 96M -n dev vg0 /dev/ubda; lvcreate -qy -W y -L 32M -n tight vg0 /dev/ubda`)
	layout := func(more ...string) []string { return append([]string{"--layout", "filesystem"}, more...) }
	does(t, 3, append([]string{"plan", "--vm", "kept", "--target-device", "/dev/vg0/tight"}, layout()...), "for the disk and 16,777,216 for the LUKS header")
	sh(t, `lvremove -qy vg0/tight`)
	for _, target := range []struct {
		kind  string
		args  []string
		plan  string
		trims []string
		then  func(*testing.T)
	}{
		{
			"a thin volume, with discards",
			[]string{"--vg", "vg0", "--thin-pool", "small", "--allow-discards"},
			"discards pass through",
			[]string{"it is mounted with discard", "its thin pool vg0/small gets the space back"},
			freesItsPool,
		},
		{
			"a file, with discards",
			[]string{"--target-dir", "/srv/fs", "--allow-discards"},
			"/srv/fs/kept-vda-luks.img",
			[]string{"punches holes into it", "the file system that the volume's file is on"},
			freesItsFile,
		},
		{
			"a volume with its header apart",
			[]string{"--vg", "vg0", "--header", "vda=/media/stick/kept.header"},
			"16 MiB in /media/stick/kept.header",
			[]string{"it is mounted without discard"},
			func(t *testing.T) {
				sh(t, `test -z "$(wipefs --noheadings /dev/vg0/kept-vda-luks)"; test -s /media/stick/kept.header`)
			},
		},
		{"a device", []string{"--target-device", "/dev/vg0/dev"}, "vg0/dev", []string{"vg0/dev"}, nil},
	} {
		t.Run(target.kind, func(t *testing.T) {
			args := layout(target.args...)
			does(t, 0, append([]string{"plan", "--vm", "kept"}, args...), "ext4, 65 MiB, mounted on /var/lib/libvirt/images/kept-vda-luks", target.plan)
			if target.kind == "a device" {
				args = append(args, "--confirm-device", "/dev/vg0/dev")
			}
			does(t, 0, run("kept", args...), "is now kept-luks")
			sh(t, images+`there`)
			does(t, 0, []string{"trim", "check", "kept-luks"}, target.trims...)
			does(t, 0, []string{"lock", "kept-luks"}, "unmounted", "locked")
			does(t, 0, []string{"status", "kept-luks"}, "locked")
			does(t, 0, append([]string{"unlock", "kept-luks"}, key...), "mounted")
			does(t, 0, []string{"header", "check", "kept-luks"}, "current")
			if target.then != nil {
				target.then(t)
			}
			does(t, 0, []string{"verify", "kept"}, "equal")
			if strings.HasPrefix(target.kind, "a file") {
				does(t, 0, append([]string{"start", "kept-luks"}, key...), "started")
				does(t, 0, []string{"stop", "kept-luks", "--timeout", "0s", "--force"}, "unmounted")
				does(t, 0, append([]string{"unlock", "kept-luks"}, key...), "mounted")
			}
			sh(t, images+`there`)
			does(t, 0, []string{"rollback", "kept", "--yes"})
			if left := strings.TrimSpace(sh(t, images+`left`)); left != "" {
				t.Errorf("left are %s", left)
			}
		})
	}
	sh(t, `test -z "$(wipefs --noheadings /dev/vg0/dev)"; umount /srv/fs; lvremove -qy vg0/fs vg0/dev vg0/small`)
}

// freesItsPool has what is removed on the clone's file system come back to the
// thin pool, with the mount's discard or, at the latest, fstrim.
func freesItsPool(t *testing.T) {
	t.Helper()
	numbers := strings.Fields(sh(t, `used() { lvs --noheadings -o data_percent vg0/small | cut -d. -f1; }; cd /var/lib/libvirt/images/kept-vda-luks
used; dd if=/dev/urandom of=junk bs=1M count=20 conv=fsync status=none; used; rm junk; sync; fstrim .; used`))
	var used [3]int
	for i := range used {
		used[i], _ = strconv.Atoi(numbers[i])
	}
	if used[1] < used[0]+10 || used[2] > used[0]+2 {
		t.Errorf("the pool was used to %v of 100: before, with 20 MiB more, and with those removed", used)
	}
}

// freesItsFile has fstrim punch holes into the volume's file, which was made whole.
func freesItsFile(t *testing.T) {
	t.Helper()
	sh(t, `file=/srv/fs/kept-vda-luks.img; test "$(stat -c %s $file)" = $((81 << 20)); fstrim /var/lib/libvirt/images/kept-vda-luks; test "$(stat -c %b $file)" -lt $((60 << 11))`)
}
