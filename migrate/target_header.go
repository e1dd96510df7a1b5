package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/vmmigrate/vmmigrate/luks"
)

const targetHeader = "--header"

// headerAt is where a disk's LUKS header is: on its volume, or in a file.
func (d *DiskPlan) headerAt() string { return cmp.Or(d.HeaderFile, d.Volume.Path) }

// headerRoom is what the header takes of the volume.
func (d *DiskPlan) headerRoom() int64 {
	if d.HeaderFile != "" {
		return 0
	}
	return d.Header
}

// HeaderFor is the file that was chosen for a disk's header, or "".
func (o Options) HeaderFor(target string) string { return cmp.Or(o.Disks[target].Header, o.Header) }

// headers are all files that were chosen.
func (o Options) headers() []string {
	var all []string
	if o.Header != "" {
		all = append(all, o.Header)
	}
	for _, target := range slices.Sorted(maps.Keys(o.Disks)) {
		if file := o.Disks[target].Header; file != "" {
			all = append(all, file)
		}
	}
	return all
}

func (o Options) validateHeaders() error {
	seen := make(map[string]bool)
	for _, file := range o.headers() {
		switch clean := filepath.Clean(file); {
		case !filepath.IsAbs(file):
			return &OptionError{targetHeader, fmt.Sprintf("%q is no absolute path", file)}
		case clean == "/":
			return &OptionError{targetHeader, fmt.Sprintf("%q names no file", file)}
		case clean != file:
			return &OptionError{targetHeader, fmt.Sprintf("%q has to be written without detours: %s", file, clean)}
		case seen[file]:
			return &OptionError{targetHeader, fmt.Sprintf("%s is named twice, and holds one header", file)}
		}
		seen[file] = true
	}
	return nil
}

// placeHeader has a disk's header go to a file, if one was chosen.
func (d *Decider) placeHeader(plan *Plan, disk *DiskPlan) {
	file := plan.Options.HeaderFor(disk.Target)
	if file == "" {
		return
	}
	disk.HeaderFile = file
	if other := d.claim("file", file, plan); other != "" {
		plan.block(TargetTaken, disk.Target, "choose another with "+targetHeader, "the file %s is to be made for %q too", file, other)
	}
	for _, job := range d.Facts.Jobs {
		if job.Plan == nil || job.State == StateDone || job.Plan.VMUUID == plan.VMUUID {
			continue
		}
		for i := range job.Plan.Disks {
			if job.Plan.Disks[i].headerAt() == file {
				plan.block(TargetTaken, disk.Target, "vmmigrate resume "+job.ID+", or vmmigrate rollback "+job.ID, "the file %s belongs to the unfinished job %s of %q", file, job.ID, job.Plan.VM)
			}
		}
	}
	d.judgeHeader(plan, disk)
	d.warnHeader(plan, disk)
}

// judgeHeader blocks a header file that can't be made, or would not be safe.
func (d *Decider) judgeHeader(plan *Plan, disk *DiskPlan) {
	d.judgeFolder(plan, disk, disk.HeaderFile, disk.Header, targetHeader)
}

// warnHeader says what a header in a file of its own is about.
func (d *Decider) warnHeader(plan *Plan, disk *DiskPlan) {
	plan.warn(WarnHeader, disk.Target, "keep the backup of it elsewhere, too",
		"the LUKS header of %s goes to %s: without that file the volume is worthless, to you as well: if it is lost, so are the data. It belongs on other storage than the volume", disk.Target, disk.HeaderFile)
	if d.Facts.Folders[filepath.Dir(disk.HeaderFile)].Root {
		plan.warn(WarnHeaderPlace, disk.Target, "choose a file on other storage with "+targetHeader,
			"%s is on this host's own root file system: whoever takes the host's disks has header and volume both, and is kept out by the passphrase alone, as without %s", disk.HeaderFile, targetHeader)
	}
}

// judgeOffset blocks a device that has more than the payload takes, and less
// than cryptsetup wants before a payload that does not begin at the first byte.
func (d *Decider) judgeOffset(plan *Plan, disk *DiskPlan, path string) {
	if disk.HeaderFile == "" || luks.DetachedOffset(plan.Options.LUKS.Type, disk.Offset) {
		return
	}
	plan.block(TargetUnfit, disk.Target, "choose another with "+targetDevice,
		"the target of %s, %s, has %s bytes more than the disk: with the header in a file, cryptsetup takes a device that is exactly as large as the disk, or larger by %s bytes or more", disk.Target, path, humanize.Comma(disk.Offset), humanize.Comma(disk.Header))
}

// bareVolume says of a device whose volume it is, with the header in a file of its
// own: it looks blank, and is somebody's only copy. It is "" for any other.
func (d *Decider) bareVolume(device NamedFacts) string {
	lv := newVolumeIndex(d.Facts.LVs).find(device.DeviceFacts)
	for _, domain := range d.Facts.Domains {
		origin, _ := originOf(domain)
		for _, disk := range origin.Disks {
			same := lv != nil && disk.VG == lv.VG && disk.LV == lv.Name ||
				disk.Path != "" && slices.Contains([]string{device.Path, device.Resolved, device.Names.Stable}, disk.Path)
			if same && disk.HeaderFile != "" {
				return fmt.Sprintf("looks blank, and holds the disk %s of the VM %q, whose LUKS header is in %s", disk.Target, domain.Name, disk.HeaderFile)
			}
		}
	}
	if lv == nil {
		return ""
	}
	for _, tag := range lv.Tags {
		if uuid, ours := strings.CutPrefix(tag, luksTag); ours {
			return fmt.Sprintf("looks blank, and bears the tag %s%s: it is a volume whose LUKS header is in a file", luksTag, uuid)
		}
	}
	return ""
}

// luksTag begins the tag of a volume that has its header in a file of its own,
// with the UUID behind it: nothing on the volume says whose it is.
const luksTag = "vmmigrate.luks="

// headerNote is recorded of a header file before anything of it is made: the
// number of its folder's inode. A stick that is not plugged in looks like one
// without the file.
type headerNote struct {
	Folder string `json:"folder"`
}

// headerPart is what a header file is called until it is whole.
func (p *Plan) headerPart(disk *DiskPlan) string {
	return filepath.Join(filepath.Dir(disk.HeaderFile), fmt.Sprintf(".vmmigrate-%s-%s.header.part", p.Job, safeName(disk.Target)))
}

// checkHeader looks at a header file: it has the job's UUID, or it is not there
// yet. Nothing else is ever replaced, and one that was there is not made anew:
// under a new header all that was copied would be noise.
func (j *Job) checkHeader(ctx context.Context, disk *DiskPlan) (Standing, error) {
	what := "the header file " + disk.HeaderFile
	facts, err := j.Devices.Inspect(ctx, disk.HeaderFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := j.headerFolder(ctx, disk); err != nil {
			return Absent, err
		}
		if j.isDone(key(Format, disk)) {
			return Absent, &ConflictError{What: what, Reason: "it is not there any more, and a new one would make noise of what was copied; put it back, or begin anew after a rollback"}
		}
		return Absent, nil
	case err != nil:
		return Absent, err
	case facts.Block:
		return Absent, &ConflictError{What: what, Reason: "it is a device"}
	}
	header, err := j.Encryption.Header(ctx, disk.HeaderFile)
	var none *luks.NotLUKSError
	switch {
	case errors.As(err, &none):
		return Absent, &ConflictError{What: what, Reason: "it holds no LUKS header, so it is not the job's"}
	case err != nil:
		return Absent, err
	case !strings.EqualFold(header.UUID, disk.LUKSUUID):
		return Absent, &ConflictError{What: what, Reason: fmt.Sprintf("its header has UUID %s and not %s", header.UUID, disk.LUKSUUID)}
	case len(header.Keyslots) == 0 || header.Offset != disk.Offset:
		return Partial, nil
	}
	return Present, nil
}

// headerFolder returns a *ConflictError where the folder is not the one that the
// header was, or was to be, made in.
func (j *Job) headerFolder(ctx context.Context, disk *DiskPlan) error {
	var note headerNote
	if found, err := j.noted(Format, disk, &note); err != nil || !found {
		return err
	}
	dir := filepath.Dir(disk.HeaderFile)
	folder, err := j.Files.Folder(ctx, dir)
	if err == nil && folder.Inode == note.Folder {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &ConflictError{What: "the folder " + dir, Reason: "it is not the one that the LUKS header was made in; its file system may not be mounted"}
}

// makeHeader formats into a file under a name of the job's, and gives it its own
// when it is whole.
func (j *Job) makeHeader(ctx context.Context, disk *DiskPlan, key luks.Key, found Standing) error {
	part := j.Plan.headerPart(disk)
	if err := j.Files.Remove(ctx, part); err != nil {
		return err // what a crash left
	}
	folder, err := j.Files.Folder(ctx, filepath.Dir(part))
	if err != nil {
		return err
	}
	if err := j.note(Format, disk, headerNote{Folder: folder.Inode}); err != nil {
		return err
	}
	if _, err := j.Files.Make(ctx, part, disk.Header); err != nil {
		return err
	}
	if _, err := j.Encryption.Format(ctx, j.Plan.formatSpec(disk), key); err != nil {
		return err
	}
	if found == Partial { // it has the job's UUID
		if err := j.Files.Remove(ctx, disk.HeaderFile); err != nil {
			return err
		}
	}
	return j.Files.Move(ctx, part, disk.HeaderFile)
}

// removeHeader removes the header file if it bears the job's UUID, and what a
// crash left of one. Where its file system is not mounted it can't: unless the
// rollback is forced that is an error, and the file is told of otherwise.
func (j *Job) removeHeader(ctx context.Context, disk *DiskPlan) error {
	var note headerNote
	if found, err := j.noted(Format, disk, &note); err != nil || !found {
		return err
	}
	if err := j.Files.Remove(ctx, j.Plan.headerPart(disk)); err != nil {
		return err
	}
	header, err := j.Encryption.Header(ctx, disk.HeaderFile)
	var missing *luks.NotFoundError
	var none *luks.NotLUKSError
	switch {
	case err == nil && strings.EqualFold(header.UUID, disk.LUKSUUID):
		if err = j.Files.Remove(ctx, disk.HeaderFile); err == nil && disk.Volume.Kind == OnDevice {
			j.say(Format, disk, "%s removed; what is left on %s can't be read any more: it is ciphertext without a header", disk.HeaderFile, disk.Volume.Path)
		} else if err == nil {
			j.say(Format, disk, "%s removed", disk.HeaderFile)
		}
	case err == nil, errors.As(err, &none), errors.As(err, &missing):
		// Ours is gone, or somewhere else, and what is there stays.
		err = j.headerFolder(ctx, disk)
		var away *ConflictError
		if errors.As(err, &away) && !j.forced {
			away.Reason += "; mount it, or leave that file where it is with rollback --force"
		} else if away != nil {
			j.report(Event{Event: Warning, Step: Format, Disk: disk.Target, Message: fmt.Sprintf("%s can't be reached and was not removed: %v", disk.HeaderFile, err)})
			err = nil
		}
	}
	return err
}
