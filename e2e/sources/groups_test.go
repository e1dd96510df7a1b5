//go:build e2e

package sources

import (
	"encoding/json"
	"testing"

	"github.com/vmmigrate/vmmigrate/e2e/scenario"
	"github.com/vmmigrate/vmmigrate/e2e/testhost"
)

// extents makes volume groups of the least and of huge extents, on disks that
// take no room before they are written, and one whose disks have sectors of two
// sizes.
const extents = `
loop() { truncate -s "$2" "/var/tmp/$1"; losetup --find --show ${3:+--sector-size "$3"} "/var/tmp/$1"; }
vgcreate -qy -s 1k vgk "$(loop k 1536M)"
# cryptsetup writes zeros up to where the payload begins, which is nearly 1 GiB.
vgcreate -qy -s 1g vgg /dev/ubdb
a=$(loop a 200M 512); b=$(loop b 200M 4096)
if vgcreate -qy vgm "$a" "$b" 2>/run/said; then echo "lvm2 mixes sectors" >&2; exit 1; fi
grep -q 'logical_block_size\|block size' /run/said || { cat /run/said >&2; exit 1; }
vgcreate -qy --config devices/allow_mixed_block_sizes=1 vgm "$a" "$b"
vgcreate -qy vgx "$(loop x 200M)"; vgexport -q vgx
`

func TestVolumesAreSpreadOverGroupsOfTheSmallestAndOfHugeExtents(t *testing.T) {
	h := set(t, scenario.Options{More: []testhost.Disk{{Size: 3000 << 20}}})
	h.sh(t, domains+extents+`
		cd /srv; for size in 3000700 4194304 1048577; do noise $size >disk$size; kind odd batch file raw "file='/srv/disk$size'" disk$size; done; vm batch
		noise 5000192 >small; kind odd one file raw "file='/srv/small'" small; vm one`)
	both := []string{"--vg", "vgk", "--vg", "vgg"}
	t.Log(h.does(t, 0, append([]string{"plan", "--vm", "batch", "--vm", "one"}, both...), "Room in vgk", "Room in vgg").Stdout)
	var document struct {
		Plans []struct {
			Disks []struct {
				Payload, Offset int64
				Volume          struct {
					VG   string
					Size int64
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(h.does(t, 0, append([]string{"plan", "--vm", "batch", "--output", "json"}, both...)).Stdout), &document); err != nil {
		t.Fatal(err)
	}
	// 2 GiB of vgg are the most; then the 1.5 GiB of vgk are.
	for i, want := range []string{"vgg", "vgk", "vgk"} {
		if disk := document.Plans[0].Disks[i]; disk.Volume.VG != want || disk.Payload+disk.Offset != disk.Volume.Size || disk.Offset%4096 != 0 {
			t.Errorf("disk %d: %+v", i, disk)
		}
	}
	h.does(t, 0, migrate([]string{"batch"}, both...))
	h.sh(t, `for disk in vda:3000700 vdb:4194304 vdc:1048577; do size=${disk#*:}
		[ "$(blockdev --getsize64 "/dev/mapper/cr_batch_${disk%:*}")" = "$(((size + 4095) / 4096 * 4096))" ]
		cmp -n "$size" "/srv/disk$size" "/dev/mapper/cr_batch_${disk%:*}"; done
		[ "$(lvs --noheadings --units b -o lv_size vgg/batch-vda-luks | tr -d ' ')" = 1073741824B ]
		lvs vgk/batch-vdb-luks vgk/batch-vdc-luks`)
	h.does(t, 0, []string{"verify", "batch"}, "equal")

	t.Run("sectors of two sizes in a group are warned about, and the bytes are whole", func(t *testing.T) {
		t.Log(h.does(t, 0, []string{"plan", "--vm", "one", "--vg", "vgm"}, "vgm has disks with sectors of 512 and 4,096 bytes").Stdout)
		h.does(t, 0, migrate([]string{"one"}, "--vg", "vgm"))
		h.sh(t, `cmp -n 5000192 /srv/small /dev/mapper/cr_one_vda`)
		h.does(t, 0, []string{"rollback", "one", "--yes"})
	})
	t.Run("a group that was named and can't be used is refused", func(t *testing.T) {
		h.does(t, 3, migrate([]string{"one"}, "--vg", "vgk", "--vg", "vgx"), "vgx can't be used: it is exported", "vgimport vgx", "nothing has been changed")
		h.does(t, 3, migrate([]string{"one"}, "--vg", "vgk,vg9"), `there is no volume group "vg9"`)
		h.does(t, 2, migrate([]string{"one"}, "--vg", "vgk", "--vg", "vgk"), "vgk is named twice")
	})
}
