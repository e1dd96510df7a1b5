package migrate

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// judgeDomain blocks what the domain's own state does not allow.
func (d *Decider) judgeDomain(plan *Plan, vm *DomainFacts) {
	name := vm.Name
	if vm.Err != nil {
		plan.block(XMLRefused, "", "", "its definition can't be read: %v", vm.Err)
	}
	if vm.State.Active() {
		remedy := virsh("shutdown", name)
		if !vm.Persistent {
			remedy += ", but not before it has a definition, or it is gone"
		}
		plan.block(Active, "", remedy, "it is %s", vm.State)
	}
	if !vm.Persistent {
		plan.block(Transient, "", strings.Replace(virsh("dumpxml", name), "dumpxml", "dumpxml --inactive --security-info", 1)+" >FILE, and "+virsh("define", "FILE")+" gives it one", "it is transient: it has no definition that outlives it")
	}
	if vm.ManagedSave {
		plan.block(ManagedSave, "", virsh("start", name)+" and shut it down, or "+virsh("managedsave-remove", name),
			"it has a managed save image: its memory belongs to the plain disk as it is now")
	}
	if vm.Snapshots > 0 {
		plan.block(Snapshots, "", virsh("snapshot-list", name)+", then "+virsh("snapshot-delete", name, "SNAPSHOT"),
			"it has %s, which would not move with it", count(vm.Snapshots, "snapshot"))
	}
	if vm.Checkpoints > 0 {
		plan.block(Checkpoints, "", virsh("checkpoint-list", name)+", then "+virsh("checkpoint-delete", name, "CHECKPOINT"),
			"it has %s, which would not move with it", count(vm.Checkpoints, "checkpoint"))
	}
	for _, job := range d.Facts.Jobs {
		if job.Plan == nil || job.Plan.VMUUID != vm.UUID || job.State == StateDone {
			continue
		}
		plan.block(JobUnfinished, "", "vmmigrate resume "+job.ID+", or vmmigrate rollback "+job.ID,
			"job %s for it is unfinished (%s)", job.ID, job.State)
	}
}

// judgeSource blocks a source that can't be read as a whole and at rest.
func (d *Decider) judgeSource(plan *Plan, disk domainxml.Disk, facts DiskFacts) bool {
	before := len(plan.Blockers)
	target := disk.Target
	otherSource := "bring it back, or name the right one: " + virsh("edit", plan.VM)
	allTheSame := "move it all the same with --encrypt-again, or leave it with --skip-disk " + target
	if plan.Adopted != nil {
		otherSource, allTheSame = "name another with --disk", "encrypt it once more with --encrypt-again"
	}
	var bad *image.Error
	switch {
	case errors.As(facts.Err, &bad):
		plan.Blockers = append(plan.Blockers, imageFinding(target, bad))
	case errors.Is(facts.Err, fs.ErrNotExist) && d.inactive(facts.Path) != nil:
		lv := d.inactive(facts.Path)
		plan.block(SourceMissing, target, command.Quote([]string{"lvchange", "-ay", lv.VG + "/" + lv.Name}), "the source of %s is a volume that is not active: %s", target, facts.Path)
	case errors.Is(facts.Err, fs.ErrNotExist):
		plan.block(SourceMissing, target, otherSource, "the source of %s does not exist: %s", target, facts.Path)
	case facts.Err != nil:
		plan.block(SourceMissing, target, otherSource, "the source of %s can't be opened: %v", target, facts.Err)
	case facts.Size == 0:
		plan.block(SourceMissing, target, otherSource, "the source of %s is empty: %s", target, facts.Path)
	case facts.LUKS && !plan.Options.EncryptAgain:
		plan.block(AlreadyLUKS, target, allTheSame,
			"the source of %s holds a LUKS header already: %s", target, facts.Path)
	case facts.Encrypted && !plan.Options.EncryptAgain:
		plan.block(AlreadyLUKS, target, allTheSame,
			"the source of %s lies on an encrypted device already: %s", target, facts.Path)
	case facts.TableEnd > facts.Size && len(facts.Chain) == 0:
		plan.block(SourceShrunk, target, "grow it back to at least its partition table's size",
			"the source of %s is shorter than its own partition table says: %s has %s bytes of %s",
			target, facts.Path, humanize.Comma(facts.Size), humanize.Comma(facts.TableEnd))
	case facts.Busy:
		plan.block(SourceBusy, target, "see what holds it: "+command.Quote([]string{"lsblk", facts.Path}),
			"the source of %s is in use by this host itself (mounted, or under another mapping): %s", target, facts.Path)
	}
	if facts.Err != nil {
		return false
	}
	d.judgeChain(plan, disk, facts)
	d.judgeImage(plan, target, facts)
	for _, other := range d.Facts.Domains {
		if other.UUID == plan.VMUUID {
			continue
		}
		for _, theirs := range other.Disks {
			if theirs.Err != nil || !facts.includes(theirs.ID) {
				continue
			}
			if other.State.Active() {
				plan.block(SourceInUse, target, virsh("shutdown", other.Name), "the source of %s is in use by the running VM %q", target, other.Name)
			} else {
				plan.warn(WarnShared, target, plan.moveInstead(other.Name), "the source of %s also belongs to the VM %q, which must stay off meanwhile", target, other.Name)
			}
		}
	}
	return len(plan.Blockers) == before
}

// judgeXML blocks a definition that can't be rewritten without loss.
func (d *Decider) judgeXML(plan *Plan, vm *DomainFacts) {
	rewritten, err := domainxml.Rewrite(vm.Raw, plan.edit())
	if err != nil {
		plan.block(XMLRefused, "", "", "its definition can't be rewritten: %v", err)
		return
	}
	unknown, err := vm.XML.NotModelled()
	if err != nil {
		plan.block(XMLRefused, "", "", "its definition can't be read in full: %v", err)
		return
	}
	if len(unknown) > 0 {
		plan.warn(WarnXML, "", "", "not modelled, kept as is: %s", strings.Join(unknown, ", "))
	}
	for _, warning := range rewritten.Warnings {
		code := WarnXML
		switch warning.Kind {
		case domainxml.KeptMAC:
			code = WarnMAC
		case domainxml.UnmovedDisk:
			code = WarnSkipped
		case domainxml.AnyWarning:
		}
		plan.warn(code, warning.Disk, "", "%s", warning.Text)
	}
}

// judgeNames blocks names that are taken.
func (d *Decider) judgeNames(plan *Plan) {
	d.judgeClone(plan)
	if plan.Result() != ResultDone {
		d.judgeVolumes(plan)
	}
}

// judgeClone blocks a clone's name that is taken.
func (d *Decider) judgeClone(plan *Plan) {
	for _, domain := range d.Facts.Domains {
		if origin, ok := originOf(domain); ok && origin.UUID == plan.VMUUID && origin.Cutover != nil {
			plan.block(AlreadyDone, "", "take the cutover back first: "+command.Quote([]string{"vmmigrate", "cutover", domain.Name, "--undo"}),
				"it has been migrated already, and %q has its place (job %s)", domain.Name, origin.Job)
			return
		}
		if domain.Name != plan.Clone.Name {
			continue
		}
		if origin, ok := originOf(domain); ok && (origin.UUID == plan.VMUUID || plan.isFrom(origin)) {
			// Its volumes and mappings are in the way too, which goes
			// without saying.
			if plan.Adopted != nil {
				plan.block(AlreadyDone, "", "make another VM of them with --name, or undo it with vmmigrate rollback "+origin.Job,
					"they have become one already: %q (job %s)", domain.Name, origin.Job)
				return
			}
			plan.block(AlreadyDone, "", "make another clone with --name and --lv-name, or undo it with vmmigrate rollback "+origin.Job,
				"it has been migrated already: its clone is %q (job %s)", domain.Name, origin.Job)
			return
		}
		plan.block(CloneTaken, "", "choose another with --name", "there is a VM named %q already", plan.Clone.Name)
	}
	if other := d.claim("clone", plan.Clone.Name, plan); other != "" {
		plan.block(CloneTaken, "", "choose another with --name", "the clone of %q is to be named %q too", other, plan.Clone.Name)
	}
}

// judgeVolumes blocks names of volumes and mappings that are taken, on this
// host or by another plan of the same command.
func (d *Decider) judgeVolumes(plan *Plan) {
	for _, disk := range plan.Disks {
		volume := disk.Volume
		if !volume.Placed() {
			continue
		}
		if volume.Kind == NewLV {
			d.judgeLV(plan, disk.Target, volume)
		}
		if other := d.claim("mapper", disk.Mapper, plan); other != "" {
			plan.block(MapperTaken, disk.Target, "", "the mapping %s is to be made for %q too; migrate the two one after the other, under other names", disk.Mapper, other)
		}
		for _, mapper := range d.Facts.Mappers {
			if mapper == disk.Mapper {
				plan.block(MapperTaken, disk.Target, command.Quote([]string{"cryptsetup", "close", mapper}),
					"there is a device-mapper device %s already", mapper)
			}
		}
	}
}

// judgeLV blocks a new volume's name that can't be used or is taken.
func (d *Decider) judgeLV(plan *Plan, target string, volume VolumePlan) {
	if err := lvm.ValidName(volume.VG, volume.Name); err != nil {
		plan.block(LVName, target, "choose another with --lv-name", "the volume for %s can't have that name: %v", target, err)
	}
	if d.Facts.lv(volume.VG, volume.Name) != nil {
		plan.block(LVTaken, target, "choose another with --lv-name",
			"there is a volume %s/%s already", volume.VG, volume.Name)
	}
	if other := d.claim("lv", volume.VG+"/"+volume.Name, plan); other != "" {
		plan.block(LVTaken, target, "choose another with --lv-name", "the volume %s/%s is to be made for %q too", volume.VG, volume.Name, other)
	}
}

func originOf(domain DomainFacts) (domainxml.Origin, bool) {
	if domain.XML == nil {
		return domainxml.Origin{}, false
	}
	return domain.XML.Origin()
}

// warn says what the user should know although nothing is in the way.
func (d *Decider) warn(plan *Plan, vm *DomainFacts) {
	if plan.Options.AllowDiscards {
		plan.warn(WarnDiscards, "", "", "discards pass through the encryption: they show which blocks are in use, and how many")
	}
	if plan.Options.LUKS.Sector == 4096 {
		plan.warn(WarnSector, "", "", "4096-byte encryption sectors: the guest will see a disk with 4096-byte blocks, which it may not boot from")
	}
	if plan.Options.Verify == VerifyNone {
		plan.warn(WarnNoVerify, "", "", "the copy will not be verified")
	}
	if vm.Autostart && !plan.Options.Autostart {
		plan.warn(WarnAutostart, "", "", "the VM starts with the host; the clone will not, since its disks are locked after a boot")
	}
	if plan.Options.Autostart {
		plan.warn(WarnAutostart, "", "", "the clone is marked to start with the host, which fails until its disks are unlocked")
	}
	for _, disk := range plan.Disks {
		if disk.Filesystem == nil && vm.Disks[disk.Target].PhysicalVolume && !d.Facts.GuestsShielded {
			plan.warn(WarnGuestVG, disk.Target, "install packaging/udev/57-vmmigrate.rules in /etc/udev/rules.d",
				"%s is a physical volume of the guest's own LVM, which this host's LVM will see, and may activate, while the disk is open", disk.Target)
		}
		if disk.Filesystem == nil && disk.Payload != disk.Source.Size {
			plan.warn(WarnSourceSmall, disk.Target, "", "the source of %s is no multiple of %d bytes: the payload is %d bytes longer, since LUKS begins one only at such a multiple, and the clone's definition shows the guest the exact size",
				disk.Target, payloadUnit, disk.Payload-disk.Source.Size)
		}
	}
}

// virsh is a virsh command line to type, for a remedy.
func virsh(args ...string) string {
	for i, arg := range args {
		if i > 0 && len(arg) > 0 && arg[0] == '-' {
			// virsh takes what follows a bare -- as it is.
			return command.Quote(append([]string{"virsh", args[0], "--"}, args[1:]...))
		}
	}
	return command.Quote(append([]string{"virsh"}, args...))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return humanize.Comma(int64(n)) + " " + what + "s"
}
