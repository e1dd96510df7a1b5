package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// place gives every disk that moves its volume: group, name and size.
func (d *Decider) place(plan *Plan, vm *DomainFacts) {
	own := "" // the group of the first source that has one
	for _, disk := range plan.Disks {
		if lv := vm.Disks[disk.Target].LV; lv != nil && own == "" {
			own = lv.VG
		}
	}
	for i := range plan.Disks {
		disk := &plan.Disks[i]
		d.placeHeader(plan, disk)
		if device := plan.Options.DeviceFor(disk.Target); device != "" {
			d.placeOnDevice(plan, disk, device)
			continue
		}
		if plan.Options.Dir != "" && plan.Options.Disks[disk.Target].VG == "" {
			d.placeInFile(plan, disk, plan.Options.Dir)
			continue
		}
		vg := d.chooseVG(plan, disk, vm.Disks[disk.Target], own)
		if vg == nil {
			continue
		}
		d.fit(plan, disk, vg)
	}
}

// chooseVG finds the group for a disk: the one asked for, or the roomiest of
// several, else the source's own, else that of the VM's other disks, else the
// only one with room.
func (d *Decider) chooseVG(plan *Plan, disk *DiskPlan, facts DiskFacts, own string) *lvm.VG {
	name := plan.Options.Disks[disk.Target].VG
	if groups := plan.Options.groups(); name == "" && len(groups) > 1 {
		return d.spread(plan, disk, groups)
	}
	name = cmp.Or(name, plan.Options.VG)
	if name == "" && len(plan.Options.PVs) > 0 {
		return d.groupOfPVs(plan, disk)
	}
	if name == "" && facts.LV != nil {
		name = facts.LV.VG
	}
	if name == "" {
		name = own
	}
	if name != "" {
		if vg := d.Facts.vg(name); vg != nil {
			return vg
		}
		plan.block(VGMissing, disk.Target, d.knownVGs(), "there is no volume group %q", name)
		return nil
	}

	var roomy []*lvm.VG
	for i := range d.Facts.VGs {
		vg := &d.Facts.VGs[i]
		sizing, err := d.size(plan, disk, vg, nil)
		if err == nil && vg.Unfit() == "" && sizing.Extents <= vg.FreeExtents-d.Taken[vg.Name] {
			roomy = append(roomy, vg)
		}
	}
	switch {
	case len(roomy) == 1:
		return roomy[0]
	case len(roomy) > 1:
		plan.block(VGAmbiguous, disk.Target, "choose one with --vg", "several volume groups have room for %s: %s", disk.Target, names(roomy))
	case len(d.Facts.VGs) == 0:
		plan.block(VGMissing, disk.Target, "make one with pvcreate and vgcreate", "this host has no volume group")
	default:
		plan.block(VGFull, disk.Target, "grow one with vgextend", "no volume group has room for %s, which takes %s and a LUKS header", disk.Target, humanize.IBytes(uint64(disk.Payload)))
	}
	return nil
}

// size is the volume's size on these disks of a group, or all. A
// *lvm.NoSpaceError comes with the size filled in.
func (d *Decider) size(plan *Plan, disk *DiskPlan, vg *lvm.VG, pvs []string) (lvm.Sizing, error) {
	request := lvm.SizeRequest{Payload: disk.Payload, Header: disk.Header, VG: *vg, Type: volumeType(plan.Options), PVs: pvs}
	if pool := d.pool(plan, vg); pool != nil {
		request.Pool = *pool
	}
	if disk.HeaderFile == "" {
		return lvm.Size(request)
	}
	// Beside a header in a file the payload begins at the first byte if whole
	// extents are what it needs, or else where it would behind a header.
	bare := request
	bare.Header = 0
	if sizing, err := lvm.Size(bare); sizing.Slack == 0 {
		return sizing, err
	}
	return lvm.Size(request)
}

// pool is the thin pool that was asked for, nil where there is none.
func (d *Decider) pool(plan *Plan, vg *lvm.VG) *lvm.LV {
	pool := d.Facts.lv(vg.Name, plan.Options.ThinPool)
	if plan.Options.ThinPool == "" || pool == nil || pool.Type != "thin-pool" {
		return nil
	}
	return pool
}

// fit sizes the volume, names it and takes its room from the group.
func (d *Decider) fit(plan *Plan, disk *DiskPlan, vg *lvm.VG) {
	if why := vg.Unfit(); why != "" {
		remedy := "choose another with --vg"
		switch {
		case vg.Exported:
			remedy = command.Quote([]string{"vgimport", vg.Name}) + ", or " + remedy
		case vg.Partial:
			remedy = "bring the disk back, or " + remedy
		}
		plan.block(VGUnusable, disk.Target, remedy, "the volume group %s can't be used: %s", vg.Name, why)
		return
	}
	pvs, ok := d.allowedPVs(plan, disk, vg)
	if !ok {
		return
	}
	sizing, err := d.size(plan, disk, vg, pvs)
	var full *lvm.NoSpaceError
	if err != nil && !errors.As(err, &full) {
		plan.block(VGUnusable, disk.Target, "", "no volume for %s can be made in %s: %v", disk.Target, vg.Name, err)
		return
	}
	d.warnMixed(plan, vg)
	name := lvName(plan, disk.Target)
	disk.Volume = VolumePlan{
		VG: vg.Name, Name: name, Type: string(volumeType(plan.Options)), Pool: plan.Options.ThinPool, PVs: pvs,
		Size: sizing.Size, Extents: sizing.Extents, Path: "/dev/" + vg.Name + "/" + name,
	}
	disk.Offset = sizing.Slack

	if plan.Options.ThinPool != "" {
		d.fitPool(plan, disk, vg)
		return
	}
	if free := vg.FreeExtents - d.Taken[vg.Name]; full == nil && sizing.Extents > free {
		full = &lvm.NoSpaceError{VG: vg.Name, Need: sizing.Extents * vg.ExtentSize, Free: max(0, free) * vg.ExtentSize}
	}
	remedy := "grow it with vgextend, or choose another with --vg"
	if len(pvs) > 0 {
		remedy = "allow more disks with --pv"
		if short := d.fitPVs(vg, pvs, sizing.Extents); full == nil {
			full = short
		}
	}
	if full != nil {
		plan.block(VGFull, disk.Target, remedy, "%v%s%s", full, onDisks(pvs), d.claimed(vg.Name))
	}
	d.Taken[vg.Name] += sizing.Extents
}

// fitPool takes the volume's room from its thin pool. What a pool has given
// away is counted in bytes, under the pool's own name.
func (d *Decider) fitPool(plan *Plan, disk *DiskPlan, vg *lvm.VG) {
	pool := d.pool(plan, vg)
	if pool == nil {
		plan.block(PoolMissing, disk.Target, "see which there are: "+command.Quote([]string{"lvs", "-S", "segtype=thin-pool", vg.Name}), "there is no thin pool %s/%s", vg.Name, plan.Options.ThinPool)
		return
	}
	name := vg.Name + "/" + pool.Name
	d.Taken[name] += disk.Volume.Size
	_, err := lvm.Size(lvm.SizeRequest{Payload: d.Taken[name], VG: *vg, Type: lvm.Thin, Pool: *pool})
	if err != nil {
		plan.block(VGFull, disk.Target, "grow the pool with lvextend, or choose another with --thin-pool", "%v", err)
	}
}

// claimed explains why a group has less room than vgs says.
func (d *Decider) claimed(vg string) string {
	if d.Taken[vg] == 0 {
		return ""
	}
	return fmt.Sprintf(", after %s for the disks before it", humanize.IBytes(uint64(d.Taken[vg]*d.Facts.vg(vg).ExtentSize)))
}

func (d *Decider) knownVGs() string {
	if len(d.Facts.VGs) == 0 {
		return "this host has none: make one with pvcreate and vgcreate"
	}
	known := make([]*lvm.VG, len(d.Facts.VGs))
	for i := range d.Facts.VGs {
		known[i] = &d.Facts.VGs[i]
	}
	return "there is " + names(known)
}

func names(vgs []*lvm.VG) string {
	all := make([]string, len(vgs))
	for i, vg := range vgs {
		all[i] = vg.Name
	}
	return strings.Join(all, ", ")
}

func volumeType(options Options) lvm.Type {
	switch {
	case options.LVMType != "":
		return lvm.Type(options.LVMType)
	case options.ThinPool != "":
		return lvm.Thin
	}
	return lvm.Linear
}
