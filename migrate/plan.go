package migrate

import (
	"fmt"
	"io"
	"slices"

	"github.com/google/uuid"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// payloadUnit is what a payload's size is rounded up to, in bytes: LUKS2 puts
// the payload at a multiple of 4096 (cryptsetup-luksFormat(8), --offset), and
// logical volumes end at one.
const payloadUnit = 4096

// Plan is what would be done to one VM, and why it can't be if it can't. It is
// recorded in the journal, and a resumed job goes by the record alone.
type Plan struct {
	// Job is the id of the job that carries it out.
	Job string `json:"job"`
	// VM and VMUUID name the domain. Of images that are adopted VM is what they
	// become, and VMUUID one that was drawn and that no domain has.
	VM     string `json:"vm"`
	VMUUID string `json:"vm_uuid"`
	// Adopted is there where no domain moves, but images become one.
	Adopted *Adopted `json:"adopted,omitempty"`
	// Clone is the domain that will be defined.
	Clone Clone `json:"clone"`
	// Disks are the disks that move, in the domain's order.
	Disks []DiskPlan `json:"disks"`
	// Kept are the disks that stay as they are.
	Kept []KeptDisk `json:"kept,omitempty"`
	// Options are what was asked for, defaults filled in.
	Options Options `json:"options"`
	// Firmware is what is copied of NVRAM and TPM.
	Firmware FirmwarePlan `json:"firmware,omitzero"`
	Warnings []Finding    `json:"warnings,omitempty"`
	Blockers []Finding    `json:"blockers,omitempty"`
}

// Clone is the new domain's identity.
type Clone struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
	// MACs are the interfaces' addresses in document order; nil keeps them.
	MACs []string `json:"macs,omitempty"`
}

// DiskPlan is what would be done to one disk. All sizes are bytes.
type DiskPlan struct {
	// Target is the disk's name in the domain, such as "vda".
	Target string     `json:"target"`
	Source SourcePlan `json:"source"`
	// Payload is the size of the decrypted device: the source's, rounded up
	// to 4096 only where the source is no multiple of that, or that of the file
	// system on it.
	Payload int64      `json:"payload"`
	Volume  VolumePlan `json:"volume"`
	// LUKSUUID is the header's UUID, chosen before it is written.
	LUKSUUID string `json:"luks_uuid"`
	// Header is the least room the header needs, and Offset where the payload
	// begins: all the room that the volume's rounding leaves before it.
	Header int64 `json:"header"`
	Offset int64 `json:"offset"`
	// HeaderFile is the file that the header goes to, where it is not on the
	// volume. The payload then begins at the volume's first byte, or where it
	// would begin behind a header if the volume is larger than the payload.
	HeaderFile string `json:"header_file,omitempty"`
	// Mapper is the device-mapper name, and Device the payload's path.
	Mapper string `json:"mapper"`
	Device string `json:"device"`
	// Filesystem is there where the disk is an image on a file system in the
	// payload, and not the payload itself.
	Filesystem *FilesystemPlan `json:"filesystem,omitempty"`
}

// VolumePlan is where the LUKS volume of a disk goes: a logical volume or a file
// to be made, or an existing device. Plans of before there were others say nothing of
// the kind.
type VolumePlan struct {
	// Kind is what it is; "" is a logical volume to be made.
	Kind VolumeKind `json:"kind,omitempty"`
	// VG and Name are those of a logical volume, also where that is the device
	// that exists; Type is the new volume's.
	VG   string `json:"vg"`
	Name string `json:"name"`
	Type string `json:"type"`
	// Pool is the thin pool, for a thin volume.
	Pool string `json:"pool,omitempty"`
	// PVs are the only disks that it may lie on, as lvm2 calls them; none is
	// all of the group's.
	PVs []string `json:"pvs,omitempty"`
	// Size is in bytes; of a device the one it has.
	Size int64 `json:"size"`
	// Extents is what it takes from the group, copies and stripes counted.
	Extents int64 `json:"extents"`
	// Path is the volume's device, by a name that stays.
	Path string `json:"path"`
}

// KeptDisk is a disk that stays as it is, shared with the original.
type KeptDisk struct {
	Target string `json:"target"`
	Device string `json:"device"`
	Path   string `json:"path,omitempty"`
	Reason string `json:"reason"`
	// Skipped is true for one that would move, had it not been asked to stay.
	Skipped bool `json:"skipped,omitempty"`
}

// Tag is the LVM tag that the job's volumes bear.
func (p *Plan) Tag() string { return "vmmigrate.job=" + p.Job }

// Bytes is how much the job copies.
func (p *Plan) Bytes() int64 {
	var sum int64
	for i := range p.Disks {
		sum += p.Disks[i].Bytes()
	}
	return sum
}

// Budget counts the extents of each group, those that have to lie on some of its
// disks (as "group disk…"), and the bytes of each thin pool (as "group/pool") and of
// each file system (as "folder DEVICE"),
// that the plans of one command would take, so that a batch is held against the
// room as a whole.
type Budget map[string]int64

// Decider makes plans from facts. It touches nothing: what it decides follows
// from its fields and arguments alone.
type Decider struct {
	Facts *Facts
	// Random is where UUIDs and MAC addresses come from.
	Random io.Reader
	// Store names the job.
	Store Store
	// Taken is what earlier plans of the same command have claimed.
	Taken Budget

	// macs are the addresses in use, and claims the VMs by the names that
	// their plans of the same command have claimed; both come to be as needed.
	macs   map[string]bool
	claims map[string]string
}

// Decide plans the migration of the domain called name. It returns an
// *UnknownVMError or an *OptionError where there is nothing to plan, and a plan
// with blockers where there is something in the way.
func (d *Decider) Decide(name string, options Options) (*Plan, error) {
	vm, err := d.Facts.domain(name)
	if err != nil {
		return nil, err
	}
	return d.decide(vm, options)
}

func (d *Decider) decide(vm *DomainFacts, options Options) (*Plan, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if vm.Adopted != nil && options.Layout == FilesystemLayout {
		return nil, &OptionError{"--layout", "filesystem is for VMs that there are; images that have none yet become one on block volumes"}
	}
	cloneUUID, err := uuid.NewRandomFromReader(d.Random)
	if err != nil {
		return nil, fmt.Errorf("draw a UUID: %w", err)
	}
	plan := &Plan{
		Job: d.Store.NewID(cloneUUID.String()), VM: vm.Name, VMUUID: vm.UUID, Options: options,
		Clone: Clone{Name: options.Clone, UUID: cloneUUID.String()}, Adopted: vm.Adopted,
	}
	if plan.Clone.Name == "" {
		plan.Clone.Name = vm.Name + "-luks"
	}

	if vm.Adopted == nil {
		d.judgeDomain(plan, vm)
	} else {
		d.judgeAdoption(plan, vm)
	}
	if vm.XML != nil {
		if err := d.drawMACs(plan, vm.XML); err != nil {
			return nil, err
		}
		if err := d.chooseDisks(plan, vm); err != nil {
			return nil, err
		}
		if err := plan.checkNamed(vm); err != nil {
			return nil, err
		}
		d.judgeLayout(plan)
		if d.judgeClone(plan); plan.claims() {
			d.place(plan, vm)
		}
		if plan.Result() != ResultDone {
			d.planFirmware(plan, vm)
			d.judgeNVRAM(plan, vm)
			d.judgeXML(plan, vm)
		}
		d.judgeVolumes(plan)
		if why := d.Facts.Untaken[options.LUKS]; why != "" && plan.Result() != ResultDone {
			plan.block(NoCipher, "", "see what this host has: cryptsetup benchmark", "the disks can't be encrypted as asked for: cryptsetup says %q", why)
		}
	}
	d.warn(plan, vm)
	return plan, nil
}

func (p *Plan) block(code Code, disk, remedy, format string, args ...any) {
	p.Blockers = append(p.Blockers, Finding{Code: code, Disk: disk, Message: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (p *Plan) warn(code Code, disk, remedy, format string, args ...any) {
	p.Warnings = append(p.Warnings, Finding{Code: code, Disk: disk, Message: fmt.Sprintf(format, args...), Remedy: remedy})
}

// drawMACs draws an address for every interface that no interface on this host
// has, and no other of the clone.
func (d *Decider) drawMACs(plan *Plan, vm *domainxml.Domain) error {
	if plan.Options.KeepMAC {
		return nil
	}
	taken := d.takenMACs()
	for range vm.Interfaces() {
		mac, err := domainxml.NewMAC(d.Random, func(mac string) bool { return taken[mac] })
		if err != nil {
			return fmt.Errorf("draw a MAC address: %w", err)
		}
		taken[mac] = true
		plan.Clone.MACs = append(plan.Clone.MACs, mac)
	}
	return nil
}

// takenMACs are the addresses of this host's interfaces, and of those drawn for
// the clones that were planned before.
func (d *Decider) takenMACs() map[string]bool {
	if d.macs != nil {
		return d.macs
	}
	d.macs = make(map[string]bool)
	for _, domain := range d.Facts.Domains {
		if domain.XML == nil {
			continue
		}
		for _, nic := range domain.XML.Interfaces() {
			d.macs[nic.MAC] = true
		}
	}
	return d.macs
}

// chooseDisks sorts the domain's disks into those that move and those that stay.
func (d *Decider) chooseDisks(plan *Plan, vm *DomainFacts) error {
	options := plan.Options
	disks := vm.XML.Disks()
	for _, target := range options.SkipDisks {
		if !slices.ContainsFunc(disks, func(disk domainxml.Disk) bool { return disk.Target == target }) {
			return &OptionError{"--skip-disk", fmt.Sprintf("%s has no disk %q", vm.Name, target)}
		}
	}
	for _, disk := range disks {
		facts := vm.Disks[disk.Target]
		path := facts.Path
		if path == "" {
			path = disk.Path
		}
		switch {
		case slices.Contains(options.SkipDisks, disk.Target):
			plan.Kept = append(plan.Kept, KeptDisk{Target: disk.Target, Device: disk.Device, Path: path, Reason: "skipped as asked for", Skipped: disk.Kind != domainxml.Keep})
		case disk.Kind == domainxml.Keep:
			plan.Kept = append(plan.Kept, KeptDisk{Target: disk.Target, Device: disk.Device, Path: path, Reason: disk.Reason})
		case payloadVolume(vm, disk.Target, path) != "":
			// Before it is asked whether the disk could move: a payload may be
			// shown to its guest as a slice, which could not.
			plan.block(AlreadyLUKS, disk.Target, "", "the disk %s is encrypted already: it is the payload of %s", disk.Target, payloadVolume(vm, disk.Target, path))
		case disk.Kind == domainxml.Refuse:
			code := NotMovable
			if disk.Encrypted {
				code = AlreadyLUKS
			}
			plan.block(code, disk.Target, "leave it as it is with --skip-disk "+disk.Target, "the disk %s can't be moved: %s", disk.Target, disk.Reason)
		default:
			d.addDisk(plan, disk, facts)
		}
	}
	if len(plan.Disks) == 0 && len(plan.Blockers) == 0 {
		plan.block(NoDisk, "", "", "it has no disk to move")
	}
	return nil
}

func (d *Decider) addDisk(plan *Plan, disk domainxml.Disk, facts DiskFacts) {
	if !d.judgeSource(plan, disk, facts) {
		return
	}
	luksUUID, err := uuid.NewRandomFromReader(d.Random)
	if err != nil {
		plan.block(NotMovable, disk.Target, "", "no UUID could be drawn: %v", err)
		return
	}
	// QEMU shows a raw file in whole sectors of 512 bytes, rounded up.
	payload := roundUp(facts.guestSize(), payloadUnit)
	mapper := luks.MapperName("cr_" + plan.VM + "_" + disk.Target)
	planned := DiskPlan{
		Target:   disk.Target,
		Source:   newSource(disk.Format, facts),
		Payload:  payload,
		LUKSUUID: luksUUID.String(),
		Header:   luks.HeaderSize(plan.Options.LUKS.Type),
		Mapper:   mapper,
		Device:   "/dev/mapper/" + mapper,
	}
	if plan.Options.onFilesystem(disk, facts) {
		d.planFilesystem(plan, &planned, facts)
	}
	plan.Disks = append(plan.Disks, planned)
}

// lvName is the name of the new volume for a disk.
func lvName(plan *Plan, target string) string {
	if disk := plan.Options.Disks[target]; disk.LV != "" {
		return disk.LV
	}
	switch given := plan.Options.LV; {
	case given == "":
		return lvm.Sanitise(plan.VM + "-" + target + "-luks")
	case len(plan.Disks) == 1:
		return given
	default:
		return given + "-" + target
	}
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
