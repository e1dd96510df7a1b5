package migrate

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/google/uuid"

	"github.com/vmmigrate/vmmigrate/domainxml"
	"github.com/vmmigrate/vmmigrate/filesystem"
	"github.com/vmmigrate/vmmigrate/hypervisor"
	"github.com/vmmigrate/vmmigrate/image"
	"github.com/vmmigrate/vmmigrate/lvm"
)

// Layout says in what shape disks lie on their encrypted volumes.
type Layout string

// The layouts.
const (
	// BlockLayout: the decrypted volume is the disk.
	BlockLayout Layout = "block"
	// FilesystemLayout: a disk that was a qcow2 image stays one, on a file
	// system in the volume. Other disks are as with BlockLayout.
	FilesystemLayout Layout = "filesystem"
)

// FSOptions are about the file systems of FilesystemLayout.
type FSOptions struct {
	// Type is the kind; "" is ext4.
	Type filesystem.Type `json:"type,omitempty"`
	// Size is that of each, in bytes; 0 is what the image needs once all of it
	// is allocated.
	Size int64 `json:"size,omitempty"`
	// Dir is the folder in which those are made that they are mounted on.
	Dir string `json:"dir,omitempty"`
}

// MountDir is where file systems are mounted unless told otherwise: where
// libvirt's own images lie, and its profiles for QEMU look for them.
const MountDir = "/var/lib/libvirt/images"

// FilesystemPlan is the file system in a disk's volume, and the image on it.
type FilesystemPlan struct {
	Type filesystem.Type `json:"type"`
	// UUID is the one that it bears, chosen before it is made.
	UUID string `json:"uuid"`
	// Mount is the folder that it is mounted on, which the job makes, and Image
	// the path of the qcow2 image there.
	Mount string `json:"mount"`
	Image string `json:"image"`
	// Cluster, in bytes, and ExtendedL2 are the image's.
	Cluster    int64 `json:"cluster"`
	ExtendedL2 bool  `json:"extended_l2,omitempty"`
}

// Bytes is how much of a disk is copied: what the guest sees of an image, and
// else the whole payload.
func (d *DiskPlan) Bytes() int64 {
	if d.Filesystem != nil {
		return d.Source.Size
	}
	return d.Payload
}

// Where is the image or device that the guest has the disk in.
func (d *DiskPlan) Where() string {
	if d.Filesystem != nil {
		return d.Filesystem.Image
	}
	return d.Device
}

// imageSpec is the image to make.
func (d *DiskPlan) imageSpec() image.NewSpec {
	return image.NewSpec{Size: d.Source.Size, Cluster: d.Filesystem.Cluster, ExtendedL2: d.Filesystem.ExtendedL2}
}

// fsSpec is the file system to make.
func (d *DiskPlan) fsSpec() filesystem.Spec {
	return filesystem.Spec{Device: d.Device, Size: d.Payload, Type: d.Filesystem.Type, UUID: d.Filesystem.UUID}
}

// mountSpec is how it is mounted.
func (p *Plan) mountSpec(disk *DiskPlan) filesystem.MountSpec {
	return filesystem.MountSpec{Device: disk.Device, Dir: disk.Filesystem.Mount, Type: disk.Filesystem.Type, Discard: p.Options.AllowDiscards}
}

func (o Options) validateLayout() error {
	switch {
	case o.Layout != "" && o.Layout != BlockLayout && o.Layout != FilesystemLayout:
		return &OptionError{"--layout", fmt.Sprintf("%q is neither block nor filesystem", o.Layout)}
	case o.Layout != FilesystemLayout && o.FS != FSOptions{}:
		return &OptionError{o.FS.flag(), "goes with --layout filesystem alone"}
	case o.FS.Type != "" && !filesystem.Supported(o.FS.Type):
		return &OptionError{"--fs-type", fmt.Sprintf("%q is neither ext4 nor xfs", o.FS.Type)}
	case o.FS.Size < 0:
		return &OptionError{"--fs-size", "it is negative"}
	case o.FS.Dir != "" && (!filepath.IsAbs(o.FS.Dir) || filepath.Clean(o.FS.Dir) != o.FS.Dir):
		return &OptionError{"--fs-dir", fmt.Sprintf("%q is no plain absolute path", o.FS.Dir)}
	}
	return nil
}

// flag is the first of the flags that were given.
func (o FSOptions) flag() string {
	switch {
	case o.Type != "":
		return "--fs-type"
	case o.Size != 0:
		return "--fs-size"
	}
	return "--fs-dir"
}

// kind and dir are what was chosen, or the defaults.
func (o FSOptions) kind() filesystem.Type { return cmp.Or(o.Type, filesystem.Ext4) }
func (o FSOptions) dir() string           { return cmp.Or(o.Dir, MountDir) }

// planFilesystem gives a disk its file system, and the payload that one's size.
func (d *Decider) planFilesystem(plan *Plan, disk *DiskPlan, facts DiskFacts) {
	fsUUID, err := uuid.NewRandomFromReader(d.Random)
	if err != nil {
		plan.block(NotMovable, disk.Target, "", "no UUID could be drawn: %v", err)
		return
	}
	options, spec := plan.Options.FS, image.Like(facts.Chain)
	kind := options.kind()
	mount := filepath.Join(options.dir(), lvm.Sanitise(plan.VM+"-"+disk.Target+"-luks"))
	disk.Filesystem = &FilesystemPlan{
		Type: kind, UUID: fsUUID.String(), Mount: mount, Image: filepath.Join(mount, safeName(disk.Target)+".qcow2"),
		Cluster: spec.Cluster, ExtendedL2: spec.ExtendedL2,
	}
	full := filesystem.Size(kind, spec.Full())
	disk.Payload = full
	if options.Size > 0 {
		disk.Payload = roundUp(options.Size, mountUnit)
		d.judgeFSSize(plan, disk, facts, full)
	}
	if most := filesystem.LargestFile(kind); spec.Full() > most {
		plan.block(TargetUnfit, disk.Target, "choose --fs-type xfs", "the image of %s can take %s, and a file on %s has %s at most", disk.Target, humanize.IBytes(uint64(spec.Full())), kind, humanize.IBytes(uint64(most)))
	}
	if other := d.claim("mount", mount, plan); other != "" {
		plan.block(TargetTaken, disk.Target, "choose another folder with --fs-dir", "the folder %s is to be mounted on for %q too", mount, other)
	}
	d.judgeMount(plan, disk)
}

// mountUnit is what a file system's size is rounded up to, in bytes.
const mountUnit = 1 << 20

// judgeFSSize holds a size that was asked for against what is in the image, and
// what may be in it one day.
func (d *Decider) judgeFSSize(plan *Plan, disk *DiskPlan, facts DiskFacts, full int64) {
	kind := disk.Filesystem.Type
	if disk.Payload >= full {
		return
	}
	least := filesystem.Least(kind)
	if facts.Needed > 0 {
		least = max(least, filesystem.Size(kind, facts.Needed))
	}
	switch {
	case facts.NeededErr != nil:
		plan.block(SourceImage, disk.Target, "leave --fs-size away", "how much is in the image of %s can't be told, and so not whether %s hold it: %v", disk.Target, humanize.IBytes(uint64(disk.Payload)), facts.NeededErr)
	case disk.Payload < least:
		plan.block(TargetSmall, disk.Target, "ask for --fs-size "+atLeast(least)+" or more", "an %s of %s is too small for the image of %s: what is in that now takes %s, the file system's own share included",
			kind, humanize.IBytes(uint64(disk.Payload)), disk.Target, humanize.IBytes(uint64(least)))
	default:
		plan.warn(WarnFills, disk.Target, "with --fs-size "+atLeast(full)+" it never is", "the file system for %s is smaller than all that the guest may write: QEMU pauses the guest when it is full", disk.Target)
	}
}

// atLeast is a size for the command line, rounded up to MiB.
func atLeast(n int64) string { return fmt.Sprintf("%dM", (n+mountUnit-1)/mountUnit) }

// judgeMount blocks a folder that can't be made, or would not be safe there.
func (d *Decider) judgeMount(plan *Plan, disk *DiskPlan) {
	mount := disk.Filesystem.Mount
	dir := filepath.Dir(mount)
	folder, known := d.Facts.Folders[dir]
	other := "choose another with --fs-dir"
	block := func(code Code, remedy, format string, args ...any) {
		plan.block(code, disk.Target, remedy, "the folder %s, in which the file system of %s is to be mounted, %s", dir, disk.Target, fmt.Sprintf(format, args...))
	}
	switch {
	case !known:
		block(TargetMissing, other, "was not looked at")
	case folder.Err != nil:
		block(TargetMissing, other, "can't be used: %v", folder.Err)
	case folder.ReadOnly:
		block(TargetUnfit, other, "is on a file system that is mounted read-only")
	case folder.Loose:
		block(TargetUnfit, other, "can be written by others than root, who could put another folder in its place")
	case folder.Has[filepath.Base(mount)]:
		block(TargetTaken, other+", or move that away", "has %s already", filepath.Base(mount))
	}
}

// judgeLayout blocks a VM in which there is nothing for file systems to hold, and
// tells which disks have none.
func (d *Decider) judgeLayout(plan *Plan) {
	if plan.Options.Layout != FilesystemLayout || plan.Result() == ResultDone {
		return
	}
	images := 0
	for _, disk := range plan.Disks {
		if disk.Filesystem != nil {
			images++
		}
	}
	if images == 0 && len(plan.Disks) > 0 {
		plan.block(NoImage, "", "leave --layout away", "it has no disk that is a qcow2 image, which --layout filesystem is for")
		return
	}
	for _, disk := range plan.Disks {
		if disk.Filesystem == nil {
			plan.warn(WarnLayout, disk.Target, "", "%s is %s and no qcow2 image, so it moves onto a volume of its own without a file system", disk.Target, disk.Source.Format)
		}
	}
}

// onFilesystem says whether a disk stays an image.
func (o Options) onFilesystem(disk domainxml.Disk, facts DiskFacts) bool {
	return o.Layout == FilesystemLayout && disk.Format == string(image.QCOW2) && len(facts.Chain) > 0
}

// gatherLayout looks at what file systems are to hold, and where they are to be
// mounted.
func (e *Env) gatherLayout(ctx context.Context, facts *Facts, options Options) error {
	if options.Layout != FilesystemLayout {
		return nil
	}
	if err := e.gatherFolder(ctx, facts, options.FS.dir()); err != nil {
		return err
	}
	if options.FS.Size == 0 {
		return nil // nobody asks how much is in the images
	}
	for i := range facts.Domains {
		vm := &facts.Domains[i]
		if vm.State != hypervisor.ShutOff {
			continue // it can't be migrated, and its images can't be measured
		}
		for target, disk := range vm.Disks {
			if disk.Err != nil || len(disk.Chain) == 0 || disk.Chain[0].Format != image.QCOW2 {
				continue
			}
			disk.Needed, disk.NeededErr = e.Images.NeededFor(ctx, disk.Chain, image.Like(disk.Chain))
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			vm.Disks[target] = disk
		}
	}
	return nil
}
