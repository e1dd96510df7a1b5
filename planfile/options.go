package planfile

import (
	"cmp"

	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/migrate"
)

// Options are what the file chooses for a VM: its own choices before the file's
// defaults, and those before base, save for how to copy, where base goes first.
// They are not validated.
func (f *File) Options(vm VM, base migrate.Options) migrate.Options {
	o := base
	for _, c := range []Choices{f.Defaults, vm.Choices} {
		o.VG = cmp.Or(c.VG, o.VG)
		o.Dir = cmp.Or(c.TargetDir, o.Dir)
		if c.Layout == migrate.BlockLayout {
			o.FS = migrate.FSOptions{} // what was chosen for others is of no account
		}
		o.Layout = cmp.Or(c.Layout, o.Layout)
		o.FS = migrate.FSOptions{Type: cmp.Or(c.FS.Type, o.FS.Type), Size: cmp.Or(c.FS.Size, o.FS.Size), Dir: cmp.Or(c.FS.Dir, o.FS.Dir)}
		o.LVMType = cmp.Or(c.LVMType, o.LVMType)
		o.ThinPool = cmp.Or(c.ThinPool, o.ThinPool)
		o.Verify = cmp.Or(c.Verify, o.Verify)
		if len(c.PVs) > 0 {
			o.PVs = c.PVs
		}
		if len(c.BackingDirs) > 0 {
			o.BackingDirs = c.BackingDirs
		}
		for _, flag := range []struct {
			chosen *bool
			into   *bool
		}{{c.KeepMAC, &o.KeepMAC}, {c.AllowDiscards, &o.AllowDiscards}, {c.EncryptAgain, &o.EncryptAgain}, {c.Autostart, &o.Autostart}} {
			if flag.chosen != nil {
				*flag.into = *flag.chosen
			}
		}
		o.LUKS = migrate.LUKSOptions{
			Type: cmp.Or(luks.Type(c.LUKS.Type), o.LUKS.Type), Cipher: cmp.Or(c.LUKS.Cipher, o.LUKS.Cipher),
			KeySize: cmp.Or(c.LUKS.KeySize, o.LUKS.KeySize), Hash: cmp.Or(c.LUKS.Hash, o.LUKS.Hash), Sector: cmp.Or(c.LUKS.SectorSize, o.LUKS.Sector),
			PBKDF: cmp.Or(c.LUKS.PBKDF, o.LUKS.PBKDF), PBKDFMemory: cmp.Or(c.LUKS.PBKDFMemory, o.LUKS.PBKDFMemory),
			PBKDFIterations: cmp.Or(c.LUKS.PBKDFForceIterations, o.LUKS.PBKDFIterations), IterTime: cmp.Or(c.LUKS.IterTime, o.LUKS.IterTime),
		}
	}
	// Of how to copy, what is said for this run goes before what was saved.
	tonight := copyOf(base)
	for _, c := range []Copy{f.Defaults.Copy, vm.Choices.Copy, tonight} {
		c.choose(&o)
	}
	o.Clone = cmp.Or(vm.Clone, o.Clone)
	for _, disk := range vm.Disks {
		if disk.Skip {
			o.SkipDisks = append(o.SkipDisks, disk.Target)
			continue
		}
		if disk.VG == "" && disk.LV == "" && disk.Device == "" && disk.Header == "" {
			continue
		}
		if o.Disks == nil {
			o.Disks = make(map[string]migrate.DiskOptions)
		}
		o.Disks[disk.Target] = migrate.DiskOptions{VG: disk.VG, LV: disk.LV, Device: disk.Device, Header: disk.Header}
	}
	return o
}

// New makes the file of some plans, in their order. options are those that the
// plans were made with, and become the defaults. What is done already is
// written down to be skipped.
func New(plans []*migrate.Plan, facts *migrate.Facts, options migrate.Options) *File {
	file := &File{Defaults: defaults(options)}
	for _, plan := range plans {
		vm := VM{Name: plan.VM, UUID: plan.VMUUID, Clone: plan.Clone.Name}
		if domain := find(facts, plan.VM); domain != nil {
			vm.State = string(domain.State)
		}
		switch plan.Result() {
		case migrate.ResultDone:
			vm.Skip, vm.Clone = true, ""
			vm.Comment = append(vm.Comment, "Done: "+plan.Blockers[0].Message+".")
		case migrate.ResultBlocked:
			vm.Comment = append(vm.Comment, "In the way when this was written:")
			for _, blocker := range plan.Blockers {
				vm.Comment = append(vm.Comment, "  "+blocker.String())
			}
		case migrate.ResultReady:
		}
		for _, disk := range plan.Disks {
			chosen := Disk{Target: disk.Target, Source: disk.Source.Path, Size: disk.Source.Size, VG: disk.Volume.VG, LV: disk.Volume.Name, Header: disk.HeaderFile}
			if disk.Volume.Kind == migrate.OnDevice {
				chosen.VG, chosen.LV, chosen.Device = "", "", disk.Volume.Path
			}
			vm.Disks = append(vm.Disks, chosen)
		}
		for _, kept := range plan.Kept {
			if kept.Skipped {
				vm.Disks = append(vm.Disks, Disk{Target: kept.Target, Source: kept.Path, Skip: true})
			}
		}
		file.VMs = append(file.VMs, vm)
	}
	return file
}

func defaults(o migrate.Options) Choices {
	c := Choices{
		VG: o.VG, PVs: o.PVs, TargetDir: o.Dir, LVMType: o.LVMType, ThinPool: o.ThinPool, BackingDirs: o.BackingDirs, Verify: o.Verify,
		Copy: copyOf(o),
		FS:   o.FS,
		LUKS: LUKS{
			Type: string(o.LUKS.Type), Cipher: o.LUKS.Cipher, KeySize: o.LUKS.KeySize, Hash: o.LUKS.Hash, SectorSize: o.LUKS.Sector,
			PBKDF: o.LUKS.PBKDF, PBKDFMemory: o.LUKS.PBKDFMemory, PBKDFForceIterations: o.LUKS.PBKDFIterations, IterTime: o.LUKS.IterTime,
		},
	}
	if o.Layout != migrate.BlockLayout {
		c.Layout = o.Layout
	}
	for _, flag := range []struct {
		set  bool
		into **bool
	}{{o.KeepMAC, &c.KeepMAC}, {o.AllowDiscards, &c.AllowDiscards}, {o.EncryptAgain, &c.EncryptAgain}, {o.Autostart, &c.Autostart}} {
		if flag.set {
			*flag.into = &flag.set
		}
	}
	return c
}

func find(facts *migrate.Facts, name string) *migrate.DomainFacts {
	for i := range facts.Domains {
		if facts.Domains[i].Name == name {
			return &facts.Domains[i]
		}
	}
	return nil
}
