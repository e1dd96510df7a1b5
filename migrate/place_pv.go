package migrate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// pv finds the disk of a group that a path given with --pv leads to, under
// whatever name; nil if it is none of its.
func (f *Facts) pv(vg *lvm.VG, path string) *lvm.PV {
	named, known := f.Named[path]
	for i := range vg.PVs {
		pv := &vg.PVs[i]
		if pv.Name == path || pv.Major > 0 && known && named.ID == blockID(uint32(pv.Major), uint32(pv.Minor)) {
			return pv
		}
	}
	return nil
}

// groupOfPVs is the group that has the first of the disks given with --pv.
func (d *Decider) groupOfPVs(plan *Plan, disk *DiskPlan) *lvm.VG {
	first := plan.Options.PVs[0]
	for i := range d.Facts.VGs {
		if vg := &d.Facts.VGs[i]; d.Facts.pv(vg, first) != nil {
			return vg
		}
	}
	d.noPV(plan, disk, first, "no volume group has the disk %s", first)
	return nil
}

// noPV blocks a path given with --pv that is no disk of a group, and says so
// where it does not even exist.
func (d *Decider) noPV(plan *Plan, disk *DiskPlan, path, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if named := d.Facts.Named[path]; named.Err != nil {
		message += fmt.Sprintf(" (%v)", named.Err)
	}
	plan.block(PVMissing, disk.Target, "see which there are: pvs", "%s", message)
}

// allowedPVs are the disks of a group that the volume may lie on, as lvm2
// calls them; nil is all of them. ok is false if one of them can't be used,
// which blocks the plan.
func (d *Decider) allowedPVs(plan *Plan, disk *DiskPlan, vg *lvm.VG) (allowed []string, ok bool) {
	before := len(plan.Blockers)
	for _, path := range plan.Options.PVs {
		pv := d.Facts.pv(vg, path)
		switch {
		case pv == nil:
			d.noPV(plan, disk, path, "the volume group %s has no disk %s; its disks are %s", vg.Name, path, pvNames(vg))
		case pv.Missing:
			plan.block(PVUnusable, disk.Target, "bring it back, or choose another with --pv", "the disk %s of the volume group %s is missing", path, vg.Name)
		case !pv.Allocatable:
			plan.block(PVUnusable, disk.Target, command.Quote([]string{"pvchange", "-x", "y", pv.Name})+", or choose another with --pv",
				"nothing may be allocated on the disk %s of the volume group %s", path, vg.Name)
		case !slices.Contains(allowed, pv.Name):
			allowed = append(allowed, pv.Name)
		}
	}
	return allowed, len(plan.Blockers) == before
}

func pvNames(vg *lvm.VG) string {
	all := make([]string, len(vg.PVs))
	for i, pv := range vg.PVs {
		all[i] = pv.Name
	}
	return strings.Join(all, ", ")
}

// share is the name under which Taken counts the volumes that may lie on these
// disks of a group alone. No group's name has a space.
func share(vg string, pvs []string) string {
	return vg + " " + strings.Join(slices.Sorted(slices.Values(pvs)), "\x00")
}

// fitPVs takes a volume's room from the disks that it may lie on. Volumes before
// it may be allowed on the same disks and no others, or on some more: the room
// of every such choice of disks has to hold all volumes that must lie there.
func (d *Decider) fitPVs(vg *lvm.VG, pvs []string, extents int64) *lvm.NoSpaceError {
	key := share(vg.Name, pvs)
	choices := map[string]int64{key: d.Taken[key]}
	for name, taken := range d.Taken {
		if strings.HasPrefix(name, vg.Name+" ") {
			choices[name] = taken
		}
	}
	var full *lvm.NoSpaceError
	for choice := range choices {
		on := disksOf(vg.Name, choice)
		if !among(on, pvs) {
			continue
		}
		var free, taken int64
		for _, pv := range vg.PVs {
			if slices.Contains(on, pv.Name) {
				free += pv.FreeExtents
			}
		}
		for other, n := range choices {
			if among(on, disksOf(vg.Name, other)) {
				taken += n
			}
		}
		if left := max(0, free-taken); extents > left && (full == nil || left*vg.ExtentSize < full.Free) {
			full = &lvm.NoSpaceError{VG: vg.Name, Need: extents * vg.ExtentSize, Free: left * vg.ExtentSize}
		}
	}
	d.Taken[key] += extents
	return full
}

func disksOf(vg, share string) []string {
	return strings.Split(strings.TrimPrefix(share, vg+" "), "\x00")
}

// among says whether all of some disks are among others.
func among(others, some []string) bool {
	return !slices.ContainsFunc(some, func(disk string) bool { return !slices.Contains(others, disk) })
}

// onDisks says on which disks a group has too little room.
func onDisks(pvs []string) string {
	if len(pvs) == 0 {
		return ""
	}
	return " on " + strings.Join(pvs, ", ")
}
