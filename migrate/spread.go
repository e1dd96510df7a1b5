package migrate

import (
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/lvm"
)

// spread finds the group for a disk among several: of those that it fits into,
// the one with the most room, after all that this command has given away. One
// that can't be used is refused, not passed over: it was named.
func (d *Decider) spread(plan *Plan, disk *DiskPlan, groups []string) *lvm.VG {
	var roomiest, best *lvm.VG
	var takes int64
	for _, name := range groups {
		vg := d.Facts.vg(name)
		if vg == nil {
			plan.block(VGMissing, disk.Target, d.knownVGs(), "there is no volume group %q", name)
			return nil
		}
		if vg.Unfit() != "" {
			return vg // fit says why not
		}
		if roomiest == nil || d.room(vg) > d.room(roomiest) {
			roomiest = vg
		}
		sizing, err := d.size(plan, disk, vg, nil)
		if err == nil && sizing.Extents <= vg.FreeExtents-d.Taken[vg.Name] && (best == nil || d.room(vg) > d.room(best)) {
			best = vg
		}
		if vg == roomiest {
			takes = sizing.Extents * vg.ExtentSize
		}
	}
	if best == nil {
		plan.block(VGFull, disk.Target, "grow one with vgextend, or name more with --vg", "none of the volume groups %s has room for %s: it takes %s, and the most is %s in %s%s",
			strings.Join(groups, ", "), disk.Target, humanize.IBytes(uint64(takes)), humanize.IBytes(uint64(d.room(roomiest))), roomiest.Name, d.claimed(roomiest.Name))
	}
	return best
}

// room is how many bytes a group has left.
func (d *Decider) room(vg *lvm.VG) int64 {
	return max(0, vg.FreeExtents-d.Taken[vg.Name]) * vg.ExtentSize
}

// warnMixed tells of a group whose disks have sectors of several sizes. lvm2
// neither makes nor grows one unless it is told to (lvm.conf(5),
// devices/allow_mixed_block_sizes), but makes volumes in one that is there.
func (d *Decider) warnMixed(plan *Plan, vg *lvm.VG) {
	sizes := vg.Sectors()
	if len(sizes) < 2 {
		return
	}
	words := make([]string, len(sizes))
	for i, size := range sizes {
		words[i] = humanize.Comma(size)
	}
	for _, warning := range plan.Warnings {
		if warning.Code == WarnMixed && strings.Contains(warning.Message, " "+vg.Name+" ") {
			return
		}
	}
	plan.warn(WarnMixed, "", "", "the volume group %s has disks with sectors of %s bytes: where a volume lies decides what sectors it has, and lvm2 does not grow such a group without devices/allow_mixed_block_sizes",
		vg.Name, strings.Join(words, " and "))
}
