package migrate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
)

// preflight looks, right before anything is done, whether the plan still fits
// the world, and has libvirt judge the clone's definition. It changes nothing.
// job is nil for a new job; for a resumed one, what the job itself made is not
// in the way.
func (e *Env) preflight(ctx context.Context, plan *Plan, job *Job) error {
	if err := e.atRest(ctx, plan); err != nil {
		return err
	}
	for i := range plan.Disks {
		if err := e.sourceUnchanged(ctx, &plan.Disks[i]); err != nil {
			return err
		}
		if err := e.sourceSound(ctx, plan, &plan.Disks[i]); err != nil {
			return err
		}
		if job != nil {
			if err := job.sourceStillCopied(ctx, &plan.Disks[i]); err != nil {
				return err
			}
		}
	}
	if job == nil {
		if err := e.unclaimed(ctx, plan); err != nil {
			return err
		}
	}
	rewritten, err := e.rewrite(ctx, plan)
	if err != nil {
		return err
	}
	if job != nil {
		if _, err := e.Hypervisor.Domain(ctx, plan.Clone.Name); err == nil {
			return nil // define.Check says whether it is the job's own
		}
	}
	definition, err := forValidation(rewritten.XML)
	if err != nil {
		return err
	}
	if err := e.Hypervisor.Validate(ctx, definition); err != nil {
		return fmt.Errorf("libvirt does not accept the clone's definition: %w", err)
	}
	return nil
}

// atRest checks that the original is off and will stay as it is on disk.
func (e *Env) atRest(ctx context.Context, plan *Plan) error {
	if plan.Adopted != nil {
		return e.adoptedAtRest(ctx, plan)
	}
	domain, err := e.Hypervisor.Domain(ctx, plan.VM)
	if err != nil {
		return err
	}
	if domain.UUID != plan.VMUUID {
		return &ConflictError{What: fmt.Sprintf("the VM %q", plan.VM), Reason: fmt.Sprintf("its UUID is %s and was %s", domain.UUID, plan.VMUUID)}
	}
	if domain.State.Active() {
		return &SourceStartedError{VM: plan.VM}
	}
	if domain.ManagedSave {
		return &BlockedError{VM: plan.VM, Adopted: plan.Adopted != nil, Blockers: []Finding{{
			Code: ManagedSave, Message: "it has a managed save image by now", Remedy: virsh("managedsave-remove", plan.VM),
		}}}
	}
	return nil
}

// sourceUnchanged checks that a source is still what was planned.
func (e *Env) sourceUnchanged(ctx context.Context, disk *DiskPlan) error {
	for _, was := range disk.Source.all() {
		reason := ""
		if facts, err := e.Devices.Inspect(ctx, was.Path); err != nil {
			reason = err.Error()
		} else {
			reason = was.changed(facts)
		}
		if reason != "" {
			return &SourceChangedError{Disk: disk.Target, Path: was.Path, Reason: reason}
		}
	}
	return nil
}

// sourceSound has an image checked for damage that reading would not show.
func (e *Env) sourceSound(ctx context.Context, plan *Plan, disk *DiskPlan) error {
	if len(disk.Source.Chain) == 0 {
		return nil
	}
	err := e.Devices.CheckImage(ctx, disk.Source.Chain)
	var bad *image.Error
	if errors.As(err, &bad) {
		return &BlockedError{VM: plan.VM, Adopted: plan.Adopted != nil, Blockers: []Finding{imageFinding(disk.Target, bad)}}
	}
	return err
}

// unclaimed checks that no name the job will use is taken by now.
func (e *Env) unclaimed(ctx context.Context, plan *Plan) error {
	facts := new(Facts)
	var err error
	if facts.LVs, err = e.Volumes.LVs(ctx); err != nil {
		return err
	}
	if facts.Mappers, err = e.Devices.MapperNames(ctx); err != nil {
		return fmt.Errorf("list the device-mapper devices: %w", err)
	}
	if facts.Domains, err = e.gatherDomains(ctx); err != nil {
		return err
	}
	again := &Plan{VM: plan.VM, VMUUID: plan.VMUUID, Adopted: plan.Adopted, Clone: plan.Clone, Disks: plan.Disks, Options: plan.Options}
	decider := &Decider{Facts: facts, Taken: Budget{}}
	decider.judgeNames(again)
	for i := range again.Disks {
		disk := &again.Disks[i]
		if disk.Filesystem != nil {
			if err := e.gatherFolder(ctx, facts, filepath.Dir(disk.Filesystem.Mount)); err != nil {
				return err
			}
			decider.judgeMount(again, disk)
		}
		if disk.Volume.Kind == OnFile {
			dir := filepath.Dir(disk.Volume.Path)
			if err := e.gatherFolder(ctx, facts, dir); err != nil {
				return err
			}
			decider.judgeFile(again, disk)
		}
		if disk.HeaderFile != "" {
			if err := e.gatherFolder(ctx, facts, filepath.Dir(disk.HeaderFile)); err != nil {
				return err
			}
			decider.judgeHeader(again, disk)
		}
		if disk.Volume.Kind != OnDevice {
			continue
		}
		if err := e.gatherNamed(ctx, facts, disk.Volume.Path, true); err != nil {
			return err
		}
		decider.judgeDevice(again, disk, disk.Volume.Path)
	}
	if len(again.Blockers) > 0 {
		return &BlockedError{VM: plan.VM, Adopted: plan.Adopted != nil, Blockers: again.Blockers}
	}
	return nil
}

// rewrite makes the clone's definition from the original's as it is now, by
// the plan's decisions. It holds passwords of consoles: it is for libvirt only.
func (e *Env) rewrite(ctx context.Context, plan *Plan) (domainxml.Rewritten, error) {
	var raw []byte
	var err error
	if plan.Adopted != nil {
		raw = []byte(plan.Adopted.Definition)
	} else if raw, err = e.Hypervisor.XML(ctx, plan.VMUUID); err != nil {
		return domainxml.Rewritten{}, err
	}
	parsed, err := domainxml.Parse(raw)
	if err != nil {
		return domainxml.Rewritten{}, err
	}
	byTarget := make(map[string]domainxml.Disk)
	for _, disk := range parsed.Disks() {
		byTarget[disk.Target] = disk
	}
	for _, disk := range plan.Disks {
		now, found := byTarget[disk.Target]
		if !found {
			return domainxml.Rewritten{}, &SourceChangedError{Disk: disk.Target, Path: disk.Source.Path, Reason: "the VM no longer has that disk"}
		}
		if now.Path != disk.Source.Path && now.SourceType != "volume" {
			return domainxml.Rewritten{}, &SourceChangedError{Disk: disk.Target, Path: disk.Source.Path, Reason: "the VM's disk is now " + now.Path}
		}
		if now.Format != disk.Source.Format {
			return domainxml.Rewritten{}, &SourceChangedError{Disk: disk.Target, Path: disk.Source.Path, Reason: "the VM's disk is now of the format " + now.Format}
		}
	}
	return domainxml.Rewrite(raw, plan.edit())
}

// edit is what the plan changes in the domain's definition.
func (p *Plan) edit() domainxml.Edit {
	edit := domainxml.Edit{
		Name: p.Clone.Name, UUID: p.Clone.UUID, MACs: p.Clone.MACs, AllowDiscards: p.Options.AllowDiscards,
		NVRAM: p.Firmware.NVRAM, TPMState: p.Firmware.TPMState,
		Origin: &domainxml.Origin{Name: p.VM, UUID: p.VMUUID, Job: p.Job},
	}
	if p.Adopted != nil {
		edit.Origin.UUID = "" // there never was a domain
	}
	for _, disk := range p.Disks {
		change := domainxml.DiskEdit{Target: disk.Target, Device: disk.Device}
		if disk.Filesystem != nil {
			change = domainxml.DiskEdit{Target: disk.Target, Image: disk.Filesystem.Image}
		} else if guest := roundUp(disk.Source.Size, 512); guest != disk.Payload {
			// QEMU shows a raw disk in whole sectors of 512 bytes.
			change.GuestSize = guest
		}
		edit.Disks = append(edit.Disks, change)
		origin := domainxml.OriginDisk{
			Target: disk.Target, Source: disk.Source.Path, VG: disk.Volume.VG, LV: disk.Volume.Name, LUKS: disk.LUKSUUID, Mapper: disk.Mapper,
			SourceSize: disk.Source.Stored, SourceID: disk.Source.ID, HeaderFile: disk.HeaderFile,
		}
		if disk.Volume.VG == "" {
			origin.Path = disk.Volume.Path
		}
		if f := disk.Filesystem; f != nil {
			origin.Filesystem = &domainxml.OriginFilesystem{Type: string(f.Type), UUID: f.UUID, Mount: f.Mount, Image: f.Image, Discards: p.Options.AllowDiscards}
		}
		edit.Origin.Disks = append(edit.Origin.Disks, origin)
	}
	return edit
}

// isGone says whether err means that a domain does not exist.
func isGone(err error) bool {
	var gone *hypervisor.NotFoundError
	return errors.As(err, &gone)
}

// Definitions returns a domain's definition as it is, without passwords, and
// as the plan would rewrite it.
func Definitions(facts *Facts, plan *Plan) (before, after []byte, err error) {
	if plan.Adopted != nil {
		before = []byte(plan.Adopted.Definition)
	} else {
		vm, err := facts.domain(plan.VM)
		if err != nil {
			return nil, nil, err
		}
		before = vm.Raw
	}
	rewritten, err := domainxml.Rewrite(before, plan.edit())
	if err != nil {
		return nil, nil, err
	}
	return before, rewritten.XML, nil
}
