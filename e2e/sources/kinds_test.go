//go:build e2e

package sources

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// furnish makes domains with a disk for each kind of source: volumes, devices,
// files and pools. /dev/ubdb is cut into a partition and two physical volumes,
// /dev/ubdc is a disk as a whole, /dev/ubdd that of a storage pool.
const furnish = domains + `
modprobe -a raid1 md-mod dm-multipath dm-round-robin dm-cache dm-cache-smq dm-raid 2>/dev/null || true
mkdir -p /srv/images /srv/pool; cd /srv/images
printf 'label: gpt\nsize=5MiB\nsize=120MiB\nsize=120MiB\n' | sfdisk -q --wipe always /dev/ubdb
printf 'label: gpt\nsize=5MiB\n' | sfdisk -q --wipe always /dev/ubdd
udevadm settle
vgcreate -qy vg1 /dev/ubdb2 /dev/ubdb3
fill() { noise "$(blockdev --getsize64 "$1")" | dd of="$1" bs=1M iflag=fullblock status=none; }
device() { fill "$3"; kind "$1" "$2" block raw "dev='$3'" "$3"; }
loop() { truncate -s "$2" "/var/tmp/$1"; losetup --find --show ${3:+--sector-size "$3"} "/var/tmp/$1"; }

lvcreate -qy -n linear -L 4M vg1; device linear volumes /dev/vg1/linear
lvcreate -qy -n striped -L 8M -i 2 vg1; device striped volumes /dev/vg1/striped
lvcreate -qy -n mirrored --type raid1 -m 1 -L 4M vg1; device raid1 volumes /dev/vg1/mirrored
lvcreate -qy -n thin -V 4M --type thin -L 16M --thinpool pool vg1; device thin volumes /dev/vg1/thin
lvcreate -qy -n cached -L 8M vg1 /dev/ubdb2; lvcreate -qy -n fast -L 8M vg1 /dev/ubdb3
lvconvert -qy --type cache --cachevol fast --cachesettings migration_threshold=16384 vg1/cached; device cached volumes /dev/vg1/cached
vm volumes

device partition devices /dev/ubdb1
device whole-disk devices /dev/ubdc
device loop devices "$(loop loop 4M)"
device loop-4096 devices "$(loop loop4k 4M 4096)"
mdadm --create /dev/md7 --run --metadata=1.2 --level=1 --raid-devices=2 "$(loop md1 5M)" "$(loop md2 5M)" >/dev/null 2>&1
device md devices /dev/md7
path=$(loop path 4M); dmsetup create paths --table "0 $(blockdev --getsz "$path") multipath 0 0 1 1 round-robin 0 1 1 $path 100"; udevadm settle
device multipath devices /dev/mapper/paths
vm devices

truncate -s 8M sparse.img; noise 100000 | dd of=sparse.img bs=64k seek=40 conv=notrunc status=none; kind sparse-file files file raw "file='/srv/images/sparse.img'" sparse.img
noise 3000700 > odd.img; kind odd-file files file raw "file='/srv/images/odd.img'" odd.img
noise 4194304 > unnamed.img; kind no-format files file - "file='/srv/images/unnamed.img'" unnamed.img
# A guest's raw disks with headers inside that name a file of the host's.
for f in raw -; do qemu-img create -q -u -f qcow2 -b /etc/shadow -F raw "evil$f.img" 64M; truncate -s 1M "evil$f.img"; kind "qcow2-in-raw$f" files file $f "file='/srv/images/evil$f.img'" "evil$f.img"; done
noise 4194816 > guest
for f in qcow2 vmdk vdi; do qemu-img convert -f raw -O $f guest disk.$f; kind $f files file $f "file='/srv/images/disk.$f'" disk.$f; done
vm files

qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd guest base.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 middle.qcow2; qemu-io -f qcow2 -c 'write -P 3 1M 200k' middle.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 -o extended_l2=on,cluster_size=128k top.qcow2; qemu-io -f qcow2 -c 'write -P 4 64k 4k' top.qcow2 >/dev/null
kind chain chain file qcow2 "file='/srv/images/top.qcow2'" top.qcow2
vm chain
kind chain-in-xml images file qcow2 "file='/srv/images/top.qcow2'" top.qcow2 "<backingStore type='file'><format type='qcow2'/><source file='/srv/images/middle.qcow2'/><backingStore type='file'><format type='qcow2'/><source file='/srv/images/base.qcow2'/><backingStore/></backingStore></backingStore>"
lvcreate -qy -n image -L 12M vg1; qemu-img create -q -f qcow2 /dev/vg1/image 4194816; qemu-img convert -n -f raw -O qcow2 guest /dev/vg1/image
kind qcow2-on-lv images block qcow2 "dev='/dev/vg1/image'" /dev/vg1/image
qemu-img convert -f raw -O qcow2 -o "data_file=/srv/images/data,data_file_raw=on" guest with-data.qcow2; kind data-file images file qcow2 "file='/srv/images/with-data.qcow2'" with-data.qcow2
vm images

qemu-img convert -f raw -O qcow2 guest /srv/pool/vol.qcow2
virsh -q pool-define-as files dir --target /srv/pool; virsh -q pool-start files
virsh -q pool-define-as volumes logical --source-name vg1 --target /dev/vg1; virsh -q pool-start volumes
virsh -q pool-define-as disks disk --source-dev /dev/ubdd --source-format gpt --target /dev; virsh -q pool-start disks
lvcreate -qy -n pooled -L 4M vg1; virsh -q pool-refresh volumes; fill /dev/vg1/pooled; fill /dev/ubdd1
kind dir-pool pools volume qcow2 "pool='files' volume='vol.qcow2'" /srv/pool/vol.qcow2
kind logical-pool pools volume raw "pool='volumes' volume='pooled'" /dev/vg1/pooled
kind disk-pool pools volume raw "pool='disks' volume='ubdd1'" /dev/ubdd1
vm pools
`

// digests are the sums of all that the sources are made of.
const digests = `cd /srv; find images pool -type f -exec sha256sum {} + | sort
for d in vg1/linear vg1/striped vg1/mirrored vg1/thin vg1/cached vg1/image vg1/pooled ubdb1 ubdc ubdd1 md7 mapper/paths; do sha256sum "/dev/$d"; done`

func TestEveryKindOfSourceMovesAsItsGuestSeesIt(t *testing.T) {
	h := set(t, scenario.Options{DiskSize: 2 << 30, More: []testhost.Disk{{Size: 260 << 20}, {Size: 8 << 20}, {Size: 16 << 20}}})
	h.sh(t, furnish)
	wanted := strings.TrimSpace(h.sh(t, `cat /root/want`))
	names := []string{"volumes", "devices", "files", "chain", "images", "pools"}
	before := h.sh(t, digests)

	plan := []string{"plan", "--vg", "vg0"}
	for _, name := range names {
		plan = append(plan, "--vm", name)
	}
	t.Log(h.does(t, 0, plan).Stdout)
	t.Log(h.does(t, 0, []string{"plan", "--vg", "vg0", "--vm", "chain", "--xml"},
		"/srv/images/top.qcow2 (qcow2, version 3, extended L2, 128 KiB clusters)", "behind it /srv/images/middle.qcow2", "behind it /srv/images/base.qcow2 (qcow2, version 3, zstd").Stdout)
	h.does(t, 0, migrate(names, "--vg", "vg0", "--parallel", "1"))

	matrix := ""
	for line := range strings.Lines(wanted) {
		var kind, name, target, sum string
		var size int64
		if _, err := fmt.Sscan(line, &kind, &name, &target, &size, &sum); err != nil {
			t.Fatal(err)
		}
		guest := (size + 511) / 512 * 512
		mapper := "/dev/mapper/cr_" + name + "_" + target
		got := strings.Fields(h.sh(t, `head -c "$2" "$1" | sha256sum; blockdev --getsize64 "$1"; tail -c +"$(($2 + 1))" "$1" | tr -d '\0' | wc -c`, mapper, fmt.Sprint(guest)))
		definition := h.sh(t, `virsh dumpxml --inactive "$1-luks" | sed -n "/<disk/,/<.disk>/p" | tr -d '\n' | sed 's/<.disk>/&\n/g' | grep "dev='$2'"`, name, target)
		slice := fmt.Sprintf("<slice type='storage' offset='0' size='%d'/>", guest)
		verdict := "moved"
		switch {
		case got[0] != sum:
			verdict = "THE BYTES DIFFER"
		case got[2] != fmt.Sprint((size+4095)/4096*4096):
			verdict = "A PAYLOAD OF " + got[2]
		case got[3] != "0":
			verdict = "NO ZEROS BEHIND THE END"
		case strings.Contains(definition, slice) != (guest%4096 != 0):
			verdict = "THE GUEST IS NOT SHOWN ITS SIZE"
		case strings.Contains(definition, "<backingStore") || !strings.Contains(definition, "type='raw'"):
			verdict = "THE CLONE IS NO PLAIN RAW DISK"
		}
		matrix += fmt.Sprintf("\n%-16s %9d bytes  %s", kind, size, verdict)
		if verdict != "moved" {
			t.Errorf("%s: %s\n%v\n%s", kind, verdict, got, definition)
		}
	}
	t.Log("what was moved, and compared as the guest sees it:" + matrix)
	t.Run("verify reads sources of every kind again", func(t *testing.T) {
		for _, name := range []string{"chain", "files", "pools"} {
			h.does(t, 0, []string{"verify", name}, "equal")
		}
	})
	t.Run("the size that the guest is shown is the source's, to the byte", func(t *testing.T) {
		h.sh(t, `qemu-img compare -s -f qcow2 /srv/images/disk.qcow2 'json:{"driver":"raw","size":4194816,"file":{"driver":"host_device","filename":"/dev/mapper/cr_files_vdf"}}'`)
	})
	t.Run("a copy of an image is taken up again where it stopped", func(t *testing.T) {
		h.does(t, 0, []string{"rollback", "chain", "--yes"})
		h.does(t, 4, migrate([]string{"chain"}, "--vg", "vg0", "--stop-after", "copy"))
		h.does(t, 0, []string{"resume", "chain", "--key-file", scenario.KeyFile})
		h.does(t, 0, []string{"verify", "chain"}, "equal")
	})
	t.Run("an image behind another that was written meanwhile ends the job", func(t *testing.T) {
		h.does(t, 0, []string{"rollback", "chain", "--yes"})
		h.does(t, 4, migrate([]string{"chain"}, "--vg", "vg0", "--stop-after", "copy"))
		h.sh(t, `cp -a /srv/images/base.qcow2 /srv/base; touch -d '2001-01-01' /srv/images/base.qcow2`)
		h.does(t, 4, []string{"resume", "chain", "--key-file", scenario.KeyFile}, "/srv/images/base.qcow2", "has changed", "vmmigrate rollback")
		h.sh(t, `mv /srv/base /srv/images/base.qcow2`)
		h.does(t, 0, []string{"rollback", "chain", "--yes"})
	})
	t.Run("disks with sectors of 4096 bytes under the target, and LUKS1", func(t *testing.T) {
		h.sh(t, domains+`kind small small file qcow2 "file='/srv/images/disk.qcow2'" /srv/images/disk.qcow2; vm small; truncate -s 96M /var/tmp/vg4k; vgcreate -qy vg4k "$(losetup --find --show --sector-size 4096 /var/tmp/vg4k)"`)
		for i, args := range [][]string{{"--vg", "vg4k"}, {"--vg", "vg4k", "--luks-type", "luks1"}, {"--vg", "vg0", "--luks-type", "luks1"}} {
			h.does(t, 0, append(migrate([]string{"small"}), args...))
			h.sh(t, `head -c 4194816 /dev/mapper/cr_small_vda | cmp - /srv/images/guest; virsh dumpxml --inactive small-luks | grep -q "size='4194816'"`)
			if sector := h.sh(t, `blockdev --getss /dev/mapper/cr_small_vda`); sector != []string{"4096", "4096", "512"}[i] {
				t.Errorf("%v: the payload has sectors of %s bytes", args, sector)
			}
			h.does(t, 0, []string{"rollback", "small", "--yes"})
		}
	})
	t.Run("what must not be moved is refused before anything is made", h.refuses)
	if after := h.sh(t, digests); after != before {
		t.Errorf("the sources are not as they were:\n%s\n%s", before, after)
	}
	t.Run("a guest boots from the clone of its qcow2 chain", h.bootsFromAChain)
	if left := h.sh(t, `pgrep -a qemu-nbd || true; ls -d /tmp/vmmigrate-* 2>/dev/null || true`); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
