package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/internal/command"
	"github.com/vmmigrate/vmmigrate/luks"
	"github.com/vmmigrate/vmmigrate/lvm"
)

const targetDir = "--target-dir"

func (o Options) validateDir() error {
	switch {
	case o.Dir == "":
		return nil
	case !filepath.IsAbs(o.Dir):
		return &OptionError{targetDir, fmt.Sprintf("%q is no absolute path", o.Dir)}
	case o.Device != "":
		return &OptionError{targetDir, "can't go with " + targetDevice + " for the only disk; say DISK=PATH there"}
	case o.VG != "" || o.LV != "" || o.LVMType != "" || o.ThinPool != "" || len(o.PVs) > 0:
		return &OptionError{targetDir, "has files made, and can't go with --vg, --pv, --lv-name, --lvm-type or --thin-pool, which are about volumes"}
	}
	return nil
}

// placeInFile gives a disk a file of its own in a folder: header and payload, or
// the payload alone, and nothing beyond.
func (d *Decider) placeInFile(plan *Plan, disk *DiskPlan, dir string) {
	path := filepath.Join(dir, lvm.Sanitise(plan.VM+"-"+disk.Target+"-luks")+".img")
	disk.Offset = disk.headerRoom()
	disk.Volume = VolumePlan{Kind: OnFile, Path: path, Size: disk.Offset + disk.Payload}
	if other := d.claim("file", path, plan); other != "" {
		plan.block(TargetTaken, disk.Target, "choose another folder with "+targetDir, "the file %s is to be made for %q too", path, other)
	}
	d.judgeFile(plan, disk)
}

// judgeFile blocks a volume's file that can't be made, or would not be safe.
func (d *Decider) judgeFile(plan *Plan, disk *DiskPlan) {
	d.judgeFolder(plan, disk, disk.Volume.Path, disk.Volume.Size, targetDir)
}

// judgeFolder blocks a file of that size that can't be made in its folder, or
// would not be safe there.
func (d *Decider) judgeFolder(plan *Plan, disk *DiskPlan, path string, size int64, option string) {
	dir := filepath.Dir(path)
	folder, known := d.Facts.Folders[dir]
	other := "choose another with " + option
	block := func(code Code, remedy, format string, args ...any) {
		plan.block(code, disk.Target, remedy, "the folder %s %s", dir, fmt.Sprintf(format, args...))
	}
	switch {
	case !known:
		block(TargetMissing, other, "was not looked at")
		return
	case errors.Is(folder.Err, fs.ErrNotExist):
		block(TargetMissing, "make it: "+command.Quote([]string{"mkdir", "-m", "0700", dir}), "does not exist")
		return
	case folder.Err != nil:
		block(TargetUnfit, other, "can't be used: %v", folder.Err)
		return
	case folder.Volatile:
		block(TargetUnfit, other, "is in memory (%s), and gone with the next boot", folder.System)
	case folder.ReadOnly:
		block(TargetUnfit, "mount it read-write, or "+other, "is on a file system that is mounted read-only")
	}
	if folder.Shown {
		block(TargetUnfit, "mount it with umask=077, or "+other, "is on a file system that shows every file to every user, whatever its mode")
	}
	if folder.Loose {
		block(TargetUnfit, command.Quote([]string{"chmod", "go-w", dir})+", or "+other, "can be written by others than root, who could put another file in a volume's place")
	}
	if folder.Network && option == targetHeader {
		plan.warn(WarnNetwork, disk.Target, "", "%s is on a network file system (%s): the disk can't be unlocked while that is away", dir, folder.System)
	} else if folder.Network {
		plan.warn(WarnNetwork, disk.Target, "", "%s is on a network file system (%s): the guest hangs when that does, and its server sees when blocks change", dir, folder.System)
	}
	if name := filepath.Base(path); folder.Has[name] {
		block(TargetTaken, other+", or move that file away", "has a file %s already", name)
	}
	key := "folder " + folder.Device
	if free := max(0, folder.Free-d.Taken[key]); size > free {
		after := ""
		if d.Taken[key] > 0 {
			after = fmt.Sprintf(", after %s for the disks before it", humanize.IBytes(uint64(d.Taken[key])))
		}
		block(TargetSmall, "make room there, or "+other, "has not enough room: %s bytes are needed and %s are free%s", humanize.Comma(size), humanize.Comma(free), after)
	}
	d.Taken[key] += size
}

// fileNote is recorded of a file before it gets its name: the numbers of its
// inode, by which it is known until it has a LUKS header, and of its folder's.
type fileNote struct {
	Inode  string `json:"inode"`
	Folder string `json:"folder"`
}

// partPath is what a file is called until it is whole. The job's id in it says
// whose it is.
func (j *Job) partPath(disk *DiskPlan) string {
	return filepath.Join(filepath.Dir(disk.Volume.Path), fmt.Sprintf(".vmmigrate-%s-%s.part", j.Plan.Job, safeName(disk.Target)))
}

// inodeOf is the number of a file's inode.
func inodeOf(facts DeviceFacts) string { return facts.ID[strings.LastIndexByte(facts.ID, ' ')+1:] }

// checkFile: the file of that name is the one that the job made, as large as
// planned.
func (j *Job) checkFile(ctx context.Context, disk *DiskPlan) (Standing, error) {
	var note fileNote
	found, err := j.noted(CreateVolume, disk, &note)
	if err != nil {
		return Absent, err
	}
	if found {
		if err := j.sameFolder(ctx, disk, note); err != nil {
			return Absent, err
		}
	}
	facts, err := j.Devices.Inspect(ctx, disk.Volume.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Absent, nil
	}
	if err != nil {
		return Absent, err
	}
	switch what := disk.Volume.what(); {
	case !found || facts.Block || inodeOf(facts) != note.Inode:
		return Absent, &ConflictError{What: what, Reason: "it is not the one that the job made"}
	case facts.Size != disk.Volume.Size:
		return Absent, &ConflictError{What: what, Reason: fmt.Sprintf("it has %d bytes and was made with %d", facts.Size, disk.Volume.Size)}
	}
	return Present, nil
}

// sameFolder returns a *ConflictError where the folder is not the one that the
// file was made in: below a file system that is not mounted nothing is missing,
// it is only not to be seen.
func (j *Job) sameFolder(ctx context.Context, disk *DiskPlan, note fileNote) error {
	dir := filepath.Dir(disk.Volume.Path)
	folder, err := j.Files.Folder(ctx, dir)
	if err == nil && folder.Inode != note.Folder {
		err = &ConflictError{What: "the folder " + dir, Reason: "it is not the one that the file was made in; its file system may not be mounted"}
	}
	return err
}

// makeFile makes the file under a name of the job's, notes which it is, and
// gives it its own.
func (j *Job) makeFile(ctx context.Context, disk *DiskPlan) error {
	part := j.partPath(disk)
	if err := j.Files.Remove(ctx, part); err != nil {
		return err // what a crash left
	}
	folder, err := j.Files.Folder(ctx, filepath.Dir(part))
	if err != nil {
		return err
	}
	inode, err := j.Files.Make(ctx, part, disk.Volume.Size)
	if err != nil {
		return err
	}
	if err := j.note(CreateVolume, disk, fileNote{Inode: inode, Folder: folder.Inode}); err != nil {
		return err
	}
	if err := j.Files.Move(ctx, part, disk.Volume.Path); err != nil {
		return err
	}
	j.say(CreateVolume, disk, "%s, %s", disk.Volume.Path, humanize.IBytes(uint64(disk.Volume.Size)))
	return nil
}

// removeFile removes the file if it is the one that the job made: the inode is
// the one noted, and no header but the job's is in it.
func (j *Job) removeFile(ctx context.Context, disk *DiskPlan) error {
	if err := j.Files.Remove(ctx, j.partPath(disk)); err != nil {
		return err
	}
	var note fileNote
	if found, err := j.noted(CreateVolume, disk, &note); err != nil || !found {
		return err
	}
	if err := j.sameFolder(ctx, disk, note); err != nil {
		return err
	}
	facts, err := j.Devices.Inspect(ctx, disk.Volume.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if facts.Block || inodeOf(facts) != note.Inode {
		return nil // ours is gone, and somebody made another of that name: it stays
	}
	header, err := j.Encryption.Header(ctx, disk.Volume.Path)
	var none *luks.NotLUKSError
	switch {
	case err == nil && !strings.EqualFold(header.UUID, disk.LUKSUUID):
		return nil
	case err != nil && !errors.As(err, &none):
		return err
	}
	return j.Files.Remove(ctx, disk.Volume.Path)
}
