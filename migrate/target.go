package migrate

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/internal/command"
)

// VolumeKind is what a disk's LUKS volume lies on.
type VolumeKind string

// The kinds of target.
const (
	// NewLV is a logical volume that the job makes, and a rollback removes.
	NewLV VolumeKind = ""
	// OnDevice is a blank device that was there before, and a rollback makes
	// blank again.
	OnDevice VolumeKind = "device"
	// OnFile is a file that the job makes, and a rollback removes. It is opened
	// through a loop device.
	OnFile VolumeKind = "file"
)

// Placed says whether it was decided where the volume goes.
func (v VolumePlan) Placed() bool { return v.VG != "" || v.Path != "" }

// String is VG/LV, or the path of what is no logical volume.
func (v VolumePlan) String() string {
	if v.VG != "" {
		return v.VG + "/" + v.Name
	}
	return v.Path
}

// what names the volume in a sentence.
func (v VolumePlan) what() string {
	if v.VG != "" {
		return "the volume " + v.String()
	}
	if v.Kind == OnFile {
		return "the file " + v.Path
	}
	return "the device " + v.Path
}

// lockName is what a job that works on the volume locks.
func (v VolumePlan) lockName() string {
	if v.VG != "" {
		return "lv " + v.String()
	}
	return "device " + v.Path
}

// DeviceFor is the existing device that was chosen for a disk, or "".
func (o Options) DeviceFor(target string) string { return cmp.Or(o.Disks[target].Device, o.Device) }

// devices are all that were chosen.
func (o Options) devices() []string {
	var all []string
	if o.Device != "" {
		all = append(all, o.Device)
	}
	for _, target := range slices.Sorted(maps.Keys(o.Disks)) {
		if device := o.Disks[target].Device; device != "" {
			all = append(all, device)
		}
	}
	return all
}

const targetDevice = "--target-device"

func (o Options) validateDevices() error {
	seen := make(map[string]bool)
	for _, device := range o.devices() {
		if !filepath.IsAbs(device) {
			return &OptionError{targetDevice, fmt.Sprintf("%q is no absolute path", device)}
		}
		if seen[device] {
			return &OptionError{targetDevice, fmt.Sprintf("%s is named twice, and holds one disk", device)}
		}
		seen[device] = true
	}
	for target, disk := range o.Disks {
		if disk.Device != "" && disk.VG+disk.LV != "" {
			return &OptionError{targetDevice, fmt.Sprintf("%s goes to an existing device and to a new volume; choose one", target)}
		}
	}
	if o.Device != "" && (o.VG != "" || o.LV != "" || o.LVMType != "" || o.ThinPool != "" || len(o.PVs) > 0) {
		return &OptionError{targetDevice, "names a device that exists, and can't go with --vg, --pv, --lv-name, --lvm-type or --thin-pool, which are about a new volume"}
	}
	return nil
}

// checkNamed returns an *OptionError for a device or header file that no disk,
// or more than one, would go to.
func (p *Plan) checkNamed(vm *DomainFacts) error {
	err := p.checkOption(vm, targetDevice, p.Options.Device, func(d DiskOptions) string { return d.Device })
	if err != nil {
		return err
	}
	return p.checkOption(vm, targetHeader, p.Options.Header, func(d DiskOptions) string { return d.Header })
}

// checkOption holds an option against the VM's disks: only is what was said for
// the only one that moves, and of what was said for one by name.
func (p *Plan) checkOption(vm *DomainFacts, option, only string, of func(DiskOptions) string) error {
	if only != "" && len(p.Disks) > 1 {
		var targets []string
		for _, disk := range p.Disks {
			targets = append(targets, disk.Target)
		}
		return &OptionError{option, fmt.Sprintf("%s has several disks that move (%s); say which one as %s=%s", p.VM, strings.Join(targets, ", "), targets[0], only)}
	}
	disks := vm.XML.Disks()
	for _, target := range slices.Sorted(maps.Keys(p.Options.Disks)) {
		if of(p.Options.Disks[target]) == "" {
			continue
		}
		if !slices.ContainsFunc(disks, func(d domainxml.Disk) bool { return d.Target == target }) {
			return &OptionError{option, fmt.Sprintf("%s has no disk %q", p.VM, target)}
		}
		if slices.ContainsFunc(p.Kept, func(k KeptDisk) bool { return k.Target == target }) {
			return &OptionError{option, fmt.Sprintf("the disk %s of %s stays as it is", target, p.VM)}
		}
	}
	return nil
}

// placeOnDevice gives a disk an existing device. What that has beyond payload
// and header goes before the payload, so that its end is the payload's end.
func (d *Decider) placeOnDevice(plan *Plan, disk *DiskPlan, path string) {
	if !d.judgeDevice(plan, disk, path) {
		return
	}
	named := d.Facts.Named[path]
	disk.Volume = VolumePlan{Kind: OnDevice, Path: named.Names.Stable, Size: named.Size}
	if lv := newVolumeIndex(d.Facts.LVs).find(named.DeviceFacts); lv != nil {
		disk.Volume.VG, disk.Volume.Name, disk.Volume.Path = lv.VG, lv.Name, lv.Path
	}
	if disk.Volume.Path == "" {
		disk.Volume.Path = path
		plan.warn(WarnNoName, disk.Target, "", "%s has no name in /dev/disk that would stay the same if devices were found in another order; it is known by its LUKS UUID from the format on", path)
	}
	disk.Offset = named.Size - disk.Payload
	d.judgeOffset(plan, disk, path)
	if other := d.claim("device", named.ID, plan); other != "" {
		plan.block(TargetTaken, disk.Target, "choose another with "+targetDevice, "the device %s is to be used for %q too", path, other)
	}
	for _, job := range d.Facts.Jobs {
		if job.Plan == nil || job.State == StateDone || job.Plan.VMUUID == plan.VMUUID {
			continue
		}
		for _, theirs := range job.Plan.Disks {
			if theirs.Volume.Path == disk.Volume.Path {
				plan.block(TargetTaken, disk.Target, "vmmigrate resume "+job.ID+", or vmmigrate rollback "+job.ID, "the device %s belongs to the unfinished job %s of %q", path, job.ID, job.Plan.VM)
			}
		}
	}
}

// judgeDevice blocks a device that can't be overwritten, or should not be: it
// has to be blank, and nobody's.
func (d *Decider) judgeDevice(plan *Plan, disk *DiskPlan, path string) bool {
	before := len(plan.Blockers)
	named, known := d.Facts.Named[path]
	block := func(code Code, remedy, format string, args ...any) {
		plan.block(code, disk.Target, remedy, "the target of %s, %s, %s", disk.Target, path, fmt.Sprintf(format, args...))
	}
	other := "choose another with " + targetDevice
	switch {
	case !known:
		block(TargetMissing, other, "was not looked at")
	case named.Err != nil && d.inactive(path) != nil:
		lv := d.inactive(path)
		block(TargetMissing, command.Quote([]string{"lvchange", "-ay", lv.VG + "/" + lv.Name}), "is a volume that is not active")
	case named.Err != nil:
		block(TargetMissing, other, "can't be looked at: %v", named.Err)
	case !named.Block:
		block(TargetUnfit, other, "is no block device")
	}
	if len(plan.Blockers) > before {
		return false
	}
	if named.ReadOnly {
		block(TargetUnfit, command.Quote([]string{"blockdev", "--setrw", path})+", or "+other, "is read-only")
	}
	if len(named.Signatures) > 0 {
		marks := make([]string, len(named.Signatures))
		for i, s := range named.Signatures {
			marks[i] = s.String()
		}
		block(NotBlank, "if nothing on it is needed any more: "+command.Quote([]string{"wipefs", "--all", path}), "is not blank, it bears %s", strings.Join(slices.Compact(marks), ", "))
	}
	if len(named.Holders) > 0 {
		block(TargetInUse, other, "is in use by %s", strings.Join(named.Holders, ", "))
	} else if named.Busy {
		block(TargetInUse, "see what holds it: "+command.Quote([]string{"lsblk", path}), "is in use by this host itself")
	}
	for _, domain := range d.Facts.Domains {
		if target := domain.uses(named); target != "" {
			block(TargetInUse, other, "is the disk %s of the VM %q", target, domain.Name)
		}
	}
	if whose := d.bareVolume(named); whose != "" {
		block(TargetInUse, other, "%s", whose)
	}
	switch need := disk.Payload + disk.headerRoom(); {
	case named.Size < need && disk.HeaderFile != "":
		block(TargetSmall, other, "has %s bytes, and %s are needed for the disk", humanize.Comma(named.Size), humanize.Comma(need))
	case named.Size < need:
		block(TargetSmall, other, "has %s bytes, and %s are needed: %s for the disk and %s for the LUKS header", humanize.Comma(named.Size), humanize.Comma(need), humanize.Comma(disk.Payload), humanize.Comma(disk.Header))
	case named.Size%payloadUnit != 0:
		block(TargetUnfit, other, "has %s bytes, which is no multiple of %d: a LUKS payload ends where its device does, and would not be exactly as large as the disk", humanize.Comma(named.Size), payloadUnit)
	}
	return len(plan.Blockers) == before
}

// uses is the target of a domain's disk that is the device, or the disk that a
// partition is on, or "".
func (d *DomainFacts) uses(device NamedFacts) string {
	if d.XML == nil {
		return ""
	}
	for _, disk := range d.XML.Disks() {
		theirs, known := d.Disks[disk.Target]
		switch {
		case disk.Path != "" && (disk.Path == device.Path || disk.Path == device.Resolved):
			return disk.Target
		case known && theirs.Err == nil && (theirs.includes(device.ID) || device.Names.Whole != "" && theirs.includes(device.Names.Whole)):
			return disk.Target
		}
	}
	return ""
}
